"""The units of one sentence pair, how similar they are, and from links of units to links of words.

Units are pieces, or words that have any: what a matcher sees. A word without pieces is not there
for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aligners.matching import Links
from aligners.similarity import Similarity, Vectors
from bitext.errors import MismatchError
from bitext.types import Alignment

Numbers = NDArray[np.int64]
Prior = NDArray[np.float32]
"""How probable each link of a pair is, shape (source words, target words)."""
WordMatrix = NDArray[np.float64]
"""Shape (source words, target words)."""


@dataclass(frozen=True, slots=True)
class Units:
    """What is matched on one side of a pair."""

    vectors: Vectors
    word_of: Numbers  # the word each unit belongs to, ascending, shape (units,)
    words: int  # of the side, those without units included


@dataclass(frozen=True, slots=True)
class Compared:
    """A pair whose sides both have units.

    ``weights`` is what matchers look at; ``similarity`` is what links score: the cosines, moved to
    [0, 1] and lowered by distortion. Both have the shape (source units, target units) and are the
    same matrix where cosines are matched.
    """

    weights: Similarity
    similarity: Similarity
    source_of: Numbers  # the word each row belongs to, ascending
    target_of: Numbers  # the word each column belongs to
    words: tuple[int, int]  # of either side, those without units included

    def alignment(self, links: Links) -> Alignment:
        """Links of units to links of their words, each with its mean similarity."""
        rows, columns = np.nonzero(links)
        if not len(rows):
            return Alignment()
        width = self.words[1]
        keys, which = np.unique(
            self.source_of[rows] * width + self.target_of[columns], return_inverse=True
        )
        sums = np.bincount(which, weights=self.similarity[rows, columns])
        # Rounding may leave a cosine a little above 1.
        scores = np.clip(sums / np.bincount(which), 0.0, 1.0)
        sources, targets = np.divmod(keys, width)
        joined = tuple(zip(sources.tolist(), targets.tolist(), strict=True))
        return Alignment(joined, tuple(scores.tolist()))

    def with_prior(self, prior: Prior, weight: float) -> Compared:
        """``weight`` times a matrix of words added to what matchers look at.

        :raises MismatchError: if it has not the shape (source words, target words).
        """
        if prior.shape != self.words:
            raise MismatchError(f"a pair of {self.words} words has a prior of shape {prior.shape}")
        added = prior[np.ix_(self.source_of, self.target_of)]
        return replace(self, weights=self.weights + np.float32(weight) * added)

    def by_word(self) -> tuple[WordMatrix, Numbers, Numbers]:
        """The highest similarity of each two words' units, of words that have units.

        :return: shape (source words, target words), and which words its rows and columns are.
        """
        rows, row_starts = np.unique(self.source_of, return_index=True)
        columns, column_starts = np.unique(self.target_of, return_index=True)
        by_row = np.maximum.reduceat(self.similarity, row_starts, axis=0)
        highest = np.maximum.reduceat(by_row, column_starts, axis=1)
        return np.clip(highest.astype(np.float64), 0.0, 1.0), rows, columns
