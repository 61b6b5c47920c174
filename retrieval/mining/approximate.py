"""Neighbours of both sides where the table of all cosines is too large, and when that is so."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bitext.types import Neighbours
from retrieval.index.index import Index
from retrieval.mining.best import Best
from retrieval.mining.neighbours import BothWays, check_sides
from retrieval.mining.sides import RowTable

EXACT = "exact"
RATE = 300e9
"""Operations a second of two ordinary cores, in bfloat16."""
PART = 2**14
"""Queries that are searched for together."""
PATIENCE = 3 * 3600
"""Seconds that an exact search may take there."""


class SearchChoice(NamedTuple):
    """``exact``, or a kind of index, and why."""

    search: str
    reason: str


def choose_search(sources: int, targets: int, dim: int) -> SearchChoice:
    """Exact search while two cores need no more than three hours for it; else lists."""
    hours = 2.0 * sources * targets * dim / RATE / 3600
    need = f"{sources:,} x {targets:,} cosines of dim {dim} take two cores about {_span(hours)}"
    if hours * 3600 <= PATIENCE:
        return SearchChoice(EXACT, f"{need}: few enough to compute them all")
    return SearchChoice("ivf", f"{need}: only those within near lists are computed")


def nearest_both_ways_approximately(
    source: RowTable, target: RowTable, k: int, *, kind: str
) -> BothWays:
    """Most of the ``k`` nearest of each source among the targets, and the other way round.

    :param kind: of the index that is built of each side, as :mod:`retrieval.index.kinds` spells it.
    :raises UnknownNameError: if there is no such kind.
    :raises InputError: if the vectors are not unit rows, or ``k`` is less than 1.
    :raises MismatchError: if the dims differ.
    """
    check_sides(source, target, k)
    return BothWays(_nearest(source, target, k, kind), _nearest(target, source, k, kind))


def _nearest(queries: Any, vectors: Any, k: int, kind: str) -> Neighbours:
    index = Index.build(vectors, kind=kind)
    best = Best(queries.shape[0], min(k, len(index)))
    for start in range(0, queries.shape[0], PART):
        part = slice(start, start + PART)
        best.scores[part], best.ids[part] = index.search(queries[part], k)
    return best.neighbours()


def _span(hours: float) -> str:
    if hours < 1 / 60:
        return f"{np.ceil(hours * 3600):.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:,.0f} h"
