"""Beads of a document against gold, strict and lax, as vecalign counts them.

A bead is right, strictly, if gold has the same; laxly, if gold pairs some sentence of its source
with some sentence of its target (Sennrich & Volk, *Iterative, MT-based Sentence Alignment of
Parallel Texts*, NODALIDA 2011, §4). A sentence left out is right only strictly, that is, if gold
leaves it out as well. It counts for precision and not for recall. Repeated beads count once, and a
share of nothing is 0. All documents are counted together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext import __version__
from bitext.errors import InputError, MismatchError

if TYPE_CHECKING:
    from bitext.significance import Interval, Resampling

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Source and target sentences of a bead, from 0."""

MEASURES = tuple(f"{kind}_{name}" for kind in ("strict", "lax") for name in ("f1", "p", "r"))


class BeadCounts(NamedTuple):
    """What scores are made of."""

    found: int
    """Beads of the hypothesis, sentences left out among them."""
    found_strict: int
    found_lax: int
    gold: int
    """Beads of gold that pair something."""
    gold_strict: int
    gold_lax: int


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """Precision, recall and F1 of beads, shares of 1, and the choices that they depend on."""

    documents: int
    counts: BeadCounts
    signature: str
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """By the names of ``MEASURES``; empty where none were asked for."""

    @property
    def measures(self) -> dict[str, float]:
        """Each of ``MEASURES``."""
        values = measures(np.array(self.counts)).tolist()
        return dict(zip(MEASURES, values, strict=True))

    def __str__(self) -> str:
        shown = []
        for name, value in self.measures.items():
            kind, short = name.split("_")
            label = f"{kind} F1" if short == "f1" else short.upper()
            shown.append(f"{label} {100 * value:.2f}{self._brackets(name)}")
        beads = f"{self.counts.found} beads, {self.counts.gold} in gold"
        documents = f"{self.documents} document{'' if self.documents == 1 else 's'}"
        return f"{'  '.join(shown)}  ({documents}, {beads}) | {self.signature}"

    def _brackets(self, name: str) -> str:
        if name not in self.intervals:
            return ""
        low, high = self.intervals[name]
        return f" [{100 * low:.2f}, {100 * high:.2f}]"

    def as_dict(self) -> dict[str, object]:
        """The same, ready for JSON."""
        record: dict[str, object] = dict(self.measures)
        if self.intervals:
            record["intervals"] = {name: list(value) for name, value in self.intervals.items()}
        counts = self.counts._asdict()
        return {**record, "documents": self.documents, **counts, "signature": self.signature}


def evaluate(
    hypothesis: Sequence[Iterable[Pair]],
    gold: Sequence[Iterable[Pair]],
    how: Resampling | None = None,
) -> DocumentScore:
    """Score the beads of some documents, each against its own gold.

    :param how: to have bootstrap intervals. What is drawn are groups of beads of either side that
        share sentences with one another, for an error makes those around it wrong too.
    :raises MismatchError: if there are not as many documents on both sides.
    :raises InputError: if there are none.
    """
    if len(hypothesis) != len(gold):
        raise MismatchError(f"{len(hypothesis)} documents need as many of gold, got {len(gold)}")
    groups = [
        counts
        for found, expected in zip(hypothesis, gold, strict=True)
        for counts in count_groups(found, expected)
    ]
    if not groups:
        raise InputError("there are no beads to score")
    table = np.array(groups, dtype=np.int64)
    counts = BeadCounts(*table.sum(axis=0).tolist())
    signature = f"bitext {__version__} | beads as vecalign counts"
    if how is None:
        return DocumentScore(len(gold), counts, signature)
    resampled = measures(_bootstrap(table, how))
    intervals = {name: how.interval(resampled[:, i]) for i, name in enumerate(MEASURES)}
    return DocumentScore(len(gold), counts, f"{signature} | {how}", intervals)


def count_groups(hypothesis: Iterable[Pair], gold: Iterable[Pair]) -> list[BeadCounts]:
    """The counts of one document, apart for each group of beads that share sentences."""
    found, expected = (
        sorted({(tuple(source), tuple(target)) for source, target in beads if source or target})
        for beads in (hypothesis, gold)
    )
    group_of = _groups([*found, *expected])
    counts = {group: [0] * len(BeadCounts._fields) for group in sorted(set(group_of.values()))}
    _count(found, expected, group_of, counts, 0)
    # Recall is the precision of gold by the hypothesis, where both pair something.
    _count(_paired(expected), _paired(found), group_of, counts, 3)
    return [BeadCounts(*own) for own in counts.values()]


def measures(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """``MEASURES`` of counts of shape (..., 6); the result has (..., 6) too."""
    found, found_strict, found_lax, gold, gold_strict, gold_lax = np.moveaxis(counts, -1, 0)
    values = []
    for right, hit in ((found_strict, gold_strict), (found_lax, gold_lax)):
        precision, recall = _share(right, found), _share(hit, gold)
        values += [_share(2 * precision * recall, precision + recall), precision, recall]
    return np.stack(values, axis=-1)


def _share(
    part: NDArray[np.int64] | NDArray[np.float64], whole: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(
        part, whole, out=np.zeros(np.shape(part)), where=whole > 0
    )
    return shares


def _paired(beads: Sequence[Pair]) -> list[Pair]:
    return [bead for bead in beads if bead[0] and bead[1]]


def _count(
    beads: Sequence[Pair],
    against: Sequence[Pair],
    group_of: Mapping[Pair, int],
    counts: Mapping[int, list[int]],
    column: int,
) -> None:
    """Add to three columns how many ``beads`` there are, right strictly, and laxly."""
    same = set(against)
    partners: defaultdict[int, set[int]] = defaultdict(set)
    for source, target in against:
        for sentence in source:
            partners[sentence].update(target)
    for bead in beads:
        own = counts[group_of[bead]]
        own[column] += 1
        own[column + 1] += bead in same
        own[column + 2] += bead in same or any(
            not partners[sentence].isdisjoint(bead[1]) for sentence in bead[0]
        )


def _groups(beads: Sequence[Pair]) -> dict[Pair, int]:
    """A number for each bead, the same for those that share a sentence, directly or over others."""
    parent = list(range(len(beads)))

    def root(bead: int) -> int:
        while parent[bead] != bead:
            parent[bead] = parent[parent[bead]]
            bead = parent[bead]
        return bead

    holder: dict[tuple[int, int], int] = {}
    for number, bead in enumerate(beads):
        for side, sentences in enumerate(bead):
            for sentence in sentences:
                parent[root(number)] = root(holder.setdefault((side, sentence), number))
    roots = [root(number) for number in range(len(beads))]
    names = {number: name for name, number in enumerate(dict.fromkeys(roots))}
    return {bead: names[number] for bead, number in zip(beads, roots, strict=True)}


def _bootstrap(table: NDArray[np.int64], how: Resampling) -> NDArray[np.int64]:
    """The counts of each resample of groups, shape (resamples, 6)."""
    random = np.random.default_rng(how.seed)
    sums = np.empty((how.resamples, table.shape[1]), np.int64)
    for resample in sums:
        drawn = random.integers(len(table), size=len(table))
        resample[:] = np.bincount(drawn, minlength=len(table)) @ table
    return sums
