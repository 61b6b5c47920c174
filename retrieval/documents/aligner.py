"""Alignment of documents: which sentences of one translate which of the other, in order.

:func:`retrieval.documents.vectors.align_vectors` needs no model, only the vectors of every run of
consecutive sentences that may stand in a bead; :class:`DocumentAligner` has an encoder make them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bitext.errors import TooLongError, UnknownNameError, choose_from
from encoders.pooling import centre, normalise
from retrieval.documents.beads import Bead
from retrieval.documents.costs import Spans
from retrieval.documents.search import Progress
from retrieval.documents.vectors import DocumentSettings, align_vectors
from retrieval.vectors.encoding import centring_of, chunks, space_of
from retrieval.vectors.files import Rows

if TYPE_CHECKING:
    from encoders.encoder import Encoder

RUNS = ("encoded", "summed")
CHUNK = 256
"""Texts encoded at once, between two reports of progress."""
LEAST_FOR_MEAN = 10
"""Sentences that a document needs for a mean of its own to be taken away."""


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
            sum_runs(vectors)
        return centre_runs(vectors) if self.centred else vectors

    def _encode(self, texts: Sequence[str], what: str, progress: Progress | None) -> Rows:
        """The vectors of ``texts``, each distinct one made once."""
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        rows = np.zeros((len(numbers), self.encoder.dim), np.float32)
        done = 0
        for part in chunks(numbers, CHUNK):
            try:
                rows[done : done + len(part)] = self.encoder.sentences(
                    part,
                    layer=self.space.layer,
                    pooling=self.space.pooling,
                    too_long=self.too_long,
                )
            except TooLongError as error:
                number = texts.index(part[error.sentence]) + 1
                raise error.called(f"{what} {number}") from None
            done += len(part)
            if progress is not None:
                progress(len(part))
        if progress is not None:
            progress(len(texts) - done)
        return rows[[numbers[text] for text in texts]]


def centre_runs(vectors: Rows) -> Rows:
    """Take the mean of the single sentences away from all runs, if there are enough of them.

    :param vectors: shape (most, sentences, dim); changed in place.
    """
    there = np.any(vectors[0], axis=1)
    if there.sum() >= LEAST_FOR_MEAN:
        mean = vectors[0][there].mean(axis=0)
        for of_length in vectors:
            of_length[:] = centre(of_length, mean)
    return vectors


def _runs(texts: Sequence[str], k: int) -> Iterator[Sequence[str]]:
    return (texts[end - k : end] for end in range(k, len(texts) + 1))


def sum_runs(vectors: Rows) -> None:
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
