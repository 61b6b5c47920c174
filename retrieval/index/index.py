"""Index: search for the nearest vectors, exactly or approximately, on disk and in memory.

How it searches is its kind (:mod:`retrieval.index.kinds`); :mod:`retrieval.index.exact` and
:mod:`retrieval.index.approximate` do it. Here are ids, locks and files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import faiss
import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from bitext.errors import InputError
from bitext.text import atomic_folder
from bitext.types import Neighbours
from retrieval.index.approximate import Approximate, RowsOf, gpu_number, make
from retrieval.index.exact import WORK_BYTES, Exact
from retrieval.index.kinds import Kind, choose_kind
from retrieval.index.locks import SharedLock
from retrieval.index.slots import Ids, Slots
from retrieval.index.threads import use_threads
from retrieval.index.unit_rows import BLOCK_ROWS, blocks, checked, sample
from retrieval.vectors.files import Rows
from retrieval.vectors.manifest import (
    MANIFEST_FILE,
    Sha256,
    Strict,
    check_bytes,
    check_sum,
    read_manifest,
    sum_file,
    write_manifest,
)

INDEX_FILE = "index.faiss"
IDS_FILE = "ids.i64"
GROWN = 16
"""An index that holds so many times the vectors it was trained for had better be built again."""
BURIED_SHARE = 8
"""Removed vectors are left out of a search until they are one of so many; then they go."""


class FileManifest(Strict):
    """What a file must be."""

    bytes: NonNegativeInt
    checksum: Sha256


class IndexManifest(Strict):
    """What an index's folder holds."""

    format: Literal["bitext index 2"] = "bitext index 2"
    kind: str
    dim: PositiveInt
    count: NonNegativeInt
    trained: NonNegativeInt
    """How many vectors its lists were made for; 0 if it has none yet."""
    index: FileManifest
    ids: FileManifest


class Index:
    """Unit vectors with ids of the caller's choice, searched by cosine.

    Every kind answers a query with as many hits as are asked for, if it has them; ``flat`` with the
    best ones, the others with most of these. A kind that must be trained searches exactly as long
    as it has too few vectors for that.

    Scores are the cosines of the stored vectors. Only ``pq`` and ``opq`` do not store them: without
    ``rows`` their scores are those of the vectors that their bytes stand for.

    Threads may search together; one that adds or removes waits until they are done. A row of zeros
    (a sentence without pieces) is allowed, and has cosine 0 with everything.
    """

    def __init__(
        self, dim: int, kind: str = "flat", *, device: str = "cpu", rows: RowsOf | None = None
    ) -> None:
        """An empty index.

        :param kind: as :mod:`retrieval.index.kinds` spells it; ``auto`` is ``flat`` here, where
            the size is not known. Trained, if it must be, on the first vectors that are enough.
        :param device: where it searches. ``flat``: ``cpu`` (FAISS), or ``torch``, ``cuda``,
            ``cuda:1`` through torch; kinds with lists: ``cpu``, ``cuda``, ``cuda:1``.
        :param rows: from ids to their vectors, so that an index of bytes gives exact scores
            without holding vectors itself, such as ``lambda ids: mapped_file[ids]``.
        :raises UnknownNameError: if there is no such kind or setting.
        :raises InputError: if kind, dim and device do not go together.
        """
        self._kind = Kind.parse("flat" if kind == "auto" else kind)
        self._device = device
        self._rows = rows
        make(self._kind, 1000, dim)  # or an error
        if not self._kind.exact and device != "cpu":
            _check_on_gpu(self._kind, device)
        self._searcher: Exact | Approximate = Exact(dim, device if self._kind.exact else "cpu")
        self._slots = Slots()
        self._trained = 0
        self._mapped = False
        self._lock = SharedLock()

    @classmethod
    def build(
        cls,
        vectors: Rows,
        ids: Ids | None = None,
        kind: str = "flat",
        device: str = "cpu",
        *,
        rows: RowsOf | None = None,
    ) -> Index:
        """An index of ``vectors``, shape (count, dim); without ``ids`` they count from 0.

        They may be a mapped file: they are read a block at a time, and a sample to train on.

        :param kind: ``auto`` takes what :func:`retrieval.index.kinds.choose_kind` says; the others,
            and ``device`` and ``rows``, are as for an empty index.
        """
        count, dim = vectors.shape
        chosen = choose_kind(count, dim).kind if kind == "auto" else kind
        index = cls(dim, chosen, device=device, rows=rows)
        index.add(vectors, np.arange(count) if ids is None else ids)
        return index

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def dim(self) -> int:
        return int(self._searcher.faiss.d)

    @property
    def kind(self) -> str:
        """How it searches, with the settings that are not the default."""
        return str(self._kind)

    @property
    def mapped(self) -> bool:
        """Whether its vectors are in a file, and nothing can be added or removed."""
        return self._mapped

    @property
    def keeps_vectors(self) -> bool:
        """Whether scores are true cosines without ``rows``."""
        return self._kind.keeps_vectors

    @property
    def rebuild_due(self) -> str | None:
        """Why it had better be built again, in one sentence; ``None`` if it is well as it is."""
        if BURIED_SHARE * self._slots.buried > len(self._slots.ids):
            return f"{self._slots.buried} of {len(self._slots.ids)} vectors are removed ones"
        if self._trained and len(self) > GROWN * self._trained:
            return f"it was trained for {self._trained} vectors and holds {len(self)}"
        return None

    def add(self, vectors: Rows, ids: Ids) -> None:
        """Add all of ``vectors``, or none.

        :param vectors: unit rows, shape (count, dim).
        :param ids: one for each, not negative, none twice and none that is there already.
        :raises InputError: if rows or ids are not so.
        """
        self._check_shape(vectors)
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        if ids.shape != (len(vectors),):
            raise InputError(f"{len(vectors)} vectors need as many ids, got shape {ids.shape}")
        for number, block in enumerate(blocks(vectors)):
            checked(block, number * BLOCK_ROWS)
        with self._changing():
            self._slots.check_new(ids)
            self._train(vectors)
            self._searcher.add(vectors)
            self._slots.append(ids)

    def remove(self, ids: Ids) -> int:
        """Remove the vectors of ``ids``; those that are not there are passed over.

        Memory is given back, at once (``flat``) or when much was removed. A graph (``hnsw``) cannot
        forget: what is removed is not found any more, but stays until it is built again, and
        :attr:`rebuild_due` says when that is worth while.

        :return: how many were there.
        """
        with self._changing():
            slots = self._slots.find(np.asarray(ids, np.int64).ravel())
            if not len(slots):
                return 0
            if isinstance(self._searcher, Exact):
                self._slots.keep(self._searcher.remove(slots))
                return len(slots)
            self._slots.bury(slots)
            if BURIED_SHARE * self._slots.buried > len(self._slots.ids):
                kept = np.flatnonzero(self._slots.ids >= 0)
                if self._searcher.shrink(kept):
                    self._slots.keep(kept)
        return len(slots)

    def search(
        self, queries: Rows, k: int, among: Ids | None = None, *, rows: RowsOf | None = None
    ) -> Neighbours:
        """The ``k`` nearest of each query, best first; of equal scores the smaller id first.

        :param queries: unit rows, shape (queries, dim).
        :param among: search only these ids; what is not there is passed over.
        :param rows: as for an empty index, for this search alone.
        :return: two arrays of shape (queries, k), or of as many columns as there are vectors to be
            found. An approximate kind that finds too few for a query compares it with all.
        :raises InputError: if ``k`` is less than 1 or the queries do not fit.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        self._check_shape(queries)
        queries = checked(queries)
        with self._lock.reading():
            use_threads()
            allowed = self._slots.allowed(among)
            k = min(k, len(self) if allowed is None else int(allowed.sum()))
            scores = np.empty((len(queries), k), np.float32)
            found = np.empty((len(queries), k), np.int64)
            batch = max(1, WORK_BYTES // (8 * self.dim * (k + self._searcher.spare)))
            for start in range(0, len(queries) if k else 0, batch):
                part = slice(start, start + batch)
                own = (queries[part], k, self._slots.ids, allowed)
                if isinstance(self._searcher, Exact):
                    scores[part], found[part] = self._searcher.nearest(*own)
                else:
                    scores[part], found[part] = self._searcher.nearest(*own, rows or self._rows)
        return Neighbours(scores, found)

    def save(self, folder: str | Path) -> None:
        """Write the index to ``folder``; until all of it is there, an old one stays."""
        with self._lock.reading(), atomic_folder(folder, marker=MANIFEST_FILE) as new:
            faiss.write_index(self._searcher.faiss, str(new / INDEX_FILE))
            (new / IDS_FILE).write_bytes(self._slots.ids.astype("<i8").tobytes())
            manifest = IndexManifest(
                kind=self.kind,
                dim=self.dim,
                count=len(self),
                trained=self._trained,
                index=_described(new / INDEX_FILE),
                ids=_described(new / IDS_FILE),
            )
            write_manifest(new, manifest)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str = "cpu",
        rows: RowsOf | None = None,
        mapped: bool = False,
    ) -> Index:
        """Read an index that :meth:`save` wrote; it gives the same answers.

        :param mapped: leave its vectors in the file, of which the system keeps in memory what is
            searched. Nothing can then be added or removed.
        :raises InputError: if the folder or a file in it is not as it was written.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, IndexManifest)
        # FAISS may crash on a damaged file.
        _check_file(folder / INDEX_FILE, manifest.index)
        _check_file(folder / IDS_FILE, manifest.ids)
        index = cls(manifest.dim, manifest.kind, device=device, rows=rows)
        index._slots = Slots(np.fromfile(folder / IDS_FILE, "<i8").astype(np.int64))
        flags = faiss.IO_FLAG_MMAP_IFC if mapped else 0
        found = faiss.read_index(str(folder / INDEX_FILE), flags)
        if isinstance(found, faiss.IndexFlat):
            exact = device if index._kind.exact else "cpu"
            index._searcher = Exact(manifest.dim, exact, found)
        else:
            index._searcher = Approximate(found, index._kind.setting("spare"), device)
        index._trained, index._mapped = manifest.trained, mapped
        return index

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone, with FAISS's threads."""
        if self._mapped:
            raise InputError("an index that is mapped from its file cannot be changed")
        with self._lock.writing():
            use_threads()
            yield

    def _train(self, vectors: Rows) -> None:
        """Go over from exact search to the kind that was asked for, if there is enough to train."""
        if self._kind.exact or isinstance(self._searcher, Approximate):
            return
        count = len(self) + len(vectors)
        if count < max(1, self._kind.least()):
            return
        old = self._searcher.rows
        some = sample(old, vectors, self._kind.sample(count))
        searcher = Approximate.train(self._kind, some, count, self._device)
        searcher.add(old)
        self._searcher, self._trained = searcher, count

    def _check_shape(self, vectors: Rows) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise InputError(f"expected vectors of dim {self.dim}, got an array of {vectors.shape}")


def _check_on_gpu(kind: Kind, device: str) -> None:
    """:raises InputError: if ``kind`` does not search there."""
    if not kind.lists(1):
        raise InputError(f"kind '{kind}' searches on the cpu only, not on '{device}'")
    gpu_number(device)


def _described(path: Path) -> FileManifest:
    return FileManifest(bytes=path.stat().st_size, checksum=sum_file(path))


def _check_file(path: Path, manifest: FileManifest) -> None:
    check_bytes(path, manifest.bytes)
    check_sum(path, sum_file(path), manifest.checksum)
