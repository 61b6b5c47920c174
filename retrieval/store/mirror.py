"""What of a TextIndex is in memory, and how it follows what is on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bitext.errors import InputError
from retrieval.index.index import Index
from retrieval.index.locks import SharedLock
from retrieval.store.means import digest_of_means
from retrieval.store.row_file import MovedError, read_places, row_path
from retrieval.store.sentences import SentenceStore, StoreReader
from retrieval.store.tables import State
from retrieval.vectors.files import Rows

ATTEMPTS = 5
"""How often a vector file may be replaced between reading its name and opening it."""


class Mirror:
    """Vectors and means as of one version. Threads may share it."""

    def __init__(self, folder: Path, store: SentenceStore, dim: int) -> None:
        self.index = Index(dim)
        self.means: Mapping[str, Rows] = {}
        self._folder, self._store, self._dim = folder, store, dim
        self._lock = SharedLock()
        self._state: State | None = None

    @contextmanager
    def view(self) -> Iterator[StoreReader]:
        """Memory and disk of the same version, until the block ends.

        Where something was written since, by this process or another, it is taken in first.

        :raises InputError: if a file is not as it was written.
        """
        with ExitStack() as stack:
            yield self._enter_unchanged(stack) or self._enter_changed(stack)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody else in this process looks."""
        with self._lock.writing():
            yield

    def _enter_unchanged(self, stack: ExitStack) -> StoreReader | None:
        with ExitStack() as own:
            own.enter_context(self._lock.reading())
            reader = own.enter_context(self._store.reading())
            if self._state is None or reader.state().version != self._state.version:
                return None
            stack.push(own.pop_all())
            return reader

    def _enter_changed(self, stack: ExitStack) -> StoreReader:
        """After taking in what one moment on disk has, look at that very moment."""
        for attempt in range(1, ATTEMPTS + 1):
            with ExitStack() as own:
                go_on_reading = own.enter_context(self._lock.writing_then_reading())
                reader = own.enter_context(self._store.reading())
                try:
                    self._take_in(reader)
                except MovedError:
                    if attempt == ATTEMPTS:
                        raise
                    continue
                go_on_reading()
                stack.push(own.pop_all())
                return reader
        raise AssertionError("the last attempt returns or raises")

    def _take_in(self, reader: StoreReader) -> None:
        old, new = self._state, reader.state()
        if old is not None and new.version == old.version:
            return  # another thread was quicker
        self._state = None  # if this fails half way, the next attempt begins anew
        if old is None or not new.log_from <= old.version <= new.version:
            old = None
            self.index = Index(self._dim)
        else:
            self.index.remove(reader.changed(old.version))
        self._add(reader, new, -1 if old is None else old.version)
        means = reader.means()
        self._check(reader, new, means)
        self.means, self._state = means, new

    def _add(self, reader: StoreReader, state: State, since: int) -> None:
        path = row_path(self._folder, state.generation)
        for ids, rows in read_places(path, reader.places(since), state.rows, self._dim):
            self.index.add(rows, ids)

    def _check(self, reader: StoreReader, state: State, means: Mapping[str, Rows]) -> None:
        count = sum(reader.languages().values())
        if len(self.index) != count:
            raise InputError(
                f"{self._store.path} is incomplete: {len(self.index)} sentences of {count}"
            )
        if digest_of_means(means) != (state.centre or digest_of_means({})):
            raise InputError(f"the means in {self._store.path} are not those that were written")
