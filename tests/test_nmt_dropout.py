"""Dropout that draws four numbers at a time is dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from nmt.training.dropout import QuickDropout, quick_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_share_is_dropped_and_the_rest_grows(dtype: torch.dtype, rate: float) -> None:
    torch.manual_seed(1)
    ones = torch.ones(250, 401, dtype=dtype)  # not a multiple of four numbers
    left = quick_dropout(ones, rate)
    assert left.shape == ones.shape
    assert left.dtype == dtype
    # of 100,250 numbers: a deviation is 0.001 for the first rate and 0.0016 for the second
    assert float((left == 0).double().mean()) == pytest.approx(rate, abs=0.01)
    grown = torch.tensor(1 / (1 - rate)).to(dtype)
    torch.testing.assert_close(left[left != 0], grown.expand(int((left != 0).sum())))


def test_neighbours_are_dropped_apart() -> None:
    # four numbers come of one draw: each pair of them is dropped together a quarter of the time
    torch.manual_seed(1)
    dropped = (quick_dropout(torch.ones(40_000), 0.5) == 0).view(-1, 4).double()
    together = dropped.T @ dropped / len(dropped)
    wanted = torch.full((4, 4), 0.25, dtype=torch.float64).fill_diagonal_(0.5)
    torch.testing.assert_close(together, wanted, rtol=0, atol=0.03)  # six deviations of 0.005


def test_the_gradient_goes_where_the_numbers_went() -> None:
    torch.manual_seed(1)
    states = torch.rand(20, 5, requires_grad=True)
    left = quick_dropout(states, 0.25)
    left.sum().backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None
    torch.testing.assert_close(states.grad * states, left)
    assert (states.grad == 0).any()


def test_it_is_a_function_of_the_seed() -> None:
    def dropped(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return quick_dropout(torch.ones(64), 0.5).tolist()

    assert dropped(1) == dropped(1)
    assert dropped(1) != dropped(2)


def test_rates_at_the_ends() -> None:
    ones = torch.ones(1000)
    assert quick_dropout(ones, 1e-9).equal(ones)  # less than one in 65,536
    assert int(quick_dropout(ones, 1 - 1e-9).count_nonzero()) <= 1  # all but one in 65,536


def test_a_network_drops_quickly_within_and_as_ever_without() -> None:
    network, ones = nn.Dropout(0.5), torch.ones(64)
    torch.manual_seed(1)
    with QuickDropout():
        within = network(ones)
    torch.manual_seed(1)
    assert within.equal(quick_dropout(ones, 0.5))
    torch.manual_seed(1)
    without = network(ones)
    torch.manual_seed(1)
    assert without.equal(functional.dropout(ones, 0.5))
    assert not without.equal(within)


def test_nothing_is_dropped_in_evaluation_or_at_rate_0() -> None:
    ones = torch.ones(64)
    with QuickDropout():
        assert nn.Dropout(0.5).eval()(ones).equal(ones)
        assert functional.dropout(ones, 0.0).equal(ones)
        assert functional.dropout(ones, 1.0).count_nonzero() == 0
