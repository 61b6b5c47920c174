"""Softmax and entmax by hand, and the links of both directions."""

from __future__ import annotations

import numpy as np
import pytest

from aligners.probability import (
    entmax,
    entmax_over,
    intersect,
    intersection,
    softmax_over,
    there_and_back,
)
from aligners.similarity import dot
from bitext.errors import InputError

LOGITS = np.random.default_rng(0).normal(size=(5, 7)) * 3


def test_softmax_by_hand() -> None:
    # exp of 0 and log 3 are 1 and 3. Logits of thousands overflow nothing.
    np.testing.assert_allclose(softmax_over(np.array([[0, np.log(3)]]), 1), [[0.25, 0.75]])
    assert softmax_over(np.array([[5000.0, 0.0]]), 1).tolist() == [[1, 0]]


def test_sparsemax_by_hand() -> None:
    # .9 + .7 - 1 = .6, over 2: tau = .3 leaves .6 and .4; -1 lies below tau.
    np.testing.assert_allclose(entmax_over(np.array([[0.9, -1, 0.7]]), 1, 2), [[0.6, 0, 0.4]])


def test_entmax_by_hand() -> None:
    # Halves less the greatest: 0, -.2, -2. With tau = -.8: .8 ** 2 + .6 ** 2 = .64 + .36 = 1.
    found = entmax_over(np.array([[3.0, 2.6, -1.0]]), 1)
    np.testing.assert_allclose(found, [[0.64, 0.36, 0]], atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("alpha", [1, 1.2, 1.5, 1.8, 2, 3])
def test_probabilities_sum_to_one_along_their_axis(alpha: float, axis: int) -> None:
    found = entmax_over(LOGITS, axis, alpha)
    np.testing.assert_allclose(found.sum(axis=axis), 1)
    assert (found >= 0).all()


@pytest.mark.parametrize(("alpha", "near"), [(1.5, 1.5 + 1e-9), (2, 2 + 1e-9), (1, 1 + 1e-6)])
def test_bisection_agrees_with_what_is_exact(alpha: float, near: float) -> None:
    exact, bisected = entmax_over(LOGITS, 1, alpha), entmax_over(LOGITS, 1, near)
    np.testing.assert_allclose(bisected, exact, atol=1e-5)


def test_equal_logits_share_equally() -> None:
    for alpha in (1, 1.5, 1.7, 2):
        np.testing.assert_allclose(entmax_over(np.full((1, 4), 9.0), 1, alpha), 0.25)


@pytest.mark.parametrize("alpha", [0.9, float("nan"), float("inf")])
def test_an_alpha_below_one_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha must be at least 1, got"):
        entmax_over(LOGITS, 1, alpha)


def test_both_directions_must_find_a_link_probable() -> None:
    # Of the weights 1 1 and 3 1. Rows: 1/2 1/2 and 3/4 1/4; columns: 1/4 3/4 and 1/2 1/2.
    logits = np.log([[1.0, 1.0], [3.0, 1.0]])
    there, back = there_and_back(logits)
    np.testing.assert_allclose(there, [[0.5, 0.5], [0.75, 0.25]])
    np.testing.assert_allclose(back, [[0.25, 0.5], [0.75, 0.5]])
    assert intersect(logits, threshold=0.3).tolist() == [[False, True], [True, False]]


def test_the_matchers_read_cosines_over_a_temperature() -> None:
    # Cosines that over .5 are the logits of the test above, less log 3.
    cosines = 0.5 * (np.log([[1.0, 1.0], [3.0, 1.0]]) - np.log(3))
    links = intersection((cosines + 1) / 2, temperature=0.5, threshold=0.3)
    assert links.tolist() == [[False, True], [True, False]]


def test_entmax_leaves_a_unit_without_links() -> None:
    # Cosines over .1: row 0 is (8, 0): all on column 0. Row 1 is (4, 0): all on column 0, which by
    # far prefers row 0; column 1 is undecided between the rows, but neither row gives it anything.
    similarity = np.array([[0.9, 0.5], [0.7, 0.5]])
    links = entmax(similarity, temperature=0.1, threshold=0)
    assert links.tolist() == [[True, False], [False, False]]


def test_dot_products_reach_the_matchers_as_they_are() -> None:
    source = np.array([[3, 0], [0, 1]], np.float32)
    target = np.array([[1, 1], [0, 2]], np.float32)
    # Products 3, 0 and 1, 2; moved as cosines are: (x + 1) / 2.
    assert dot(source, target).tolist() == [[2, 0.5], [1, 1.5]]
    # Softmax of 3, 0: .95, .05; of 1, 2: .27, .73; of columns 3, 1: .88, .12; of 0, 2: .12, .88.
    links = intersection(dot(source, target), temperature=1, threshold=0.2)
    assert links.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_of_zero_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature must be above 0, got"):
        intersection(np.ones((2, 2)), temperature=temperature)
