"""One transaction on a TextIndex: what goes to its vector file and to its tables together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from bitext.errors import InputError
from encoders.pooling import centre
from retrieval.store.means import digest_of_means
from retrieval.store.row_file import appending, checksum_of, row_path
from retrieval.store.search_folder import remove_leftovers
from retrieval.store.selection import Filter
from retrieval.store.sentences import SentenceStore, StoreReader
from retrieval.store.tables import NewSentence, State
from retrieval.store.writer import StoreWriter
from retrieval.vectors.centring import Centring
from retrieval.vectors.files import Rows, append_rows


class Encoded(NamedTuple):
    """A sentence whose vector is there; its metadata are JSON."""

    language: str
    text: str
    id: int | None
    metadata: str | None


class Writing:
    """Several changes, each a version of its own. Made with :func:`writing`."""

    def __init__(
        self,
        reader: StoreReader,
        writer: StoreWriter,
        file: IO[bytes],
        dim: int,
        centring: Centring | None = None,
    ) -> None:
        self.state = reader.state()
        self.means = reader.means()
        self.count = writer.total()
        self._reader, self._writer, self._file, self._dim = reader, writer, file, dim
        self._centring = centring
        self._counts: Counter[str] = Counter()  # changes to the sentences of each language

    def begin_change(self) -> None:
        """What is written from here on belongs to the next version."""
        self.state = self.state._replace(version=self.state.version + 1)

    def first_time(self, name: str) -> bool:
        """Record a change by its name; false if it was made before."""
        return self._writer.first_time(name)

    def put(self, entries: Sequence[Encoded], vectors: Rows, *, replace: bool) -> list[int]:
        """Add sentences and their vectors, not centred; their ids.

        :param replace: let them take the place of those with their ids.
        :raises InputError: if an id is there already, or given twice in one change.
        """
        ids = self._ids(entries)
        self._make_room(ids, replace=replace)
        vectors = self._centred(entries, vectors)
        append_rows(self._file, vectors, self._dim)
        state = self.state
        self._writer.insert(
            [
                NewSentence(number, row, checksum_of(vector), state.version, e.language, e.text,
                            e.metadata)
                for row, (number, e, vector) in enumerate(
                    zip(ids, entries, vectors, strict=True), start=state.rows
                )
            ]
        )  # fmt: skip
        self._counts.update(entry.language for entry in entries)
        self.count += len(entries)
        self.state = state._replace(
            rows=state.rows + len(ids), next_id=max(state.next_id, max(ids, default=-1) + 1)
        )
        return ids

    def delete(self, ids: Sequence[int]) -> int:
        """Take away those of ``ids`` that are there; how many."""
        gone = [number for number, language, _ in self._take(ids)]
        self._writer.record_removal(gone, self.state.version)
        return len(gone)

    def delete_where(self, where: Filter) -> int:
        """Take away the sentences that ``where`` means; how many."""
        return self.delete(self._reader.ids(where).tolist())

    def set_mean(self, language: str, mean: Rows) -> None:
        """Fix the mean of a language.

        :raises InputError: if it has one.
        """
        if language in self.means:
            raise InputError(f"the index has a mean for language '{language}' already")
        self.means[language] = mean
        self._writer.set_mean(language, mean)
        self.state = self.state._replace(centre=digest_of_means(self.means))

    def finish(self) -> None:
        """Write what the index is from now on."""
        self._writer.change_counts({name: n for name, n in self._counts.items() if n})
        self._writer.save(self.state)

    def _ids(self, entries: Sequence[Encoded]) -> list[int]:
        """The id of each sentence; those without one count on."""
        following = self.state.next_id
        ids = []
        for entry in entries:
            number = following if entry.id is None else entry.id
            following = max(following, number + 1)
            ids.append(number)
        twice = [number for number, times in Counter(ids).items() if times > 1]
        if twice:
            raise InputError(f"id {twice[0]} is given twice")
        return ids

    def _make_room(self, ids: Sequence[int], *, replace: bool) -> None:
        for number, _, version in self._take(ids):
            if version == self.state.version:
                raise InputError(f"id {number} is given twice")
            if not replace:
                raise InputError(f"id {number} is in the index already")

    def _take(self, ids: Sequence[int]) -> list[tuple[int, str, int]]:
        """Delete those of ``ids`` that are there; their ids, languages and versions."""
        there = list(self._writer.there(ids))
        self._writer.delete([number for number, _, _ in there])
        self._counts.subtract(language for _, language, _ in there)
        self.count -= len(there)
        return there

    def _centred(self, entries: Sequence[Encoded], vectors: Rows) -> Rows:
        if self._centring is not None:
            return self._centring.apply_mixed(vectors, [entry.language for entry in entries])
        if self.state.centre is None or not entries:
            return vectors
        return centre(vectors, np.stack([self.means[entry.language] for entry in entries]))


@contextmanager
def writing(
    store: SentenceStore, folder: Path, dim: int, centring: Centring | None = None
) -> Iterator[Writing]:
    """A transaction; when the block ends well, vectors reach the disk first, then it is named.

    :param centring: by which vectors are centred; ``None`` where that is done by means, if at all.
    """
    with store.writing() as (reader, writer):
        state = reader.state()
        _remove_leftovers(folder, state)
        with appending(row_path(folder, state.generation), state.rows, dim) as file:
            work = Writing(reader, writer, file, dim, centring)
            yield work
        work.finish()


def _remove_leftovers(folder: Path, state: State) -> None:
    """What others were cut off at, before or after it was named."""
    for path in folder.glob("vectors-*.f32"):
        if path != row_path(folder, state.generation):
            path.unlink(missing_ok=True)
    remove_leftovers(folder, state)
