"""Bring a database to the version of this code: all steps in one transaction, one process a time.

Whoever comes second waits, and finds nothing left to do. A process that dies in between leaves the
database as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DatabaseError as SQLError

from service.database.engine import WRITES, make_engine
from service.errors import DatabaseError

LOCK = 0x62697465_7874
"""The number that PostgreSQL's advisory lock is known by (``bitext`` in ASCII)."""
ONE = threading.Lock()
"""Alembic keeps what it is at in global variables: one thread at a time."""
NONE = "none"
"""What the version of an empty database is called."""


class Versions(NamedTuple):
    """The version that a database has, and the one that this code wants."""

    there: str
    wanted: str


def upgrade(url: URL, to: str = "head") -> Versions:
    """Run the steps that are missing; return the version before, and the one that was wanted.

    :param to: a version; by default, the last.
    :raises DatabaseError: if the database cannot be reached, or is of a version that is not known.
    """
    with _transaction(url, writes=True) as connection:
        config = _config(connection)
        before = _versions(connection, config)
        if before.there != before.wanted or to != "head":
            with ONE:
                command.upgrade(config, to)
            _check_references(connection)
    return before


def versions(url: URL) -> Versions:
    """:raises DatabaseError: if the database cannot be reached, or is of an unknown version."""
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return Versions(NONE, _head(_config(None)))  # to connect would make the file
    with _transaction(url) as connection:
        return _versions(connection, _config(connection))


def bring(connection: Connection, to: str) -> None:
    """Run the steps that are missing, within the transaction of ``connection``."""
    command.upgrade(_config(connection), to)


def check_known(version: str) -> None:
    """:raises DatabaseError: if a version is not among those that this code knows."""
    script = ScriptDirectory(str(files("service.database") / "migrations"))
    known = {step.revision for step in script.walk_revisions()}
    if version not in known | {NONE}:
        raise DatabaseError(
            f"the tables have version {version}, which a later bitext has made; this one knows "
            f"{', '.join(sorted(known))}"
        )


def version_of(connection: Connection) -> str:
    """The version of the tables there are; :data:`NONE` without any."""
    return MigrationContext.configure(connection).get_current_revision() or NONE


@contextmanager
def _transaction(url: URL, *, writes: bool = False) -> Iterator[Connection]:
    """One in which no other process upgrades."""
    # A table that is made anew is dropped in between, which must not take along what refers to it.
    engine = make_engine(url, foreign_keys=False)
    try:
        with engine.execution_options(**{WRITES: writes}).begin() as connection:
            if connection.dialect.name == "postgresql" and writes:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            yield connection
    except SQLError as error:
        raise DatabaseError(
            f"database {url.render_as_string(hide_password=True)}: {_reason(error)}"
        ) from error
    finally:
        engine.dispose()


def _reason(error: SQLError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("service.database") / "migrations"))
    config.attributes["connection"] = connection
    return config


def _versions(connection: Connection, config: Config) -> Versions:
    script = ScriptDirectory.from_config(config)
    known = {step.revision for step in script.walk_revisions()}
    there = version_of(connection)
    if there not in known | {NONE}:
        raise DatabaseError(
            f"the database has version {there}, which a later bitext has made; this one knows "
            f"{', '.join(sorted(known))}"
        )
    return Versions(there, _head(config))


def _head(config: Config) -> str:
    return ScriptDirectory.from_config(config).get_current_head() or NONE


def _check_references(connection: Connection) -> None:
    """SQLite looked at none of them meanwhile."""
    if connection.dialect.name == "sqlite":
        broken = connection.execute(text("PRAGMA foreign_key_check")).all()
        assert not broken, f"a step has left references that lead nowhere: {broken[:3]}"
