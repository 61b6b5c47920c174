"""Alignments against gold: precision, recall, F1 and alignment error rate over a corpus.

Of the hypothesis A, the sure gold links S and the possible ones P, which include S (Och and Ney,
2003):

- precision ``|A & P| / |A|``; recall ``|A & S| / |S|``; F1 their harmonic mean;
- AER ``1 - (|A & S| + |A & P|) / (|A| + |S|)``.

All links of the corpus are counted together. A share of nothing is 1: a hypothesis without links
has no wrong one, gold without sure links has none that was missed; where both are empty the AER is
0. Gold links that point past the end of a sentence stay in the counts, as in published scorers:
they are links nobody can find.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bitext import __version__
from bitext.errors import InputError
from bitext.types import Alignment, GoldAlignment, Link

GOLD_INDEXES = (0, 1)


class PairCounts(NamedTuple):
    """What is counted in one pair, or in all of them."""

    links: int = 0
    sure: int = 0
    possible: int = 0
    """All possible links, the sure ones included."""
    links_in_sure: int = 0
    links_in_possible: int = 0


@dataclass(frozen=True, slots=True)
class AlignmentScore:
    """The counts that the measures are made of, and the choices they depend on."""

    pairs: int
    links: int
    sure: int
    possible: int
    """All possible links, the sure ones included."""
    links_in_sure: int
    links_in_possible: int
    signature: str

    @property
    def precision(self) -> float:
        return _share(self.links_in_possible, self.links)

    @property
    def recall(self) -> float:
        return _share(self.links_in_sure, self.sure)

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def aer(self) -> float:
        return 1 - _share(self.links_in_sure + self.links_in_possible, self.links + self.sure)

    def __str__(self) -> str:
        measures = {"AER": self.aer, "P": self.precision, "R": self.recall, "F1": self.f1}
        figures = "  ".join(f"{name} {100 * value:.2f}" for name, value in measures.items())
        return f"{figures}  ({self.pairs} pairs, {self.links} links) | {self.signature}"

    def as_dict(self) -> dict[str, float | int | str]:
        """The measures as shares of 1, the counts and the signature, ready for JSON."""
        return {
            "aer": self.aer,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "pairs": self.pairs,
            "links": self.links,
            "sure": self.sure,
            "possible": self.possible,
            "links_in_sure": self.links_in_sure,
            "links_in_possible": self.links_in_possible,
            "signature": self.signature,
        }


def evaluate(
    hypotheses: Sequence[Alignment],
    gold: Sequence[GoldAlignment],
    *,
    signature: str = f"bitext {__version__}",
) -> AlignmentScore:
    """Score one hypothesis a gold alignment.

    :param signature: what made the hypotheses, such as ``Aligner.signature``.
    :raises InputError: if they are not equally many.
    """
    counts = count_pairs(hypotheses, gold)
    total = PairCounts(*map(sum, zip(*counts, strict=True))) if counts else PairCounts()
    return AlignmentScore(pairs=len(gold), **total._asdict(), signature=signature)


def count_pairs(hypotheses: Sequence[Alignment], gold: Sequence[GoldAlignment]) -> list[PairCounts]:
    """The counts of each pair, which :mod:`bitext.significance` resamples.

    :raises InputError: if there is not one hypothesis a gold alignment.
    """
    if len(hypotheses) != len(gold):
        raise InputError(f"{len(hypotheses)} alignments cannot be scored by {len(gold)} of gold")
    counts = []
    for hypothesis, expected in zip(hypotheses, gold, strict=True):
        sure = sum(link in expected.sure for link in hypothesis.links)
        possible = sum(link in expected.possible for link in hypothesis.links)
        sizes = len(hypothesis.links), len(expected.sure), len(expected.possible)
        counts.append(PairCounts(*sizes, sure, possible))
    return counts


def from_one(gold: Iterable[GoldAlignment]) -> list[GoldAlignment]:
    """Gold whose words count from 1, counted from 0.

    :raises InputError: if it has a word 0.
    """
    shifted = []
    for number, alignment in enumerate(gold, start=1):
        if any(0 in link for link in alignment.possible):
            raise InputError(f"gold line {number} has a word 0, so it does not count from 1")
        shifted.append(GoldAlignment(_minus_one(alignment.sure), _minus_one(alignment.possible)))
    return shifted


def looks_one_based(
    gold: Sequence[GoldAlignment],
    *,
    lengths: Sequence[tuple[int, int]] | None = None,
    hypotheses: Sequence[Alignment] | None = None,
) -> bool:
    """Whether the words of ``gold`` seem to count from 1, which would spoil every score.

    That is so if no link of the whole corpus has a word 0 and, besides, a link points exactly one
    past the end of a sentence, or the hypotheses agree better with the gold counted from 1. Gold
    counted from 0 that nowhere links a first word, but does all else right, is thus let through.

    :param lengths: the words of each pair's source and target, where the caller knows them.
    """
    if not any(g.possible for g in gold) or any(0 in link for g in gold for link in g.possible):
        return False
    if lengths is not None:
        for alignment, (rows, columns) in zip(gold, lengths, strict=True):
            if any(i == rows or j == columns for i, j in alignment.possible):
                return True
    if hypotheses is None:
        return False
    as_it_is = shifted = 0
    for hypothesis, alignment in zip(hypotheses, gold, strict=True):
        as_it_is += sum(link in alignment.possible for link in hypothesis.links)
        shifted += sum((i + 1, j + 1) in alignment.possible for i, j in hypothesis.links)
    return shifted > as_it_is


def _minus_one(links: Iterable[Link]) -> frozenset[Link]:
    return frozenset((i - 1, j - 1) for i, j in links)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
