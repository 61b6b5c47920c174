"""Alignment of documents: which sentences of one translate which of the other, in order.

:func:`align_vectors` needs no model, only the vectors of every run of consecutive sentences that
may stand in a bead; :class:`DocumentAligner` has an encoder make them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitext.errors import InputError, TooLongError, UnknownNameError, choose_from
from encoders.pooling import centre, normalise
from retrieval.document_beads import Bead
from retrieval.document_coarse import find_band
from retrieval.document_costs import (
    SKIPS,
    SpanCosts,
    Spans,
    Weights,
    bead_shapes,
    compared,
    span_lengths,
)
from retrieval.document_search import Progress, Shape, Step, cheapest
from retrieval.encoding import centring_of, chunks, space_of
from retrieval.vectors import Rows

if TYPE_CHECKING:
    from encoders.encoder import Encoder

RUNS = ("encoded", "summed")
LEAST_FOR_MEAN = 10
"""Sentences that a document needs for a mean of its own to be taken away."""
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

    :param source: shape (most, sentences, dim), see :data:`retrieval.document_costs.Spans`; so
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
    for side, spans, runs in zip(("source", "target"), (source, target), settings.runs, strict=True):
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
            i, j = (np.array([steps[n][side] for n in numbers]) for side in (0, 1))
            scores[numbers] = plane.scores(shape, i, j)
    return [
        Bead(tuple(range(i - p, i)), tuple(range(j - q, j)), score)
        for (i, j, (p, q)), score in zip(steps, scores.tolist(), strict=True)
    ]


class DocumentAligner:
    """Aligns the sentences of documents with the vectors of one encoder.

    :param runs: how the vectors of runs of sentences are made: ``encoded``, each run as one text,
        or ``summed`` from the vectors of its sentences, each of them encoded once.
    :param layer: ``None`` for the model's preset; so ``pooling``.
    :param centred: take from each document's vectors the mean of its own sentences, where it has
        ``LEAST_FOR_MEAN``; ``None`` for what suits the model.
    :param too_long: ``error``, or ``windows`` for texts of more pieces than the model takes.
    :raises InputError: if a setting is out of range.
    :raises UnknownNameError: if runs, layer or pooling does not exist.
    """

    def __init__(
        self,
        encoder: Encoder,
        settings: DocumentSettings | None = None,
        *,
        runs: str = "encoded",
        layer: int | None = None,
        pooling: str | None = None,
        centred: bool | None = None,
        too_long: str = "windows",
    ) -> None:
        if runs not in RUNS:
            raise UnknownNameError(choose_from("runs", runs, RUNS))
        self.encoder = encoder
        self.settings = settings or DocumentSettings()
        self.space = space_of(encoder, layer, pooling)
        self.centred = centring_of(encoder, layer, pooling, centred)
        self.summed = runs == "summed"
        self.too_long = too_long

    def align(
        self,
        source: Sequence[str],
        target: Sequence[str],
        *,
        progress: Progress | None = None,
    ) -> list[Bead]:
        """Align two documents, one sentence each an item; an empty one is always left out.

        :param progress: called with the number of texts encoded since the last call, of
            :meth:`texts` in all.
        :raises TooLongError: if a text has more pieces than the model takes, and windows were
            not asked for.
        """
        spans = [
            self.spans(side, texts, most, progress)
            for side, texts, most in zip(
                ("source", "target"), (source, target), self.settings.runs, strict=True
            )
        ]
        lengths = [[len(text.strip()) for text in side] for side in (source, target)]
        return align_vectors(spans[0], spans[1], self.settings, lengths=(lengths[0], lengths[1]))

    def texts(self, sources: int, targets: int) -> int:
        """How many texts are encoded for documents of so many sentences."""
        if self.summed:
            return sources + targets
        most, other = self.settings.runs
        return run_count(sources, most) + run_count(targets, other)

    def spans(
        self,
        side: str,
        sentences: Sequence[str],
        most: int,
        progress: Progress | None = None,
    ) -> Spans:
        """The unit vectors of all runs of up to ``most`` sentences, centred if they shall be.

        :param side: what a message calls the document.
        :return: shape (most, sentences, dim).
        """
        vectors = np.zeros((most, len(sentences), self.encoder.dim), np.float32)
        texts = [sentence.strip() for sentence in sentences]
        for k in range(1, (1 if self.summed else most) + 1):
            what = f"{side} sentence" if k == 1 else f"run of {k} {side} sentences"
            runs = [" ".join(filter(None, run)) for run in _runs(texts, k)]
            if runs:
                vectors[k - 1, k - 1 :] = self._encode(runs, what, progress)
        if self.summed:
            _sum_runs(vectors)
        return self._centred(vectors)

    def _encode(self, texts: Sequence[str], what: str, progress: Progress | None) -> Rows:
        """The vectors of ``texts``, each distinct one made once."""
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        rows = np.zeros((len(numbers), self.encoder.dim), np.float32)
        first = {text: number for number, text in reversed(list(enumerate(texts)))}
        done = 0
        for part in chunks(numbers):
            try:
                rows[done : done + len(part)] = self.encoder.sentences(
                    part,
                    layer=self.space.layer,
                    pooling=self.space.pooling,
                    too_long=self.too_long,
                    progress=progress,
                )
            except TooLongError as error:
                number = first[part[error.sentence]] + 1
                raise error.called(f"{what} {number}") from None
            done += len(part)
        if progress is not None:
            progress(len(texts) - len(rows))
        return rows[[numbers[text] for text in texts]]

    def _centred(self, vectors: Rows) -> Rows:
        there = np.any(vectors[0], axis=1)
        if not self.centred or there.sum() < LEAST_FOR_MEAN:
            return vectors
        mean = vectors[0][there].mean(axis=0)
        for of_length in vectors:
            of_length[:] = centre(of_length, mean)
        return vectors


def _runs(texts: Sequence[str], k: int) -> Iterator[Sequence[str]]:
    return (texts[end - k : end] for end in range(k, len(texts) + 1))


def _sum_runs(vectors: Rows) -> None:
    """Fill the rows of runs from those of single sentences, all sentences with the same weight."""
    total = vectors[0].copy()
    for k in range(2, min(vectors.shape[:2]) + 1):
        total = total[1:] + vectors[0, : len(total) - 1]
        vectors[k - 1, k - 1 :] = normalise(total)


def run_count(sentences: int, most: int) -> int:
    """Runs of up to ``most`` consecutive sentences.

    Example: ``run_count(3, 2)`` -> ``5``
    """
    return sum(max(0, sentences - k + 1) for k in range(1, most + 1))
