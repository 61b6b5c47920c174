"""Projection: spans of a sentence carried over word links to its translation.

:func:`project` takes the spans of one sentence pair together, since two that lie apart in the
source should not overlap in the target. Every span comes back, with its target, a confidence and
notes on what was changed; or without a target, and the reason.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import nlargest

import numpy as np

from aligners.strategies import STRATEGIES, Evidence, Interval
from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.types import Alignment, Link

BEAM = 200
"""Partial choices that are followed at once where spans compete for target words."""

NOTES = {
    "unlinked": "some of its source words have no link",
    "clipped": "some target words that are linked to it were left out",
    "merged": "target words that are not linked to it were taken in between",
    "trimmed": "punctuation was taken off its ends",
    "cut": "words that another span holds were taken off",
    "overlaps": "it shares words with a span from which it lies apart in the source",
    "widened": "it was stretched over the elements that it holds (markup)",
}
"""What was done to a span that was carried over: note -> what it means."""


@dataclass(frozen=True, slots=True)
class Span:
    """Words ``start`` to ``end`` (excluded) of a sentence, counted from 0, and what they are."""

    start: int
    end: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """How spans are carried over.

    :raises UnknownNameError: if there is no such strategy.
    :raises InputError: if ``gap`` is negative.
    """

    strategy: str = "mass"  # one of STRATEGIES
    gap: int = 2  # words between linked words that longest-run bridges
    punctuation: bool = False  # keep punctuation however it is linked
    disjoint: bool = True  # spans that lie apart in the source never overlap in the target

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UnknownNameError(choose_from("strategy", self.strategy, STRATEGIES))
        if self.gap < 0:
            raise InputError(f"gap must be at least 0, got {self.gap}")


@dataclass(frozen=True, slots=True)
class Projection:
    """What became of one source span.

    Where ``target`` is ``None`` the one note is a key of ``LOST``, otherwise notes are keys of
    ``NOTES``. The confidence is in [0, 1], and 0 for a lost span.
    """

    source: Span
    target: Span | None
    confidence: float
    notes: tuple[str, ...] = ()


def project(
    spans: Sequence[Span],
    alignment: Alignment,
    source: Sequence[str],
    target: Sequence[str],
    rules: Rules = Rules(),
) -> list[Projection]:
    """Carry ``spans`` of the words ``source`` over ``alignment`` to the words ``target``.

    Unless ``rules.punctuation``, links between a word and a punctuation mark do not count, and
    marks at the ends of a target span are taken off where the source span has none at that end.
    ``mass`` chooses the intervals of all spans together, so that their sum is the greatest (a beam
    search, exact for few spans); of the other strategies' the surer span keeps the words that two
    want, and the other keeps the longest stretch it has left.

    :raises InputError: if a span or a link is outside of its sentence.
    """
    _check(spans, alignment, source, target)
    marks = (_marks(source), _marks(target))
    scored = _counted(alignment, marks, rules)
    evidence = [_evidence(span, scored, len(target)) for span in spans]
    drafts = [_draft(s, e, marks, rules) for s, e in zip(spans, evidence, strict=True)]
    chosen = _assign(spans, evidence, drafts)
    if rules.disjoint:
        chosen = _cut(spans, evidence, chosen)
    overlapping = _overlapping(spans, [draft.best for draft in chosen])
    return [
        _described(span, proof, draft, index in overlapping)
        for index, (span, proof, draft) in enumerate(zip(spans, evidence, chosen, strict=True))
    ]


def confidence(evidence: Evidence, interval: Interval) -> float:
    """How sure it is that a span became ``interval``.

    ``within / (within + leaked) * covered * score``: the share of the mass that the span and its
    target have to themselves, the share of the span's words that are linked, and the mean score of
    the span's links (1 for links read from Pharaoh lines).
    """
    within, leaked = evidence.shares(interval)
    return within / (within + leaked) * evidence.covered * evidence.score


# --- evidence


def _check(
    spans: Sequence[Span], alignment: Alignment, source: Sequence[str], target: Sequence[str]
) -> None:
    for span in spans:
        if not 0 <= span.start <= span.end <= len(source):
            place = f"{span.start} to {span.end}"
            raise InputError(f"span {place} is outside of a sentence of {len(source)} words")
    check_links(alignment, len(source), len(target))


def check_links(alignment: Alignment, source_words: int, target_words: int) -> None:
    """:raises InputError: if a link points past the end of a sentence."""
    for i, j in alignment.links:
        if i >= source_words or j >= target_words:
            raise InputError(
                f"link {i}-{j} is outside of a pair of {source_words} and {target_words} words"
            )


def _marks(words: Sequence[str]) -> list[bool]:
    """Which words are nothing but punctuation."""
    return [bool(w) and all(unicodedata.category(c).startswith("P") for c in w) for w in words]


Marks = tuple[list[bool], list[bool]]


def _counted(alignment: Alignment, marks: Marks, rules: Rules) -> list[tuple[Link, float]]:
    """The links that count, with scores above 0."""
    return [
        ((i, j), max(score, 1e-9))
        for (i, j), score in zip(alignment.links, alignment.scores, strict=True)
        if rules.punctuation or marks[0][i] == marks[1][j]
    ]


def _evidence(span: Span, scored: Sequence[tuple[Link, float]], width: int) -> Evidence:
    inside, outside = np.zeros(width), np.zeros(width)
    within = [(i, j, score) for (i, j), score in scored if span.start <= i < span.end]
    for _, j, score in within:
        inside[j] += score
    for (i, j), score in scored:
        if not span.start <= i < span.end:
            outside[j] += score
    covered = len({i for i, _, _ in within}) / max(span.end - span.start, 1)
    return Evidence(inside, outside, covered, float(inside.sum()) / max(len(within), 1))


# --- choosing


@dataclass(frozen=True, slots=True)
class _Draft:
    """The intervals a span may still have, best first, and what is to be said of it."""

    intervals: tuple[Interval, ...]
    notes: tuple[str, ...] = ()  # the reason, where there are no intervals

    @property
    def best(self) -> Interval | None:
        return self.intervals[0] if self.intervals else None


def _draft(span: Span, evidence: Evidence, marks: Marks, rules: Rules) -> _Draft:
    """What the strategy proposes for a span, without punctuation at its ends."""
    if span.start == span.end:
        return _Draft((), ("no-words",))
    if not evidence.inside.any():
        return _Draft((), ("no-links",))
    proposal = STRATEGIES[rules.strategy](evidence, rules.gap)
    if not proposal.intervals:
        return _Draft((), (proposal.reason,))
    trimmed = [_trim(span, each, evidence, marks, rules) for each in proposal.intervals]
    kept = tuple(dict.fromkeys(each for each in trimmed if each[0] < each[1]))
    if not kept:
        return _Draft((), ("punctuation",))
    return _Draft(kept, () if kept[0] == proposal.intervals[0] else ("trimmed",))


def _trim(
    span: Span, interval: Interval, evidence: Evidence, marks: Marks, rules: Rules
) -> Interval:
    """Take off marks at ends where the source span has none, and what is then not linked."""
    start, end = interval
    if rules.punctuation:
        return interval
    off = [not mass for mass in evidence.inside]
    while start < end and (off[start] or (marks[1][start] and not marks[0][span.start])):
        start += 1
    while start < end and (off[end - 1] or (marks[1][end - 1] and not marks[0][span.end - 1])):
        end -= 1
    return start, end


def _assign(
    spans: Sequence[Span], evidence: Sequence[Evidence], drafts: Sequence[_Draft]
) -> list[_Draft]:
    """Of the drafts with several intervals leave one each, chosen together."""
    if all(len(draft.intervals) < 2 for draft in drafts):
        return list(drafts)
    if not _overlapping(spans, [draft.best for draft in drafts]):
        return [_settled(draft, draft.best) for draft in drafts]  # each has its best
    order = [index for index, draft in enumerate(drafts) if draft.intervals]
    states: list[tuple[float, tuple[Interval | None, ...]]] = [(0.0, ())]
    for place, index in enumerate(order):
        earlier = [n for n in range(place) if _apart(spans[order[n]], spans[index])]
        grown = []
        for value, taken in states:
            grown.append((value, (*taken, None)))
            for interval in drafts[index].intervals:
                if not any(_overlap(taken[n], interval) for n in earlier):
                    gain = _gain(evidence[index], interval)
                    grown.append((value + gain, (*taken, interval)))
        # nlargest keeps the order of equals, so that the earlier proposals win
        states = nlargest(BEAM, grown, key=lambda state: round(state[0], 9))
    best = dict(zip(order, states[0][1], strict=True))
    return [_settled(draft, best.get(index)) for index, draft in enumerate(drafts)]


def _gain(evidence: Evidence, interval: Interval) -> float:
    """What an interval is worth above giving the span up."""
    within, leaked = evidence.shares(interval)
    return within - leaked + float(evidence.inside.sum())


def _settled(draft: _Draft, interval: Interval | None) -> _Draft:
    if not draft.intervals:
        return draft
    if interval is None:
        return _Draft((), ("overlap",))
    return replace(draft, intervals=(interval,))


def _cut(
    spans: Sequence[Span], evidence: Sequence[Evidence], drafts: Sequence[_Draft]
) -> list[_Draft]:
    """Let the surer of two spans keep the words that both want."""
    settled = list(drafts)
    sure = [confidence(e, d.best) if d.best else 0.0 for e, d in zip(evidence, drafts, strict=True)]
    done: list[int] = []
    for index in sorted(range(len(spans)), key=lambda n: -sure[n]):
        interval = settled[index].best
        if interval is not None:
            others = [settled[n].best for n in done if _apart(spans[n], spans[index])]
            left = _left(evidence[index], interval, others)
            if left is None:
                settled[index] = _Draft((), ("overlap",))
            elif left != interval:
                settled[index] = _Draft((left,), (*settled[index].notes, "cut"))
        done.append(index)
    return settled


def _left(
    evidence: Evidence, interval: Interval, others: Sequence[Interval | None]
) -> Interval | None:
    """The stretch of ``interval`` outside of ``others`` with the most linked words, if any."""
    taken = {word for other in others if other for word in range(*other)}
    if taken.isdisjoint(range(*interval)):
        return interval
    free = [j for j in evidence.linked.tolist() if interval[0] <= j < interval[1]]
    stretches: list[list[int]] = [[]]
    for word in range(*interval):
        if word in taken:
            stretches.append([])
        elif word in free:
            stretches[-1].append(word)
    best = max(stretches, key=len)
    return (best[0], best[-1] + 1) if best else None


def _apart(first: Span, second: Span) -> bool:
    return first.end <= second.start or second.end <= first.start


def _overlap(first: Interval | None, second: Interval | None) -> bool:
    return bool(first and second and first[0] < second[1] and second[0] < first[1])


def _overlapping(spans: Sequence[Span], intervals: Sequence[Interval | None]) -> set[int]:
    """The spans whose target meets that of one from which they lie apart in the source."""
    found: set[int] = set()
    for second in range(len(spans)):
        for first in range(second):
            if _apart(spans[first], spans[second]) and _overlap(
                intervals[first], intervals[second]
            ):
                found |= {first, second}
    return found


# --- saying what happened


def _described(span: Span, evidence: Evidence, draft: _Draft, overlaps: bool) -> Projection:
    interval = draft.best
    if interval is None:
        return Projection(span, None, 0.0, draft.notes)
    start, end = interval
    left_out = evidence.inside[:start].any() or evidence.inside[end:].any()
    seen = {
        "unlinked": evidence.covered < 1,
        "clipped": bool(left_out),
        "merged": not evidence.inside[start:end].all(),
        "overlaps": overlaps,
    }
    notes = [note for note in NOTES if seen.get(note) or note in draft.notes]
    sure = confidence(evidence, interval)
    return Projection(span, Span(start, end, span.label), sure, tuple(notes))
