"""Exact search: every vector is looked at, by FAISS on the processor or by torch on any device.

Either finds candidates; their cosines are then computed again in float64. So a score does not
depend on what else was searched for at the same time, equal vectors get equal scores, and a tie can
go to the smaller id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from retrieval.index.slots import Ids, Mask
from retrieval.index.unit_rows import blocks
from retrieval.vectors.files import Rows

if TYPE_CHECKING:
    from retrieval.index.torch_search import TorchSearch

SPARE = 8
"""Candidates fetched beyond k, so that the best k after rounding are nearly always among them."""
WORK_BYTES = 64 * 2**20
"""Memory for the candidates of one batch of queries."""


class Exact:
    """Rows, searched all of them; row ``i`` is slot ``i``."""

    spare = SPARE

    def __init__(self, dim: int, device: str = "cpu", flat: Any = None) -> None:
        """:param device: ``cpu`` for FAISS; ``torch``, ``cuda``, ``cuda:1`` for torch.
        :param flat: FAISS's index, if there is one already.
        """
        self.faiss: Any = faiss.IndexFlatIP(dim) if flat is None else flat
        self._torch: TorchSearch | None = None
        if device != "cpu":
            from retrieval.index.torch_search import TorchSearch  # torch is slow to import

            self._torch = TorchSearch(device)
            self._torch.take(self.rows)

    @property
    def rows(self) -> Rows:
        """The vector at each slot: FAISS's own memory, valid until something is added."""
        count, dim = self.faiss.ntotal, self.faiss.d
        if not count:
            return np.empty((0, dim), np.float32)
        rows: Rows = faiss.rev_swig_ptr(self.faiss.get_xb(), count * dim)
        return rows.reshape(count, dim)

    def add(self, rows: Rows) -> None:
        for block in blocks(rows):
            self.faiss.add(block)
        if self._torch:
            self._torch.take(self.rows, same=len(self.rows) - len(rows))

    def remove(self, slots: Ids) -> Ids:
        """Take rows out; the last ones move to their places, so that little is copied.

        :return: where what is now at each slot was before.
        """
        count = self.faiss.ntotal - len(slots)
        gone = np.zeros(self.faiss.ntotal, np.bool_)
        gone[slots] = True
        holes, last = np.flatnonzero(gone[:count]), count + np.flatnonzero(~gone[count:])
        self.rows[holes] = self.rows[last]
        self.faiss.remove_ids(faiss.IDSelectorRange(count, self.faiss.ntotal))
        if self._torch:
            self._torch.take(self.rows, same=int(holes.min(initial=count)))
        kept = np.arange(count)
        kept[holes] = last
        return kept

    def nearest(self, queries: Rows, k: int, ids: Ids, allowed: Mask | None) -> tuple[Rows, Ids]:
        """Scores and ids of the best ``k`` of each query, both of shape (queries, k).

        :param ids: of each slot.
        :param allowed: where to look, ``k`` slots at least; ``None`` for everywhere.
        """
        there = len(ids) if allowed is None else int(allowed.sum())
        fetched = min(k + SPARE, there)
        rough, slots = self._find(queries, fetched, allowed)
        scores, found = best(queries, self.rows[slots], ids[slots], k)
        if fetched < there:
            # The worst candidate is, but for rounding, as good as our last: so may others be.
            for query in np.flatnonzero(rough[:, -1] >= scores[:, -1] - self._rounding()):
                scores[query], found[query] = self._scan(queries[query], k, ids, allowed)
        return scores, found

    def _find(self, queries: Rows, fetched: int, allowed: Mask | None) -> tuple[Rows, Ids]:
        """Candidates: rounded scores and slots, both of shape (queries, fetched), best first."""
        if self._torch:
            return self._torch.nearest(queries, fetched, allowed)
        chosen = None if allowed is None else faiss.SearchParameters(sel=selector(allowed))
        rough, slots = self.faiss.search(queries, fetched, params=chosen)
        return rough, slots

    def _scan(self, query: Rows, k: int, ids: Ids, allowed: Mask | None) -> tuple[Rows, Ids]:
        """The same for one query, by looking at every vector: for ties too long to fetch."""
        rough = self.rows @ query
        if allowed is not None:
            rough[~allowed] = -np.inf
        last = np.partition(rough, len(rough) - k)[len(rough) - k]
        slots = np.flatnonzero(rough >= last - 2 * self._rounding())
        exact = np.empty(len(slots), np.float32)
        step = max(1, WORK_BYTES // (8 * self.faiss.d))
        for start in range(0, len(slots), step):
            part = slice(start, start + step)
            exact[part] = self.rows[slots[part]].astype(np.float64) @ query
        order = np.lexsort((ids[slots], -exact))[:k]
        return exact[order], ids[slots][order]

    def _rounding(self) -> float:
        """How far a float32 cosine may be off: ``dim`` errors of 2^-24, as in a random walk."""
        return float(4 * np.sqrt(self.faiss.d) * 2**-24)


def best(
    queries: Rows, near: Rows, ids: Ids, k: int, missing: Mask | None = None
) -> tuple[Rows, Ids]:
    """The ``k`` best candidates of each query, of equal ones those with smaller ids.

    :param near: the candidates' vectors, shape (queries, candidates, dim).
    :param ids: of the candidates, shape (queries, candidates).
    :param missing: which are none, same shape; there are ``k`` others.
    """
    columns = queries[:, :, None].astype(np.float64)
    exact = np.matmul(near.astype(np.float64), columns)[:, :, 0].astype(np.float32)
    if missing is not None:
        exact[missing] = -np.inf
    order = np.lexsort((ids, -exact), axis=1)[:, :k]
    return np.take_along_axis(exact, order, 1), np.take_along_axis(ids, order, 1)


def selector(allowed: Mask) -> Any:
    """The slots that FAISS may find."""
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
