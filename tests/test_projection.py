"""Spans over links: each strategy by hand, conflicts, confidence, and what is said of losses."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligners.projection import NOTES, Projection, Rules, Span, project
from aligners.strategies import LOST, MAX_PROPOSALS, STRATEGIES, Evidence, mass
from bitext.errors import InputError, UnknownNameError
from bitext.types import Alignment

LETTERS = list("abcdefghij")


def carry(
    spans: list[Span], links: str, strategy: str, *, source: int = 6, target: int = 8, gap: int = 1
) -> list[Projection]:
    rules = Rules(strategy, gap)
    return project(spans, Alignment.parse(links), LETTERS[:source], LETTERS[:target], rules)


def interval(found: Projection) -> tuple[int, int] | None:
    return (found.target.start, found.target.end) if found.target else None


# Source words 0 to 2 are the span. 0-1 1-2 2-4: target words 1, 2 and 4, with 3 unlinked between.
# With gap 1 the example of Easy-Label-Projection is one run; that tool loses word 4.
@pytest.mark.parametrize(
    ("strategy", "gap", "links", "expected"),
    [
        ("longest-run", 1, "0-1 1-2 2-4", (1, 5)),
        ("longest-run", 0, "0-1 1-2 2-4", (1, 3)),
        ("longest-run", 1, "0-1 1-2 2-5", (1, 3)),  # two words between are more than the gap
        ("longest-run", 2, "0-1 1-2 2-5", (1, 6)),
        ("longest-run", 0, "0-1 1-4 2-6", (1, 2)),  # equal runs: the first
        ("min-max", 0, "0-1 1-2 2-7", (1, 8)),
        ("complete-only", 0, "0-2 1-1 2-3", (1, 4)),
        ("complete-only", 0, "0-2 1-1", None),  # word 2 is not linked
        ("complete-only", 0, "0-1 1-2 2-4", None),  # word 3 stands between
        # mass, each link 1, all links from the span: 1 to 4 holds 3 and leaks nothing
        ("mass", 0, "0-1 1-2 2-4", (1, 5)),
        # words 3 to 6 are linked from outside (3-3 4-4 5-5 5-6): 1 to 7 is worth 3 - 4, but 1 to 2
        # is worth 2 - 1
        ("mass", 0, "0-1 1-2 2-7 3-3 4-4 5-5 5-6", (1, 3)),
        # with one foreign word between: 3 - 1 = 2 against 2 - 1 = 1
        ("mass", 0, "0-1 1-2 2-4 3-3", (1, 5)),
    ],
)
def test_a_strategy_gives_the_span_worked_by_hand(
    strategy: str, gap: int, links: str, expected: tuple[int, int] | None
) -> None:
    [found] = carry([Span(0, 3, "PER")], links, strategy, gap=gap)
    assert interval(found) == expected
    assert found.target is None or found.target.label == "PER"


@pytest.mark.parametrize(
    ("span", "links", "strategy", "reason"),
    [
        (Span(2, 2), "2-2", "mass", "no-words"),
        (Span(2, 3), "1-1 3-3", "mass", "no-links"),
        (Span(0, 2), "0-0", "complete-only", "incomplete"),
        (Span(0, 2), "0-0 1-3", "complete-only", "scattered"),
        # word 0 has 1 from the span and 3 from outside: worth 1 - 3 < -1
        (Span(0, 1), "0-0 1-0 2-0 3-0", "mass", "leaks"),
    ],
)
def test_a_lost_span_says_why(span: Span, links: str, strategy: str, reason: str) -> None:
    [found] = carry([span], links, strategy)
    assert found == Projection(span, None, 0.0, (reason,))
    assert reason in LOST


@pytest.mark.parametrize(
    ("links", "strategy", "notes"),
    [
        ("0-0 1-1", "min-max", ()),
        ("0-0", "min-max", ("unlinked",)),
        ("0-0 1-2", "min-max", ("merged",)),
        ("0-0 0-1 1-5", "longest-run", ("clipped",)),
    ],
)
def test_a_changed_span_says_how(links: str, strategy: str, notes: tuple[str, ...]) -> None:
    [found] = carry([Span(0, 2)], links, strategy)
    assert found.notes == notes
    assert set(notes) <= set(NOTES)


# Links 0-0 at 0.8 and 1-1 at 0.6 belong to the span of words 0 and 1; 3-1 at 0.6 comes from
# outside. Interval 0 to 2 holds 1.4 and 0.6 leaks in; both words are linked; the mean score is 0.7.
# With a third, unlinked word in the span the share of linked ones is 2/3.
def test_the_confidence_is_the_formula() -> None:
    alignment = Alignment.of([((0, 0), 0.8), ((1, 1), 0.6), ((3, 1), 0.6)])
    whole, longer = (
        project([span], alignment, LETTERS[:4], LETTERS[:3], Rules("min-max"))[0]
        for span in (Span(0, 2), Span(0, 3))
    )
    assert whole.confidence == pytest.approx(1.4 / 2.0 * 0.7)
    assert longer.confidence == pytest.approx(1.4 / 2.0 * 2 / 3 * 0.7)


# --- punctuation

SOURCE = ["Ann", ",", "who", "left"]
TARGET = ["(", "Anna", ")", ",", "ging"]


def punctuated(span: Span, links: str, *, counts: bool = False) -> Projection:
    rules = Rules("min-max", punctuation=counts)
    return project([span], Alignment.parse(links), SOURCE, TARGET, rules)[0]


def test_links_between_words_and_marks_do_not_count() -> None:
    assert interval(punctuated(Span(0, 1), "0-0 0-1")) == (1, 2)
    assert interval(punctuated(Span(0, 1), "0-0 0-1", counts=True)) == (0, 2)
    assert punctuated(Span(0, 1), "0-0").notes == ("no-links",)


def test_marks_are_trimmed_only_where_the_source_span_has_none() -> None:
    # "Ann , who": the comma is inside of the source span and would end the target span
    trimmed = punctuated(Span(0, 3), "0-1 1-3")
    assert (interval(trimmed), trimmed.notes) == ((1, 2), ("unlinked", "clipped", "trimmed"))
    assert interval(punctuated(Span(0, 2), "0-1 1-3")) == (1, 4)  # "Ann ," ends with it
    assert punctuated(Span(0, 3), "1-3").notes == ("punctuation",)


# The span "Ann , who" is linked to "Anna" and by its comma (1-0 and 1-3): once the marks are off,
# what is left would begin with "x", which has no link.
def test_what_trimming_lays_bare_is_trimmed_too() -> None:
    target = [",", "x", "Anna", ","]
    alignment = Alignment.parse("0-2 1-0 1-3")
    [found] = project([Span(0, 3)], alignment, SOURCE, target, Rules("min-max"))
    assert interval(found) == (2, 3)


# --- spans that compete


# A (words 0, 1) is linked to targets 0 and 3, B (word 2) to target 2: min-max of A covers B's word.
# B's confidence is 1, A's 2/3 (one of three links to its interval is B's).
def test_the_surer_span_keeps_the_word_that_two_want() -> None:
    spans = [Span(0, 2, "A"), Span(2, 3, "B")]
    first, second = carry(spans, "0-0 1-3 2-2", "min-max")
    assert interval(second) == (2, 3)
    assert (interval(first), first.notes) == ((0, 1), ("clipped", "cut"))


def test_overlap_can_be_let_be_and_is_said() -> None:
    spans = [Span(0, 2, "A"), Span(2, 3, "B")]
    rules = Rules("min-max", disjoint=False)
    alignment = Alignment.parse("0-0 1-3 2-2")
    found = project(spans, alignment, LETTERS[:6], LETTERS[:8], rules)
    assert [interval(each) for each in found] == [(0, 4), (2, 3)]
    assert all("overlaps" in each.notes for each in found)


# Two spans of one word, both linked to target 0 alone: one of them has to go.
@pytest.mark.parametrize("strategy", ["longest-run", "min-max", "complete-only", "mass"])
def test_a_span_whose_words_another_took_is_lost(strategy: str) -> None:
    alignment = Alignment.of([((0, 0), 0.9), ((1, 0), 0.5)])
    found = project([Span(0, 1), Span(1, 2)], alignment, ["a", "b"], ["x"], Rules(strategy))
    assert [interval(each) for each in found] == [(0, 1), None]
    assert found[1].notes == ("overlap",)


# A (words 0, 1) is linked to targets 0 and 2, B (word 2) to 1 and 2, all scores 1. Alone, A's best
# is 0 to 2 (2 - 2 = 0, shared with 0 alone: 1 - 1 = 0, the shorter wins) and B's 1 to 2.
def test_mass_chooses_for_all_spans_together() -> None:
    found = carry([Span(0, 2), Span(2, 3)], "0-0 1-2 2-1 2-2", "mass")
    assert [interval(each) for each in found] == [(0, 1), (1, 3)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=7, max_size=12))
def test_mass_proposes_the_heaviest_of_all_intervals(links: list[tuple[int, int]]) -> None:
    """By looking at each: the heaviest, then the shortest, then the first."""
    inside, outside = (np.array(side, np.float64) for side in zip(*links, strict=True))
    evidence = Evidence(inside, outside, 1.0, 1.0)
    worth = {}
    for start, end in itertools.combinations_with_replacement(evidence.linked.tolist(), 2):
        within, leaked = evidence.shares((start, end + 1))
        if within - leaked > -inside.sum():
            worth[start, end + 1] = within - leaked
    best = sorted(worth, key=lambda each: (-worth[each], each[1] - each[0], each))
    assert mass(evidence, 0).intervals == best[:MAX_PROPOSALS]


def test_nested_spans_may_share_words() -> None:
    found = carry([Span(0, 3), Span(1, 2)], "0-1 1-2 2-3", "mass")
    assert [interval(each) for each in found] == [(1, 4), (2, 3)]
    assert all(each.notes == () for each in found)


@given(
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=14),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=5),
    st.sampled_from(sorted(STRATEGIES)),
    st.lists(st.sampled_from(["a", ","]), min_size=14, max_size=14),
)
def test_every_span_comes_back_within_bounds_and_apart(
    links: set[tuple[int, int]], places: list[tuple[int, int]], strategy: str, words: list[str]
) -> None:
    spans = [Span(start, min(start + length, 6)) for start, length in places]
    alignment = Alignment.of((link, 0.5 + link[1] / 20) for link in links)
    found = project(spans, alignment, words[:6], words[6:], Rules(strategy))
    assert [each.source for each in found] == spans
    for each in found:
        assert 0 <= each.confidence <= 1
        assert (each.target is None) == (each.confidence == 0)
        assert each.target is None or 0 <= each.target.start < each.target.end <= 8
    for n, first in enumerate(found):
        for second in found[:n]:
            if first.target and second.target and _apart(first.source, second.source):
                assert _apart(first.target, second.target)


def _apart(first: Span, second: Span) -> bool:
    return first.end <= second.start or second.end <= first.start


def test_the_page_tells_every_strategy_note_and_reason() -> None:
    page = Path(__file__).parents[1] / "docs" / "tasks-project.md"
    text = page.read_text(encoding="utf-8")
    missing = [name for name in (*STRATEGIES, *NOTES, *LOST) if f"`{name}`" not in text]
    assert missing == []


# --- what is refused


@pytest.mark.parametrize(
    ("links", "span", "message"),
    [
        ("6-0", Span(0, 1), "link 6-0 is outside of a pair of 6 and 8 words"),
        ("0-8", Span(0, 1), "link 0-8 is outside of a pair of 6 and 8 words"),
        ("0-0", Span(5, 7), "span 5 to 7 is outside of a sentence of 6 words"),
    ],
)
def test_what_is_outside_is_refused(links: str, span: Span, message: str) -> None:
    with pytest.raises(InputError, match=message):
        carry([span], links, "mass")


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown strategy 'best'; choose one of: compl"):
        Rules("best")
    with pytest.raises(InputError, match="gap must be at least 0, got -1"):
        Rules(gap=-1)
