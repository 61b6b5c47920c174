"""How many translations there are, and how many candidates are right, from tallies.

Equation 1 is that of :mod:`retrieval.mining.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.mining.tallies import GROUPS, Lost, Numbers, Tallies, above

ROUNDS = 8
"""Times that this probability is estimated again."""


@dataclass(frozen=True)
class Estimate:
    pairs: float
    true: Numbers  # (bins,): right candidates at or above each edge
    recall: Numbers
    weights: Numbers  # (groups,): probability that a candidate is right

    @classmethod
    def of(cls, tallies: Tallies, weights: Numbers | None = None) -> Estimate:
        """:param weights: where they are given, they stay; otherwise they are estimated."""
        bins = len(tallies.own)
        rounds = 1 if weights is not None else ROUNDS
        if weights is None:
            weights = np.linspace(0, 1, GROUPS) ** 8
        right, *wrong = (_share_above(tallies.outcomes[:, c], bins) for c in range(3))
        sides = [above(tally) for tally in tallies.of_side]
        for _ in range(rounds):
            decoys = [_weighted(lost, weights) for lost in tallies.lost]
            if tallies.known:
                pairs = _fit(tallies.counts, sides, right, wrong, decoys)
            else:
                pairs = _apart(tallies.counts, sides, decoys)
            true = np.zeros(bins)
            for count, side, bad, decoy in zip(tallies.counts, sides, wrong, decoys, strict=True):
                true += (side - pairs * bad - (count - pairs) * decoy) / 2
            true = np.minimum(_falling(np.maximum(true, 0)), above(tallies.own))
            used = weights
            weights = _weights(true, above(tallies.own))
        recall = right if tallies.known else np.minimum(true / max(pairs, 1), 1)
        return cls(pairs, true, recall, used)


def _share_above(outcomes: Numbers, bins: int) -> Numbers:
    """The share of known pairs with an outcome at or above each edge; 0 where none is known."""
    if not len(outcomes):
        return np.zeros(bins)
    return above(np.bincount(outcomes[outcomes >= 0].astype(int), minlength=bins)) / len(outcomes)


def _weighted(lost: Lost, weights: Numbers) -> Numbers:
    """Wrong candidates of a deprived sentence at or above each edge."""
    return above(weights @ lost.found) / max(float(weights @ lost.deprived), 1e-9)


def _fit(
    counts: tuple[int, int],
    sides: Sequence[Numbers],
    right: Numbers,
    wrong: Sequence[Numbers],
    decoys: Sequence[Numbers],
) -> float:
    """The pairs that make equation 1 fit best, by least squares over thresholds and both sides."""
    above = below = 0.0
    for count, side, bad, decoy in zip(counts, sides, wrong, decoys, strict=True):
        change = right + bad - decoy
        above += float(change @ (side - count * decoy))
        below += float(change @ change)
    return float(np.clip(above / max(below, 1e-9), 1, min(counts)))


def _apart(counts: tuple[int, int], sides: Sequence[Numbers], decoys: Sequence[Numbers]) -> float:
    """The pairs there are if all are found where a third of the deprived still find something."""
    shares = []
    for count, side, decoy in zip(counts, sides, decoys, strict=True):
        excess = (side / count - decoy) / np.maximum(1 - decoy, 0.1)
        near = (decoy > 0.15) & (decoy < 0.5)
        shares.append(count * float(excess[near].mean() if near.any() else excess.max()))
    return float(np.clip(np.mean(shares), 1, min(counts)))


def _weights(true: Numbers, mined: Numbers) -> Numbers:
    """The share of right candidates in each group of bins, made to rise with the score."""
    group = np.arange(len(true)) * GROUPS // len(true)
    good = np.bincount(group, -np.diff(np.append(true, 0)), GROUPS)
    all_of = np.bincount(group, -np.diff(np.append(mined, 0)), GROUPS)
    share = np.clip(good / np.maximum(all_of, 1), 0, 1)
    share = rising(share, np.maximum(all_of, 1))
    share[-1] = max(share[-1], 1e-6)
    return np.where(share >= min(0.5, share[-1]), share, 0)


def rising(values: Numbers, weights: Numbers) -> Numbers:
    """The nearest sequence that never falls, by weighted least squares: adjacent ones pooled."""
    blocks: list[list[float]] = []
    for value, weight in zip(values.tolist(), np.maximum(weights, 1e-9).tolist(), strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            last, before = blocks.pop(), blocks.pop()
            total = before[1] + last[1]
            mean = (before[0] * before[1] + last[0] * last[1]) / total
            blocks.append([mean, total, before[2] + last[2]])
    return np.concatenate([np.full(int(many), value) for value, _, many in blocks])


def _falling(values: Numbers) -> Numbers:
    """The smallest sequence above ``values`` that never rises."""
    return np.maximum.accumulate(values[::-1])[::-1]
