"""Everything about one aligned pair: similarities, probabilities, links, null words, its score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from aligners.comparison import Compared, WordMatrix
from aligners.probability import softmax_over
from bitext.types import Alignment


@dataclass(frozen=True, slots=True)
class PairDetail:
    """The alignments of one pair, and what they were made of.

    ``similarity`` is the cosine moved to [0, 1], of words of several pieces the highest;
    ``forward[i, j]`` is the probability that source word ``i`` is translated by target word ``j``
    rather than by another one of the sentence, ``backward[i, j]`` that target word ``j`` is by
    source word ``i``: softmax of the cosines divided by a temperature. All three have the shape
    (source words, target words); rows and columns of words without pieces are zeros.
    """

    alignments: Mapping[str, Alignment]
    similarity: WordMatrix
    forward: WordMatrix
    backward: WordMatrix

    def null_words(self, alignment: Alignment) -> tuple[list[int], list[int]]:
        """The source words and the target words that have no link."""
        rows, columns = self.similarity.shape
        linked = [{link[side] for link in alignment.links} for side in (0, 1)]
        return _others(rows, linked[0]), _others(columns, linked[1])

    def score(self, alignment: Alignment) -> float:
        """How far the two sentences translate each other, from 0 to 1, to filter pairs by.

        The mean over the words of both sides of how well each is translated: of its links the
        highest ``cosine * sqrt(forward * backward)``, 0 for a word without links. The cosine is
        there because probabilities only compare words of the other side with one another, and
        among the words of a stranger, too, one is the best. A pair without words on either side
        scores 0.
        """
        rows, columns = self.similarity.shape
        if not rows + columns:
            return 0.0
        best = np.zeros(rows), np.zeros(columns)
        for i, j in alignment.links:
            cosine = max(0.0, 2 * self.similarity[i, j] - 1)
            sure = cosine * float(np.sqrt(self.forward[i, j] * self.backward[i, j]))
            best[0][i] = max(best[0][i], sure)
            best[1][j] = max(best[1][j], sure)
        return float((best[0].sum() + best[1].sum()) / (rows + columns))


def detail_of(
    compared: Compared | None,
    shape: tuple[int, int],
    alignments: Mapping[str, Alignment],
    temperature: float,
) -> PairDetail:
    """The details of a pair of ``shape`` (source words, target words).

    :param compared: ``None`` where a side has nothing to compare.
    """
    matrices = [np.zeros(shape) for _ in range(3)]
    if compared is not None:
        similarity, rows, columns = compared.by_word()
        logits = (2 * similarity - 1) / temperature
        found = similarity, softmax_over(logits, 1), softmax_over(logits, 0)
        for matrix, part in zip(matrices, found, strict=True):
            matrix[np.ix_(rows, columns)] = part
    return PairDetail(alignments, *matrices)


def _others(count: int, linked: Iterable[int]) -> list[int]:
    return sorted(set(range(count)).difference(linked))
