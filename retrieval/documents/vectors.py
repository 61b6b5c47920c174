"""Alignment of documents by vectors alone; no model is needed, and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitext.errors import InputError
from retrieval.documents.beads import Bead
from retrieval.documents.coarse import find_band
from retrieval.documents.costs import (
    SKIPS,
    SpanCosts,
    Spans,
    Weights,
    bead_shapes,
    compared,
    span_lengths,
)
from retrieval.documents.search import Progress, Shape, Step, cheapest

UNLIKE = 0.1
"""By which share two documents' length may be misjudged before the search is made again."""


@dataclass(frozen=True, kw_only=True)
class DocumentSettings:
    """Which beads there may be, and what they cost."""

    most: int = 8
    """Sentences of a bead, both sides together."""
    one_to_many: bool = False
    """Only beads of one source sentence."""
    weights: Weights = field(default_factory=Weights)

    @property
    def shapes(self) -> list[Shape]:
        """:raises InputError: if ``most`` is out of range."""
        return bead_shapes(self.most, one_to_many=self.one_to_many)

    @property
    def runs(self) -> tuple[int, int]:
        """How many consecutive sentences a bead may have, on each side."""
        return 1 if self.one_to_many else self.most - 1, self.most - 1

    def __str__(self) -> str:
        beads = f"1 to {self.most - 1}" if self.one_to_many else f"up to {self.most} sentences"
        w = self.weights
        return f"beads of {beads} | join {w.join:g} skip {w.skip:g} length {w.length:g}"


def align_vectors(
    source: Spans,
    target: Spans,
    settings: DocumentSettings | None = None,
    *,
    lengths: tuple[ArrayLike, ArrayLike] | None = None,
    progress: Progress | None = None,
) -> list[Bead]:
    """Align two documents by the unit vectors of their spans.

    Every sentence is in exactly one bead, in order. Memory and time grow with the sum of the
    lengths; documents of some hundred sentences are searched completely, longer ones along a band.

    :param source: shape (most, sentences, dim), see :data:`retrieval.documents.costs.Spans`; so
        ``target``. Float16 and memory maps are welcome, and rows are made float32 as needed.
    :param lengths: characters of each sentence of both sides, as further evidence.
    :param progress: called with the number of diagonals done since the last call.
    :raises InputError: if the arrays do not fit one another or the settings.
    """
    settings = settings or DocumentSettings()
    shapes = settings.shapes
    _check(source, target, settings)
    band = find_band(source, target, len(shapes), settings.weights, progress)
    documents = compared(source, target)
    if lengths is None or not source.shape[1] or not target.shape[1]:
        plane = SpanCosts(*documents, shapes, settings.weights)
        return _beads(plane, cheapest(plane, band, progress))
    own, others = (np.asarray(side, np.float64) for side in lengths)
    if (len(own), len(others)) != (source.shape[1], target.shape[1]):
        raise InputError(
            f"{source.shape[1]} and {target.shape[1]} sentences need as many lengths, "
            f"got {len(own)} and {len(others)}"
        )
    ratio = _ratio(own.sum(), others.sum())
    for _ in range(2):
        runs = span_lengths(own, len(source)), span_lengths(others * ratio, len(target))
        plane = SpanCosts(*documents, shapes, settings.weights, runs)
        steps = cheapest(plane, band, progress)
        # Parts that only one document has would count for the other's language being terse.
        better = _ratio(*_aligned_lengths(steps, own, others))
        if abs(np.log(better / ratio)) < UNLIKE:
            break
        ratio = better
    return _beads(plane, steps)


def _check(source: Spans, target: Spans, settings: DocumentSettings) -> None:
    for side, spans, runs in zip(
        ("source", "target"), (source, target), settings.runs, strict=True
    ):
        if spans.ndim != 3 or len(spans) < runs:
            raise InputError(
                f"{side} spans must have the shape (at least {runs}, sentences, dim), "
                f"got {spans.shape}"
            )
    if source.shape[2] != target.shape[2]:
        raise InputError(
            f"source and target vectors must have one dim, got {source.shape[2]} "
            f"and {target.shape[2]}"
        )


def _ratio(source: float, target: float) -> float:
    return source / target if source and target else 1.0


def _aligned_lengths(
    steps: Sequence[Step], own: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[float, float]:
    """The length of what is paired, on both sides."""
    source = sum(own[s.i - s.shape[0] : s.i].sum() for s in steps if 0 not in s.shape)
    target = sum(others[s.j - s.shape[1] : s.j].sum() for s in steps if 0 not in s.shape)
    return float(source), float(target)


def _beads(plane: SpanCosts, steps: Sequence[Step]) -> list[Bead]:
    scores = np.zeros(len(steps))
    by_shape: dict[Shape, list[int]] = {}
    for number, step in enumerate(steps):
        by_shape.setdefault(step.shape, []).append(number)
    for shape, numbers in by_shape.items():
        if shape not in SKIPS:
            ends = np.array([steps[number][:2] for number in numbers])
            scores[numbers] = plane.scores(shape, ends[:, 0], ends[:, 1])
    return [
        Bead(tuple(range(i - p, i)), tuple(range(j - q, j)), score)
        for (i, j, (p, q)), score in zip(steps, scores.tolist(), strict=True)
    ]
