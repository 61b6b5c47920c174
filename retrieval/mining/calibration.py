"""What a threshold means for the corpora at hand: expected precision and recall at each.

A margin of 1.06 says little by itself: how many candidates above it are wrong depends on the model,
the corpora and how many of their sentences have a translation at all. Three things are counted in
the user's own run:

- **deprived sentences**: sentences whose best candidate is taken away, so that whatever is then
  found for them is wrong. They show how well wrong candidates score *in these corpora*, among the
  same stories and phrases (as decoys do in mass spectrometry: Elias & Gygi, 2007). Sentences
  planted from elsewhere would meet less confusing neighbours, and promise too much. Only those
  count that were probably deprived of their translation, each by that probability.
- **known pairs**, in the corpora or planted beside them: how often translations are found, and
  with which score.
- **all candidates**, of which nobody knows which are right.

Let ``n`` of ``S`` sources have a translation. Above a threshold ``t`` the sources' candidates are::

    C(t) = n (R(t) + W(t)) + (S - n) D(t)                                           (1)

``R``, ``W``: right and wrong candidates above ``t`` of a known sentence; ``D``: those of a deprived
one. The same holds for targets, with the same ``n``, which least squares over all ``t`` give. What
is wrong above ``t`` is ``F(t) = n W(t) + (S - n) D(t)``, precision ``(C - F) / C``, recall ``R``.
Precision hangs on ``n``, and thus on the known pairs, only weakly where most sentences have no
translation.

Without known pairs ``W`` is taken for 0, ``n`` is read where ``D`` lies between 0.15 and 0.5, as if
there all translations were found, and recall is ``(C - F) / n``: rough, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.significance import Interval, Resampling
from retrieval.mining.estimate import Estimate, rising
from retrieval.mining.miner import candidates
from retrieval.mining.neighbours import BothWays
from retrieval.mining.planting import first_neighbours, without_planted
from retrieval.mining.tallies import (
    Ids,
    Lost,
    Numbers,
    Tallies,
    above,
    deprive_some,
    edges_of,
    tally,
)

SPARE = 4
"""Neighbours to search for beyond k, for sentences whose best ones are taken away."""
FEWEST = 100
"""Candidates that there must be to say anything."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected precision and recall of the candidates at or above each threshold."""

    thresholds: Numbers
    """Rising, shape (thresholds,), as all that follows."""
    mined: NDArray[np.int64]
    """Candidates at or above each."""
    precision: Numbers
    precision_low: Numbers
    precision_high: Numbers
    recall: Numbers
    """Share of the translations that are there."""
    recall_low: Numbers
    recall_high: Numbers
    pairs: float
    """Translations that are there, as estimated."""
    pairs_interval: Interval
    evidence: str
    """What it rests on."""

    def at_precision(self, wanted: float, *, surely: bool = False) -> float:
        """The lowest threshold whose expected precision is at least ``wanted``, a share of 1.

        :param surely: go by the lower end of the interval, which few translations make wide.
        :raises InputError: if ``wanted`` is no such share, or no threshold reaches it.
        """
        if not 0 < wanted < 1:
            raise InputError(f"precision must be between 0 and 1, got {wanted:g}")
        precision = self.precision_low if surely else self.precision
        reached = np.flatnonzero(precision >= wanted)
        if not len(reached):
            best = int(precision.argmax())
            raise InputError(
                f"no threshold is expected to reach precision {wanted:g}; the best is "
                f"{precision[best]:.3f}, at {self.thresholds[best]:.4f}"
            )
        return float(self.thresholds[reached[0]])

    def at(self, threshold: float) -> dict[str, float]:
        """All figures at the nearest threshold that is not above ``threshold``."""
        return self._row(max(0, int(np.searchsorted(self.thresholds, threshold, "right")) - 1))

    def table(self, precisions: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)) -> str:
        """A line for each precision that is reached, with tabs between."""
        lines = ["threshold\tmined\tprecision\tinterval\trecall\tinterval"]
        for row in self.rows(precisions):
            cells = [f"{row['threshold']:.4f}", f"{row['mined']:.0f}"]
            for name in ("precision", "recall"):
                low, high = row[f"{name}_low"], row[f"{name}_high"]
                cells += [f"{row[name]:.3f}", f"[{low:.3f}, {high:.3f}]"]
            lines.append("\t".join(cells))
        low, high = self.pairs_interval
        lines.append(
            f"translations there: {self.pairs:.0f} [{low:.0f}, {high:.0f}]; {self.evidence}"
        )
        return "\n".join(lines)

    def rows(self, precisions: Sequence[float]) -> Iterator[dict[str, float]]:
        """The figures at the lowest threshold of each precision that is reached, none twice."""
        last = -1
        for wanted in precisions:
            reached = np.flatnonzero(self.precision >= wanted)
            if len(reached) and reached[0] != last:
                last = int(reached[0])
                yield self._row(last)

    def _row(self, row: int) -> dict[str, float]:
        names = [
            f"{name}{end}" for name in ("precision", "recall") for end in ("", "_low", "_high")
        ]
        figures = {name: float(getattr(self, name)[row]) for name in names}
        return {
            "threshold": float(self.thresholds[row]),
            "mined": float(self.mined[row]),
            **figures,
        }


def calibrate(
    both: BothWays,
    *,
    k: int,
    sources: int,
    targets: int,
    margin: str = "ratio",
    mode: str = "max",
    known: Ids | None = None,
    how: Resampling | None = None,
) -> Calibration:
    """Estimate precision and recall at each threshold, from one search.

    :param both: of each sentence, planted ones last, its ``k + SPARE`` nearest on the other side.
    :param k: neighbours that the margin looks at; ``margin`` and ``mode`` are what is mined by.
    :param sources: how many sources are the user's own, and ``targets`` how many targets.
    :param known: rows of pairs that are translations, shape (pairs, 2): planted ones, or some of
        the user's own. Without any, the estimate is rough.
    :param how: of the bootstrap; 200 resamples if not given.
    :raises InputError: if there are too few candidates to say anything.
    :raises UnknownNameError: if there is no such margin or mode.
    """
    how = how or Resampling(resamples=200)
    found = candidates(first_neighbours(both, k), margin, mode)
    own = without_planted(found, sources, targets)
    if len(own.score) < FEWEST:
        raise InputError(f"calibration needs at least {FEWEST} candidates, got {len(own.score)}")
    edges = edges_of(own.score)
    known = np.empty((0, 2), np.int64) if known is None else known
    lost = deprive_some(both, own, edges, k, margin, mode, how.seed)
    tallies = Tallies.count(found, edges, sources, targets, known, lost)
    estimate = Estimate.of(tallies)
    return _report(edges, tallies, estimate, how)


def calibrate_judged(
    scores: NDArray[np.floating],
    right: NDArray[np.bool_],
    all_scores: NDArray[np.floating],
    *,
    how: Resampling | None = None,
) -> Calibration:
    """Precision and recall from candidates that somebody judged: direct counts.

    The judged ones must be a random sample of the candidates. Recall is the share of the right
    candidates, not of the translations that are there, of which this knows nothing.

    :param scores: of the judged candidates, shape (judged,); ``right``: the judgements.
    :param all_scores: of all candidates.
    :raises InputError: if nothing was judged.
    """
    how = how or Resampling(resamples=200)
    if not len(scores) or not len(all_scores):
        raise InputError("calibration needs candidates and judgements of some, got none")
    edges = edges_of(all_scores)
    bins = len(edges)
    place = np.clip(np.searchsorted(edges, scores, "right") - 1, 0, bins - 1)
    mined = above(tally(all_scores, edges))
    random = np.random.default_rng([how.seed, 3])
    draws = [np.ones(len(scores), np.int64)]
    draws += list(random.multinomial(len(scores), [1 / len(scores)] * len(scores), how.resamples))
    precision, recall, total = [], [], []
    for weight in draws:
        good = above(np.bincount(place, weight * right, bins))
        share = rising(good / np.maximum(above(np.bincount(place, weight, bins)), 1), mined)
        precision.append(share)
        total.append(share[0] * mined[0])
        recall.append(np.minimum(share * mined / max(total[-1], 1e-9), 1))
    evidence = f"{len(scores)} judged candidates; recall of right candidates only"
    return _assemble(edges, mined, precision, recall, total, how, evidence)


def _report(edges: Numbers, tallies: Tallies, estimate: Estimate, how: Resampling) -> Calibration:
    """The estimate, with those of resampled candidates, known pairs and deprived sentences."""
    random = np.random.default_rng([how.seed, 5])
    mined = above(tallies.own)
    estimates = [(tallies, estimate)]
    for _ in range(how.resamples):
        drawn = _resampled(tallies, random)
        estimates.append((drawn, Estimate.of(drawn, estimate.weights)))
    precision = [
        rising(np.minimum(e.true / np.maximum(above(t.own), 1), 1), mined) for t, e in estimates
    ]
    evidence = f"{tallies.known} known pairs" if tallies.known else "rough: no known pairs"
    deprived = int(sum(lost.deprived.sum() for lost in tallies.lost))
    return _assemble(
        edges,
        mined,
        precision,
        [e.recall for _, e in estimates],
        [e.pairs for _, e in estimates],
        how,
        f"{evidence}, {deprived} sentences deprived of theirs",
    )


def _resampled(tallies: Tallies, random: np.random.Generator) -> Tallies:
    """Poisson draws of the tallies, and a resample of the known pairs.

    That no deprived sentence found anything so good does not say that none ever would: half a
    candidate on average is added at the top, as by Jeffreys' prior of a Poisson rate.
    """
    planted = [np.maximum(side - tallies.own, 0) for side in tallies.of_side]
    own = random.poisson(tallies.own).astype(np.float64)
    rows = random.integers(0, max(tallies.known, 1), tallies.known)
    lost = [Lost(one.deprived, random.poisson(one.found).astype(float)) for one in tallies.lost]
    for one in lost:
        one.found[-1, -1] += random.gamma(0.5)
    return Tallies(
        tallies.counts,
        own,
        (own + random.poisson(planted[0]), own + random.poisson(planted[1])),
        tallies.known,
        tallies.outcomes[rows],
        (lost[0], lost[1]),
    )


def _including(estimate: Numbers, ends: Numbers) -> Numbers:
    """Ends of intervals, shape (2, thresholds), that leave out no estimate.

    What is added to resamples at the top keeps them below an estimate of 1.
    """
    low, high = ends
    return np.stack([np.minimum(low, estimate), np.maximum(high, estimate)])


def _assemble(
    edges: Numbers,
    mined: Numbers,
    precision: Sequence[Numbers],
    recall: Sequence[Numbers],
    pairs: Sequence[float],
    how: Resampling,
    evidence: str,
) -> Calibration:
    """:param precision: the estimate itself, then those of the resamples; so the others."""
    outside = (100 - how.confidence) / 2
    ends: Mapping[str, Numbers] = {
        name: _including(
            found[0], np.percentile(np.stack(found[1:]), [outside, 100 - outside], axis=0)
        )
        for name, found in (("precision", precision), ("recall", recall))
    }
    return Calibration(
        edges,
        mined.astype(np.int64),
        precision[0],
        ends["precision"][0],
        ends["precision"][1],
        recall[0],
        ends["recall"][0],
        ends["recall"][1],
        pairs[0],
        how.interval(np.asarray(pairs[1:])),
        f"{evidence} | {how}",
    )
