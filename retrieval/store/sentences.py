"""The sentences behind an index, and what the index is at every moment: one SQLite file.

Its transactions are the index's commit points. In WAL mode, so that readers go on while something
is written, each with what there was when it began.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from sqlite3 import connect
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Engine,
    NullPool,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError, OperationalError

from bitext.errors import BusyError, InputError, MismatchError
from retrieval.store.metadata import load_metadata
from retrieval.store.row_file import Place, Places
from retrieval.store.selection import Filter
from retrieval.store.tables import (
    LANGUAGES,
    METADATA,
    ONCE,
    REMOVED,
    SENTENCES,
    STATE,
    Sentence,
    State,
)
from retrieval.store.writer import StoreWriter
from retrieval.vectors.files import Rows

STORE_FILE = "sentences.db"
WAIT_SECONDS = 60
"""How long a writer waits for those of other processes."""
WAL_BYTES = 64 * 2**20
"""A journal that grew beyond this is emptied: readers that overlap would let it grow for ever."""

VARIABLES = 500  # ids asked for in one statement; SQLite has always taken 999


class SentenceStore:
    """Sentences by id. No connection stays open, so a folder at rest holds one whole file."""

    def __init__(self, path: Path) -> None:
        """:raises InputError: if ``path`` is not there, or needs repair where nobody may write."""
        if not path.is_file():
            raise InputError(f"{path} is missing")
        self.path = path
        self._engine = _engine(path)
        self._number: int | None = None  # of the store, once it has been opened

    @classmethod
    def create(cls, path: Path, state: State) -> SentenceStore:
        """Make an empty store at ``path``."""
        path.touch(exist_ok=False)
        with closing(connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        renumber(path)
        store = cls(path)
        with store._connection(writing=True) as connection:
            METADATA.create_all(connection)
            connection.execute(STATE.insert().values(state._asdict()))
        return store

    @contextmanager
    def reading(self) -> Iterator[StoreReader]:
        """What the store holds at this moment, whatever others write until the block ends."""
        with self._connection(writing=False) as connection:
            yield StoreReader(connection)

    @contextmanager
    def writing(self) -> Iterator[tuple[StoreReader, StoreWriter]]:
        """One transaction: everything that the block writes, or nothing; one at a time.

        :raises BusyError: if another process has been writing for ``WAIT_SECONDS``.
        """
        with self._connection(writing=True) as connection:
            yield StoreReader(connection), StoreWriter(connection)

    def shrink(self) -> None:
        """Give back the disk space of what was deleted."""
        with self._naming(), closing(self._engine.raw_connection()) as connection:
            connection.cursor().execute("VACUUM")
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @property
    def has_large_journal(self) -> bool:
        """Whether it is time for :meth:`empty_journal`."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size > WAL_BYTES
        except FileNotFoundError:
            return False

    def empty_journal(self) -> None:
        """Bring the journal into the file; succeeds while nobody reads."""
        with self._naming(), closing(self._engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def copy(self, reader: StoreReader, path: Path) -> None:
        """Write what ``reader`` sees to a file of its own."""
        source: Any = reader.connection.connection.dbapi_connection
        with self._naming(), closing(connect(path)) as target:
            source.backup(target)

    @contextmanager
    def _connection(self, *, writing: bool) -> Iterator[Connection]:
        """A transaction; an error of SQLite names the file."""
        if not self.path.is_file():
            raise self._replaced()
        with self._naming(), self._engine.connect() as plain:
            connection = plain.execution_options(writing=writing)
            with connection.begin():
                # Its number tells this store from one that took its place, as no inode does.
                number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                if self._number not in (None, number):
                    raise self._replaced()
                self._number = number
                yield connection

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            if "locked" in str(error.orig):
                raise BusyError(
                    f"index {self.path.parent} is being written by another process for more than "
                    f"{WAIT_SECONDS} seconds"
                ) from error
            raise InputError(f"{self.path} cannot be used: {error.orig}") from error
        except DatabaseError as error:
            raise InputError(f"{self.path} cannot be used: {error.orig}") from error

    def _replaced(self) -> MismatchError:
        return MismatchError(
            f"index {self.path.parent} was removed or replaced since it was loaded; load it again"
        )


class StoreReader:
    """Reads within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def has_made(self, once: str) -> bool:
        """Whether an addition of that name was made."""
        if not inspect(self.connection).has_table(ONCE.name):
            return False
        query = select(ONCE.c.name).where(ONCE.c.name == once)
        return self.connection.execute(query).first() is not None

    def state(self) -> State:
        """What the index is.

        :raises InputError: if the file does not say.
        """
        row = self.connection.execute(select(STATE)).one_or_none()
        if row is None:
            raise InputError("sentences.db is incomplete: it has no state")
        return State(*row)

    def sentences(self, ids: Sequence[int]) -> dict[int, Sentence]:
        """The sentences with these ids, by id, as far as they are there."""
        found = {}
        for some in _parts(ids):
            for row in self.connection.execute(_SENTENCES.where(SENTENCES.c.id.in_(some))):
                found[row.id] = _sentence(row)
        return found

    def scroll(
        self, after: int = -1, limit: int | None = None, where: Filter | None = None
    ) -> Iterator[Sentence]:
        """Sentences with larger ids than ``after``, in order of id, streamed."""
        query = _SENTENCES.where(SENTENCES.c.id > after, _clause(where))
        query = query.order_by(SENTENCES.c.id).limit(limit)
        for row in self.connection.execute(query.execution_options(yield_per=1000)):
            yield _sentence(row)

    def ids(self, where: Filter | None = None) -> NDArray[np.int64]:
        """The ids of the sentences that ``where`` means, in order."""
        query = select(SENTENCES.c.id).where(_clause(where)).order_by(SENTENCES.c.id)
        # There may be millions: the driver's rows are made ten times as fast as SQLAlchemy's.
        cursor: Any = self.connection.execute(query).cursor
        return np.fromiter(chain.from_iterable(cursor), np.int64)

    def count(self, where: Filter | None = None) -> int:
        """How many sentences ``where`` means."""
        query = select(func.count()).select_from(SENTENCES).where(_clause(where))
        return int(self.connection.execute(query).scalar_one())

    def places(self, since: int = -1) -> Iterator[Place]:
        """Where the vectors are of all sentences that came after version ``since``, by row."""
        columns = SENTENCES.c.id, SENTENCES.c.row, SENTENCES.c.checksum
        query = select(*columns).where(SENTENCES.c.version > since).order_by(SENTENCES.c.row)
        for row in self.connection.execute(query.execution_options(yield_per=10_000)):
            yield Place(*row)

    def places_after(self, after: int, limit: int) -> list[Place]:
        """Where the vectors are of the next sentences by id."""
        columns = SENTENCES.c.id, SENTENCES.c.row, SENTENCES.c.checksum
        query = select(*columns).where(SENTENCES.c.id > after).order_by(SENTENCES.c.id)
        return [Place(*row) for row in self.connection.execute(query.limit(limit))]

    def all_places(self) -> Places:
        """Where the vectors of all sentences are."""
        query = select(SENTENCES.c.id, SENTENCES.c.row, SENTENCES.c.checksum)
        return _places(self.connection.execute(query.order_by(SENTENCES.c.id)))

    def places_of(self, ids: NDArray[np.int64]) -> Places:
        """Where the vectors of these sentences are, each named once, in this order.

        :raises InputError: if one is not there.
        """
        query = text(  # one statement, however many there are
            "SELECT id, row, checksum FROM sentences "
            "WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id"
        )
        found = _places(self.connection.execute(query, {"ids": json.dumps(ids.tolist())}))
        if len(found.ids) != len(ids):
            raise InputError("sentences.db is damaged: what was indexed is not there")
        own = np.searchsorted(found.ids, ids)
        return Places(found.ids[own], found.rows[own], found.checksums[own])

    def changed(self, since: int) -> NDArray[np.int64]:
        """Ids that came, came again or went after version ``since``, each once."""
        came = select(SENTENCES.c.id).where(SENTENCES.c.version > since)
        went = select(REMOVED.c.id).where(REMOVED.c.version > since)
        rows = self.connection.execute(came.union(went))
        return np.fromiter((row[0] for row in rows), np.int64)

    def languages(self) -> dict[str, int]:
        """How many sentences there are of each language, in order of name."""
        query = select(LANGUAGES.c.language, LANGUAGES.c.count).where(LANGUAGES.c.count > 0)
        rows = self.connection.execute(query.order_by(LANGUAGES.c.language))
        return {row.language: row.count for row in rows.mappings()}

    def means(self) -> dict[str, Rows]:
        """The mean of each language that has one, shape (dim,)."""
        query = select(LANGUAGES.c.language, LANGUAGES.c.mean).where(LANGUAGES.c.mean.is_not(None))
        rows = self.connection.execute(query.order_by(LANGUAGES.c.language))
        return {row.language: np.frombuffer(row.mean, "<f4").astype(np.float32) for row in rows}


def renumber(path: Path) -> None:
    """Give a store a number of its own, for those who hold one that it takes the place of."""
    with closing(connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {secrets.randbits(31)}")


def _places(result: Any) -> Places:
    columns = np.dtype([("id", np.int64), ("row", np.int64), ("checksum", np.int64)])
    found = np.fromiter(result.cursor, columns)
    return Places(*(np.ascontiguousarray(found[name]) for name in columns.names or ()))


_SENTENCES = select(SENTENCES.c.id, SENTENCES.c.language, SENTENCES.c.text, SENTENCES.c.metadata)


def _sentence(row: Any) -> Sentence:
    number, language, text, metadata = row
    return Sentence(number, language, text, load_metadata(metadata))


def _clause(where: Filter | None) -> Any:
    return (where or Filter()).clause(SENTENCES.c.language, SENTENCES.c.metadata)


def _parts(ids: Sequence[int]) -> Iterator[list[int]]:
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), VARIABLES):
        yield wanted[start : start + VARIABLES]


def _engine(path: Path) -> Engine:
    """An engine for ``path``; where nobody may write, one that does not even try to lock."""
    may_write = os.access(path.parent, os.W_OK)
    journal = path.with_name(path.name + "-wal")
    if not may_write and journal.exists() and journal.stat().st_size:
        raise InputError(
            f"{path} was not closed when its last change was made; open it once where it may be "
            "written"
        )
    mode = "mode=rw" if may_write else "mode=ro&immutable=1"
    address = f"sqlite:///file:{quote(str(path.absolute()))}?{mode}&uri=true"
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": WAIT_SECONDS})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, below
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine
