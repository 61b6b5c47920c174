"""Texts of several sentences: paired sentence by sentence, then aligned word by word.

Words of a whole paragraph find wrong partners in other sentences of it, and its length weakens
probabilities that are shared out over all words. So the sentences are paired first, in order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import TooLongError
from bitext.segmentation import Word, segment, sentences
from bitext.types import Alignment, SentencePair

if TYPE_CHECKING:
    from aligners.aligner import Aligner

Vectors = NDArray[np.float32]

BEADS = ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (2, 2), (1, 0), (0, 1))
"""How many source and target sentences may belong together, ties to the earlier ones."""
JOIN_PENALTY = 0.05
"""What each sentence beyond one on a side costs a bead, in cosine."""


class Passage(NamedTuple):
    """A text with its words, and for each sentence how many words it has."""

    words: list[Word]
    lengths: list[int]  # words of each sentence; all of them together are ``words``
    texts: list[str]

    @classmethod
    def of(cls, text: str) -> Passage:
        """Segment a text. Words are those of the whole text, wherever sentences are cut."""
        words = segment(text)
        parts = [(start, end) for start, end in sentences(text)]
        starts = [word.start for word in words]  # in order
        counts = [bisect_left(starts, end) - bisect_left(starts, start) for start, end in parts]
        kept = [(count, text[s:e]) for count, (s, e) in zip(counts, parts, strict=True) if count]
        return cls(words, [count for count, _ in kept], [part for _, part in kept])


def align_passages(aligner: Aligner, pairs: Sequence[tuple[Passage, Passage]]) -> list[Alignment]:
    """One alignment of the words of both texts for each pair, in the order given.

    :raises TooLongError: if a sentence has more pieces than the model takes; its ``sentence`` is
        then the number of the pair, from 0.
    """
    beads = _paired(aligner, pairs)
    places: list[tuple[int, int, int]] = []  # the pair, its first source and target word
    parts: list[SentencePair] = []
    for number, (source, target) in enumerate(pairs):
        for rows, columns in beads[number]:
            places.append((number, rows[0], columns[0]))
            parts.append(SentencePair(_texts(source.words, rows), _texts(target.words, columns)))
    found: list[list[tuple[tuple[int, int], float]]] = [[] for _ in pairs]
    alignments = _aligned(aligner, parts, [number for number, _, _ in places])
    for (number, first, second), alignment in zip(places, alignments, strict=True):
        for (i, j), score in zip(alignment.links, alignment.scores, strict=True):
            found[number].append(((i + first, j + second), score))
    return [Alignment.of(scored) for scored in found]


def _aligned(
    aligner: Aligner, parts: Sequence[SentencePair], owners: Sequence[int]
) -> list[Alignment]:
    try:
        return aligner.align(parts)
    except TooLongError as error:
        side, part = divmod(error.sentence, len(parts))
        raise _too_long(error, owners[part], side) from None


def _too_long(error: TooLongError, number: int, side: int) -> TooLongError:
    name = f"pair {number + 1}, {('source', 'target')[side]}"
    return TooLongError(error.reason, sentence=number, name=name)


def _texts(words: Sequence[Word], place: tuple[int, int]) -> list[str]:
    return [word.text for word in words[slice(*place)]]


Bead = tuple[tuple[int, int], tuple[int, int]]
"""Words ``[start, end)`` of both sides that belong together."""


def _paired(aligner: Aligner, pairs: Sequence[tuple[Passage, Passage]]) -> list[list[Bead]]:
    """The beads of each pair of texts that have words on both sides."""
    sides = [side for pair in pairs for side in pair]
    texts = [text for side in sides for text in side.texts]
    if all(len(side.texts) == 1 for side in sides):
        vectors = np.zeros((len(texts), 1), np.float32)  # nothing to choose
    else:
        vectors = _vectors(aligner, texts, [n for n, side in enumerate(sides) for _ in side.texts])
    ends = np.cumsum([len(side.texts) for side in sides])
    split = np.split(vectors, ends[:-1])
    return [
        _in_words(pair_sentences(first, second, source.lengths, target.lengths), source, target)
        for (source, target), first, second in zip(pairs, split[::2], split[1::2], strict=True)
    ]


def _vectors(aligner: Aligner, texts: Sequence[str], owners: Sequence[int]) -> Vectors:
    try:
        return aligner.encoder.sentences(texts, too_long=aligner.too_long)
    except TooLongError as error:
        number, side = divmod(owners[error.sentence], 2)
        raise _too_long(error, number, side) from None


def _in_words(beads: Sequence[Bead], source: Passage, target: Passage) -> list[Bead]:
    starts = [np.concatenate(([0], np.cumsum(side.lengths))) for side in (source, target)]
    return [
        (
            (int(starts[0][i[0]]), int(starts[0][i[1]])),
            (int(starts[1][j[0]]), int(starts[1][j[1]])),
        )
        for i, j in beads
    ]


def pair_sentences(
    source: Vectors,
    target: Vectors,
    source_lengths: Sequence[int],
    target_lengths: Sequence[int],
) -> list[Bead]:
    """The sentences that belong together, both sides in order, by dynamic programming.

    A bead is worth the cosine of its two sides' vectors (of several sentences, the mean by length),
    less the mean cosine of all sentences and ``JOIN_PENALTY``, times half of its sentences. A
    sentence without a partner is worth 0 and is in no bead. One sentence each is one bead.

    :param source: unit rows, shape (source sentences, dim).
    :param target: unit rows, shape (target sentences, dim).
    """
    rows, columns = len(source), len(target)
    if not rows or not columns:
        return []
    if rows == columns == 1:
        return [((0, 1), (0, 1))]
    mean = float((source @ target.T).mean())
    heavy = source * np.asarray(source_lengths, np.float32)[:, None]
    light = target * np.asarray(target_lengths, np.float32)[:, None]
    best = np.full((rows + 1, columns + 1), -np.inf)
    best[0, 0] = 0.0
    step: dict[tuple[int, int], tuple[int, int]] = {}
    for i in range(rows + 1):
        for j in range(columns + 1):
            for m, n in BEADS:
                if i < m or j < n or best[i - m, j - n] == -np.inf:
                    continue
                worth = _worth(heavy[i - m : i], light[j - n : j], mean)
                if best[i - m, j - n] + worth > best[i, j] + 1e-9:
                    best[i, j] = best[i - m, j - n] + worth
                    step[i, j] = (m, n)
    return _path(step, rows, columns)


def _worth(source: Vectors, target: Vectors, mean: float) -> float:
    m, n = len(source), len(target)
    if not m or not n:
        return 0.0
    first, second = source.sum(axis=0), target.sum(axis=0)
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    cosine = float(first @ second) / norms if norms else 0.0
    return (cosine - mean - JOIN_PENALTY * (m + n - 2)) * (m + n) / 2


def _path(step: dict[tuple[int, int], tuple[int, int]], rows: int, columns: int) -> list[Bead]:
    beads: list[Bead] = []
    place = (rows, columns)
    while place != (0, 0):
        m, n = step[place]
        before = (place[0] - m, place[1] - n)
        if m and n:
            beads.append(((before[0], place[0]), (before[1], place[1])))
        place = before
    return beads[::-1]
