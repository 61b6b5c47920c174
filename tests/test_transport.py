"""Optimal transport: closed forms of two by two, marginals, and plans that never break."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aligners.transport import KINDS, partial, plans, read, scaled, transport, unbalanced
from bitext.errors import InputError, UnknownNameError

SWAP = np.array([[0.0, 1.0], [1.0, 0.0]])
COSTS = [np.random.default_rng(n).random(shape) for n, shape in enumerate([(3, 5), (8, 2), (6, 6)])]
MATCHERS = {"balanced": transport, "partial": partial, "unbalanced": unbalanced}


def test_balanced_two_by_two() -> None:
    # By symmetry p on the diagonal and 1/2 - p beside it, with p / (1/2 - p) = exp(1 / eps) = 3.
    (plan,) = plans("balanced", [SWAP], regularisation=1 / np.log(3))
    np.testing.assert_allclose(plan, [[0.375, 0.125], [0.125, 0.375]], atol=1e-9)


def test_unbalanced_two_by_two() -> None:
    # f = g = x everywhere by symmetry. With eps = tau damping is 1/2: x = -(x + log(1 + 1/3)) / 2,
    # so x = -log(4/3) / 3 and the diagonal is exp(2 x) = (3/4) ** (2/3); beside it a third of that.
    eps = 1 / np.log(3)
    (plan,) = plans("unbalanced", [SWAP], regularisation=eps, tau=eps)
    diagonal = 0.75 ** (2 / 3)
    np.testing.assert_allclose(plan, diagonal * np.where(SWAP, 1 / 3, 1), atol=1e-6)


def test_partial_two_by_two() -> None:
    # Half of the mass of 2 is moved and no limit is reached: exp(-C / eps) scaled to sum to 1.
    (plan,) = plans("partial", [SWAP], regularisation=1 / np.log(3), mass=0.5)
    np.testing.assert_allclose(plan, [[0.375, 0.125], [0.125, 0.375]], atol=1e-9)


def test_one_unit_a_side() -> None:
    one = [np.array([[0.5]])]
    assert plans("balanced", one)[0] == pytest.approx(1)
    assert plans("partial", one, mass=0.3)[0] == pytest.approx(0.3)
    # f = g = x = -(x - 1) / 2 with eps = tau = 1/2, so x = 1/3; P = exp(2/3 - 1).
    assert plans("unbalanced", one, regularisation=0.5, tau=0.5)[0] == pytest.approx(np.exp(-1 / 3))


def test_balanced_plans_move_all_mass() -> None:
    for plan in plans("balanced", COSTS):
        np.testing.assert_allclose(plan.sum(axis=1), 1 / len(plan), atol=1e-6)
        np.testing.assert_allclose(plan.sum(axis=0), 1 / plan.shape[1], atol=1e-6)


def test_partial_plans_move_their_share_and_no_unit_more_than_its_weight() -> None:
    for plan in plans("partial", COSTS, mass=0.7):
        assert plan.sum() == pytest.approx(0.7 * min(plan.shape))
        assert plan.sum(axis=1).max() < 1 + 1e-6
        assert plan.sum(axis=0).max() < 1 + 1e-6


def test_unbalanced_plans_lose_mass_where_that_is_cheap_and_keep_it_where_dear() -> None:
    square = [COSTS[2]]
    cheap, dear = (plans("unbalanced", square, tau=tau)[0] for tau in (0.02, 100.0))
    assert cheap.sum() < 0.6 * dear.sum()
    np.testing.assert_allclose(dear.sum(axis=1), 1, atol=0.02)


def test_weights_are_the_marginals() -> None:
    weights = [np.array([1.0, 3.0])], [np.array([1.0, 1.0])]
    (plan,) = plans("balanced", [SWAP], source_weights=weights[0], target_weights=weights[1])
    np.testing.assert_allclose(plan.sum(axis=1), [0.25, 0.75], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_does_not_depend_on_its_batch(kind: str) -> None:
    together = plans(kind, COSTS, mass=0.6)
    for cost, plan in zip(COSTS, together, strict=True):
        np.testing.assert_allclose(plans(kind, [cost], mass=0.6)[0], plan, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_shifted_sums_give_the_plans_of_products(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plans(kind, COSTS, mass=0.6)
    monkeypatch.setattr("aligners.transport.WIDEST_KERNEL", 0.0)
    for plan, other in zip(plans(kind, COSTS, mass=0.6), expected, strict=True):
        np.testing.assert_allclose(plan, other, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regularisation", [1e-3, 0.1, 100.0])
def test_plans_are_finite(kind: str, regularisation: float) -> None:
    odd = [np.zeros((1, 4)), np.full((3, 3), 0.5), np.ones((4, 1)), np.eye(3), np.zeros((2, 0))]
    found = plans(kind, odd, regularisation=regularisation, mass=0.5, most_steps=30)
    assert [plan.shape for plan in found] == [cost.shape for cost in odd]
    assert all(np.isfinite(plan).all() and (plan >= 0).all() for plan in found)


@pytest.mark.parametrize("kind", KINDS)
def test_matchers_link_what_is_alike(kind: str) -> None:
    # Two words with one partner each, in the other order.
    links = MATCHERS[kind]([np.array([[0.5, 0.9], [0.9, 0.5]]), np.zeros((0, 3))])
    assert links[0].tolist() == [[False, True], [True, False]]
    assert links[1].shape == (0, 3)


def test_shares_and_pairs_by_hand() -> None:
    plan = np.array([[0.8, 0.0], [0.2, 0.0]])
    # Rows move .8 and .2, columns 1 and 0: .8 / sqrt(.8 * 1), .2 / sqrt(.2 * 1).
    assert scaled(plan) == pytest.approx(np.array([[0.8**0.5, 0], [0.2**0.5, 0]]))
    assert scaled(plan, "pair") == pytest.approx(np.array([[1, 0], [0.25, 0]]), abs=1e-9)


def test_two_readings() -> None:
    plan = np.array([[0.5, 0.4], [0.1, 0.3]])
    # Row 0 prefers column 0 and is preferred by it; column 1 prefers row 0, which does not.
    assert read([plan], threshold=0.9, reading="mutual")[0].tolist() == [
        [True, False],
        [False, False],
    ]
    # .4 / sqrt(.9 * .7) = .504, .5 / sqrt(.9 * .6) = .68, .3 / sqrt(.4 * .7) = .567, .1 / .49 = .2.
    assert read([plan], threshold=0.55)[0].tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"regularisation": 0.0}, "regularisation must be above 0, got 0"),
        ({"tau": -1.0}, "tau must be above 0, got -1"),
        ({"mass": 1.5}, "mass must be above 0 and at most 1, got 1.5"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plans("partial", COSTS, **parameters)


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown kind of transport 'exact'"):
        plans("exact", COSTS)
    with pytest.raises(UnknownNameError, match="unknown reading 'best'; choose one of: mutual"):
        transport(COSTS, reading="best")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="unknown scale 'row'; choose one of: pair, shares"):
        transport(COSTS, scale="row")  # type: ignore[arg-type]


def test_costs_and_weights_that_do_not_suit_are_refused() -> None:
    with pytest.raises(InputError, match="cost matrix 1 has a number that is not finite"):
        plans("balanced", [np.array([[np.nan]])])
    with pytest.raises(InputError, match=r"pair 1 has 2 units but weights of shape \(3,\)"):
        plans("balanced", [SWAP], source_weights=[np.ones(3)])
    with pytest.raises(InputError, match="pair 1 has a weight that is not above 0"):
        plans("balanced", [SWAP], source_weights=[np.zeros(2)])
