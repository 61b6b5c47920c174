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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.significance import Interval, Resampling
from bitext.types import Neighbours
from retrieval.mining.miner import Candidates, candidates
from retrieval.mining.neighbours import BothWays

SPARE = 4
"""Neighbours to search for beyond k, for sentences whose best ones are taken away."""
SAMPLE = 20_000
"""Candidates that are taken away, at most."""
SHARE = 0.1
"""Candidates that are taken away at once, at most: half of them by their target."""
BINS = 200
"""Thresholds looked at: quantiles of the candidates' scores."""
GROUPS = 20
"""Bins for the probability that a candidate is right."""
ROUNDS = 8
"""Times that this probability is estimated again."""
FEWEST = 100
"""Candidates that there must be to say anything."""

Ids = NDArray[np.int64]
Numbers = NDArray[np.float64]


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


# --- what is reported


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
    edges = _edges(own.score)
    known = np.empty((0, 2), np.int64) if known is None else known
    lost = _deprive_all(both, own, edges, k, margin, mode, how.seed)
    tallies = _Tallies.count(found, edges, sources, targets, known, lost)
    estimate = _Estimate.of(tallies)
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
    edges = _edges(all_scores)
    bins = len(edges)
    place = np.clip(np.searchsorted(edges, scores, "right") - 1, 0, bins - 1)
    mined = _above(_tally(all_scores, edges))
    random = np.random.default_rng([how.seed, 3])
    draws = [np.ones(len(scores), np.int64)]
    draws += list(random.multinomial(len(scores), [1 / len(scores)] * len(scores), how.resamples))
    precision, recall, total = [], [], []
    for weight in draws:
        good = _above(np.bincount(place, weight * right, bins))
        share = rising(good / np.maximum(_above(np.bincount(place, weight, bins)), 1), mined)
        precision.append(share)
        total.append(share[0] * mined[0])
        recall.append(np.minimum(share * mined / max(total[-1], 1e-9), 1))
    evidence = f"{len(scores)} judged candidates; recall of right candidates only"
    return _assemble(edges, mined, precision, recall, total, how, evidence)


# --- sentences that are deprived of their best candidate


class _Lost(NamedTuple):
    """What one side's deprived sentences found instead."""

    deprived: Numbers  # (groups,): sentences, by the score of what was taken away
    found: Numbers  # (groups, bins): their candidates, by score


def _deprive_all(
    both: BothWays, own: Candidates, edges: Numbers, k: int, margin: str, mode: str, seed: int
) -> tuple[_Lost, _Lost]:
    """Take candidates away, some at a time: of half the target, so that the source is deprived."""
    random = np.random.default_rng([seed, 4])
    order = random.permutation(len(own.score))[:SAMPLE]
    rounds = max(1, int(np.ceil(len(order) / (SHARE * len(own.score)))))
    shape = (GROUPS, len(edges))
    lost = [_Lost(np.zeros(GROUPS), np.zeros(shape)) for _ in range(2)]
    for part in np.array_split(order, rounds):
        taken, robbed = np.array_split(part, 2)  # by their target, by their source
        left = deprive(both, k, sources=own.source[robbed], targets=own.target[taken])
        found = candidates(left.both, margin, mode)
        rows = (left.sources[found.source], left.targets[found.target])
        place = _place(found.score, edges)
        for side, chosen in enumerate((taken, robbed)):
            group = np.full(len(both[side].ids), -1)
            group[own[side][chosen]] = _group(own.score[chosen], edges)
            group[own[side][(robbed, taken)[side]]] = -1  # it is not there itself
            lost[side].deprived[:] += np.bincount(group[group >= 0], minlength=GROUPS)
            met = (group[rows[side]] >= 0) & (place >= 0)
            np.add.at(lost[side].found, (group[rows[side]][met], place[met]), 1)
    return lost[0], lost[1]


class Deprived(NamedTuple):
    """A search as if some sentences had not been there."""

    both: BothWays
    sources: Ids
    """The row that each source left had before; and ``targets`` of each target."""
    targets: Ids


def deprive(both: BothWays, k: int, *, sources: Ids, targets: Ids) -> Deprived:
    """The ``k`` nearest of each sentence as if ``sources`` and ``targets`` were not there.

    A sentence that has fewer than ``k`` neighbours left has its last one repeated.
    """
    there = tuple(
        np.isin(np.arange(len(near.ids)), gone, invert=True)
        for near, gone in zip(both, (sources, targets), strict=True)
    )
    return Deprived(
        BothWays(_left(both.forward, k, *there), _left(both.backward, k, *there[::-1])),
        *(np.flatnonzero(side) for side in there),
    )


def _left(
    near: Neighbours, k: int, there: NDArray[np.bool_], others: NDArray[np.bool_]
) -> Neighbours:
    """The rows that are ``there``, and of their neighbours the nearest of the ``others``."""
    scores, ids = near.scores[there], near.ids[there]
    stays = others[ids]
    order = np.argsort(~stays, axis=1, kind="stable")[:, :k]  # what stays, in order, comes first
    last = np.maximum(stays.sum(axis=1) - 1, 0)[:, None]
    order = np.take_along_axis(order, np.minimum(np.arange(order.shape[1])[None], last), axis=1)
    renumbered = np.cumsum(others) - 1
    ids = np.maximum(renumbered[np.take_along_axis(ids, order, axis=1)], 0)
    return Neighbours(np.take_along_axis(scores, order, axis=1), ids)


# --- what is counted


@dataclass(frozen=True)
class _Tallies:
    """Candidates by the bin of their score; ``above`` sums them up."""

    counts: tuple[int, int]  # sources and targets of the corpora
    own: Numbers  # (bins,): candidates between the corpora
    of_side: tuple[Numbers, Numbers]  # candidates of their sources, and targets; planted ones too
    known: int
    outcomes: Numbers  # (known, 3): bin of the right, the wrong source's, wrong target's; or -1
    lost: tuple[_Lost, _Lost]

    @classmethod
    def count(
        cls,
        found: Candidates,
        edges: Numbers,
        sources: int,
        targets: int,
        known: Ids,
        lost: tuple[_Lost, _Lost],
    ) -> _Tallies:
        own = without_planted(found, sources, targets)
        sides = (found.source < sources, found.target < targets)
        return cls(
            (sources, targets),
            _tally(own.score, edges),
            (_tally(found.score[sides[0]], edges), _tally(found.score[sides[1]], edges)),
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
    place = _place(found.score, edges)
    for at in np.flatnonzero(touched):
        pair = (int(found.source[at]), int(found.target[at]))
        for side in (0, 1):
            row = row_of[side].get(pair[side])
            if row is None:
                continue
            column = 0 if partner[side][pair[side]] == pair[1 - side] else 1 + side
            outcomes[row, column] = max(outcomes[row, column], place[at])
    return outcomes


def _tally(scores: NDArray[np.floating], edges: Numbers) -> Numbers:
    place = _place(scores, edges)
    return np.bincount(place[place >= 0], minlength=len(edges)).astype(np.float64)


def _edges(scores: NDArray[np.floating]) -> Numbers:
    """Thresholds that part the scores into equally many, or fewer where many are equal."""
    shares = np.linspace(0, 1, BINS + 1)[:-1]
    return np.unique(np.quantile(scores.astype(np.float64), shares))


def _place(scores: NDArray[np.floating], edges: Numbers) -> Ids:
    """The bin of each score: the last edge that is not above it; -1 below all."""
    return np.searchsorted(edges, scores, "right") - 1


def _group(scores: NDArray[np.floating], edges: Numbers) -> Ids:
    """Which of ``GROUPS`` runs of bins a score lies in."""
    return np.maximum(_place(scores, edges), 0) * GROUPS // len(edges)


def _above(tally: NDArray[np.number]) -> Numbers:
    """How many lie at or above each edge."""
    return np.cumsum(tally[::-1])[::-1].astype(np.float64)


# --- what follows from it


@dataclass(frozen=True)
class _Estimate:
    pairs: float
    true: Numbers  # (bins,): right candidates at or above each edge
    recall: Numbers
    weights: Numbers  # (groups,): probability that a candidate is right

    @classmethod
    def of(cls, tallies: _Tallies, weights: Numbers | None = None) -> _Estimate:
        """:param weights: where they are given, they stay; otherwise they are estimated."""
        bins = len(tallies.own)
        rounds = 1 if weights is not None else ROUNDS
        if weights is None:
            weights = np.linspace(0, 1, GROUPS) ** 8
        right, *wrong = (_share_above(tallies.outcomes[:, c], bins) for c in range(3))
        sides = [_above(tally) for tally in tallies.of_side]
        for _ in range(rounds):
            decoys = [_weighted(lost, weights) for lost in tallies.lost]
            if tallies.known:
                pairs = _fit(tallies.counts, sides, right, wrong, decoys)
            else:
                pairs = _apart(tallies.counts, sides, decoys)
            true = np.zeros(bins)
            for count, side, bad, decoy in zip(tallies.counts, sides, wrong, decoys, strict=True):
                true += (side - pairs * bad - (count - pairs) * decoy) / 2
            true = np.minimum(_falling(np.maximum(true, 0)), _above(tallies.own))
            used = weights
            weights = _weights(true, _above(tallies.own))
        recall = right if tallies.known else np.minimum(true / max(pairs, 1), 1)
        return cls(pairs, true, recall, used)


def _share_above(outcomes: Numbers, bins: int) -> Numbers:
    """The share of known pairs with an outcome at or above each edge; 0 where none is known."""
    if not len(outcomes):
        return np.zeros(bins)
    return _above(np.bincount(outcomes[outcomes >= 0].astype(int), minlength=bins)) / len(outcomes)


def _weighted(lost: _Lost, weights: Numbers) -> Numbers:
    """Wrong candidates of a deprived sentence at or above each edge."""
    return _above(weights @ lost.found) / max(float(weights @ lost.deprived), 1e-9)


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


def _report(edges: Numbers, tallies: _Tallies, estimate: _Estimate, how: Resampling) -> Calibration:
    """The estimate, with those of resampled candidates, known pairs and deprived sentences."""
    random = np.random.default_rng([how.seed, 5])
    mined = _above(tallies.own)
    estimates = [(tallies, estimate)]
    for _ in range(how.resamples):
        drawn = _resampled(tallies, random)
        estimates.append((drawn, _Estimate.of(drawn, estimate.weights)))
    precision = [
        rising(np.minimum(e.true / np.maximum(_above(t.own), 1), 1), mined) for t, e in estimates
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


def _resampled(tallies: _Tallies, random: np.random.Generator) -> _Tallies:
    """Poisson draws of the tallies, and a resample of the known pairs.

    That no deprived sentence found anything so good does not say that none ever would: half a
    candidate on average is added at the top, as by Jeffreys' prior of a Poisson rate.
    """
    planted = [np.maximum(side - tallies.own, 0) for side in tallies.of_side]
    own = random.poisson(tallies.own).astype(np.float64)
    rows = random.integers(0, max(tallies.known, 1), tallies.known)
    lost = [_Lost(one.deprived, random.poisson(one.found).astype(float)) for one in tallies.lost]
    for one in lost:
        one.found[-1, -1] += random.gamma(0.5)
    return _Tallies(
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
