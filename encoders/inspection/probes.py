"""How good an encoder is at word alignment and retrieval, measured on small held-out sets.

``bitext inspect`` looks at every layer with them, and training at one, to know when to stop. The
links are those of ``aligners.Aligner`` with method ``argmax``; the accuracies are 1 minus the
errors of ``bitext evaluate retrieval``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from bitext import __version__
from bitext.errors import InputError, MismatchError, TooLongError, UnknownNameError, choose_from
from bitext.scoring import AlignmentScore, evaluate
from bitext.types import Alignment, GoldAlignment, SentencePair
from encoders.encoder import Encoder, Pieces
from encoders.links import distort, mutual_argmax, mutual_probability, similarities
from encoders.pooling import Vectors, centre, pool_words

UNITS = ("piece", "word")
LEAST_PROBABLE = 0.05
"""Links less probable than this are not looked at: no threshold would be so low."""
CHUNK = 64
"""Pairs encoded and linked together: the vectors of all their layers are in memory at once."""
ROWS = 1024
"""Sentences compared at once with all those of the other side."""


# --- word alignment


def alignment_score(
    encoder: Encoder,
    pairs: Sequence[SentencePair],
    gold: Sequence[GoldAlignment],
    *,
    layer: int | None = None,
    unit: str = "word",
    distortion: float = 0.0,
    threshold: float = 0.0,
    too_long: str = "error",
) -> AlignmentScore:
    """Score the mutual-argmax links of one layer against gold.

    :param pairs: both sides lists of words.
    :param layer: ``None`` for the model's preset.
    :param unit: one of ``UNITS``: what is matched, as in ``aligners.Aligner``.
    :param distortion: how much distant positions count less, 0 to 1.
    :param threshold: links that score less are dropped.
    :raises InputError: if gold does not have one alignment a pair, or a side is raw text.
    :raises TooLongError: if a sentence has more pieces than the model takes.
    """
    layer = encoder.check_layer(layer, "alignment")
    found = align_layers(
        encoder, pairs, layers=(layer,), units=(unit,), distortion=distortion, too_long=too_long
    )[layer, unit]
    parts = [
        f"bitext {__version__}",
        f"model {encoder.name}@{encoder.fingerprint}",
        encoder.dtype,
        f"layer {layer}",
        f"unit {unit}",
        "method argmax",
        f"distortion {distortion:g}",
        *([f"threshold {threshold:g}"] if threshold else []),
    ]
    kept = [alignment.above(threshold) for alignment in found]
    return evaluate(kept, gold, signature=" | ".join(parts))


def align_layers(
    encoder: Encoder,
    pairs: Sequence[SentencePair],
    *,
    layers: Sequence[int],
    units: Sequence[str] = UNITS,
    distortion: float = 0.0,
    temperature: float | None = None,
    too_long: str = "error",
    progress: Callable[[int], None] | None = None,
) -> dict[tuple[int, str], list[Alignment]]:
    """The mutual-argmax links of several layers and units, from one encoding of the sentences.

    :param temperature: instead, all links that are at least ``LEAST_PROBABLE`` in both directions
        together, with that probability for a score (the method ``softmax``).
    :param progress: called with the number of sentences done since the last call.
    :return: by (layer, unit), one alignment a pair, in the order given.
    :raises UnknownNameError: if a layer or unit does not exist.
    """
    for unit in units:
        if unit not in UNITS:
            raise UnknownNameError(choose_from("unit", unit, UNITS))
    found: dict[tuple[int, str], list[Alignment]] = {(n, u): [] for n in layers for u in units}
    for start in range(0, len(pairs), CHUNK):
        sides = [_words(pair, start + i) for i, pair in enumerate(pairs[start : start + CHUNK], 1)]
        sources, targets = [source for source, _ in sides], [target for _, target in sides]
        pieces = _encode(encoder, [*sources, *targets], layers, too_long, start)
        for (layer, unit), alignments in found.items():
            units_of_sides = [
                _units(p, len(words), unit)
                for p, words in zip(pieces[layer], [*sources, *targets], strict=True)
            ]
            where = f"model '{encoder.name}' at layer {layer}"
            alignments += _link(units_of_sides, len(sides), distortion, temperature, where)
        if progress is not None:
            progress(2 * len(sides))
    return found


@dataclass(frozen=True, slots=True)
class _Units:
    """What is matched on one side of a pair, shape (units, dim), and the word each belongs to."""

    vectors: Vectors
    word_of: NDArray[np.int64]


def _words(pair: SentencePair, number: int) -> tuple[Sequence[str], Sequence[str]]:
    if isinstance(pair.source, str) or isinstance(pair.target, str):
        raise InputError(f"pair {number} is raw text; split both sides into words first")
    return pair.source, pair.target


def _encode(
    encoder: Encoder,
    sentences: Sequence[Sequence[str]],
    layers: Sequence[int],
    too_long: str,
    before: int,
) -> dict[int, list[Pieces]]:
    try:
        return encoder.pieces_of_layers(sentences, layers=layers, too_long=too_long)
    except TooLongError as error:
        side, number = divmod(error.sentence, len(sentences) // 2)
        raise error.called(f"pair {before + number + 1}, {('source', 'target')[side]}") from None


def _units(pieces: Pieces, words: int, unit: str) -> _Units:
    if unit == "piece":
        return _Units(pieces.vectors, pieces.word_of)
    vectors = pool_words(pieces.vectors, pieces.word_of, words, "mean")
    present = np.flatnonzero(vectors.any(axis=1))
    return _Units(vectors[present], present)


def _link(
    sides: Sequence[_Units], pairs: int, distortion: float, temperature: float | None, where: str
) -> list[Alignment]:
    """Link ``sides``, the sources of all pairs and then their targets."""
    source, source_mask, source_words = _padded(sides[:pairs])
    target, target_mask, target_words = _padded(sides[pairs:])
    compared = similarities(source, target)
    if not compared.isfinite().all():
        raise InputError(f"{where} gives numbers that are not finite")
    compared = distort(compared, source_mask, target_mask, distortion)
    if temperature is None:
        links = mutual_argmax(compared, source_mask, target_mask)
    else:
        compared = mutual_probability(compared, source_mask, target_mask, temperature)
        links = compared >= LEAST_PROBABLE
    # Units are joined to words by one-hot matrices; a word link scores its unit links' mean.
    counts = source_words.transpose(1, 2) @ links.double() @ target_words
    sums = source_words.transpose(1, 2) @ (compared.double() * links) @ target_words
    scores = (sums / counts.clamp(min=1)).clamp(0, 1)
    found: list[list[tuple[tuple[int, int], float]]] = [[] for _ in range(pairs)]
    at = counts.nonzero()
    for (pair, i, j), score in zip(at.tolist(), scores[tuple(at.T)].tolist(), strict=True):
        found[pair].append(((i, j), score))
    return [Alignment.of(scored) for scored in found]


def _padded(sides: Sequence[_Units]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors (pairs, units, dim), their mask (pairs, units), and the words they belong to.

    The last is one-hot, of shape (pairs, units, words), and all zeros at padding.
    """
    vectors = pad_sequence([torch.from_numpy(side.vectors) for side in sides], batch_first=True)
    lengths = torch.tensor([len(side.vectors) for side in sides])
    mask = torch.arange(vectors.shape[1]) < lengths[:, None]
    words = 1 + max((int(side.word_of[-1]) for side in sides if len(side.word_of)), default=0)
    belongs = torch.zeros(*mask.shape, words, dtype=torch.float64)
    for row, side in enumerate(sides):
        belongs[row, torch.arange(len(side.word_of)), torch.from_numpy(side.word_of)] = 1
    return vectors, mask, belongs


# --- retrieval


@dataclass(frozen=True, slots=True)
class RetrievalAccuracy:
    """The share of sentences whose translation is the nearest, of each direction.

    ``forward`` looks for source sentences among the target ones, ``backward`` the other way round;
    centred, each side has its own mean taken away.
    """

    pairs: int
    raw_forward: float
    raw_backward: float
    centred_forward: float
    centred_backward: float

    @property
    def raw(self) -> float:
        """The mean of both directions."""
        return (self.raw_forward + self.raw_backward) / 2

    @property
    def centred(self) -> float:
        """The mean of both directions."""
        return (self.centred_forward + self.centred_backward) / 2


def retrieval_accuracy(source: Vectors, target: Vectors) -> RetrievalAccuracy:
    """How often row i finds row i of the other side, by cosine, among all of its rows.

    Of equal cosines the earlier row is the nearer. Only the same row counts: of a sentence that
    stands twice one copy is always missed.

    :param source: unit rows, shape (pairs, dim), not centred; so ``target``.
    :raises MismatchError: if they are not equally many, or there is none.
    """
    raw = Neighbourhood.of(source, target)
    centred = Neighbourhood.of(*centred_sides(source, target))
    return RetrievalAccuracy(
        len(source), raw.forward, raw.backward, centred.forward, centred.backward
    )


def encoder_retrieval(
    encoder: Encoder,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    layer: int | None = None,
    pooling: str = "mean",
    too_long: str = "error",
) -> RetrievalAccuracy:
    """:func:`retrieval_accuracy` of the vectors that one layer gives.

    :param sources: line i translates line i of ``targets``.
    :param layer: ``None`` for the model's preset.
    """
    source, target = (
        encoder.sentences(texts, layer=layer, pooling=pooling, too_long=too_long)
        for texts in (sources, targets)
    )
    return retrieval_accuracy(source, target)


def centred_sides(source: Vectors, target: Vectors) -> tuple[Vectors, Vectors]:
    """Both sides without their own mean, unit rows again."""
    return centre(source, source.mean(axis=0)), centre(target, target.mean(axis=0))


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The cosines of true pairs and, in both directions, of the best wrong neighbours.

    All of shape (pairs,). A side of one sentence has no wrong neighbour: its cosine is -inf.
    """

    true: Vectors
    wrong_forward: Vectors
    wrong_backward: Vectors
    forward: float
    """The share of source sentences whose translation is the nearest."""
    backward: float

    @classmethod
    def of(cls, source: Vectors, target: Vectors) -> Neighbourhood:
        """:param source: unit rows, shape (pairs, dim); so ``target``."""
        if len(source) != len(target) or not len(source):
            raise MismatchError(
                f"{len(source)} source sentences cannot be compared with {len(target)} target ones"
            )
        pairs = len(source)
        true = np.empty(pairs, np.float32)
        nearest = np.empty(pairs, np.int64)
        wrong = np.empty(pairs, np.float32)
        best = np.full(pairs, -np.inf, np.float32)  # of each target, whatever its source
        best_at = np.zeros(pairs, np.int64)
        wrong_back = np.full(pairs, -np.inf, np.float32)
        for start in range(0, pairs, ROWS):
            cosines = source[start : start + ROWS] @ target.T
            rows = np.arange(len(cosines))
            nearest[start + rows] = cosines.argmax(axis=1)
            at = cosines.argmax(axis=0)
            higher = cosines[at, np.arange(pairs)] > best
            best_at[higher] = start + at[higher]
            best = np.maximum(best, cosines[at, np.arange(pairs)])
            true[start + rows] = cosines[rows, start + rows]
            cosines[rows, start + rows] = -np.inf
            wrong[start + rows] = cosines.max(axis=1)
            wrong_back = np.maximum(wrong_back, cosines.max(axis=0))
        every = np.arange(pairs)
        forward, backward = float((nearest == every).mean()), float((best_at == every).mean())
        return cls(true, wrong, wrong_back, forward, backward)
