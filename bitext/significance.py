"""How sure a score of alignments is, and whether one system is really better than another.

Sentence pairs are the units: an alignment's links depend on one another, its pair's on nothing
else. All links of a resample are counted together, as in the score itself.

- **Bootstrap intervals**: draw as many pairs as there are, with replacement, many times; between
  the percentiles of what they score lies the score (Efron & Tibshirani, 1993; Koehn, 2004).
- **Paired bootstrap**: both systems are scored on the same resamples. ``better`` is the share of
  them in which the first one wins (Koehn, 2004). For the p-value the differences are
  shifted to have the mean 0, which is what they would have if the systems were equal; it is the
  share that lies as far from 0 as what was observed (Riezler & Maxwell, 2005).
- **Approximate randomisation**: if the systems are equal, it does not matter which one made which
  output; exchange the two of each pair or not, by a coin, many times. The p-value is the share of
  times in which the difference is as large as what was observed (Noreen, 1989;
  Riezler & Maxwell, 2005, who find that it rejects less often wrongly than the bootstrap does).

Both p-values are two-sided and count what was observed as one of the resamples:
``(hits + 1) / (resamples + 1)``, so that none is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.scoring import PairCounts

MEASURES = ("aer", "precision", "recall", "f1")
LOWER_IS_BETTER = ("aer",)

Counts = NDArray[np.int64]
"""Last axis: the fields of ``PairCounts``."""

Scores = NDArray[np.float64]
"""Last axis: ``MEASURES``."""

# Rounding must not part what is equal: two ways to sum up the same differences.
_TOLERANCE = 1e-12


class Interval(NamedTuple):
    low: float
    high: float


class Difference(NamedTuple):
    """The first system's score minus the second's, by one measure; all shares of 1."""

    difference: float
    interval: Interval
    better: float
    """Share of the resamples in which the first is better; where they are equal, half counts."""
    bootstrap_p: float
    randomisation_p: float


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How often, from what seed, and how much of the resamples an interval covers."""

    resamples: int = 1000
    seed: int = 0
    confidence: float = 95.0  # per cent

    def __post_init__(self) -> None:
        """:raises InputError: if a value is out of its range."""
        if self.resamples < 1:
            raise InputError(f"resamples must be at least 1, got {self.resamples}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        if not 0 < self.confidence < 100:
            raise InputError(f"confidence must be between 0 and 100, got {self.confidence:g}")

    def __str__(self) -> str:
        return f"{self.confidence:g} % of {self.resamples} resamples, seed {self.seed}"

    def interval(self, values: Scores) -> Interval:
        """Between which values the middle ones lie."""
        outside = (100 - self.confidence) / 2
        low, high = np.percentile(values, [outside, 100 - outside])
        return Interval(float(low), float(high))


def score_intervals(counts: Sequence[PairCounts], how: Resampling) -> dict[str, Interval]:
    """The interval of each of ``MEASURES``.

    :raises InputError: if there are no pairs.
    """
    table = _table(counts)
    resampled = measures(_bootstrap(table, how))
    return {name: how.interval(resampled[:, column]) for column, name in enumerate(MEASURES)}


def bootstrap_sums(rows: NDArray[np.float64], how: Resampling, *, stream: int = 0) -> Scores:
    """Column sums of ``rows``, resampled whole with replacement.

    Rows that are equal are drawn together, by the multinomial distribution of how many there are:
    the same as one by one, and fast where rows take few values, such as found or not.

    :param rows: what each unit counts, shape (units, columns).
    :param stream: another number draws independently, from the same seed.
    :return: shape (resamples, columns).
    :raises InputError: if there are no units.
    """
    if not len(rows):
        raise InputError("there is nothing to resample")
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    random = np.random.default_rng([how.seed, 2, stream])
    drawn = random.multinomial(len(rows), counts / len(rows), size=how.resamples)
    sums: Scores = drawn @ kinds
    return sums


def compare(
    first: Sequence[PairCounts], second: Sequence[PairCounts], how: Resampling
) -> dict[str, Difference]:
    """Test the difference of two systems by each of ``MEASURES``, pair by pair.

    :raises InputError: if they are not equally many, or none.
    """
    if len(first) != len(second):
        raise InputError(f"systems of {len(first)} and {len(second)} pairs cannot be compared")
    tables = np.stack([_table(first), _table(second)])
    observed = _difference(tables.sum(axis=1))
    resampled = _difference(np.stack([_bootstrap(table, how) for table in tables]))
    exchanged = _difference(_randomised(tables, how))
    return {
        name: Difference(
            float(observed[column]),
            how.interval(resampled[:, column]),
            _wins(resampled[:, column], lower=name in LOWER_IS_BETTER),
            _p_value(resampled[:, column] - resampled[:, column].mean(), observed[column]),
            _p_value(exchanged[:, column], observed[column]),
        )
        for column, name in enumerate(MEASURES)
    }


def measures(counts: Counts) -> Scores:
    """AER, precision, recall and F1 of counts of shape (..., 5); the result has (..., 4)."""
    links, sure, _, in_sure, in_possible = np.moveaxis(counts, -1, 0)
    precision, recall = _share(in_possible, links), _share(in_sure, sure)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    aer = 1 - _share(in_sure + in_possible, links + sure)
    return np.stack([aer, precision, recall, f1], axis=-1)


def _share(part: Counts, whole: Counts) -> Scores:
    """A share of nothing is 1, as in :mod:`bitext.scoring`."""
    return np.divide(part, whole, out=np.ones(np.shape(part)), where=whole > 0)


def _table(counts: Sequence[PairCounts]) -> Counts:
    """Shape (pairs, 5)."""
    if not counts:
        raise InputError("there are no pairs to resample")
    return np.asarray(counts, dtype=np.int64)


def _bootstrap(table: Counts, how: Resampling) -> Counts:
    """The counts of each resample, shape (resamples, 5).

    Tables of the same length are resampled in the same way, which is what makes a test paired.
    """
    random = np.random.default_rng([how.seed, 0])
    pairs = len(table)
    sums = np.empty((how.resamples, table.shape[1]), dtype=np.int64)
    for resample in sums:
        drawn = random.integers(pairs, size=pairs)
        resample[:] = np.bincount(drawn, minlength=pairs) @ table
    return sums


def _randomised(tables: Counts, how: Resampling) -> Counts:
    """The counts of both systems after each exchange, shape (2, resamples, 5)."""
    random = np.random.default_rng([how.seed, 1])
    change = tables[1] - tables[0]
    moved = np.empty((how.resamples, tables.shape[2]), dtype=np.int64)
    for exchange in moved:
        exchange[:] = random.integers(2, size=len(change)) @ change
    first, second = tables.sum(axis=1)
    return np.stack([first + moved, second - moved])


def _difference(counts: Counts) -> Scores:
    first, second = measures(counts)
    difference: Scores = first - second
    return difference


def _wins(differences: Scores, *, lower: bool) -> float:
    signs = np.sign(-differences if lower else differences)
    return float((1 + signs.mean()) / 2)


def _p_value(differences: Scores, observed: float) -> float:
    hits = np.count_nonzero(np.abs(differences) >= abs(observed) - _TOLERANCE)
    return (int(hits) + 1) / (len(differences) + 1)
