"""The cheapest way through two documents, along a band of it, in memory linear in their length.

A node ``(i, j)`` stands where ``i`` source and ``j`` target sentences are behind. A bead of ``p``
source and ``q`` target sentences leads from ``(i - p, j - q)`` to ``(i, j)``. All nodes of a
diagonal ``t = i + j`` depend on earlier diagonals alone, so each is one step over arrays, whatever
is cut out of the plane around it: a block of sentences missing on one side costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int]
"""Source and target sentences of a bead; 0 on one side for a sentence left out."""

Costs = NDArray[np.float32]
Progress = Callable[[int], None]

_LEAST_BLOCK = 32


class Step(NamedTuple):
    """A bead that ends before source sentence ``i`` and target sentence ``j``."""

    i: int
    j: int
    shape: Shape


class Band(NamedTuple):
    """The nodes that are looked at: ``width`` of them on each diagonal."""

    first: NDArray[np.int64]
    """Target position of each diagonal's first node, shape (sources + targets + 1,).

    From one diagonal to the next it stays or grows by 1.
    """
    width: int


class Plane(Protocol):
    """What beads cost, wherever they end."""

    shapes: Sequence[Shape]
    sources: int
    targets: int

    def block(self, i: range, j: range) -> Costs:
        """The costs of beads of each shape that end at the nodes ``i`` times ``j``.

        Nodes beyond the documents are infinite. Nodes that lie too near the start for a bead may
        cost anything, for nothing leads to them.

        :return: shape (shapes, len(i), len(j)), the last of ``i`` first.
        """


def whole(sources: int, targets: int) -> Band:
    """The band that holds every node."""
    diagonals = np.arange(sources + targets + 1)
    first = np.maximum(0, diagonals - sources)
    return Band(first, min(sources, targets) + 1)


def around(path: Sequence[tuple[int, int]], radius: int) -> Band:
    """The band of nodes up to ``radius`` from straight lines between the nodes of ``path``.

    :param path: starts with (0, 0) and ends with the documents' lengths.
    """
    nodes = np.asarray(path, dtype=np.int64)
    at = nodes.sum(axis=1)
    nodes, at = nodes[np.append(True, np.diff(at) > 0)], at[np.append(True, np.diff(at) > 0)]
    diagonals = np.arange(at[-1] + 1)
    segment = np.clip(np.searchsorted(at, diagonals, side="right") - 1, 0, max(len(at) - 2, 0))
    after = np.minimum(segment + 1, len(at) - 1)
    run = np.maximum(at[after] - at[segment], 1)
    # Whole numbers: a line rounded in floats might step by 2.
    rise = (diagonals - at[segment]) * (nodes[after, 1] - nodes[segment, 1]) // run
    return Band(nodes[segment, 1] + rise - radius, 2 * radius + 1)


def cheapest(plane: Plane, band: Band, progress: Progress | None = None) -> list[Step]:
    """The beads of the cheapest way from (0, 0) to the end that stays in ``band``.

    Of ways that cost the same, the one whose last bead has the earlier shape is taken.
    """
    back = _search(plane, band, progress)
    steps = []
    i, j = plane.sources, plane.targets
    while i or j:
        shape = plane.shapes[back[i + j, j - band.first[i + j]]]
        steps.append(Step(i, j, shape))
        i, j = i - shape[0], j - shape[1]
    return steps[::-1]


def _search(plane: Plane, band: Band, progress: Progress | None) -> NDArray[np.uint8]:
    """For each node of the band the shape of the bead that leads to it most cheaply."""
    first, width = band
    sizes = [p + q for p, q in plane.shapes]
    pad = max(max(shape) for shape in plane.shapes)
    rows, stride = max(sizes) + 1, width + 2 * pad
    # The last diagonals, in turn; what lies beside the band is never reached.
    totals = np.full((rows, stride), np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(totals.reshape(-1), width)
    back = np.zeros((len(first), width), np.uint8)
    columns = np.arange(width)
    size = max(2 * width, _LEAST_BLOCK)
    for start in range(0, len(first), size):
        diagonals = np.arange(start, min(start + size, len(first)))
        costs, at, step = _block(plane, band, diagonals)
        sources = _predecessors(plane.shapes, first, diagonals, rows, stride, pad)
        span = (width - 1) * step + 1
        for t, begin, froms in zip(diagonals.tolist(), at, sources, strict=True):
            candidates = windows[froms]
            candidates += costs[:, begin : begin + span : step]
            best = candidates.argmin(axis=0)
            back[t] = best
            row = totals[t % rows, pad : pad + width]
            row[:] = candidates[best, columns]
            if t == 0:
                row[-first[0]] = 0
        if progress is not None:
            progress(len(diagonals))
    return back


def _block(plane: Plane, band: Band, diagonals: NDArray[np.int64]) -> tuple[Costs, list[int], int]:
    """The costs around some diagonals, flat, shape (shapes, nodes); with where each one starts.

    The nodes of a diagonal lie ``step`` apart, as rows count down from the last source.
    """
    low = band.first[diagonals]
    high = diagonals - low  # the source position of each diagonal's first node
    i = range(int(high.min()) - band.width + 1, int(high.max()) + 1)
    j = range(int(low.min()), int(low.max()) + band.width)
    costs = plane.block(i, j)
    at = (i.stop - 1 - high) * len(j) + low - j.start
    return costs.reshape(len(costs), -1), at.tolist(), len(j) + 1


def _predecessors(
    shapes: Sequence[Shape],
    first: NDArray[np.int64],
    diagonals: NDArray[np.int64],
    rows: int,
    stride: int,
    pad: int,
) -> NDArray[np.int64]:
    """Where in the flat totals each diagonal's beads come from, shape (diagonals, shapes)."""
    size = np.array([p + q for p, q in shapes])
    target = np.array([q for _, q in shapes])
    before = diagonals[:, None] - size
    shift = first[diagonals][:, None] - target - first[np.maximum(before, 0)]
    starts: NDArray[np.int64] = before % rows * stride + pad + shift
    return starts
