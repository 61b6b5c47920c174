"""The tables of jobs, of uploads, and of which job reads which upload."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables import Base, Characters, LongCharacters, Moment

WAITING = ("queued",)
ACTIVE = ("running", "cancelling")
ENDED = ("done", "failed", "cancelled")
STATES = (*WAITING, *ACTIVE, *ENDED)


class JobRow(Base):
    """A job, from its submission until somebody removes it."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(Characters(32), primary_key=True)
    kind: Mapped[str] = mapped_column(Characters(16))
    name: Mapped[str | None] = mapped_column(Characters(200))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    gpu: Mapped[bool]  # whether it needs the one GPU
    state: Mapped[str] = mapped_column(Characters(16))
    version: Mapped[int] = mapped_column(BigInteger, default=1)  # counts the changes
    created: Mapped[datetime] = mapped_column(Moment)
    started: Mapped[datetime | None] = mapped_column(Moment)  # first
    finished: Mapped[datetime | None] = mapped_column(Moment)
    error: Mapped[str | None] = mapped_column(LongCharacters)
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))

    attempts: Mapped[int] = mapped_column(default=0)
    """How often a worker has begun it. Only who knows the number of the last may change it."""
    crashes: Mapped[int] = mapped_column(default=0)
    """How often worker or process has died since it was submitted, or asked for again."""
    worker: Mapped[str | None] = mapped_column(Characters(200))
    lease: Mapped[datetime | None] = mapped_column(Moment)
    """Until when it is that worker's."""

    __table_args__ = (
        Index("ix_jobs_state", "state", "created"),
        Index("ix_jobs_created", "created", "id"),
        Index(
            "uq_jobs_gpu",
            "gpu",
            unique=True,
            sqlite_where=text("gpu AND state IN ('running', 'cancelling')"),
            postgresql_where=text("gpu AND state IN ('running', 'cancelling')"),
        ),  # one at a time
    )


class UploadRow(Base):
    """A file that somebody has sent; it is on the disk, whole, before its row is here."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(Characters(32), primary_key=True)
    name: Mapped[str] = mapped_column(Characters(200))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Characters(64))
    created: Mapped[datetime] = mapped_column(Moment)


class InputRow(Base):
    """That a job reads an upload, which must stay as long as the job may run."""

    __tablename__ = "job_uploads"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    upload: Mapped[str] = mapped_column(ForeignKey("uploads.id"), primary_key=True, index=True)
