"""Where the database is, and how it is talked to: SQLite by default, PostgreSQL by its URL."""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from bitext.errors import InputError
from service.settings import Settings

FILE = "bitext.db"
BUSY_SECONDS = 20.0
"""How long one who wants to write waits for another's transaction (SQLite)."""
PATIENCE: dict[str, int | str] = {
    "connect_timeout": 10,
    "tcp_user_timeout": 20_000,  # milliseconds, and on Linux alone
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""How long a PostgreSQL server may be silent that is cut off or was switched off, by the names of
libpq; in seconds. By its own choice the system would wait a quarter of an hour."""
WAIT = 5.0
"""Seconds that one waits for a connection while others have them all."""
WRITES = "bitext_writes"
"""The option of a connection whose transaction begins as a writer's."""


class Database:
    """Transactions on the tables; brought to this version when first used.

    >>> with database.write() as session:
    ...     session.add(row)
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._is_open = False

    @functools.cached_property
    def engine(self) -> Engine:
        return make_engine(self.url)

    def open(self) -> None:
        """Bring the tables to this version, once a process.

        :raises DatabaseError: if the database cannot be reached, or is of a later version.
        """
        from service.database.upgrading import upgrade

        with self._lock:
            if not self._is_open:
                upgrade(self.url)
                self._is_open = True

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that reads; others write meanwhile."""
        self.open()
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is kept when the block ends well, and on the disk then."""
        self.open()
        engine = self.engine.execution_options(**{WRITES: True})
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        self.engine.dispose()


def database_of(settings: Settings) -> Database:
    """The database that the settings name.

    :raises InputError: if the URL cannot be read, or is of a kind that is not known.
    """
    return Database(url_of(settings))


def url_of(settings: Settings) -> URL:
    """``settings.database``, or the file ``bitext.db`` in the data folder.

    :raises InputError: if it cannot be read, or is of a kind that is not known. What came is not
        said: it may have a password in it.
    """
    if settings.database is None:
        file = settings.data_dir.expanduser() / FILE
        return URL.create("sqlite", database=str(file))
    expected = "expected sqlite:////path/to/file or postgresql://user:password@host/name"
    try:
        url = make_url(settings.database)
    except ArgumentError:
        raise InputError(f"BITEXT_DATABASE is not a URL; {expected}") from None
    if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
        return url.set(database=str(Path(str(url.database)).expanduser()))
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        url = url.set(drivername="postgresql+psycopg")
        secret = settings.database_password_file
        return url if secret is None else url.set(password=_password(secret))
    raise InputError(f"BITEXT_DATABASE is of kind '{url.drivername}' or names no file; {expected}")


def _password(file: Path) -> str:
    """What ``file`` holds, but for the newline that editors put at its end.

    :raises InputError: if it cannot be read, or holds nothing.
    """
    try:
        password = file.expanduser().read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"cannot read BITEXT_DATABASE_PASSWORD_FILE, {file}: {reason}") from None
    if not password:
        raise InputError(f"BITEXT_DATABASE_PASSWORD_FILE, {file}, is empty")
    return password


def make_engine(url: URL, *, foreign_keys: bool = True) -> Engine:
    """An engine for ``url``; nothing is opened yet.

    :raises InputError: if the driver is not installed, or the file's folder cannot be made.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, foreign_keys)
    try:
        how = {name: value for name, value in PATIENCE.items() if name not in url.query}
        # without an encoding, a server that has none (SQL_ASCII) would send bytes
        how["client_encoding"] = "utf8"
        return create_engine(
            url, pool_pre_ping=True, pool_timeout=WAIT, hide_parameters=True, connect_args=how
        )
    except (ImportError, NoSuchModuleError):
        raise InputError("PostgreSQL needs psycopg: pip install 'bitext[postgres]'") from None


def _sqlite(url: URL, foreign_keys: bool) -> Engine:
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}: {error.strerror}") from error
    engine = create_engine(
        url, pool_timeout=WAIT, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: see begin
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what was answered for survives a reset
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # One who reads first and writes then would be refused, and not wait, had another written
        # in between; so a writer begins as one.
        options: dict[str, Any] = dict(connection.get_execution_options())
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES) else "BEGIN")

    return engine
