"""Pairs of sentences that are translations, from two corpora or from pairs that are doubted.

A search finds the neighbourhoods of both sides, a margin scores each neighbour, a mode decides
which of them are pairs. One search serves any margin and mode: see :func:`candidates`. ::

    miner = BitextMiner(threshold=1.06)
    for match in miner.mine(source_vectors, target_vectors):
        print(match.score, source[match.source], target[match.target])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.types import Match
from retrieval.mining.margin import MARGINS, Margin
from retrieval.mining.neighbours import MEMORY, BothWays, Dtype, check_sides, nearest_both_ways
from retrieval.mining.sides import Ids, RowTable, exact_cosines

PART = 2**12
"""Given pairs whose vectors are read together."""


class Candidates(NamedTuple):
    """Pairs, one an item of each array: positions in the two corpora, and the margin of each."""

    source: Ids
    target: Ids
    score: NDArray[np.float64]

    def take(self, items: Ids | NDArray[np.bool_]) -> Candidates:
        return Candidates(self.source[items], self.target[items], self.score[items])

    def best_first(self) -> Candidates:
        """Sorted by score; of equal ones the smaller source first, then the smaller target."""
        return self.take(np.lexsort((self.target, self.source, -self.score)))

    def above(self, threshold: float | None) -> Candidates:
        """Those that score more than ``threshold``; all, if it is ``None``."""
        return self if threshold is None else self.take(self.score > threshold)


# --- modes: from the best candidate of each source, and of each target, to pairs


def forward(of_sources: Candidates, of_targets: Candidates) -> Candidates:
    """The best target of each source; a target may come often."""
    return of_sources.best_first()


def backward(of_sources: Candidates, of_targets: Candidates) -> Candidates:
    """The best source of each target; a source may come often."""
    return of_targets.best_first()


def intersection(of_sources: Candidates, of_targets: Candidates) -> Candidates:
    """Pairs of which each is the other's best."""
    mutual = of_targets.source[of_sources.target] == of_sources.source
    return of_sources.take(mutual).best_first()


def union(of_sources: Candidates, of_targets: Candidates) -> Candidates:
    """Pairs of which one at least is the other's best; no pair twice."""
    both = Candidates(
        np.concatenate([of_sources.source, of_targets.source]),
        np.concatenate([of_sources.target, of_targets.target]),
        np.concatenate([of_sources.score, of_targets.score]),
    ).best_first()
    new = np.ones(len(both.score), bool)
    new[1:] = (np.diff(both.source) != 0) | (np.diff(both.target) != 0)
    return both.take(new)


def one_to_one(of_sources: Candidates, of_targets: Candidates) -> Candidates:
    """The union from the best on, without those whose source or target had its turn already."""
    both = union(of_sources, of_targets)
    source_used, target_used = bytearray(len(of_sources.source)), bytearray(len(of_targets.target))
    kept = []
    pairs = zip(both.source.tolist(), both.target.tolist(), strict=True)
    for number, (source, target) in enumerate(pairs):
        if not source_used[source] and not target_used[target]:
            source_used[source] = target_used[target] = 1
            kept.append(number)
    return both.take(np.array(kept, np.int64))


Mode = Callable[[Candidates, Candidates], Candidates]
MODES: dict[str, Mode] = {
    "forward": forward,
    "backward": backward,
    "intersection": intersection,
    "max": one_to_one,
    "union": union,
}


# --- mining


def candidates(both: BothWays, margin: str = "ratio", mode: str = "max") -> Candidates:
    """The pairs that ``mode`` makes of the neighbourhoods, best first.

    The best candidate of a sentence is that of its neighbours with the largest margin; of equal
    ones the nearer.

    :raises UnknownNameError: if there is no such margin or mode.
    """
    measure, choose = _named("margin", MARGINS, margin), _named("mode", MODES, mode)
    if not both.forward.ids.size or not both.backward.ids.size:
        return Candidates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    sources, targets, source_scores = _best(both, measure)
    targets_too, sources_too, target_scores = _best(BothWays(both.backward, both.forward), measure)
    of_sources = Candidates(sources, targets, source_scores)
    return choose(of_sources, Candidates(sources_too, targets_too, target_scores))


@dataclass(frozen=True, kw_only=True)
class BitextMiner:
    """Finds translations among the vectors of two corpora.

    :param threshold: margins must be above it; ``None`` gives all pairs of the mode.
    :param k: neighbours of each sentence, on the other side.
    """

    margin: str = "ratio"
    k: int = 4
    mode: str = "max"
    threshold: float | None = None
    dtype: Dtype = "auto"
    device: str = "cpu"
    memory: int = MEMORY

    def __post_init__(self) -> None:
        """:raises UnknownNameError: if there is no such margin or mode."""
        _named("margin", MARGINS, self.margin)
        _named("mode", MODES, self.mode)

    def mine(
        self,
        source: RowTable,
        target: RowTable,
        *,
        checkpoint: Path | None = None,
        identity: str = "",
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Match]:
        """Pairs, best first; parameters and errors as of :func:`nearest_both_ways`."""
        both = nearest_both_ways(
            source,
            target,
            self.k,
            dtype=self.dtype,
            device=self.device,
            memory=self.memory,
            checkpoint=checkpoint,
            identity=identity,
            progress=progress,
        )
        return self.matches(both)

    def matches(self, both: BothWays) -> Iterator[Match]:
        """Pairs from neighbourhoods that were searched before, best first."""
        found = candidates(both, self.margin, self.mode).above(self.threshold)
        return map(Match, found.source.tolist(), found.target.tolist(), found.score.tolist())


def score_pairs(
    source: RowTable,
    target: RowTable,
    pairs: NDArray[np.integer] | None = None,
    *,
    k: int = 4,
    margin: str = "ratio",
    both: BothWays | None = None,
) -> NDArray[np.float64]:
    """The margin of each given pair, against the neighbourhoods of its two sentences.

    :param pairs: positions of sources and targets, shape (pairs, 2); ``None`` pairs row i with row
        i.
    :param both: the neighbourhoods, where they are there already; else those of ``k`` are searched.
    :raises UnknownNameError: if there is no such margin.
    :raises InputError: if rows should be paired with rows and are not as many, or there is no row
        of that number.
    """
    measure = _named("margin", MARGINS, margin)
    check_sides(source, target, k)
    of_source, of_target = _positions(source.shape[0], target.shape[0], pairs)
    both = both or nearest_both_ways(source, target, k)
    scores = np.empty(len(of_source))
    means = _means(both)
    for start in range(0, len(of_source), PART):
        left, right = of_source[start : start + PART], of_target[start : start + PART]
        rows = np.arange(len(left))
        cosines = exact_cosines(_rows(source, left), _rows(target, right), rows, rows)
        around = (means[0][left] + means[1][right]) / 2
        scores[start : start + PART] = measure(cosines.astype(np.float64), around)
    return scores


def _positions(sources: int, targets: int, pairs: NDArray[np.integer] | None) -> tuple[Ids, Ids]:
    if pairs is None:
        if sources != targets:
            raise InputError(f"{sources} sources and {targets} targets cannot be paired row by row")
        return np.arange(sources), np.arange(targets)
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    for name, positions, count in (
        ("source", pairs[:, 0], sources),
        ("target", pairs[:, 1], targets),
    ):
        wrong = positions[(positions < 0) | (positions >= count)]
        if len(wrong):
            raise InputError(f"there is no {name} {wrong[0]}; they count from 0 to {count - 1}")
    return pairs[:, 0], pairs[:, 1]


def _rows(vectors: RowTable, positions: Ids) -> NDArray[np.float32]:
    return np.asarray(vectors[positions], np.float32)


def _means(both: BothWays) -> list[NDArray[np.float64]]:
    """Of each sentence the mean cosine of its neighbours, for either side."""
    return [side.scores.mean(1, dtype=np.float64) for side in both]


def _best(both: BothWays, margin: Margin) -> tuple[Ids, Ids, NDArray[np.float64]]:
    """Each source, its best target, and the margin of the two."""
    means = _means(both)
    ids = both.forward.ids
    around = (means[0][:, None] + means[1][ids]) / 2
    scores = margin(both.forward.scores.astype(np.float64), around)
    queries = np.arange(len(ids))
    best = scores.argmax(1)
    return queries, ids[queries, best], scores[queries, best]


_Value = TypeVar("_Value")


def _named(what: str, table: dict[str, _Value], name: str) -> _Value:
    if name not in table:
        raise UnknownNameError(choose_from(what, name, table))
    return table[name]
