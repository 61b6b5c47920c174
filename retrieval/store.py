"""The sentences behind an index, with their ids and languages, and each language's mean: SQLite.

Written in one transaction at a time and in WAL mode, so that readers go on while something is
added. The manifest of the index says how many sentences there are: rows beyond that are what an
addition left behind that was cut off, and count as absent.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    NullPool,
    String,
    Table,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.exc import DatabaseError

from bitext.errors import InputError, MismatchError
from retrieval.vectors import Rows

STORE_FILE = "sentences.db"
_VARIABLES = 500  # ids asked for in one statement; SQLite has always taken 999

_metadata = MetaData()
_sentences = Table(
    "sentences",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("language", String, nullable=False),
    Column("text", String, nullable=False),
)
_means = Table(
    "means",
    _metadata,
    Column("language", String, primary_key=True),
    Column("vector", LargeBinary, nullable=False),
)


class Sentence(NamedTuple):
    """A sentence as it was added."""

    id: int
    language: str
    text: str


class SentenceStore:
    """Sentences by id. No connection stays open, so a folder at rest holds one whole file."""

    def __init__(self, path: Path) -> None:
        """:raises InputError: if ``path`` is not there."""
        if not path.is_file():
            raise InputError(f"{path} is missing")
        self.path = path
        self._engine = _engine(path)
        self._number: int | None = None  # of the store, once it has been opened

    @classmethod
    def create(cls, path: Path) -> SentenceStore:
        """Make an empty store at ``path``."""
        path.touch(exist_ok=False)
        store = cls(path)
        with store._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            # Tells this store from one that may take its place, which even an inode does not.
            connection.exec_driver_sql(f"PRAGMA user_version = {secrets.randbits(31)}")
        with store._engine.begin() as connection:
            _metadata.create_all(connection)
        return store

    @contextmanager
    def adding(self, count: int) -> Iterator[Transaction]:
        """One transaction: everything that the block adds after the first ``count``, or nothing."""
        with self._connection() as connection, connection.begin():
            connection.execute(_sentences.delete().where(_sentences.c.id >= count))
            yield Transaction(connection, count)

    def sentences(self, ids: Sequence[int]) -> dict[int, Sentence]:
        """The sentences with these ids, by id.

        :raises MismatchError: if another index has taken the file's place since it was opened.
        """
        wanted = sorted(set(ids))
        found = {}
        with self._connection() as connection:
            for start in range(0, len(wanted), _VARIABLES):
                some = wanted[start : start + _VARIABLES]
                for row in connection.execute(select(_sentences).where(_sentences.c.id.in_(some))):
                    found[row.id] = Sentence(*row)
        return found

    def read(self, count: int) -> Iterator[Sentence]:
        """The first ``count`` sentences in order, streamed."""
        query = select(_sentences).where(_sentences.c.id < count).order_by(_sentences.c.id)
        with self._connection() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield Sentence(*row)

    def check(self, count: int) -> None:
        """:raises InputError: if not all of the first ``count`` sentences can be read."""
        query = select(func.count()).where(_sentences.c.id >= 0, _sentences.c.id < count)
        with self._connection() as connection:
            held = connection.execute(query).scalar_one()
        if held != count:
            raise InputError(f"{self.path} is incomplete: {held} sentences of {count}")

    def means(self, languages: Mapping[str, object]) -> dict[str, Rows]:
        """The means of these ``languages``, each of shape (dim,), as far as they are there."""
        query = select(_means).where(_means.c.language.in_(list(languages)))
        with self._connection() as connection:
            rows = connection.execute(query).all()
        return {row.language: np.frombuffer(row.vector, "<f4").astype(np.float32) for row in rows}

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection; an error of SQLite names the file."""
        if not self.path.is_file():
            raise self._replaced()
        try:
            with self._engine.connect() as connection:
                number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                connection.rollback()  # ends the transaction that the question began
                if self._number not in (None, number):
                    raise self._replaced()
                self._number = number
                yield connection
        except DatabaseError as error:
            raise InputError(f"{self.path} cannot be used: {error.orig}") from error

    def _replaced(self) -> MismatchError:
        return MismatchError(
            f"index {self.path.parent} was removed or replaced since it was loaded; load it again"
        )


class Transaction:
    """Adds sentences, their ids counting on, and means."""

    def __init__(self, connection: Connection, count: int) -> None:
        self._connection = connection
        self.count = count

    def add(self, rows: Sequence[tuple[str, str]]) -> None:
        """Add (language, text) rows."""
        values = [
            {"id": self.count + n, "language": language, "text": text}
            for n, (language, text) in enumerate(rows)
        ]
        if values:
            self._connection.execute(_sentences.insert(), values)
        self.count += len(values)

    def set_mean(self, language: str, mean: Rows) -> None:
        """Set the mean of a language that has none yet (a leftover of the same name goes)."""
        self._connection.execute(_means.delete().where(_means.c.language == language))
        vector = mean.astype("<f4").tobytes()
        self._connection.execute(_means.insert().values(language=language, vector=vector))


def _engine(path: Path) -> Engine:
    """An engine for ``path``; where nobody may write, one that does not even try to lock."""
    mode = "mode=rw" if os.access(path.parent, os.W_OK) else "mode=ro&immutable=1"
    address = f"sqlite:///file:{quote(str(path.absolute()))}?{mode}&uri=true"
    engine = create_engine(address, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _sync(connection: object, _: object) -> None:
        connection.execute("PRAGMA synchronous = FULL")  # type: ignore[attr-defined]

    return engine
