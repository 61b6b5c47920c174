"""How sentences are cut into batches: the cheapest way, within the bound."""

from __future__ import annotations

from itertools import accumulate, combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.batching import BATCH_COSTS, BatchCost, batch_cost, batch_sizes


def cost_of(lengths: list[int], sizes: list[int], cost: BatchCost) -> float:
    """What a cut costs; infinite where a batch of several rows is above the bound."""
    ends = [0, *accumulate(sizes)]
    total = 0.0
    for start, end in pairwise(ends):
        padded = (end - start) * lengths[start]
        if end - start > 1 and padded > cost.most:
            return float("inf")
        total += cost.start + padded
    return total


def every_cut(count: int) -> list[list[int]]:
    cuts = [inner for n in range(count) for inner in combinations(range(1, count), n)]
    return [[b - a for a, b in pairwise([0, *cut, count])] for cut in cuts]


@pytest.mark.parametrize(
    ("lengths", "most", "start", "sizes"),
    [
        ([], 10, 1, []),
        ([5], 10, 1, [1]),
        ([50], 10, 1, [1]),  # longer than a batch may be: by itself
        ([50, 2, 2], 10, 1, [1, 2]),
        ([9, 8, 2, 2], 20, 1, [2, 2]),  # 19 + 5; in one batch 37 would be above the bound
        ([9, 8, 2, 2], 100, 1, [2, 2]),  # 19 + 5 against 37
        ([9, 8, 2, 2], 100, 20, [4]),  # 56 against 38 + 24
        ([3, 3, 3, 3, 3], 6, 1, [1, 2, 2]),  # three batches at least; any two of them full
    ],
)
def test_the_cheapest_cut(lengths: list[int], most: int, start: int, sizes: list[int]) -> None:
    assert batch_sizes(lengths, BatchCost(most, start)) == sizes


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=7),
    most=st.integers(1, 40),
    start=st.integers(0, 20),
)
def test_no_other_cut_is_cheaper(lengths: list[int], most: int, start: int) -> None:
    lengths.sort(reverse=True)
    cost = BatchCost(most, start)
    sizes = batch_sizes(lengths, cost)
    assert sum(sizes) == len(lengths)
    least = min(cost_of(lengths, cut, cost) for cut in every_cut(len(lengths)))
    assert cost_of(lengths, sizes, cost) == least


def test_devices_are_known_by_their_type() -> None:
    assert batch_cost("cpu") == BATCH_COSTS["cpu"]
    assert batch_cost("cuda:1") == BATCH_COSTS["cuda"]
