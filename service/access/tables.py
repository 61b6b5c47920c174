"""The table of keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables import Base, Characters, Moment


class KeyRow(Base):
    """A key; its secret is not kept, only what it can be known by."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(Characters(8), primary_key=True)
    name: Mapped[str] = mapped_column(Characters(200))
    scope: Mapped[str] = mapped_column(Characters(20))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    created: Mapped[datetime] = mapped_column(Moment)
    revoked: Mapped[datetime | None] = mapped_column(Moment)
