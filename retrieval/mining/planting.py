"""Known translations planted beside the corpora, to learn how well translations score there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitext.types import Neighbours
from retrieval.mining.miner import Candidates
from retrieval.mining.neighbours import BothWays

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Planted:
    """Known translations to embed and search beside the corpora, and where their rows are."""

    sources: list[str]
    targets: list[str]
    left_out: int
    """Known pairs with a side that is in the corpora already, or repeated."""
    source_count: int
    target_count: int

    @property
    def known(self) -> Ids:
        """Rows of the planted pairs, which come after those of the corpora, shape (pairs, 2)."""
        pairs = np.arange(len(self.sources))
        return np.stack([self.source_count + pairs, self.target_count + pairs], axis=1)


def plant(
    source_texts: Iterable[str], target_texts: Iterable[str], known_pairs: Iterable[tuple[str, str]]
) -> Planted:
    """Which known pairs can be planted: those of which neither side is in the corpora.

    A copy there would take the planted sentence's place. The corpora are read once, as they come.
    """
    pairs = list(known_pairs)
    wanted = tuple({pair[side] for pair in pairs} for side in (0, 1))
    counts, there = [], []
    for texts, sought in zip((source_texts, target_texts), wanted, strict=True):
        count, met = 0, set()
        for text in texts:
            count += 1
            if text in sought:
                met.add(text)
        counts.append(count)
        there.append(met)
    kept: list[tuple[str, str]] = []
    for source, target in pairs:
        if source not in there[0] and target not in there[1]:
            kept.append((source, target))
            there[0].add(source)
            there[1].add(target)
    sources, targets = ([pair[side] for pair in kept] for side in (0, 1))
    return Planted(sources, targets, len(pairs) - len(kept), counts[0], counts[1])


def without_planted(found: Candidates, sources: int, targets: int) -> Candidates:
    """The candidates between the corpora's own ``sources`` and ``targets`` sentences."""
    return found.take((found.source < sources) & (found.target < targets))


def first_neighbours(both: BothWays, k: int) -> BothWays:
    """The ``k`` nearest of more."""
    return BothWays(*(Neighbours(near.scores[:, :k], near.ids[:, :k]) for near in both))
