"""Null words by entropy, against values worked by hand with SimAlign's rules."""

from __future__ import annotations

import numpy as np
import pytest

from aligners.null import calibrate, entropies, keep_decided
from bitext.errors import InputError

# Rows scaled to sum to 1: (1/2, 1/2, 0), (1, 0, 0), (1/3, 1/3, 1/3): entropies log 2, 0, log 3.
# Columns: (3/10, 6/10, 1/10), (3/4, 0, 1/4), (0, 0, 1).
SIMILARITY = np.array([[0.3, 0.3, 0.0],
                       [0.6, 0.0, 0.0],
                       [0.1, 0.1, 0.1]])  # fmt: skip
HALF = np.log(2) / np.log(3)  # .6309, the first row's
FIRST = -(0.3 * np.log(0.3) + 0.6 * np.log(0.6) + 0.1 * np.log(0.1)) / np.log(3)  # .8173
SECOND = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(3)  # .5119


def test_the_smaller_of_both_entropies_by_hand() -> None:
    expected = [[HALF, SECOND, 0], [0, 0, 0], [FIRST, SECOND, 0]]
    np.testing.assert_allclose(entropies(SIMILARITY), expected, atol=1e-12)


def test_rows_are_divided_by_the_number_of_columns_and_columns_by_that_of_rows() -> None:
    # Everything alike is as undecided as can be, whatever the shape.
    np.testing.assert_allclose(entropies(np.full((3, 5), 0.7, np.float32)), 1.0, atol=1e-7)


def test_a_row_of_zeros_does_not_decide() -> None:
    similarity = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])
    # Columns are (0, 1/2, 1/2): log 2 / log 3; rows 0: nothing, rows 1 and 2: 1.
    np.testing.assert_allclose(entropies(similarity), HALF)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (9, 2)])
def test_with_two_units_on_a_side_all_links_stay(shape: tuple[int, int]) -> None:
    assert not entropies(np.full(shape, 0.5)).any()
    assert keep_decided(np.ones(shape, np.bool_), np.full(shape, 0.5), 0.0).all()


def test_undecided_links_are_dropped() -> None:
    diagonal = np.eye(3, dtype=np.bool_)
    diagonal[2, 0] = True
    # 0-0 is .63, 1-1 and 2-2 are 0, 2-0 is .82; a link at tau itself stays.
    kept = keep_decided(diagonal, SIMILARITY, HALF)
    assert np.array_equal(kept, np.eye(3, dtype=np.bool_))


def test_tau_is_a_position_among_all_links() -> None:
    links = np.zeros((3, 3), np.bool_)
    links[0, 0] = links[0, 1] = links[2, 0] = links[1, 1] = True
    # Their entropies: .63, .51, .82 and 0, which does not count; the pair of 2 x 2 does not either.
    # Sorted: .51, .63, .82; int(.95 * 3) = 2, int(.5 * 3) = 1, int(.3 * 3) = 0.
    pairs = [links, np.ones((2, 2), np.bool_)]
    similarities = [SIMILARITY, np.full((2, 2), 0.5)]
    assert calibrate(pairs, similarities) == pytest.approx(FIRST)
    assert calibrate(pairs, similarities, 0.5) == pytest.approx(HALF)
    assert calibrate(pairs, similarities, 0.3) == pytest.approx(SECOND)


def test_where_nothing_counts_nothing_is_dropped() -> None:
    assert calibrate([], []) == 1.0
    assert calibrate([np.eye(3, dtype=np.bool_)], [SIMILARITY], 1.0) == 1.0


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(InputError, match="share must be from 0 to 1, got 95"):
        calibrate([], [], 95)
