"""A search as if some sentences had not been there: what is found in their stead is wrong."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.types import Neighbours
from retrieval.mining.neighbours import BothWays

Ids = NDArray[np.int64]


class Deprived(NamedTuple):
    """A search as if some sentences had not been there."""

    both: BothWays
    sources: Ids
    """The row that each source left had before; and ``targets`` of each target."""
    targets: Ids


def deprive(both: BothWays, k: int, *, sources: Ids, targets: Ids) -> Deprived:
    """The ``k`` nearest of each sentence as if ``sources`` and ``targets`` were not there.

    A sentence that has fewer than ``k`` neighbours left has its last one repeated.
    """
    there = tuple(
        np.isin(np.arange(len(near.ids)), gone, invert=True)
        for near, gone in zip(both, (sources, targets), strict=True)
    )
    return Deprived(
        BothWays(_left(both.forward, k, *there), _left(both.backward, k, *there[::-1])),
        *(np.flatnonzero(side) for side in there),
    )


def _left(
    near: Neighbours, k: int, there: NDArray[np.bool_], others: NDArray[np.bool_]
) -> Neighbours:
    """The rows that are ``there``, and of their neighbours the nearest of the ``others``."""
    scores, ids = near.scores[there], near.ids[there]
    stays = others[ids]
    order = np.argsort(~stays, axis=1, kind="stable")[:, :k]  # what stays, in order, comes first
    last = np.maximum(stays.sum(axis=1) - 1, 0)[:, None]
    order = np.take_along_axis(order, np.minimum(np.arange(order.shape[1])[None], last), axis=1)
    renumbered = np.cumsum(others) - 1
    ids = np.maximum(renumbered[np.take_along_axis(ids, order, axis=1)], 0)
    return Neighbours(np.take_along_axis(scores, order, axis=1), ids)
