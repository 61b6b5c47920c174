"""Writing to the sentences of an index, within one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from retrieval.store.tables import LANGUAGES, ONCE, REMOVED, SENTENCES, STATE, NewSentence, State
from retrieval.vectors.files import Rows

BATCH = 500  # ids in one statement; SQLite has always taken 999 parameters


class StoreWriter:
    """Writes what belongs together; the caller begins and ends the transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def there(self, ids: Sequence[int]) -> Iterator[tuple[int, str, int]]:
        """Id, language and version of those of ``ids`` that are there."""
        columns = SENTENCES.c.id, SENTENCES.c.language, SENTENCES.c.version
        for start in range(0, len(ids), BATCH):
            query = select(*columns).where(SENTENCES.c.id.in_(ids[start : start + BATCH]))
            for row in self._connection.execute(query):
                yield row[0], row[1], row[2]

    def insert(self, sentences: Sequence[NewSentence]) -> None:
        """Add sentences whose ids are free."""
        if sentences:
            values = [sentence._asdict() for sentence in sentences]
            self._connection.execute(SENTENCES.insert(), values)

    def delete(self, ids: Sequence[int]) -> None:
        """Take sentences away, of any number."""
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH]
            self._connection.execute(delete(SENTENCES).where(SENTENCES.c.id.in_(some)))

    def record_removal(self, ids: Sequence[int], version: int) -> None:
        """Let readers of older versions know of it."""
        if ids:
            values = [{"id": number, "version": version} for number in ids]
            self._connection.execute(insert(REMOVED).on_conflict_do_nothing(), values)

    def forget_removals(self, until: int) -> None:
        """Shorten the record; the state says that it begins after version ``until``."""
        self._connection.execute(delete(REMOVED).where(REMOVED.c.version <= until))

    def change_counts(self, changes: Mapping[str, int]) -> None:
        """Add to the number of sentences of each language."""
        for language, change in changes.items():
            new = insert(LANGUAGES).values(language=language, count=change)
            self._connection.execute(
                new.on_conflict_do_update(
                    index_elements=["language"], set_={"count": LANGUAGES.c.count + change}
                )
            )

    def total(self) -> int:
        """How many sentences there are, by the counts of the languages."""
        query = select(func.coalesce(func.sum(LANGUAGES.c.count), 0))
        return int(self._connection.execute(query).scalar_one())

    def set_mean(self, language: str, mean: Rows) -> None:
        """Set the mean of a language that has none yet."""
        vector = mean.astype("<f4").tobytes()
        new = insert(LANGUAGES).values(language=language, count=0, mean=vector)
        self._connection.execute(
            new.on_conflict_do_update(index_elements=["language"], set_={"mean": vector})
        )

    def move(self, rows: Mapping[int, int]) -> None:
        """Say where the vectors of sentences are now: id -> row."""
        if rows:
            moved = update(SENTENCES).where(SENTENCES.c.id == bindparam("moved"))
            values = [{"moved": number, "to": row} for number, row in rows.items()]
            self._connection.execute(moved.values(row=bindparam("to")), values)

    def first_time(self, name: str) -> bool:
        """Record an addition by its name; false if it is on record already."""
        ONCE.create(self._connection, checkfirst=True)
        new = insert(ONCE).values(name=name).on_conflict_do_nothing()
        return bool(self._connection.execute(new).rowcount)

    def save(self, state: State) -> None:
        """Say what the index is from now on."""
        self._connection.execute(update(STATE).values(state._asdict()))
