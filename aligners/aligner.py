"""Aligner: sentence pairs to alignments, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aligners.matching import MATCHERS, Links
from aligners.similarity import Similarity, Vectors, distort, similarity
from bitext import __version__
from bitext.errors import InputError, TooLargeError, TooLongError, UnknownNameError, choose_from
from bitext.types import Alignment, SentencePair

if TYPE_CHECKING:
    from encoders.encoder import Encoder

UNITS = ("piece", "word")
MAX_SIMILARITIES = 25_000_000
"""Similarities of one pair that are held at once, such as 5000 by 5000; about 1 GB at the peak."""
CHUNK_WORDS = 40_000
"""Words after which a chunk of a stream is full, so that long sentences do not fill the memory."""


class _Units(NamedTuple):
    """What is matched on one side of a pair: its pieces, or its words that have any."""

    vectors: Vectors
    word_of: NDArray[np.int64]  # the word each unit belongs to, ascending, shape (units,)


class Aligner:
    """Aligns the words of sentence pairs by the similarity of their vectors in one encoder.

    Each side of a pair is a list of words. A side without words gives no links, and a word without
    pieces (an empty string, a space) gets none: for the matcher it is not there.

    With ``unit="piece"`` the pieces of words are matched and two words are linked if any of their
    pieces are; the link scores the mean similarity of its linked pieces. With ``unit="word"`` the
    words are matched, each by the mean of its pieces' vectors. Threads may share an aligner.

    What is left ``None`` is what the model's preset says. Its threshold was measured with its own
    layer, unit and distortion: where one of them is another, the threshold is 0.

    :param method: one of ``MATCHERS``.
    :param layer: whose hidden states are compared, 0 (embeddings) to ``encoder.layers``.
    :param unit: one of ``UNITS``.
    :param distortion: how much distant positions count less, 0 (not at all) to 1.
    :param threshold: links that score less are dropped, 0 (none) to 1.
    :param too_long: what to do with a sentence that is too long for the model: ``error``, or
        ``windows``, which encodes it in overlapping windows.
    :raises UnknownNameError: if method, layer or unit does not exist.
    :raises InputError: if ``distortion`` or ``threshold`` is not in [0, 1].
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        method: str | None = None,
        layer: int | None = None,
        unit: str | None = None,
        distortion: float | None = None,
        threshold: float | None = None,
        too_long: str = "error",
    ) -> None:
        preset = encoder.preset.alignment
        method = preset.method if method is None else method
        unit = preset.unit if unit is None else unit
        distortion = preset.distortion if distortion is None else distortion
        check_choices(method=method, unit=unit, distortion=distortion, threshold=threshold)
        self.encoder = encoder
        self.method = method
        self.layer = encoder.check_layer(layer, "alignment")
        self.unit = unit
        self.distortion = distortion
        if threshold is None:
            measured = (encoder.check_layer(None, "alignment"), preset.unit, preset.distortion)
            threshold = preset.threshold if (self.layer, unit, distortion) == measured else 0.0
        self.threshold = threshold
        self.too_long = too_long

    @property
    def signature(self) -> str:
        """Every choice that changes the links, to print beside a score."""
        return self.signature_of(self.method)

    def signature_of(self, method: str) -> str:
        """The signature of the links that :meth:`align_methods` gives for ``method``."""
        encoder = self.encoder
        revision = f" revision {encoder.revision}" if encoder.revision else ""
        parts = [
            f"bitext {__version__}",
            f"model {encoder.name}@{encoder.fingerprint}{revision}",
            encoder.dtype,
            f"layer {self.layer}",
            f"unit {self.unit}",
            f"method {method}",
            f"distortion {self.distortion:g}",
            *([f"threshold {self.threshold:g}"] if self.threshold else []),
        ]
        return " | ".join(parts)

    def align(self, pairs: Sequence[SentencePair]) -> list[Alignment]:
        """One alignment a pair, in the order given.

        :raises InputError: if a side is raw text: how to split it into words is the caller's choice
            (``bitext.text.words``, ``bitext.segmentation.segment``).
        :raises TooLongError: if a sentence has more pieces than the model takes.
        :raises TooLargeError: if one pair has more similarities than ``MAX_SIMILARITIES``.
        """
        return self.align_methods(pairs, [self.method])[self.method]

    def align_methods(
        self, pairs: Sequence[SentencePair], methods: Iterable[str]
    ) -> dict[str, list[Alignment]]:
        """The alignments of several methods, from one encoding of the sentences.

        :raises UnknownNameError: if a method does not exist.
        """
        return self._align(pairs, list(methods), first=1)

    def align_stream(
        self, pairs: Iterable[SentencePair], *, chunk: int = 256
    ) -> Iterator[Alignment]:
        """Align any number of pairs in the memory that a chunk of them takes.

        An alignment is yielded when the chunk its pair belongs to has been read and aligned. Errors
        count the pairs from the start of the stream.

        :param chunk: how many pairs are encoded together, at least 1; fewer where they are long.
        """
        if chunk < 1:
            raise InputError(f"chunk must be at least 1, got {chunk}")
        first = 1
        for batch in _chunks(pairs, chunk):
            yield from self._align(batch, [self.method], first=first)[self.method]
            first += len(batch)

    def _align(
        self, pairs: Sequence[SentencePair], methods: Sequence[str], *, first: int
    ) -> dict[str, list[Alignment]]:
        """Align ``pairs``, which errors count from ``first``."""
        for method in methods:
            _check_method(method)
        found: dict[str, list[Alignment]] = {method: [] for method in methods}
        sources, targets = self._encode(pairs, first)
        for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=first):
            compared = self._compare(source, target, number)
            for method, alignments in found.items():
                if compared is None:
                    alignments.append(Alignment())
                else:
                    links = MATCHERS[method](compared)
                    joined = _join_words(links, compared, source.word_of, target.word_of)
                    alignments.append(joined.above(self.threshold) if self.threshold else joined)
        return found

    def _encode(
        self, pairs: Sequence[SentencePair], first: int
    ) -> tuple[list[_Units], list[_Units]]:
        """The units of all source sides and of all target sides, encoded in one call."""
        sources = [_words(pair, "source", number) for number, pair in enumerate(pairs, first)]
        targets = [_words(pair, "target", number) for number, pair in enumerate(pairs, first)]
        try:
            units = self._units([*sources, *targets])
        except TooLongError as error:
            side, number = divmod(error.sentence, len(pairs))
            name = ("source", "target")[side]
            raise error.called(f"pair {first + number}, {name}") from None
        return units[: len(pairs)], units[len(pairs) :]

    def _units(self, sentences: Sequence[Sequence[str]]) -> list[_Units]:
        if self.unit == "piece":
            pieces = self.encoder.pieces(sentences, layer=self.layer, too_long=self.too_long)
            return [_Units(p.vectors, p.word_of) for p in pieces]
        words = self.encoder.words(sentences, layer=self.layer, too_long=self.too_long)
        present = [np.flatnonzero(vectors.any(axis=1)) for vectors in words]
        return [_Units(v[kept], kept) for v, kept in zip(words, present, strict=True)]

    def _compare(self, source: _Units, target: _Units, number: int) -> Similarity | None:
        """The similarities of pair ``number``, or nothing where a side has no units."""
        rows, columns = len(source.vectors), len(target.vectors)
        if not rows or not columns:
            return None
        if rows * columns > MAX_SIMILARITIES:
            raise TooLargeError(
                f"pair {number}: {rows} by {columns} {self.unit}s are more than the "
                f"{MAX_SIMILARITIES} similarities that are compared at once"
            )
        compared = similarity(source.vectors, target.vectors)
        if not np.isfinite(compared).all():
            raise InputError(
                f"pair {number}: model '{self.encoder.name}' gives numbers that are not finite "
                f"at layer {self.layer}"
            )
        return distort(compared, self.distortion)


def check_choices(
    *, method: str | None, unit: str | None, distortion: float | None, threshold: float | None
) -> None:
    """Refuse what no encoder could make right, before one is loaded.

    :raises UnknownNameError: if method or unit does not exist.
    :raises InputError: if ``distortion`` or ``threshold`` is not in [0, 1].
    """
    if method is not None:
        _check_method(method)
    if unit is not None and unit not in UNITS:
        raise UnknownNameError(choose_from("unit", unit, UNITS))
    for name, share in (("distortion", distortion), ("threshold", threshold)):
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"{name} must be from 0 to 1, got {share:g}")


def _check_method(method: str) -> None:
    if method not in MATCHERS:
        raise UnknownNameError(choose_from("method", method, MATCHERS))


def _words(pair: SentencePair, side: str, number: int) -> Sequence[str]:
    words = pair.source if side == "source" else pair.target
    if isinstance(words, str):
        raise InputError(f"pair {number}: the {side} is raw text; split it into words first")
    return words


def _join_words(
    links: Links,
    compared: Similarity,
    source_of: NDArray[np.int64],
    target_of: NDArray[np.int64],
) -> Alignment:
    """Links of units to links of the words they belong to, each with its mean similarity."""
    rows, columns = np.nonzero(links)
    if not len(rows):
        return Alignment()
    width = int(target_of[-1]) + 1
    keys, which = np.unique(source_of[rows] * width + target_of[columns], return_inverse=True)
    sums = np.bincount(which, weights=compared[rows, columns])
    # Rounding may leave a cosine a little above 1.
    scores = np.clip(sums / np.bincount(which), 0.0, 1.0)
    sources, targets = np.divmod(keys, width)
    joined = tuple(zip(sources.tolist(), targets.tolist(), strict=True))
    return Alignment(joined, tuple(scores.tolist()))


def _chunks(pairs: Iterable[SentencePair], size: int) -> Iterator[list[SentencePair]]:
    """Lists of ``size`` pairs, or of fewer with ``CHUNK_WORDS`` words."""
    chunk: list[SentencePair] = []
    words = 0
    for pair in pairs:
        chunk.append(pair)
        words += len(pair.source) + len(pair.target)
        if len(chunk) >= size or words >= CHUNK_WORDS:
            yield chunk
            chunk, words = [], 0
    if chunk:
        yield chunk
