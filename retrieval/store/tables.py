"""The tables of a TextIndex's SQLite file."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table

from retrieval.store.metadata import Value

METADATA = MetaData()
EXACT = "flat"
"""The kind of search that needs no training."""

SENTENCES = Table(
    "sentences",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("row", Integer, nullable=False),  # of the vector file
    Column("checksum", Integer, nullable=False),  # of that row
    Column("version", Integer, nullable=False, index=True),  # that brought it
    Column("language", String, nullable=False, index=True),
    Column("text", String, nullable=False),
    Column("metadata", String),  # a JSON object
)

REMOVED = Table(
    "removed",
    METADATA,
    Column("version", Integer, primary_key=True),  # that removed it
    Column("id", Integer, primary_key=True),
    sqlite_with_rowid=False,
)
"""Ids of deleted sentences, so that a reader who was elsewhere learns of them."""

LANGUAGES = Table(
    "languages",
    METADATA,
    Column("language", String, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("mean", LargeBinary),  # float32, where the index is centred
)

ONCE = Table(
    "once",
    METADATA,
    Column("name", String, primary_key=True),
    sqlite_with_rowid=False,
)
"""Additions that have a name, so that whoever is not sure of one makes it again without harm.

An index of an earlier version has no such table until it is needed.
"""

STATE = Table(
    "state",
    METADATA,
    Column("version", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("next_id", Integer, nullable=False),
    Column("log_from", Integer, nullable=False),
    Column("centre", String),
    Column("kind", String, nullable=False),
    Column("chosen", String, nullable=False),
    Column("search", Integer, nullable=False),
    Column("search_version", Integer, nullable=False),
    Column("search_rows", Integer, nullable=False),
)
"""One row, written last in every transaction: see :class:`State`."""


class State(NamedTuple):
    """What an index is at one moment."""

    version: int = 0
    """Counts the changes."""
    generation: int = 0
    """Of the vector file."""
    rows: int = 0
    """Of the vector file: those of living sentences, and of ones that are gone."""
    next_id: int = 0
    """What the next sentence is called that comes without an id; no number is given twice."""
    log_from: int = 0
    """The version since which every removal is on record."""
    centre: str | None = None
    """Digest of the means; ``None`` where vectors are not centred."""
    kind: str = "flat"
    """How to search, as it was asked for."""
    chosen: str = EXACT
    """How it searches: ``kind``, or what that came to when it was last decided."""
    search: int = 0
    """Number of the folder of what was trained, if anything was."""
    search_version: int = 0
    """Whose sentences are in that folder."""
    search_rows: int = 0
    """Rows there were in the vector file when it was last decided how to search."""

    @property
    def trained(self) -> bool:
        """Whether there is such a folder; where not, every vector is compared."""
        return self.chosen != EXACT


class Sentence(NamedTuple):
    """A sentence as it was added."""

    id: int
    language: str
    text: str
    metadata: dict[str, Value] | None = None


class NewSentence(NamedTuple):
    """A sentence on its way to the table; its metadata are JSON."""

    id: int
    row: int
    checksum: int
    version: int
    language: str
    text: str
    metadata: str | None
