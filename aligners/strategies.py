"""Which target words a source span becomes: the rules to choose from.

A strategy looks at the :class:`Evidence` that an alignment gives of one span and proposes
intervals ``(start, end)`` of target words, ``end`` excluded, best first; or none, and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Interval = tuple[int, int]

MAX_PROPOSALS = 16
"""Intervals of one span that ``mass`` proposes at most, the heaviest ones."""

LOST = {
    "no-words": "the span holds no word of the source",
    "no-links": "none of its words is linked",
    "punctuation": "only punctuation is linked to it",
    "incomplete": "a source word has no link (complete-only)",
    "scattered": "its target words do not stand together (complete-only)",
    "leaks": "more than twice as much links to the words from outside the span (mass)",
    "overlap": "another span took its words",
}
"""Why a span has no target: reason -> what it means."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an alignment says of one source span.

    ``inside`` and ``outside`` have shape (target words,): the mass, a sum of link scores, that
    reaches each target word from the span's words and from all other source words.
    """

    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    covered: float  # share of the span's words that have a link
    score: float  # mean score of the span's links

    @property
    def linked(self) -> NDArray[np.int64]:
        """The target words that are linked to the span, ascending."""
        return np.flatnonzero(self.inside)

    def shares(self, interval: Interval) -> tuple[float, float]:
        """The mass inside of ``interval``, and what leaks: out of the span, and into it."""
        start, end = interval
        within = float(self.inside[start:end].sum())
        out = float(self.inside.sum()) - within
        return within, out + float(self.outside[start:end].sum())


class Proposal(NamedTuple):
    """Intervals, best first; where there are none, the reason, a key of ``LOST``."""

    intervals: list[Interval]
    reason: str = ""


Strategy = Callable[[Evidence, int], Proposal]
"""Evidence of a span with at least one link, and the gap that is bridged."""


def longest_run(evidence: Evidence, gap: int) -> Proposal:
    """The run with the most linked words; of equal ones the heaviest, then the first.

    Linked words ``j < k`` are of one run if at most ``gap`` words lie between neighbours:
    ``k - j - 1 <= gap``.

    Example: linked words 1, 2, 4 are one run with ``gap=1``, and ``[1, 2]``, ``[4]`` with 0.
    """
    runs: list[list[int]] = [[int(evidence.linked[0])]]
    for before, word in pairwise(evidence.linked.tolist()):
        if word - before - 1 <= gap:
            runs[-1].append(word)
        else:
            runs.append([word])
    best = max(runs, key=lambda run: (len(run), float(evidence.inside[run].sum())))
    return Proposal([(best[0], best[-1] + 1)])


def min_max(evidence: Evidence, gap: int) -> Proposal:
    """From the first linked word to the last, whatever lies between."""
    linked = evidence.linked
    return Proposal([(int(linked[0]), int(linked[-1]) + 1)])


def complete_only(evidence: Evidence, gap: int) -> Proposal:
    """Nothing unless every source word is linked and the target words stand together."""
    linked = evidence.linked
    if evidence.covered < 1:
        return Proposal([], "incomplete")
    if linked[-1] - linked[0] + 1 != len(linked):
        return Proposal([], "scattered")
    return min_max(evidence, gap)


def mass(evidence: Evidence, gap: int) -> Proposal:
    """The intervals that hold the most mass minus what leaks, heaviest first.

    An interval is worth ``within - out - into``: the mass of the links from the span to its words,
    less that from the span to other words, less that from other source words to its own. Giving
    the span up is worth minus all of its mass; intervals worth less are not proposed. The best ones
    begin and end with a linked word.
    """
    linked = evidence.linked
    total = float(evidence.inside.sum())
    # The sums of all intervals at once: a long span has as many as its linked words squared.
    inside, outside = (_sums(part) for part in (evidence.inside, evidence.outside))
    within = inside[linked + 1][None, :] - inside[linked][:, None]
    into = outside[linked + 1][None, :] - outside[linked][:, None]
    worth = 2 * within - total - into
    worth[np.tril_indices(len(linked), -1)] = -np.inf  # an end before the start
    if worth.size > MAX_PROPOSALS:
        least = np.partition(worth, -MAX_PROPOSALS, axis=None)[-MAX_PROPOSALS] - 1e-8
    else:
        least = -np.inf
    starts, ends = np.nonzero((worth > -total) & (worth >= least))
    # Of equally heavy ones, the shorter, then the first.
    values = -worth[starts, ends].round(9)
    first, last = linked[starts], linked[ends]
    order = np.lexsort((first, last - first, values))[:MAX_PROPOSALS]
    kept = [(int(first[n]), int(last[n]) + 1) for n in order]
    return Proposal(kept, "" if kept else "leaks")


def _sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the values before each place, and of all."""
    return np.concatenate(([0.0], np.cumsum(values)))


STRATEGIES: dict[str, Strategy] = {
    "longest-run": longest_run,
    "min-max": min_max,
    "complete-only": complete_only,
    "mass": mass,
}
