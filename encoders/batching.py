"""Which sentences go through the model together, so that little of the work is spent on padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class BatchCost(NamedTuple):
    """How much a device likes to compute at once, in pieces."""

    most: int
    """Padded pieces a batch may have."""
    start: int
    """Padded pieces that one more batch costs as much as."""


BATCH_COSTS = {
    # Measured on one core with models 256 and 768 wide: products of 1024 rows run as fast as longer
    # ones and stay in the cache; 128 rows lose a tenth.
    "cpu": BatchCost(most=1024, start=24),
    "cuda": BatchCost(most=8192, start=512),  # a guess: not measured
}


def batch_cost(device: str) -> BatchCost:
    """What suits a device, by its type (``cuda`` of ``cuda:1``)."""
    return BATCH_COSTS.get(device.split(":")[0], BATCH_COSTS["cuda"])


def batch_sizes(lengths: Sequence[int], cost: BatchCost) -> list[int]:
    """How many to take for each batch, so that padding and the number of batches cost least.

    A batch of ``k`` rows costs ``cost.start`` and ``k`` times its longest row. Of all ways to cut
    the sorted rows, the cheapest is found by dynamic programming: the best cut of the first ``j``
    rows is a best cut of the first ``i`` and a batch of the rest.

    :param lengths: in descending order; one above ``cost.most`` is a batch by itself.
    :return: the sizes, whose sum is ``len(lengths)``.

    Example: lengths = [9, 8, 2, 2], cost = (20, 1) -> [2, 2], for (1 + 18) + (1 + 4) = 24 is least.
    """
    best = np.full(len(lengths) + 1, np.inf)
    best[0] = 0
    before = np.zeros(len(lengths) + 1, dtype=np.int64)
    for i, length in enumerate(lengths):
        rows = min(max(1, cost.most // length), len(lengths) - i)
        costs = best[i] + cost.start + length * np.arange(1, rows + 1)
        better = costs < best[i + 1 : i + 1 + rows]
        best[i + 1 : i + 1 + rows][better] = costs[better]
        before[i + 1 : i + 1 + rows][better] = i
    sizes = []
    end = len(lengths)
    while end:
        sizes.append(end - int(before[end]))
        end = int(before[end])
    return sizes[::-1]
