"""Aligner: sentence pairs to alignments, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from aligners.chunks import chunked
from aligners.comparison import Compared, Numbers, Prior, Units
from aligners.detail import PairDetail, detail_of
from aligners.matching import Links
from aligners.methods import Method
from aligners.null import keep_decided
from aligners.similarity import SIMILARITIES, Vectors, distort
from aligners.similarity import similarity as similarity_of
from aligners.windows import compare_windows
from bitext import __version__
from bitext.errors import InputError, TooLargeError, TooLongError, UnknownNameError, choose_from
from bitext.types import Alignment, SentencePair

if TYPE_CHECKING:
    from encoders.encoder import Encoder

UNITS = ("piece", "word")
MAX_SIMILARITIES = 25_000_000
"""Similarities of one pair that are held at once, such as 5000 by 5000; about 1 GB at the peak."""


class Aligner:
    """Aligns the words of sentence pairs by the similarity of their vectors in one encoder.

    Each side of a pair is a list of words. A side without words gives no links, and a word without
    pieces (an empty string, a space) gets none: for the matcher it is not there.

    With ``unit="piece"`` the pieces of words are matched and two words are linked if any of their
    pieces are; the link scores the mean similarity of its linked pieces. With ``unit="word"`` the
    words are matched, each by the mean of its pieces' vectors. Threads may share an aligner.

    What is left ``None`` is what the model's preset says. Its threshold was measured with its own
    layer, unit, similarity and distortion: where one of them is another, the threshold is 0.

    :param method: one of ``MATCHERS``, with settings or without: ``softmax:temperature=0.1``.
    :param layer: whose hidden states are compared, 0 (embeddings) to ``encoder.layers``.
    :param unit: one of ``UNITS``.
    :param similarity: one of ``SIMILARITIES``: what methods look at. Links always score cosines.
    :param distortion: how much distant positions count less, 0 (not at all) to 1.
    :param threshold: links that score less are dropped, 0 (none) to 1.
    :param null_entropy: links less decided than this are dropped, 0 to 1 (none), see
        ``aligners/null.py``.
    :param prior_weight: of the priors that :meth:`align` is given, 0 to 1; 0.1 is a good one.
    :param too_long: what to do with a sentence that is too long for the model: ``error``, or
        ``windows``, which aligns such a pair part by part (``aligners/windows.py``), also where it
        is only longer than the lengths that the preset says the model does well at.
    :raises UnknownNameError: if method, layer or unit does not exist.
    :raises InputError: if a setting of the method has a wrong value, or distortion, threshold or
        null entropy is not in [0, 1].
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        method: str | None = None,
        layer: int | None = None,
        unit: str | None = None,
        similarity: str | None = None,
        distortion: float | None = None,
        threshold: float | None = None,
        null_entropy: float | None = None,
        prior_weight: float = 0.0,
        too_long: str = "error",
    ) -> None:
        check_choices(
            method=method,
            unit=unit,
            similarity=similarity,
            distortion=distortion,
            threshold=threshold,
            null_entropy=null_entropy,
            prior_weight=prior_weight,
        )
        preset = encoder.preset.alignment
        self.encoder = encoder
        self.method = str(Method.parse(preset.method if method is None else method))
        self.layer = encoder.check_layer(layer, "alignment")
        self.unit = preset.unit if unit is None else unit
        self.similarity = preset.similarity if similarity is None else similarity
        self.distortion = preset.distortion if distortion is None else distortion
        self.temperature = preset.temperature
        own = (self.layer, self.unit, self.similarity, self.distortion)
        measured = encoder.check_layer(None, "alignment"), preset.unit, preset.similarity
        as_measured = own == (*measured, preset.distortion)
        if threshold is None:
            threshold = preset.threshold if as_measured else 0.0
        if null_entropy is None:
            null_entropy = preset.null_entropy if as_measured else 1.0
        self.threshold = threshold
        self.null_entropy = null_entropy
        self.prior_weight = prior_weight
        self.too_long = too_long
        self.window = min(encoder.max_pieces, preset.window or encoder.max_pieces)

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
            *([f"similarity {self.similarity}"] if self.similarity != "cosine" else []),
            f"distortion {self.distortion:g}",
            *([f"threshold {self.threshold:g}"] if self.threshold else []),
            *([f"corpus prior {self.prior_weight:g}"] if self.prior_weight else []),
            *([f"null entropy {self.null_entropy:g}"] if self.null_entropy < 1 else []),
            *([f"windows from {self.window} pieces"] if self.too_long == "windows" else []),
        ]
        return " | ".join(parts)

    def align(
        self, pairs: Sequence[SentencePair], *, priors: Sequence[Prior] | None = None
    ) -> list[Alignment]:
        """One alignment a pair, in the order given.

        :param priors: how probable each link is by other evidence (:mod:`aligners.prior`), one
            matrix of shape (source words, target words) a pair; ``prior_weight`` times it is added
            to the similarities that methods look at.
        :raises InputError: if a side is raw text: how to split it into words is the caller's choice
            (``bitext.text.words``, ``bitext.segmentation.segment``).
        :raises TooLongError: if a sentence has more pieces than the model takes.
        :raises TooLargeError: if one pair has more similarities than ``MAX_SIMILARITIES``.
        """
        return self.align_methods(pairs, [self.method], priors=priors)[self.method]

    def align_methods(
        self,
        pairs: Sequence[SentencePair],
        methods: Iterable[str],
        *,
        priors: Sequence[Prior] | None = None,
        first: int = 1,
    ) -> dict[str, list[Alignment]]:
        """The alignments of several methods, from one encoding of the sentences.

        :param priors: as in :meth:`align`.
        :param first: what errors call the first pair.
        :raises UnknownNameError: if a method does not exist.
        """
        chosen = {name: Method.parse(name) for name in methods}
        compared = self._compare_all(pairs, first, priors)
        return {name: self._choose(method, compared) for name, method in chosen.items()}

    def details(
        self,
        pairs: Sequence[SentencePair],
        methods: Iterable[str] | None = None,
        *,
        priors: Sequence[Prior] | None = None,
        first: int = 1,
    ) -> list[PairDetail]:
        """Similarities, probabilities and null words beside the alignments, a pair each.

        :param methods: by default the aligner's own.
        :param priors: as in :meth:`align`.
        :param first: what errors call the first pair.
        """
        chosen = {name: Method.parse(name) for name in methods or [self.method]}
        compared = self._compare_all(pairs, first, priors)
        found = {name: self._choose(method, compared) for name, method in chosen.items()}
        return [
            detail_of(
                one,
                (len(pair.source), len(pair.target)),
                {name: alignments[number] for name, alignments in found.items()},
                self.temperature,
            )
            for number, (pair, one) in enumerate(zip(pairs, compared, strict=True))
        ]

    def align_stream(
        self, pairs: Iterable[SentencePair], *, chunk: int = 256
    ) -> Iterator[Alignment]:
        """Align any number of pairs in the memory that a chunk of them takes.

        An alignment is yielded when the chunk its pair belongs to has been read and aligned. Errors
        count the pairs from the start of the stream.

        :param chunk: how many pairs are encoded together, at least 1; fewer where they are long.
        """
        first = 1
        for batch in chunked(pairs, chunk, lambda pair: pair):
            yield from self.align_methods(batch, [self.method], first=first)[self.method]
            first += len(batch)

    def _choose(self, method: Method, compared: Sequence[Compared | None]) -> list[Alignment]:
        """The alignments of one method; none where a side has no units."""
        links = iter(method.match([one.weights for one in compared if one is not None]))
        return [Alignment() if one is None else self._keep(one, next(links)) for one in compared]

    def _keep(self, compared: Compared, links: Links) -> Alignment:
        """The links that are decided and similar enough, between words."""
        if self.null_entropy < 1:
            links = keep_decided(links, compared.similarity, self.null_entropy)
        alignment = compared.alignment(links)
        return alignment.above(self.threshold) if self.threshold else alignment

    def _compare_all(
        self, pairs: Sequence[SentencePair], first: int, priors: Sequence[Prior] | None
    ) -> list[Compared | None]:
        """The similarities of every pair; nothing where a side has no units."""
        long = self._long_places(pairs, first) if self.too_long == "windows" else set()
        nothing = SentencePair((), ())
        short = [nothing if place in long else pair for place, pair in enumerate(pairs)]
        compared = self._compare_whole(short, first)
        for place in long:
            compared[place] = self._compare_long(pairs[place], first + place)
        if priors is None:
            return compared
        return [
            None if one is None else one.with_prior(prior, self.prior_weight)
            for one, prior in zip(compared, priors, strict=True)
        ]

    def _long_places(self, pairs: Sequence[SentencePair], first: int) -> set[int]:
        """Where the pairs are that must be aligned part by part."""
        counts = self.encoder.piece_counts(_sides(pairs, first))
        return {place % len(pairs) for place, n in enumerate(counts) if n > self.window}

    def _compare_long(self, pair: SentencePair, number: int) -> Compared | None:
        source, target = (self._words_alone(side) for side in _sides([pair], number))
        rough = self._compare(source, target, number)
        if rough is None:
            return None
        return compare_windows(pair, rough, lambda parts: self._compare_whole(parts, number))

    def _words_alone(self, words: Sequence[str]) -> Units:
        """The units of words without context: what a place in a long text changes nothing of."""
        pieces = self.encoder.pieces([[word] for word in words], layer=0, too_long=self.too_long)
        vectors = np.concatenate([one.vectors for one in pieces])
        lengths = [len(one.vectors) for one in pieces]
        return self._units_of(vectors, np.repeat(np.arange(len(words)), lengths), len(words))

    def _compare_whole(self, pairs: Sequence[SentencePair], first: int) -> list[Compared | None]:
        sources, targets = self._encode(pairs, first)
        numbered = enumerate(zip(sources, targets, strict=True), start=first)
        return [self._compare(source, target, number) for number, (source, target) in numbered]

    def _encode(self, pairs: Sequence[SentencePair], first: int) -> tuple[list[Units], list[Units]]:
        """The units of all source sides and of all target sides, encoded in one call."""
        sides = _sides(pairs, first)
        try:
            pieces = self.encoder.pieces(sides, layer=self.layer, too_long=self.too_long)
        except TooLongError as error:
            side, number = divmod(error.sentence, len(pairs))
            name = ("source", "target")[side]
            raise error.called(f"pair {first + number}, {name}") from None
        units = [self._units_of(*one, len(side)) for one, side in zip(pieces, sides, strict=True)]
        return units[: len(pairs)], units[len(pairs) :]

    def _units_of(self, vectors: Vectors, word_of: Numbers, words: int) -> Units:
        from encoders.pooling import pool_words  # here: it brings torch, which takes seconds

        if self.unit == "piece":
            return Units(vectors, word_of, words)
        present = np.unique(word_of)
        pooled = pool_words(vectors, word_of, words, "mean")[present]
        return Units(pooled, present, words)

    def _compare(self, source: Units, target: Units, number: int) -> Compared | None:
        """The similarities of pair ``number``, or nothing where a side has no units."""
        rows, columns = len(source.vectors), len(target.vectors)
        if not rows or not columns:
            return None
        if rows * columns > MAX_SIMILARITIES:
            raise TooLargeError(
                f"pair {number}: {rows} by {columns} {self.unit}s are more than the "
                f"{MAX_SIMILARITIES} similarities that are compared at once"
            )
        cosines = similarity_of(source.vectors, target.vectors)
        if not np.isfinite(cosines).all():
            raise InputError(
                f"pair {number}: model '{self.encoder.name}' gives numbers that are not finite "
                f"at layer {self.layer}"
            )
        scored = weights = distort(cosines, self.distortion)
        if self.similarity != "cosine":
            weights = SIMILARITIES[self.similarity](source.vectors, target.vectors)
            weights = distort(weights, self.distortion)
        words = source.words, target.words
        return Compared(weights, scored, source.word_of, target.word_of, words)


def check_choices(
    *,
    method: str | None = None,
    unit: str | None = None,
    similarity: str | None = None,
    distortion: float | None = None,
    threshold: float | None = None,
    null_entropy: float | None = None,
    prior_weight: float | None = None,
) -> None:
    """Refuse what no encoder could make right, before one is loaded.

    :raises UnknownNameError: if method, unit or similarity does not exist.
    :raises InputError: if a setting has a wrong value, or one of the others is not in [0, 1].
    """
    if method is not None:
        Method.parse(method)
    for what, name, choices in (("unit", unit, UNITS), ("similarity", similarity, SIMILARITIES)):
        if name is not None and name not in choices:
            raise UnknownNameError(choose_from(what, name, choices))
    shares = {
        "distortion": distortion,
        "threshold": threshold,
        "null_entropy": null_entropy,
        "prior_weight": prior_weight,
    }
    for what, share in shares.items():
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"{what} must be from 0 to 1, got {share:g}")


def _sides(pairs: Sequence[SentencePair], first: int) -> list[Sequence[str]]:
    """All source sides and then all target sides."""
    return [
        _words(pair, side, number)
        for side in ("source", "target")
        for number, pair in enumerate(pairs, first)
    ]


def _words(pair: SentencePair, side: str, number: int) -> Sequence[str]:
    words = pair.source if side == "source" else pair.target
    if isinstance(words, str):
        raise InputError(f"pair {number}: the {side} is raw text; split it into words first")
    return words
