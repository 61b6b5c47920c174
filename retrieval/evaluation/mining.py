"""Mined pairs against gold: precision, recall and F1, and the threshold that a dev set chooses.

The protocol is that of the BUCC shared task (Zweigenbaum et al., 2017): of pairs hidden in two
corpora, how many were mined, and how many of the mined are among them. A pair counts once. As in
LASER's ``bucc.py``, the best threshold is the middle between the last pair that is worth keeping
and the next one; where the last pair of all is, it is that pair's score. Pairs of equal score are
kept or left together, since no threshold can part them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.significance import Interval, Resampling, bootstrap_sums
from bitext.types import Match

MEASURES = ("precision", "recall", "f1")

Scores = NDArray[np.float64]


class Judged(NamedTuple):
    """Mined pairs, best first, and which of them are gold."""

    scores: Scores  # (mined,), falling
    right: NDArray[np.bool_]  # (mined,)
    sources: NDArray[np.int64]  # (mined,): the source of each
    gold: NDArray[np.int64]  # (gold,): the source of each gold pair


class Counts(NamedTuple):
    """What precision and recall are made of."""

    mined: int
    right: int
    gold: int

    @property
    def precision(self) -> float:
        """A share of nothing is 1, as in :mod:`bitext.scoring`."""
        return self.right / self.mined if self.mined else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.gold if self.gold else 1.0

    @property
    def f1(self) -> float:
        total = self.mined + self.gold
        return 2 * self.right / total if total else 1.0


@dataclass(frozen=True, slots=True)
class MiningScore:
    """The score of what lies at or above one threshold, and the choices it depends on."""

    threshold: float
    counts: Counts
    intervals: dict[str, Interval] | None
    signature: str

    def __str__(self) -> str:
        figures = []
        for short, name in zip(("P", "R", "F1"), MEASURES, strict=True):
            figure = f"{short} {100 * getattr(self.counts, name):.2f}"
            if self.intervals is not None:
                low, high = self.intervals[name]
                figure += f" [{100 * low:.2f}, {100 * high:.2f}]"
            figures.append(figure)
        mined, right, gold = self.counts
        shown = f"({mined} mined, {right} right, {gold} gold)"
        return f"{'  '.join(figures)}  {shown}  threshold {self.threshold:.6g} | {self.signature}"

    def as_dict(self) -> dict[str, object]:
        """Shares of 1 and counts, ready for JSON; no threshold where nothing is worth keeping."""
        record: dict[str, object] = {name: getattr(self.counts, name) for name in MEASURES}
        record |= self.counts._asdict()
        record["threshold"] = self.threshold if np.isfinite(self.threshold) else None
        if self.intervals is not None:
            record["intervals"] = {name: list(found) for name, found in self.intervals.items()}
        return {**record, "signature": self.signature}


def judge(matches: Iterable[Match], gold: Iterable[tuple[int, int]]) -> Judged:
    """Sort mined pairs and look each up in ``gold``; of a repeated pair the best score is kept.

    :raises InputError: if gold has no pair, or a score is not a number.
    """
    known = set(gold)
    if not known:
        raise InputError("there are no gold pairs to score by")
    best: dict[tuple[int, int], float] = {}
    for source, target, score in matches:
        if np.isnan(score):
            raise InputError(f"the pair {source} {target} has no number for a score")
        best[source, target] = max(score, best.get((source, target), score))
    pairs = sorted(best, key=lambda pair: (-best[pair], pair))
    return Judged(
        np.array([best[pair] for pair in pairs], np.float64),
        np.array([pair in known for pair in pairs], np.bool_),
        np.array([source for source, _ in pairs], np.int64),
        np.array(sorted(source for source, _ in known), np.int64),
    )


def count_at(judged: Judged, threshold: float) -> Counts:
    """The counts of the pairs that score at least ``threshold``."""
    mined = _kept(judged.scores, threshold)
    return Counts(mined, int(judged.right[:mined].sum()), len(judged.gold))


def best_threshold(judged: Judged) -> float:
    """Where F1 is best; of equal ones, the highest threshold. Infinite if no pair is gold."""
    if not judged.right.any():
        return float("inf")
    ends = _ends(judged.scores)
    right = np.cumsum(judged.right)[ends]
    last = ends[int(np.argmax(2 * right / (ends + 1 + len(judged.gold))))]
    following = judged.scores[min(last + 1, len(judged.scores) - 1)]
    return float((judged.scores[last] + following) / 2)


def shared_threshold(sets: Sequence[Judged], *, every: int = 1) -> float:
    """The score at which the mean F1 of several dev sets is best; of equal ones, the lowest.

    :param every: try every so-manieth of the scores that there are.
    :raises InputError: if nothing was mined from any of them.
    """
    if len(sets) == 1 and every == 1:
        return best_threshold(sets[0])
    tried = np.unique(np.concatenate([one.scores for one in sets]))[::every]
    if not len(tried):
        raise InputError("nothing was mined from the sets that were to choose the threshold")
    return float(tried[int(np.argmax(sum(_f1_curve(one, tried) for one in sets)))])


def score_at(
    judged: Judged,
    threshold: float,
    *,
    sources: int,
    how: Resampling | None = None,
    signature: str = "",
) -> MiningScore:
    """The score at ``threshold``, with bootstrap intervals if ``how`` says so.

    :param sources: how many sentences the source side has: the units that are resampled.
    """
    counts = count_at(judged, threshold)
    if how is None:
        return MiningScore(threshold, counts, None, signature)
    table = np.zeros((sources, 3))
    kept = slice(0, counts.mined)
    np.add.at(table[:, 0], judged.sources[kept], 1)
    np.add.at(table[:, 1], judged.sources[kept], judged.right[kept])
    np.add.at(table[:, 2], judged.gold, 1)
    resampled = bootstrap_sums(table, how)
    intervals = {
        name: how.interval(np.array([getattr(Counts(*row), name) for row in resampled]))
        for name in MEASURES
    }
    return MiningScore(threshold, counts, intervals, f"{signature} | {how}")


def _kept(scores: Scores, threshold: float) -> int:
    """How many of ``scores``, which fall, are at least ``threshold``."""
    return len(scores) - int(np.searchsorted(scores[::-1], threshold, side="left"))


def _ends(scores: Scores) -> NDArray[np.int64]:
    """The last position of each distinct score."""
    return np.flatnonzero(np.append(np.diff(scores) != 0, True))


def _f1_curve(judged: Judged, thresholds: Scores) -> Scores:
    mined = len(judged.scores) - np.searchsorted(judged.scores[::-1], thresholds, side="left")
    right = np.append(0, np.cumsum(judged.right))[mined]
    curve: Scores = 2 * right / (mined + len(judged.gold))
    return curve
