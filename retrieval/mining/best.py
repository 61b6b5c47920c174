"""The best ``k`` so far of each of many queries, to which candidates are offered in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitext.types import Neighbours

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]


class Best:
    """Scores and ids, shape (queries, k), best first; of equal scores the smaller id first.

    What is kept depends only on the set of candidates that were offered, however often and in
    whatever order. Where fewer than ``k`` were, minus infinity and id -1 stand for the rest.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.scores: Scores = np.full((queries, k), -np.inf, np.float32)
        self.ids: Ids = np.full((queries, k), -1, np.int64)

    @property
    def k(self) -> int:
        return int(self.scores.shape[1])

    @property
    def last(self) -> Scores:
        """The worst score that is kept of each query."""
        return self.scores[:, -1]

    def offer(self, queries: Ids, ids: Ids, scores: Scores) -> None:
        """Keep what is better than what there is; the three arrays have one item a candidate."""
        useful = scores >= self.last[queries]
        queries, ids, scores = queries[useful], ids[useful], scores[useful]
        if not len(queries):
            return
        touched = np.flatnonzero(np.bincount(queries, minlength=len(self.scores)))
        k = self.k
        queries = np.concatenate([np.repeat(touched, k), queries])
        ids = np.concatenate([self.ids[touched].ravel(), ids])
        scores = np.concatenate([self.scores[touched].ravel(), scores])
        order = np.lexsort((ids, -scores, queries))
        queries, ids, scores = queries[order], ids[order], scores[order]
        fresh = np.ones(len(queries), bool)  # not the candidate before, offered again
        fresh[1:] = (queries[1:] != queries[:-1]) | (ids[1:] != ids[:-1]) | (ids[1:] < 0)
        queries, ids, scores = queries[fresh], ids[fresh], scores[fresh]
        rank = np.arange(len(queries)) - np.searchsorted(queries, queries)
        kept = rank < k
        self.scores[queries[kept], rank[kept]] = scores[kept]
        self.ids[queries[kept], rank[kept]] = ids[kept]

    def neighbours(self) -> Neighbours:
        return Neighbours(self.scores, self.ids)
