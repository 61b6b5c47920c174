"""Alignments and gold alignments: what they accept, and their text forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitext.errors import BitextError, InputError, choose_from
from bitext.types import Alignment, GoldAlignment

link = st.tuples(st.integers(0, 999_999_999), st.integers(0, 999_999_999))


def test_links_come_out_sorted_and_once() -> None:
    assert Alignment.parse("2-0 0-1 2-0 0-0").links == ((0, 0), (0, 1), (2, 0))


def test_numbers_sort_as_numbers() -> None:
    # as text, "10-0" would come before "2-0"
    assert Alignment.parse("10-0 2-0").links == ((2, 0), (10, 0))


def test_a_repeated_link_keeps_its_best_score() -> None:
    alignment = Alignment.of([((0, 1), 0.25), ((0, 0), 0.5), ((0, 1), 0.75)])
    assert alignment == Alignment(((0, 0), (0, 1)), (0.5, 0.75))


def test_parsed_links_score_one() -> None:
    assert Alignment.parse("0-0 3-2").scores == (1.0, 1.0)


@pytest.mark.parametrize("line", ["", "  ", "\t"])
def test_a_line_without_links_is_an_empty_alignment(line: str) -> None:
    assert Alignment.parse(line) == Alignment()
    assert str(Alignment.parse(line)) == ""


@pytest.mark.parametrize(
    "item",
    [
        "0",
        "0-",
        "-1-2",
        "0-1-2",
        "0:1",
        "a-b",
        "0p1",  # gold only
        "0-0:0.9",  # a score, which Pharaoh does not carry
        "²-1",  # a digit to str.isdigit, but no number
        "١-٢",  # digits of another script
        "0-" + "9" * 10,  # no line has so many words
        "0-" + "9" * 5000,  # more digits than Python turns into a number
    ],
)
def test_other_forms_of_links_are_refused(item: str) -> None:
    with pytest.raises(InputError) as caught:
        Alignment.parse(f"0-0 {item}")
    assert str(caught.value) == f"expected links such as '0-0 1-2', got '{item}'"


@given(st.lists(link))
def test_parse_undoes_str(links: list[tuple[int, int]]) -> None:
    alignment = Alignment.of((link, 1.0) for link in links)
    assert Alignment.parse(str(alignment)) == alignment


def test_an_alignment_is_checked_where_it_is_made() -> None:
    with pytest.raises(AssertionError, match="sorted and unique"):
        Alignment(((1, 0), (0, 0)), (1.0, 1.0))
    with pytest.raises(AssertionError, match="sorted and unique"):
        Alignment(((0, 0), (0, 0)), (1.0, 1.0))
    with pytest.raises(AssertionError, match="one score a link"):
        Alignment(((0, 0),), ())


def test_gold_sure_links_are_possible_too() -> None:
    gold = GoldAlignment.parse("1p2 0-0")
    assert gold.sure == {(0, 0)}
    assert gold.possible == {(0, 0), (1, 2)}
    assert str(gold) == "0-0 1p2"


def test_gold_that_says_both_of_a_link_is_sure_of_it() -> None:
    # Some corpora repeat their sure links among the possible ones.
    assert str(GoldAlignment.parse("0p0 0-0")) == "0-0"


@pytest.mark.parametrize("item", ["0", "0s1", "0P1", "1:2", "0-1p2", "0p" + "9" * 10])
def test_other_forms_of_gold_links_are_refused(item: str) -> None:
    with pytest.raises(InputError) as caught:
        GoldAlignment.parse(item)
    assert str(caught.value) == f"expected gold links such as '0-0 1p2', got '{item}'"


@given(st.sets(link), st.sets(link))
def test_gold_parse_undoes_str(sure: set[tuple[int, int]], possible: set[tuple[int, int]]) -> None:
    gold = GoldAlignment(frozenset(sure), frozenset(sure | possible))
    assert GoldAlignment.parse(str(gold)) == gold


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    sentence = choose_from("layer", "99", [2, 0, 1])
    assert sentence == "unknown layer '99'; choose one of: 0, 1, 2"


def test_every_error_that_a_user_can_mend_has_one_root() -> None:
    import bitext.errors

    things = vars(bitext.errors).values()
    errors = [x for x in things if isinstance(x, type) and issubclass(x, BaseException)]
    assert len(errors) > 1
    assert all(issubclass(error, BitextError) for error in errors)
