"""Bootstrap intervals and paired tests: by hand where chance leaves no choice, and by property."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitext.errors import InputError
from bitext.scoring import AlignmentScore, PairCounts, count_pairs
from bitext.significance import MEASURES, Resampling, compare, measures, score_intervals
from bitext.types import Alignment, GoldAlignment

# links, sure, possible, of the links in sure, in possible
RIGHT = PairCounts(1, 1, 1, 1, 1)  # one link, right: AER 0
WRONG = PairCounts(1, 1, 1, 0, 0)  # one link, wrong: AER 1


def test_counts_of_each_pair() -> None:
    hypotheses = [Alignment.parse("0-0 1-1 2-1"), Alignment.parse("0-1")]
    gold = [GoldAlignment.parse("0-0 1p1 3-3"), GoldAlignment.parse("0-1")]
    # 0-0 is sure, 1-1 possible, 2-1 neither; the second pair's link is all there is.
    assert count_pairs(hypotheses, gold) == [PairCounts(3, 2, 3, 1, 2), PairCounts(1, 1, 1, 1, 1)]


COUNTS = st.tuples(*[st.integers(0, 9)] * 4).map(
    lambda n: PairCounts(n[0] + n[2] + n[3], n[1] + n[2], n[1] + n[2] + n[3], n[2], n[2] + n[3])
)


@given(st.lists(COUNTS, min_size=1, max_size=4))
def test_measures_are_those_of_the_score(counts: list[PairCounts]) -> None:
    found = measures(np.array(counts, dtype=np.int64))
    for row, count in zip(found, counts, strict=True):
        score = AlignmentScore(pairs=1, **count._asdict(), signature="")
        assert row == pytest.approx([getattr(score, name) for name in MEASURES])


def test_equal_pairs_leave_nothing_to_chance() -> None:
    # Whichever pairs are drawn, half of the links are right: 3 links, 2 sure, 1 of them found.
    pair = PairCounts(3, 2, 3, 1, 2)
    found = score_intervals([pair] * 20, Resampling())
    assert found["precision"] == pytest.approx((2 / 3, 2 / 3))
    assert found["recall"] == pytest.approx((1 / 2, 1 / 2))
    assert found["aer"] == pytest.approx((2 / 5, 2 / 5))  # 1 - (1 + 2) / (3 + 2)


def test_an_interval_is_that_of_the_binomial() -> None:
    # 100 pairs of one link, 80 right: the resampled precision is Binomial(100, 0.8) / 100, of
    # which 95 % lie between 0.72 and 0.87 (its standard deviation is 0.04).
    found = score_intervals([RIGHT] * 80 + [WRONG] * 20, Resampling(resamples=4000))
    assert found["precision"] == pytest.approx((0.72, 0.875), abs=0.011)
    assert found["aer"] == pytest.approx((0.125, 0.28), abs=0.011)
    narrow = score_intervals([RIGHT] * 80 + [WRONG] * 20, Resampling(confidence=50))
    # half of the resamples lie within 0.674 standard deviations
    assert narrow["precision"] == pytest.approx((0.773, 0.827), abs=0.011)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    counts = [PairCounts(n, 10, 10, n % 4, n % 4) for n in range(4, 60)]
    first, again = (score_intervals(counts, Resampling(seed=1)) for _ in range(2))
    assert first == again
    assert first != score_intervals(counts, Resampling(seed=2))


def test_equal_systems_do_not_differ() -> None:
    counts = [RIGHT, WRONG, RIGHT, PairCounts(3, 2, 3, 1, 2)]
    for found in compare(counts, counts, Resampling(resamples=50)).values():
        assert found.difference == 0
        assert tuple(found.interval) == (0.0, 0.0)
        assert (found.bootstrap_p, found.randomisation_p, found.better) == (1, 1, 0.5)


def test_a_system_that_is_better_in_every_pair_is_so_by_both_tests() -> None:
    found = compare([RIGHT] * 30, [WRONG] * 30, Resampling(resamples=999))
    assert found["aer"].difference == -1
    assert found["f1"].difference == 1
    # Every resample is won; as large a difference needs all 30 coins alike, by chance 2 ** -29.
    assert found["aer"].better == found["f1"].better == 1
    assert found["aer"].randomisation_p == 1 / 1000
    # Each bootstrap difference is the same, so that shifted to the mean 0 none is as far as 1.
    assert found["aer"].bootstrap_p == 1 / 1000
    turned = compare([WRONG] * 30, [RIGHT] * 30, Resampling(resamples=999))
    assert turned["aer"].better == turned["f1"].better == 0


def test_the_randomisation_p_value_is_that_of_all_exchanges() -> None:
    # The first system is better in six of ten pairs, the second in one; in three they agree.
    first = [RIGHT] * 7 + [WRONG] * 3
    second = [WRONG] * 6 + [RIGHT] * 2 + [WRONG] * 2
    gains = [a.links_in_sure - b.links_in_sure for a, b in zip(first, second, strict=True)]
    assert sum(gains) == 5
    every = [
        abs(sum(sign * gain for sign, gain in zip(signs, gains, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(gains))
    ]
    exact = sum(value >= 5 for value in every) / len(every)
    found = compare(first, second, Resampling(resamples=4000))["precision"].randomisation_p
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4000))


@settings(max_examples=20)
@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=6))
def test_exchanging_the_systems_turns_the_difference(
    pairs: list[tuple[PairCounts, PairCounts]],
) -> None:
    first, second = zip(*pairs, strict=True)
    how = Resampling(resamples=20)
    there, back = compare(first, second, how), compare(second, first, how)
    for name in MEASURES:
        assert there[name].difference == pytest.approx(-back[name].difference)
        assert there[name].better == pytest.approx(1 - back[name].better)
        assert there[name].bootstrap_p == back[name].bootstrap_p
        assert 0 < there[name].randomisation_p <= 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"resamples": 0}, "resamples must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"confidence": 100.0}, "confidence must be between 0 and 100, got 100"),
    ],
)
def test_senseless_resampling_is_refused(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Resampling(**options)  # type: ignore[arg-type]


def test_systems_of_unequal_length_and_of_none_are_refused() -> None:
    with pytest.raises(InputError, match="systems of 1 and 2 pairs cannot be compared"):
        compare([RIGHT], [RIGHT, RIGHT], Resampling())
    with pytest.raises(InputError, match="there are no pairs to resample"):
        score_intervals([], Resampling())
