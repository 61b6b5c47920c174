"""Where the way through two long documents lies, found on shortened ones first.

Thompson & Koehn (2019, §3.2) halve both documents, again and again, by averaging neighbouring
vectors, and double the way found. Here documents are shortened at once as far as needed for a
search of the whole plane, and the way is followed in one or two larger steps: fewer searches, and
none of them relies on a narrow band but the last. Sentences of a remainder are not dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from retrieval.documents.costs import SKIPS, SpanCosts, Spans, Weights, compared
from retrieval.documents.search import Band, Progress, Shape, Step, around, cheapest, whole

MAX_CELLS = 2**22
"""Costs, of nodes times shapes, that are searched without a band: 16 MiB of float32."""
STEP = 16
"""How much finer a way may be followed from one search to the next."""
BUFFER = 8
"""Nodes on each side of the way, beside the two units of the search before."""

Rows = NDArray[np.float32]

_SHAPES: list[Shape] = [(1, 1), (1, 2), (2, 1), *SKIPS]


def find_band(
    source: Spans,
    target: Spans,
    shapes: int,
    weights: Weights,
    progress: Progress | None = None,
) -> Band:
    """The nodes worth a look: all of a small plane, else those around the way of coarser searches.

    :param shapes: how many the search in the band will have.
    """
    sources, targets = source.shape[1], target.shape[1]
    if sources * targets * shapes <= MAX_CELLS:
        return whole(sources, targets)
    unit = ceil(sqrt(sources * targets * len(_SHAPES) / MAX_CELLS))
    band: Band | None = None
    while True:
        short = _shortened(source, unit), _shortened(target, unit)
        plane = SpanCosts(*compared(*short), _SHAPES, weights)
        steps = cheapest(plane, band or whole(plane.sources, plane.targets), progress)
        finer = 1 if unit <= STEP else ceil(unit / STEP)
        band = _follow(steps, unit, finer, sources, targets)
        if finer == 1:
            return band
        unit = finer


def _shortened(spans: Spans, unit: int) -> Spans:
    """A document of which each sentence is ``unit`` sentences, shape (2, units, dim)."""
    starts = np.arange(0, spans.shape[1], unit)
    rows = np.asarray(spans[0], np.float32)
    sums = np.add.reduceat(rows, starts, axis=0) if unit > 1 else rows
    # Sums of many sentences all look like the mean; what is left without it tells them apart.
    single = _unit(sums - sums.mean(axis=0) if unit > 1 and len(sums) > 1 else sums)
    double = single.copy()
    double[1:] += single[:-1]
    return np.stack([single, _unit(double)])


def _unit(rows: Rows) -> Rows:
    """Rows of length 1; a row of zeros stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


def _follow(steps: Sequence[Step], unit: int, finer: int, sources: int, targets: int) -> Band:
    """The band around a way in ``unit`` sentences, for a search in ``finer`` ones."""
    last = ceil(sources / finer), ceil(targets / finer)
    nodes = [
        (min(i * unit // finer, last[0]), min(j * unit // finer, last[1])) for i, j in _turns(steps)
    ]
    return around([(0, 0), *nodes, last], 2 * ceil(unit / finer) + BUFFER)


def _turns(steps: Sequence[Step]) -> list[tuple[int, int]]:
    """The nodes of a way but for those within runs of skips, whose order means nothing."""
    left_out = [0 in step.shape for step in steps]
    return [
        (step.i, step.j)
        for number, step in enumerate(steps[:-1])
        if not (left_out[number] and left_out[number + 1])
    ]
