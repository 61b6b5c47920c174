"""What a bitext itself tells of which words translate each other, added to what the model sees.

A statistical aligner (``encoders/statistics/lexicon.py``) counts how the words of a whole corpus
meet; a model sees each pair as if it were the first. The two kinds of evidence add up: to each
similarity comes a weight times how probable the link is by the corpus, ``sqrt(p q)`` of the two
directions' probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.types import SentencePair
from encoders.statistics.cells import Longs, UnitBitext
from encoders.statistics.lexicon import UnitLinks, align_units, stems_of

LEAST_PROBABLE = 0.05
"""Links less probable than this in both directions together add nothing."""


class CorpusPrior:
    """How probable each link of each pair of a corpus is, by the corpus alone.

    The whole corpus is in memory while it is learnt from: about ten bytes for each source word and
    target word that stand in one pair, and afterwards a few for each probable link.
    """

    def __init__(self, links: UnitLinks) -> None:
        self._links = links

    @classmethod
    def learn(cls, pairs: Iterable[SentencePair], *, iterations: int = 5) -> CorpusPrior:
        """Count the words of ``pairs``, lower-cased.

        :param pairs: both sides lists of words.
        :param iterations: passes of expectation maximisation.
        """
        numbers: dict[str, int] = {}
        sides: tuple[list[list[int]], list[list[int]]] = ([], [])
        for pair in pairs:
            for words, side in zip((pair.source, pair.target), sides, strict=True):
                side.append([numbers.setdefault(word.lower(), len(numbers)) for word in words])
        bitext = UnitBitext(*_joined(sides[0]), *_joined(sides[1]))
        return cls(
            align_units(
                bitext,
                stems=stems_of(list(numbers)),
                iterations=iterations,
                threshold=LEAST_PROBABLE**2,
                beside=1,
            )
        )

    def __len__(self) -> int:
        return len(self._links.offsets) - 1

    def of(self, number: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """How probable each link of pair ``number``, from 0, is.

        :param shape: its source words and target words.
        :raises InputError: if the corpus has no such pair.
        """
        if not 0 <= number < len(self):
            raise InputError(
                f"the prior was learnt from {len(self)} pairs; there is no {number + 1}"
            )
        span = slice(self._links.offsets[number], self._links.offsets[number + 1])
        found = np.zeros(shape, dtype=np.float32)
        at = self._links.source[span], self._links.target[span]
        found[at] = np.sqrt(self._links.weight[span].astype(np.float32))
        return found


def _joined(sentences: list[list[int]]) -> tuple[NDArray[np.int32], Longs]:
    offsets = np.cumsum([0, *map(len, sentences)], dtype=np.int64)
    return np.array([unit for one in sentences for unit in one], dtype=np.int32), offsets
