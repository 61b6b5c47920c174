"""Rates: buckets by a clock that is set by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access import rates as rates_module
from service.access.rates import Quota, Rates, characters_in, client_of


class Clock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_minutes_worth_may_come_at_once_and_then_one_every_second(clock: Clock) -> None:
    rates = Rates(60, 0, clock=clock)
    assert [rates.admit("a").wait for _ in range(60)] == [0.0] * 60
    assert rates.admit("a").wait == 1.0
    clock.time += 0.5
    assert rates.admit("a").wait == 0.5
    clock.time += 0.5
    assert rates.admit("a").wait == 0.0
    assert rates.admit("a").wait == 1.0


def test_each_has_a_bucket(clock: Clock) -> None:
    rates = Rates(1, 0, clock=clock)
    assert rates.admit("a").wait == 0.0
    assert rates.admit("a").wait == 60.0
    assert rates.admit("b").wait == 0.0


def test_a_request_that_waits_costs_nothing(clock: Clock) -> None:
    rates = Rates(1, 0, clock=clock)
    rates.admit("a")
    for _ in range(10):
        rates.admit("a")
    clock.time += 60
    assert rates.admit("a").wait == 0.0


def test_characters_are_paid_afterwards(clock: Clock) -> None:
    rates = Rates(0, 600, clock=clock)
    assert rates.admit("a").wait == 0.0
    rates.charge("a", 1_200)  # the bucket of 600 is 600 in debt; 10 come a second
    assert rates.admit("a").wait == pytest.approx(60.1)
    clock.time += 60.1
    assert rates.admit("a").wait == 0.0


def test_the_headers_tell_what_is_left(clock: Clock) -> None:
    rates = Rates(60, 6_000, clock=clock)
    rates.admit("a")
    rates.charge("a", 3_000)
    # 58 requests are left and 2 s until it is 60 again; 3000 characters, and 30 s.
    assert rates.admit("a").headers == {
        "RateLimit-Policy": '"requests";q=60;w=60, "characters";q=6000;w=60',
        "RateLimit": '"requests";r=58;t=2, "characters";r=3000;t=30',
    }


def test_without_limits_nothing_is_counted() -> None:
    rates = Rates(0, 0)
    assert not rates.is_on
    assert rates.admit("a") == (0.0, {})
    rates.charge("a", 10**9)
    assert rates.admit("a") == (0.0, {})


def test_those_not_seen_for_longest_are_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates_module, "MAX_BUCKETS", 2)
    quota = Quota("requests", 10, clock)
    for who in ("a", "b", "a", "c"):
        quota.take(who, 5)
    assert [quota.left(who) for who in ("a", "c")] == [0, 5]
    assert quota.left("b") == 10


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 3)), max_size=60))
def test_no_more_comes_through_than_the_rate_allows(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    rates = Rates(30, 0, clock=clock)
    passed = 0
    for pause, requests in steps:
        clock.time += pause
        passed += sum(rates.admit("a").wait == 0 for _ in range(requests))
    assert passed <= 30 + (clock.time - 1_000) * 30 / 60 + 1e-6


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("192.0.2.7", "address 192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "address 2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "address 2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "address 192.0.2.7"),
        ("testclient", "address testclient"),
        (None, "address None"),
    ],
)
def test_a_client_is_an_address_or_a_network(address: str | None, who: str) -> None:
    assert client_of(address) == who


@given(st.text(), st.integers(1, 7))
def test_characters_are_counted_piece_by_piece(text: str, size: int) -> None:
    body = text.encode("utf-8", "ignore")
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert sum(map(characters_in, pieces)) == len(body.decode())
