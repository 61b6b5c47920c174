"""Symmetrisation: small cases by hand, each where the algorithms part; properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligners.symmetrize import SYMMETRIZERS, symmetrize
from bitext.errors import UnknownNameError
from bitext.types import Alignment

# One direction only has 0-1 and the other 0-0; both have 1-1. Beside 1-1 lie both candidates.
# atools comes to 0-0 first, after which the words of 0-1 both have links. symal looks up and down
# from 1-1 before it looks along the diagonal: 0-1, then 0-0, whose target is still free. Lilt's
# takes 0-0 only, as 0-1 shares its target with 1-1.
ORDER = ("0-1 1-1", "0-0 1-1")

# Next to 0-0 lie 0-1 (its target is free), and 1-1 (both are free, until 0-1 takes the target).
GROWTH = ("0-0 1-1", "0-0 0-1")

# Far from 0-0, one direction has 3-3 and the other 3-4: nothing grows there. The final step takes
# both where one free word will do; where both must be free, the one that comes first: forward's
# for atools and Lilt's, backward's for symal.
FINAL = ("0-0 3-3", "0-0 3-4")


@pytest.mark.parametrize(
    ("case", "method", "expected"),
    [
        (ORDER, "union", "0-0 0-1 1-1"),
        (ORDER, "intersection", "1-1"),
        (ORDER, "grow-diag", "0-0 1-1"),
        (ORDER, "grow-diag-moses", "0-0 0-1 1-1"),
        (ORDER, "grow-diag-lilt", "0-0 1-1"),
        (GROWTH, "grow-diag", "0-0 0-1 1-1"),
        (GROWTH, "grow-diag-moses", "0-0 0-1 1-1"),
        (GROWTH, "grow-diag-lilt", "0-0 1-1"),
        (FINAL, "grow-diag", "0-0"),
        (FINAL, "grow-diag-final", "0-0 3-3 3-4"),
        (FINAL, "grow-diag-final-and", "0-0 3-3"),
        (FINAL, "grow-diag-moses", "0-0"),
        (FINAL, "grow-diag-final-moses", "0-0 3-3 3-4"),
        (FINAL, "grow-diag-final-and-moses", "0-0 3-4"),
        (FINAL, "grow-diag-lilt", "0-0"),
        (FINAL, "grow-diag-final-lilt", "0-0 3-3"),
    ],
)
def test_by_hand(case: tuple[str, str], method: str, expected: str) -> None:
    forward, backward = map(Alignment.parse, case)
    assert str(symmetrize(forward, backward, method)) == expected


def test_growth_goes_on_from_what_has_grown() -> None:
    # 2-2 is no neighbour of 0-0, but one of 1-1, which grows first; 4-4 is a neighbour of nothing.
    forward, backward = Alignment.parse("0-0 1-1 4-4"), Alignment.parse("0-0 2-2")
    for method in ("grow-diag", "grow-diag-moses", "grow-diag-lilt"):
        assert str(symmetrize(forward, backward, method)) == "0-0 1-1 2-2"


def test_growth_comes_back_to_what_it_passed() -> None:
    # Sorted, 0-2 comes before its only neighbour 1-1 has been taken: a second round is needed.
    forward, backward = Alignment.parse("2-0 0-2"), Alignment.parse("2-0 1-1")
    for method in ("grow-diag", "grow-diag-moses", "grow-diag-lilt"):
        assert str(symmetrize(forward, backward, method)) == "0-2 1-1 2-0"


def test_a_score_is_the_mean_of_both_directions() -> None:
    # 0-0: (0.8 + 0.6) / 2; 0-1 is in one direction only: (0 + 0.9) / 2.
    forward = Alignment.of([((0, 0), 0.8)])
    backward = Alignment.of([((0, 0), 0.6), ((0, 1), 0.9)])
    found = symmetrize(forward, backward, "union")
    assert found.scores == pytest.approx((0.7, 0.45))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown symmetrisation 'grow'; choose one of: gr"):
        symmetrize(Alignment(), Alignment(), "grow")


LINKS = st.frozensets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)


@given(LINKS, LINKS)
def test_every_method_lies_between_intersection_and_union(
    forward: frozenset[tuple[int, int]], backward: frozenset[tuple[int, int]]
) -> None:
    for name, method in SYMMETRIZERS.items():
        found = method(forward, backward)
        assert forward & backward <= found <= forward | backward, name
        assert method(forward, forward) == forward, name
        if "-final" in name:  # what the step adds is added to what the same one grows
            grown = SYMMETRIZERS[name.replace("-final-and", "").replace("-final", "")]
            assert grown(forward, backward) <= found, name
