"""What every table is declared on, and how moments are kept."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import BigInteger, Dialect, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name, so that a later step can change it."""


class Base(DeclarativeBase):
    """What tables are declared on; each file of them is named in :func:`all_tables`."""

    metadata = MetaData(naming_convention=NAMES)


class Moment(TypeDecorator[datetime]):
    """A moment, kept as microseconds since 1970: the same, and exact, in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Characters(TypeDecorator[str]):
    """Text that every database can keep: what PostgreSQL refuses becomes U+FFFD.

    That is NUL, and halves of surrogate pairs: a log may hold them, or an id that names no row.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _NOT_KEPT.sub("\ufffd", value)


class LongCharacters(Characters):
    """The same, of any length."""

    impl = Text
    cache_ok = True


_NOT_KEPT = re.compile("[\0\ud800-\udfff]")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def all_tables() -> MetaData:
    """The tables of all rooms, which are known once their files are imported."""
    import service.access.tables
    import service.jobs.tables  # noqa: F401

    return Base.metadata


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(timezone.utc)
