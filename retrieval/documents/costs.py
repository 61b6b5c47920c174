"""What it costs to take sentences of two documents for translations, or to leave them out.

Thompson & Koehn (*Vecalign*, EMNLP 2019, §3.1) compare spans ``x`` and ``y`` by ::

    c(x, y) = 2 (1 - cos(x, y)) / (mean_s (1 - cos(x, y_s)) + mean_s (1 - cos(x_s, y)))

with spans ``x_s``, ``y_s`` drawn at random. The mean of cosines is the cosine with the mean, so
here all spans of the other side count, for less work than a hundred drawn ones, and nothing depends
on chance. 0 is the cost of equal vectors, 1 that of spans no more alike than any two.

They multiply ``c`` by the numbers of sentences on both sides, which makes a bead of 2 and 2 cost
four times as much as it should where its two halves cannot be told apart. Here a bead costs ::

    c(x, y) + length · (1 - shorter / longer) + join · (p + q - 2)

and a sentence left out costs ``skip``. With ``join`` at a half, the cheapest way is the one whose
beads have the largest sum of ``1 - c``, less what lengths and sentences left out cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from retrieval.documents.search import Costs, Shape

Spans = NDArray[np.floating]
"""``spans[k - 1, i]`` is the unit vector of the ``k`` sentences that end with sentence ``i``.

Shape (most sentences, sentences, dim), of float32 or float16; may be mapped from disk. Where fewer
than ``k`` sentences end there, it is not looked at. A row of zeros is a sentence with nothing in
it, which only stays within a bead or is left out.
"""

SKIPS: tuple[Shape, Shape] = ((1, 0), (0, 1))

_ROWS = 4096
_TINY = np.float32(1e-6)
_CHARACTERS = 5.0  # added to every length, so that short sentences may differ by a few


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What counts beside the vectors, in units of the cost of two unrelated sentences.

    Chosen on Text+Berg's ``dev``, German and French (docs/tasks-documents.md).
    """

    join: float = 0.5
    """For each sentence of a bead beyond one on each side."""
    skip: float = 0.75
    """For each sentence left out: less than ``join + 1 - 1 / sqrt(2)``, which is what it costs to
    join an unrelated one to a pair of equal vectors."""
    length: float = 0.5
    """For spans whose lengths differ, up to this."""

    def __post_init__(self) -> None:
        """:raises InputError: if a weight is negative or no number."""
        for name in ("join", "skip", "length"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise InputError(f"{name} must be a number from 0 up, got {value:g}")


def bead_shapes(most: int, *, one_to_many: bool = False) -> list[Shape]:
    """Beads of up to ``most`` sentences, both sides together, the simplest first; skips last.

    :param one_to_many: only beads of one source sentence.

    Example: ``bead_shapes(3)`` -> ``[(1, 1), (1, 2), (2, 1), (1, 0), (0, 1)]``
    """
    if not 2 <= most <= 16:
        raise InputError(f"a bead may have 2 to 16 sentences, both sides together, got {most}")
    pairs = [(p, size - p) for size in range(2, most + 1) for p in range(1, size)]
    kept = [(p, q) for p, q in pairs if p == 1 or not one_to_many]
    return [*sorted(kept, key=lambda shape: (sum(shape), max(shape), shape)), *SKIPS]


class Document(NamedTuple):
    """One side, with what its spans have in common with the other side's; all of shape (most, n)"""

    spans: Spans
    distance: Costs
    """``1 - cos`` of each span and all spans of the other side, on average."""
    barred: Costs | None
    """Infinite for spans that start or end with a sentence with nothing in it."""


def compared(source: Spans, target: Spans) -> tuple[Document, Document]:
    """Both sides, each measured against the other."""
    means = [_mean(spans) for spans in (source, target)]
    return (
        Document(source, _distance(source, means[1]), _barred(source)),
        Document(target, _distance(target, means[0]), _barred(target)),
    )


def _mean(spans: Spans) -> NDArray[np.float32]:
    """The mean vector of all spans, shape (dim,)."""
    total = np.zeros(spans.shape[2])
    count = 0
    for number, of_length in enumerate(spans):
        for start in range(number, len(of_length), _ROWS):
            rows = of_length[start : start + _ROWS]
            total += rows.sum(axis=0, dtype=np.float64)
            count += len(rows)
    return (total / max(count, 1)).astype(np.float32)


def _distance(spans: Spans, mean: NDArray[np.float32]) -> Costs:
    distance = np.empty(spans.shape[:2], np.float32)
    for of_length, out in zip(spans, distance, strict=True):
        for start in range(0, len(of_length), _ROWS):
            rows = np.asarray(of_length[start : start + _ROWS], np.float32)
            out[start : start + _ROWS] = 1 - rows @ mean
    return distance


def _barred(spans: Spans) -> Costs | None:
    most, count, _ = spans.shape
    empty = ~np.concatenate(
        [np.any(spans[0, start : start + _ROWS], axis=1) for start in range(0, count, _ROWS)]
        or [np.ones(0, bool)]
    )
    if not empty.any():
        return None
    barred = np.zeros((most, count), np.float32)
    for extra in range(min(most, count)):
        barred[extra, empty] = np.inf
        barred[extra, extra:][empty[: count - extra]] = np.inf
    return barred


def span_lengths(lengths: NDArray[np.float64], most: int) -> Costs:
    """How long the ``k`` sentences are that end with each one, shape (most, sentences)."""
    before = np.concatenate([[0.0], np.cumsum(lengths)])
    spans = np.zeros((most, len(lengths)), np.float32)
    for k in range(1, min(most, len(lengths)) + 1):
        spans[k - 1, k - 1 :] = before[k:] - before[:-k]
    return spans


class SpanCosts:
    """The costs of beads between two documents: the plane that is searched.

    :param shapes: of the beads; skips come last.
    :param lengths: of both sides' spans, measured alike (:func:`span_lengths`).
    """

    def __init__(
        self,
        source: Document,
        target: Document,
        shapes: Sequence[Shape],
        weights: Weights,
        lengths: tuple[Costs, Costs] | None = None,
    ) -> None:
        assert tuple(shapes[-2:]) == SKIPS, "skips come last"
        self.source, self.target = source, target
        self.shapes, self.weights, self.lengths = shapes, weights, lengths
        self.sources, self.targets = source.spans.shape[1], target.spans.shape[1]

    def block(self, i: range, j: range) -> Costs:
        """See :class:`retrieval.documents.search.Plane`."""
        costs = np.full((len(self.shapes), len(i), len(j)), np.inf, np.float32)
        upright = costs[:, ::-1]
        rows, columns = _within(i, 0, self.sources), _within(j, 0, self.targets)
        upright[-2:, rows, columns] = self.weights.skip
        rows, columns = _within(i, 1, self.sources), _within(j, 1, self.targets)
        # Node i ends with sentence i - 1.
        own = slice(i.start + rows.start - 1, i.start + rows.stop - 1)
        others = slice(j.start + columns.start - 1, j.start + columns.stop - 1)
        if own.start < own.stop and others.start < others.stop:
            for number, shape in enumerate(self.shapes[:-2]):
                upright[number, rows, columns] = self._costs(shape, own, others)
        return costs

    def _costs(self, shape: Shape, own: slice, others: slice) -> Costs:
        """The costs of spans that end in two ranges, each with each."""
        p, q = shape
        x = np.asarray(self.source.spans[p - 1, own], np.float32)
        y = np.asarray(self.target.spans[q - 1, others], np.float32)
        usual = self.source.distance[p - 1, own, None] + self.target.distance[q - 1, None, others]
        costs: Costs = x @ y.T
        np.subtract(1, costs, out=costs)
        costs /= usual * np.float32(0.5) + _TINY
        costs += np.float32(self.weights.join * (p + q - 2))
        if self.lengths is not None:
            costs += self._unequal(
                self.lengths[0][p - 1, own, None], self.lengths[1][q - 1, None, others]
            )
        if self.source.barred is not None:
            costs += self.source.barred[p - 1, own, None]
        if self.target.barred is not None:
            costs += self.target.barred[q - 1, None, others]
        return costs

    def _unequal(self, source: Costs, target: Costs) -> Costs:
        shorter, longer = np.minimum(source, target), np.maximum(source, target)
        share = (shorter + _CHARACTERS) / (longer + _CHARACTERS)
        return np.asarray(self.weights.length * (1 - share), np.float32)

    def scores(self, shape: Shape, i: NDArray[np.int64], j: NDArray[np.int64]) -> Costs:
        """``1 - c`` of the beads that end at nodes ``(i[n], j[n])``, shape (beads,)."""
        p, q = shape
        scores = np.empty(len(i), np.float32)
        for start in range(0, len(i), _ROWS):
            own, other = i[start : start + _ROWS] - 1, j[start : start + _ROWS] - 1
            x = np.asarray(self.source.spans[p - 1, own], np.float32)
            y = np.asarray(self.target.spans[q - 1, other], np.float32)
            usual = self.source.distance[p - 1, own] + self.target.distance[q - 1, other]
            unlike = 1 - np.einsum("nd,nd->n", x, y)
            scores[start : start + _ROWS] = 1 - unlike / (usual / 2 + _TINY)
        return scores


def _within(nodes: range, least: int, most: int) -> slice:
    """Which of ``nodes`` lie between ``least`` and ``most``, both included."""
    start = min(max(least - nodes.start, 0), len(nodes))
    return slice(start, max(start, min(most + 1 - nodes.start, len(nodes))))
