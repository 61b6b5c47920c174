"""Index: exact search for the nearest vectors. The only file that knows FAISS.

FAISS finds candidates; their cosines are then computed again in float64. So a score does not depend
on what else was searched for at the same time, equal vectors get equal scores, and a tie can go to
the smaller id.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt

from bitext.errors import InputError
from bitext.text import atomic_folder
from bitext.types import Neighbours
from retrieval.locks import SharedLock
from retrieval.manifest import (
    MANIFEST_FILE,
    Sha256,
    Strict,
    check_bytes,
    check_sum,
    read_manifest,
    sum_file,
    write_manifest,
)
from retrieval.vectors import Rows

INDEX_FILE = "index.faiss"
SPARE = 8
"""Candidates fetched beyond k, so that the best k after rounding are nearly always among them."""
WORK_BYTES = 64 * 2**20
"""Memory for the candidates of one batch of queries."""

Ids = NDArray[np.int64]

_threads = faiss.omp_get_max_threads()  # OMP_NUM_THREADS, or the cores there are
if hasattr(os, "sched_getaffinity"):
    _threads = min(_threads, len(os.sched_getaffinity(0)))


def _forget_threads() -> None:
    """FAISS's threads do not survive a fork, and a search that waits for them never ends."""
    global _threads
    _threads = 1


os.register_at_fork(after_in_child=_forget_threads)


class IndexManifest(Strict):
    """What an index's folder holds."""

    format: Literal["bitext flat index 1"] = "bitext flat index 1"
    dim: PositiveInt
    count: NonNegativeInt
    bytes: PositiveInt
    checksum: Sha256


class Index:
    """Unit vectors with ids of the caller's choice, searched exactly by cosine.

    Threads may search together; one that adds waits until they are done. A row of zeros (a sentence
    without pieces) is allowed, and has cosine 0 with everything.
    """

    def __init__(self, dim: int) -> None:
        self._index: Any = faiss.IndexIDMap(faiss.IndexFlatIP(dim))
        self._largest = -1  # id so far
        self._lock = SharedLock()

    @classmethod
    def build(cls, vectors: Rows, ids: Ids | None = None) -> Index:
        """An index of ``vectors``, shape (count, dim); without ``ids`` they count from 0."""
        index = cls(vectors.shape[1])
        index.add(vectors, np.arange(len(vectors)) if ids is None else ids)
        return index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        return int(self._index.d)

    def add(self, vectors: Rows, ids: Ids) -> None:
        """Add all of ``vectors``, or none.

        :param vectors: unit rows, shape (count, dim).
        :param ids: one for each, not negative, none twice and none that is there already.
        :raises InputError: if rows or ids are not so.
        """
        vectors = self._checked(vectors)
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        if ids.shape != (len(vectors),):
            raise InputError(f"{len(vectors)} vectors need as many ids, got shape {ids.shape}")
        with self._lock.writing():
            self._check_new(ids)
            self._index.add_with_ids(vectors, ids)
            self._largest = max(self._largest, int(ids.max(initial=-1)))

    def remove(self, ids: Ids) -> int:
        """Take away the vectors with these ids, as far as they are there; how many."""
        with self._lock.writing():
            return int(self._index.remove_ids(np.ascontiguousarray(ids, np.int64)))

    def search(self, queries: Rows, k: int, *, among: Ids | None = None) -> Neighbours:
        """The ``k`` nearest of each query, best first; of equal scores the smaller id first.

        :param queries: unit rows, shape (queries, dim).
        :param among: only vectors with these ids; ``None`` for all.
        :return: two arrays of shape (queries, k), or of as many columns as the index has vectors.
        :raises InputError: if ``k`` is less than 1 or the queries do not fit.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        queries = self._checked(queries)
        if among is not None:
            return self._among(queries, k, among)
        with self._lock.reading():
            faiss.omp_set_num_threads(_threads)  # OpenMP keeps this number for each thread apart
            k = min(k, len(self))
            scores = np.empty((len(queries), k), np.float32)
            ids = np.empty((len(queries), k), np.int64)
            batch = max(1, WORK_BYTES // (8 * self.dim * (k + SPARE)))
            for start in range(0, len(queries) if k else 0, batch):
                part = slice(start, start + batch)
                scores[part], ids[part] = self._nearest(queries[part], k)
        return Neighbours(scores, ids)

    def _among(self, queries: Rows, k: int, among: Ids) -> Neighbours:
        with self._lock.reading():
            chosen = np.isin(self._ids(), among)
            rows, ids = self._rows()[chosen] if len(self) else np.empty((0, self.dim)), self._ids()
            part = Index.build(np.asarray(rows, np.float32), ids[chosen])
        return part.search(queries, k)

    def save(self, folder: str | Path) -> None:
        """Write the index to ``folder``; until all of it is there, an old one stays."""
        with self._lock.reading(), atomic_folder(folder, marker=MANIFEST_FILE) as new:
            path = new / INDEX_FILE
            faiss.write_index(self._index, str(path))
            size, checksum = path.stat().st_size, sum_file(path)
            write_manifest(
                new, IndexManifest(dim=self.dim, count=len(self), bytes=size, checksum=checksum)
            )

    @classmethod
    def load(cls, folder: str | Path) -> Index:
        """Read an index that :meth:`save` wrote; it gives the same answers.

        :raises InputError: if the folder or a file in it is not as it was written.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, IndexManifest)
        path = folder / INDEX_FILE
        check_bytes(path, manifest.bytes)
        check_sum(path, sum_file(path), manifest.checksum)  # FAISS may crash on a damaged file
        index = cls(manifest.dim)
        index._index = faiss.read_index(str(path))
        index._largest = int(index._ids().max(initial=-1))
        return index

    def _checked(self, vectors: Rows) -> Rows:
        """``vectors`` as FAISS wants them: float32, contiguous, of this dim, and unit rows."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise InputError(f"expected vectors of dim {self.dim}, got an array of {vectors.shape}")
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        wrong = np.flatnonzero(~((abs(lengths - 1) < 1e-3) | (lengths == 0)))
        if len(wrong):
            raise InputError(
                f"row {wrong[0]} of the vectors has length {lengths[wrong[0]]:g}; each must have "
                "length 1, or 0 for a sentence without pieces"
            )
        return vectors

    def _check_new(self, ids: Ids) -> None:
        if len(ids) and ids.min() < 0:
            raise InputError(f"ids must not be negative, got {ids.min()}")
        unique, counts = np.unique(ids, return_counts=True)
        if len(unique) < len(ids):
            raise InputError(f"id {unique[counts > 1][0]} is given twice")
        if len(ids) and unique[0] > self._largest:
            return  # ids that only ever grow need no search for themselves among the old ones
        there = unique[np.isin(unique, self._ids())]
        if len(there):
            raise InputError(f"id {there[0]} is in the index already")

    def _ids(self) -> Ids:
        """The id of each position: FAISS's own memory, valid until something is added."""
        if not len(self):
            return np.empty(0, np.int64)
        ids: Ids = faiss.rev_swig_ptr(self._index.id_map.data(), len(self))
        return ids

    def _rows(self) -> Rows:
        """The vector at each position: FAISS's own memory, valid until something is added."""
        flat: Any = faiss.downcast_index(self._index.index)
        rows: Rows = faiss.rev_swig_ptr(flat.get_xb(), len(self) * self.dim)
        return rows.reshape(len(self), self.dim)

    def _nearest(self, queries: Rows, k: int) -> tuple[Rows, Ids]:
        """Scores and ids of the best ``k`` of each query, both of shape (queries, k)."""
        fetched = min(k + SPARE, len(self))
        rough, positions = self._index.index.search(queries, fetched)
        near = self._rows()[positions].astype(np.float64)  # (queries, fetched, dim)
        exact = np.matmul(near, queries[:, :, None].astype(np.float64))[:, :, 0].astype(np.float32)
        ids = self._ids()[positions]
        order = np.lexsort((ids, -exact), axis=1)[:, :k]
        scores, ids = np.take_along_axis(exact, order, 1), np.take_along_axis(ids, order, 1)
        if fetched < len(self):
            # The worst candidate is, but for rounding, as good as our last: so may others be.
            for query in np.flatnonzero(rough[:, -1] >= scores[:, -1] - self._rounding()):
                scores[query], ids[query] = self._scan(queries[query], k)
        return scores, ids

    def _scan(self, query: Rows, k: int) -> tuple[Rows, Ids]:
        """The same for one query, by looking at every vector: for ties too long to fetch."""
        rough = self._rows() @ query
        last = np.partition(rough, len(rough) - k)[len(rough) - k]
        positions = np.flatnonzero(rough >= last - 2 * self._rounding())
        exact = np.empty(len(positions), np.float32)
        step = max(1, WORK_BYTES // (8 * self.dim))
        for start in range(0, len(positions), step):
            part = slice(start, start + step)
            exact[part] = self._rows()[positions[part]].astype(np.float64) @ query
        ids = self._ids()[positions]
        order = np.lexsort((ids, -exact))[:k]
        return exact[order], ids[order]

    def _rounding(self) -> float:
        """How far a float32 cosine may be off: ``dim`` errors of 2^-24, as in a random walk."""
        return float(4 * np.sqrt(self.dim) * 2**-24)
