"""Candidates counted by the bin of their score: all, those of known pairs, of deprived ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.mining.deprivation import deprive
from retrieval.mining.miner import Candidates, candidates
from retrieval.mining.neighbours import BothWays
from retrieval.mining.planting import without_planted

SAMPLE = 20_000
"""Candidates that are taken away, at most."""
SHARE = 0.1
"""Candidates that are taken away at once, at most: half of them by their target."""
BINS = 200
"""Thresholds looked at: quantiles of the candidates' scores."""
GROUPS = 20
"""Bins for the probability that a candidate is right."""

Ids = NDArray[np.int64]
Numbers = NDArray[np.float64]


class Lost(NamedTuple):
    """What one side's deprived sentences found instead."""

    deprived: Numbers  # (groups,): sentences, by the score of what was taken away
    found: Numbers  # (groups, bins): their candidates, by score


def deprive_some(
    both: BothWays, own: Candidates, edges: Numbers, k: int, margin: str, mode: str, seed: int
) -> tuple[Lost, Lost]:
    """Take candidates away, some at a time: of half the target, so that the source is deprived."""
    random = np.random.default_rng([seed, 4])
    order = random.permutation(len(own.score))[:SAMPLE]
    rounds = max(1, int(np.ceil(len(order) / (SHARE * len(own.score)))))
    shape = (GROUPS, len(edges))
    lost = [Lost(np.zeros(GROUPS), np.zeros(shape)) for _ in range(2)]
    for part in np.array_split(order, rounds):
        taken, robbed = np.array_split(part, 2)  # by their target, by their source
        left = deprive(both, k, sources=own.source[robbed], targets=own.target[taken])
        found = candidates(left.both, margin, mode)
        rows = (left.sources[found.source], left.targets[found.target])
        place = place_of(found.score, edges)
        for side, chosen in enumerate((taken, robbed)):
            group = np.full(len(both[side].ids), -1)
            group[own[side][chosen]] = group_of(own.score[chosen], edges)
            group[own[side][(robbed, taken)[side]]] = -1  # it is not there itself
            lost[side].deprived[:] += np.bincount(group[group >= 0], minlength=GROUPS)
            met = (group[rows[side]] >= 0) & (place >= 0)
            np.add.at(lost[side].found, (group[rows[side]][met], place[met]), 1)
    return lost[0], lost[1]


@dataclass(frozen=True)
class Tallies:
    """Candidates by the bin of their score; ``above`` sums them up."""

    counts: tuple[int, int]  # sources and targets of the corpora
    own: Numbers  # (bins,): candidates between the corpora
    of_side: tuple[Numbers, Numbers]  # candidates of their sources, and targets; planted ones too
    known: int
    outcomes: Numbers  # (known, 3): bin of the right, the wrong source's, wrong target's; or -1
    lost: tuple[Lost, Lost]

    @classmethod
    def count(
        cls,
        found: Candidates,
        edges: Numbers,
        sources: int,
        targets: int,
        known: Ids,
        lost: tuple[Lost, Lost],
    ) -> Tallies:
        own = without_planted(found, sources, targets)
        sides = (found.source < sources, found.target < targets)
        return cls(
            (sources, targets),
            tally(own.score, edges),
            (tally(found.score[sides[0]], edges), tally(found.score[sides[1]], edges)),
            len(known),
            _outcomes(found, edges, known),
            lost,
        )


def _outcomes(found: Candidates, edges: Numbers, known: Ids) -> Numbers:
    """For each known pair the bins of its right candidate and the best wrong ones; -1 for none."""
    outcomes = np.full((len(known), 3), -1.0)
    partner = (dict(known.tolist()), dict(known[:, ::-1].tolist()))
    row_of = tuple({key: row for row, key in enumerate(known[:, side].tolist())} for side in (0, 1))
    touched = np.isin(found.source, known[:, 0]) | np.isin(found.target, known[:, 1])
    place = place_of(found.score, edges)
    for at in np.flatnonzero(touched):
        pair = (int(found.source[at]), int(found.target[at]))
        for side in (0, 1):
            row = row_of[side].get(pair[side])
            if row is None:
                continue
            column = 0 if partner[side][pair[side]] == pair[1 - side] else 1 + side
            outcomes[row, column] = max(outcomes[row, column], place[at])
    return outcomes


def tally(scores: NDArray[np.floating], edges: Numbers) -> Numbers:
    place = place_of(scores, edges)
    return np.bincount(place[place >= 0], minlength=len(edges)).astype(np.float64)


def edges_of(scores: NDArray[np.floating]) -> Numbers:
    """Thresholds that part the scores into equally many, or fewer where many are equal."""
    shares = np.linspace(0, 1, BINS + 1)[:-1]
    return np.unique(np.quantile(scores.astype(np.float64), shares))


def place_of(scores: NDArray[np.floating], edges: Numbers) -> Ids:
    """The bin of each score: the last edge that is not above it; -1 below all."""
    return np.searchsorted(edges, scores, "right") - 1


def group_of(scores: NDArray[np.floating], edges: Numbers) -> Ids:
    """Which of ``GROUPS`` runs of bins a score lies in."""
    return np.maximum(place_of(scores, edges), 0) * GROUPS // len(edges)


def above(tally: NDArray[np.number]) -> Numbers:
    """How many lie at or above each edge."""
    return np.cumsum(tally[::-1])[::-1].astype(np.float64)
