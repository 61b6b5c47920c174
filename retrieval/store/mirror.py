"""What of a TextIndex is in memory, and how it follows what is on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bitext.errors import InputError
from bitext.types import Neighbours
from retrieval.index.index import INDEX_FILE, Index
from retrieval.index.locks import SharedLock
from retrieval.index.slots import Ids
from retrieval.store.means import digest_of_means
from retrieval.store.row_file import MovedError, RowFile, read_places, row_path
from retrieval.store.search_folder import search_path
from retrieval.store.sentences import SentenceStore, StoreReader
from retrieval.store.tables import State
from retrieval.vectors.files import Rows

ATTEMPTS = 5
"""How often a file may be replaced between reading its name and opening it."""
MAPPED_BYTES = 256 * 2**20
"""Trained files of this size are mapped, unless something has changed since they were written."""
NOTHING = -1
"""The version before the first."""


class Mirror:
    """Vectors and means as of one version. Threads may share it.

    In memory is what the kind of search keeps there: vectors, or bytes that stand for them. Then
    the vectors of candidates are looked up in the file.
    """

    def __init__(self, folder: Path, store: SentenceStore, dim: int) -> None:
        self.index = Index(dim)
        self.means: Mapping[str, Rows] = {}
        self._folder, self._store, self._dim = folder, store, dim
        self._lock = SharedLock()
        self._state: State | None = None
        self._file: RowFile | None = None

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

    def search(self, reader: StoreReader, queries: Rows, k: int, among: Ids | None) -> Neighbours:
        """As the index does, with true cosines.

        :param reader: of the view in which this is called.
        """

        def rows(ids: Ids) -> Rows:
            assert self._file is not None, "taken in with the index"
            places = reader.places_of(ids)
            return self._file.read(places.rows, places.checksums)

        look_up = None if self.index.keeps_vectors else rows
        return self.index.search(queries, k, among, rows=look_up)

    def _enter_unchanged(self, stack: ExitStack) -> StoreReader | None:
        with ExitStack() as own:
            own.enter_context(self._lock.reading())
            reader = own.enter_context(self._store.reading())
            if reader.state() != self._state:
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
        if new == old:
            return  # another thread was quicker
        self._state = None  # if this fails half way, the next attempt begins anew
        since = self._load(new) if old is None or not self._leads_on(old, new) else old.version
        self._file = RowFile(row_path(self._folder, new.generation), new.rows, self._dim)
        if new.version > since:
            if since != NOTHING:
                self.index.remove(reader.changed(since))
            self._add(reader, new, since)
        means = reader.means()
        self._check(reader, new, means)
        self.means, self._state = means, new

    def _leads_on(self, old: State, new: State) -> bool:
        """Whether what is in memory can become what is on disk, change by change."""
        if (old.chosen, old.search) != (new.chosen, new.search):
            return False
        if self.index.mapped and new.version != old.version:
            return False
        return new.log_from <= old.version <= new.version

    def _load(self, state: State) -> int:
        """Begin anew, with what was trained if anything was; the version that is then in memory."""
        self.index = Index(self._dim)
        if not state.trained:
            return NOTHING
        path = search_path(self._folder, state.search)
        try:
            large = (path / INDEX_FILE).stat().st_size >= MAPPED_BYTES
            mapped = large and state.version == state.search_version
            self.index = Index.load(path, mapped=mapped)
        except (InputError, OSError, RuntimeError) as error:
            if not path.is_dir():
                raise MovedError(f"{path} is missing; 'bitext reindex' makes it again") from None
            raise InputError(f"{error}; 'bitext reindex' makes it again") from error
        if self.index.dim != self._dim or self.index.kind != state.chosen:
            raise InputError(f"{path} is of another index; 'bitext reindex' makes it again")
        return state.search_version

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
