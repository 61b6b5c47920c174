"""Honest timing, and what the machine can do at best: shared by the scripts beside it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

SIDE = 2048
"""Rows, columns and depth of the matrix product that counts as large."""


def seconds(
    work: Callable[[], object], runs: int = 5, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median time of ``runs`` runs by ``clock``, after one that is not counted."""
    return seconds_in_rounds({"work": work}, runs, clock)["work"]


def seconds_in_rounds(
    works: Mapping[str, Callable[[], object]],
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median time of each work by ``clock``, after one run of each that is not counted.

    Each round runs all of them, so that whatever else the machine does hits all alike.
    """
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = clock()
            work()
            times[name].append(clock() - began)
    return {name: statistics.median(own) for name, own in times.items()}


def large_product() -> list[tuple[int, int, int]]:
    """The shapes, for :func:`product_rate`, of one large matrix product."""
    return [(SIDE, SIDE, SIDE)]


def product_rate(
    shapes: Sequence[tuple[int, int, int]],
    dtype: torch.dtype,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Floating-point operations a second of matrix products, one after the other.

    A multiply-add counts as two.

    :param shapes: rows, depth and columns of each product.
    """
    factors = [
        (torch.rand(rows, depth).to(dtype), torch.rand(depth, columns).to(dtype))
        for rows, depth, columns in shapes
    ]

    def work() -> None:
        for left, right in factors:
            left @ right

    operations = sum(2 * rows * depth * columns for rows, depth, columns in shapes)
    return operations / seconds(work, clock=clock)
