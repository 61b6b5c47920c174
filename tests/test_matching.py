"""The matchers, by hand-worked matrices and against the rules written out in plain Python."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aligners.matching import argmax, backward, forward, itermax, mwmf
from aligners.methods import MATCHERS
from aligners.probability import softmax

Pairs = set[tuple[int, int]]


def linked(links: np.ndarray) -> Pairs:
    return {(int(i), int(j)) for i, j in np.argwhere(links)}


# --- by hand

# Source 0 and source 1 both prefer target 0; target 0 prefers source 0, so only one link survives
# in both directions; target 1 and target 2 prefer source 1.
SIMILARITY = np.array([[0.9, 0.1, 0.2],
                       [0.8, 0.7, 0.3]])  # fmt: skip


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("forward", {(0, 0), (1, 0)}),
        ("backward", {(0, 0), (1, 1), (1, 2)}),
        ("argmax", {(0, 0)}),
        # Two rows: itermax stops at argmax's links.
        ("itermax", {(0, 0)}),
        # One to one: .9 + .7 is more than any other two entries of different rows and columns.
        ("mwmf", {(0, 0), (1, 1)}),
        # Cosines / 0.05 are 40 S - 20. Row 1: 32, 28, 12, so p = .982, .018, 0; column 0: 36, 32,
        # so q = .982, .018. (0, 0): p = 1, the root of .982 is .99. (1, 0) and (1, 1): the root of
        # .982 * .018 is .13, below .4.
        ("softmax", {(0, 0)}),
    ],
)
def test_each_matcher_on_one_small_matrix(method: str, expected: Pairs) -> None:
    assert linked(MATCHERS[method]([SIMILARITY])[0]) == expected


def test_softmax_links_a_unit_twice_or_not_at_all() -> None:
    # Row 0 is as close to column 0 as to column 1: p = 1/2 each, q nearly 1: the root of a half is
    # .71. Row 1 is as close to everything as anything: p = 1/3, and in column 2 q is 1/2; .41.
    similarity = np.array([[0.9, 0.9, 0.5], [0.5, 0.5, 0.5]])
    assert linked(softmax(similarity)) == {(0, 0), (0, 1), (1, 2)}
    assert linked(softmax(similarity, threshold=0.45)) == {(0, 0), (0, 1)}


def test_ties_go_to_the_smaller_index() -> None:
    flat = np.full((3, 4), 0.5)
    assert linked(forward(flat)) == {(0, 0), (1, 0), (2, 0)}
    assert linked(backward(flat)) == {(0, 0), (0, 1), (0, 2), (0, 3)}
    assert linked(argmax(flat)) == {(0, 0)}


@pytest.mark.parametrize("method", sorted(MATCHERS))
def test_one_unit_a_side_is_linked(method: str) -> None:
    assert linked(MATCHERS[method]([np.array([[0.3]])])[0]) == {(0, 0)}


@pytest.mark.parametrize("shape", [(1, 7), (2, 7), (7, 1), (7, 2), (2, 2)])
def test_itermax_is_argmax_where_a_side_has_at_most_two_units(shape: tuple[int, int]) -> None:
    similarity = np.random.default_rng(3).random(shape)
    assert np.array_equal(itermax(similarity), argmax(similarity))


def test_itermax_links_what_the_first_round_left_free() -> None:
    # Round 1: rows choose columns 0, 0, 2; columns choose rows 0, 1, 2. Agreed: 0-0 and 2-2.
    # Round 2, row 1 and column 1 are free: row 1 weighs .9*.8 = .72, 1*.75, .9*.1 and chooses
    # column 1, where it stands against .9*.3 and .9*.2: agreed.
    similarity = np.array([[0.9, 0.30, 0.1],
                           [0.8, 0.75, 0.1],
                           [0.1, 0.20, 0.9]])  # fmt: skip
    assert linked(argmax(similarity)) == {(0, 0), (2, 2)}
    assert linked(itermax(similarity)) == {(0, 0), (1, 1), (2, 2)}


def test_itermax_may_link_many_to_one() -> None:
    # (d) Round 1: 0-0 and 2-2. Round 2: row 1 weighs .9*.8 = .72 in linked column 0 against .6 in
    # free column 1, and is column 0's only candidate: 1-0. Column 1 prefers linked row 0 (.9*.7 =
    # .63) to free row 1 (.6), and row 0 has no other candidate: 0-1.
    similarity = np.array([[0.9, 0.7, 0.1],
                           [0.8, 0.6, 0.1],
                           [0.1, 0.2, 0.9]])  # fmt: skip
    assert linked(itermax(similarity)) == {(0, 0), (0, 1), (1, 0), (2, 2)}


def test_itermax_weighs_the_original_similarity_in_every_round() -> None:
    # (a) Round 1: 0-0 and 3-3. Round 2: rows 1 and 2 both prefer linked column 0 (.72 and .675) to
    # free column 1 (.7, .65); column 0 takes row 1: 1-0. Round 3: row 2 again weighs .675 in column
    # 0 against .65: 2-0. Weighed upon the weighed it would be .9*.675 = .6075, and 2-1 would win.
    similarity = np.array([[0.95, 0.05, 0.05, 0.0],
                           [0.80, 0.70, 0.20, 0.0],
                           [0.75, 0.65, 0.30, 0.0],
                           [0.00, 0.00, 0.00, 0.9]])  # fmt: skip
    assert linked(itermax(similarity)) == {(0, 0), (1, 0), (3, 3)}
    assert linked(itermax(similarity, n_max=3)) == {(0, 0), (1, 0), (2, 0), (3, 3)}


def test_itermax_links_nothing_that_has_no_weight() -> None:
    # (b) Round 1: 0-1 and 1-0. In round 2 row 2 and column 2 are free and every weighed similarity
    # is 0, so every maximum is at index 0 and 0-0 looks agreed; but both its units are linked.
    similarity = np.array([[0.0, 0.9, 0.0],
                           [0.9, 0.0, 0.0],
                           [0.0, 0.0, 0.0]])  # fmt: skip
    assert linked(itermax(similarity)) == {(0, 1), (1, 0)}


def test_itermax_stops_when_one_side_is_used_up() -> None:
    # (c) Round 1 links all three columns: 0-0, 1-1, 2-2. Row 3 is free and would like column 0
    # (.8 * alpha by the paper's rule), but no column is free, so it stays alone.
    similarity = np.array([[0.9, 0.1, 0.1],
                           [0.1, 0.9, 0.1],
                           [0.1, 0.1, 0.9],
                           [0.8, 0.2, 0.2]])  # fmt: skip
    assert linked(itermax(similarity)) == {(0, 0), (1, 1), (2, 2)}


@pytest.mark.parametrize(
    ("inner", "alpha", "expected"),
    [
        # (e) Row 1 is free, column 0 linked (weight alpha), column 1 free (weight min(2 alpha, 1)).
        (0.30, 0.3, 0),  # .3*.8 = .24 against .6*.30 = .18
        (0.45, 0.3, 1),  # .3*.8 = .24 against .6*.45 = .27
        (0.45, 0.6, 0),  # .6*.8 = .48 against 1*.45: the weight does not rise to 1.2
    ],
)
def test_itermax_weighs_two_free_units_by_twice_alpha(
    inner: float, alpha: float, expected: int
) -> None:
    # Round 1 links 0-0 and 3-3 whatever inner is.
    similarity = np.array([[0.9, 0.1, 0.2, 0.0],
                           [0.8, inner, 0.1, 0.0],
                           [0.1, 0.1, 0.1, 0.2],
                           [0.0, 0.0, 0.2, 0.9]])  # fmt: skip
    found = linked(itermax(similarity, alpha=alpha))
    assert {j for i, j in found if i == 1} == {expected}


def test_itermax_weighs_in_double_precision() -> None:
    # a and b are neighbouring float32 values whose float32 products with .9 are equal. Row 1 has a
    # and row 2 has b in column 0, which both contend for: a tie would go to row 1, but .9*b > .9*a.
    a = np.float32(0.8)
    while a * np.float32(0.9) != np.nextafter(a, np.float32(1)) * np.float32(0.9):
        a = np.nextafter(a, np.float32(1))
    b = np.nextafter(a, np.float32(1))
    similarity = np.array([[0.9, 0.05, 0.05],
                           [a, 0.10, 0.10],
                           [b, 0.10, 0.10]], dtype=np.float32)  # fmt: skip
    assert linked(itermax(similarity)) == {(0, 0), (2, 0)}


def test_mwmf_takes_the_best_sum_not_the_best_first() -> None:
    # Taking .9 first leaves .1: 1.0 in all; .8 + .7 = 1.5.
    assert linked(mwmf(np.array([[0.9, 0.8], [0.7, 0.1]]))) == {(0, 1), (1, 0)}


def test_mwmf_has_no_edge_where_similarity_is_exactly_zero() -> None:
    # Column 1 is zero everywhere, so row 1 or row 0 stays alone; the better edge is .9.
    assert linked(mwmf(np.array([[0.9, 0.0], [0.8, 0.0]]))) == {(0, 0)}
    assert linked(mwmf(np.zeros((3, 2)))) == set()


def test_mwmf_prefers_more_links_to_heavier_ones() -> None:
    # The one edge 0-0 weighs .9; the two edges 0-1 and 1-0 weigh .3 together, but are two.
    assert linked(mwmf(np.array([[0.9, 0.2], [0.1, 0.0]]))) == {(0, 1), (1, 0)}


# --- the rules in plain Python


def oracle_forward(s: list[list[float]]) -> Pairs:
    return {(i, row.index(max(row))) for i, row in enumerate(s)}


def oracle_backward(s: list[list[float]]) -> Pairs:
    columns = [list(column) for column in zip(*s, strict=True)]
    return {(i, j) for j, i in oracle_forward(columns)}


def oracle_itermax(s: list[list[float]], n_max: int, alpha: float) -> Pairs:
    m, n = len(s), len(s[0])
    found = oracle_forward(s) & oracle_backward(s)
    if min(m, n) <= 2:
        return found
    for _ in range(n_max - 1):
        used_rows, used_columns = {i for i, _ in found}, {j for _, j in found}
        if len(used_rows) == m or len(used_columns) == n:
            break
        weighed = [
            [
                s[i][j] * min(alpha * (i not in used_rows) + alpha * (j not in used_columns), 1.0)
                for j in range(n)
            ]
            for i in range(m)
        ]
        more = {
            (i, j)
            for i, j in oracle_forward(weighed) & oracle_backward(weighed)
            if i not in used_rows or j not in used_columns
        }
        if more <= found:
            break
        found |= more
    return found


def oracle_best_sum(s: list[list[float]]) -> tuple[int, float]:
    """Most links, and of those the greatest sum, over every one-to-one choice of non-zeros."""
    if len(s) > len(s[0]):
        s = [list(column) for column in zip(*s, strict=True)]
    best = (0, 0.0)
    for columns in permutations(range(len(s[0])), len(s)):
        weights = [s[i][j] for i, j in enumerate(columns) if s[i][j] != 0]
        best = max(best, (len(weights), sum(weights)))
    return best


# Few values, so that ties and zeros are common; float32 and float64 as the matchers get them.
COARSE = st.sampled_from([0.0, 0.25, 0.45, 0.5, 0.75, 0.9, 1.0])
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6))
MATRICES = st.one_of(
    arrays.arrays(np.float32, SHAPES, elements=COARSE.map(np.float32)),
    arrays.arrays(np.float64, SHAPES, elements=st.floats(0, 1)),
    arrays.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)),
)


@given(MATRICES)
def test_both_directions_follow_the_rules(similarity: np.ndarray) -> None:
    s = similarity.tolist()
    assert linked(forward(similarity)) == oracle_forward(s)
    assert linked(backward(similarity)) == oracle_backward(s)
    assert linked(argmax(similarity)) == oracle_forward(s) & oracle_backward(s)


@given(MATRICES, st.integers(1, 4), st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_itermax_follows_the_rules(similarity: np.ndarray, n_max: int, alpha: float) -> None:
    found = linked(itermax(similarity, n_max=n_max, alpha=alpha))
    assert found == oracle_itermax(similarity.tolist(), n_max, alpha)


@given(MATRICES.filter(lambda s: min(s.shape) <= 4))
def test_mwmf_is_one_to_one_and_best(similarity: np.ndarray) -> None:
    found = mwmf(similarity)
    assert found.sum(axis=0).max() <= 1
    assert found.sum(axis=1).max() <= 1
    count, total = oracle_best_sum(similarity.tolist())
    assert found.sum() == count
    assert similarity.astype(np.float64)[found].sum() == pytest.approx(total, abs=1e-9)


@given(MATRICES, st.sampled_from(sorted(MATCHERS)))
def test_matchers_leave_their_input_alone(similarity: np.ndarray, method: str) -> None:
    before = similarity.copy()
    links = MATCHERS[method]([similarity])[0]
    assert np.array_equal(similarity, before)
    assert links.dtype == np.bool_
    assert links.shape == similarity.shape


@given(MATRICES)
def test_argmax_links_are_kept_by_itermax(similarity: np.ndarray) -> None:
    assert linked(argmax(similarity)) <= linked(itermax(similarity))
