"""The hidden Markov model of jumps, against all alignments written out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from encoders.statistics.jumps import FAR, NEAR, Jumps, posteriors

FROM_NOTHING = 0.2


def weight_of(jump: int) -> float:
    """How likely the untrained model holds a jump to be, up to a factor.

    One place ahead is the likeliest; with each place more or less it falls by exp(1/3). The last
    bucket on either side stands for ten places.
    """
    if abs(jump) <= NEAR:
        return float(np.exp(-abs(jump - 1) / 3))
    edge = NEAR + 1 if jump > 0 else -NEAR - 1
    return float(np.exp(-abs(edge - 1) / 3) / FAR)


def enumerate_alignments(
    emission: np.ndarray, null: np.ndarray
) -> tuple[np.ndarray, dict[int, float]]:
    """Posteriors (units, places) and expected jumps, by summing over every alignment."""
    units, places = emission.shape
    found, jumps, total = np.zeros((units, places)), dict.fromkeys(range(-20, 20), 0.0), 0.0
    for alignment in product([None, *range(places)], repeat=units):
        chance, last, made = 1.0, -1, []
        for unit, place in enumerate(alignment):
            if place is None:
                chance *= null[unit]
                continue
            sums = sum(weight_of(to - last) for to in range(places))
            chance *= emission[unit, place] * weight_of(place - last) / sums
            made.append(place - last)
            last = place
        total += chance
        for jump in made:
            jumps[jump] += chance
        for unit, place in enumerate(alignment):
            if place is not None:
                found[unit, place] += chance
    return found / total, {jump: count / total for jump, count in jumps.items()}


def random_model(units: int, places: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    emission = (1 - FROM_NOTHING) * rng.random((units, places))
    return emission.astype(np.float32), (FROM_NOTHING * rng.random(units)).astype(np.float32)


def run(emission: np.ndarray, null: np.ndarray, jumps: Jumps) -> np.ndarray:
    places = np.array([emission.shape[1]])
    return posteriors(emission[:, None], null[:, None], places, jumps)[:, 0]


def test_two_by_two_by_hand() -> None:
    # Unit 0 fits place 0 only, unit 1 place 1 only; from nothing each comes with 0.1. From before
    # the sentence, place 0 is a jump of 1 and place 1 of 2: shares 1 and w of 1 + w for w =
    # exp(-1/3). From place 0, places 0 and 1 are jumps of 0 and 1: shares w and 1 of 1 + w.
    share = 1 / (1 + np.exp(-1 / 3))  # 0.58257
    both = share * share  # both units from their places
    only_first, only_second = share * 0.1, 0.1 * (1 - share)
    total = both + only_first + only_second + 0.1 * 0.1
    found = run(np.eye(2, dtype=np.float32), np.full(2, 0.1, dtype=np.float32), Jumps())
    expected = [[(both + only_first) / total, 0], [0, (both + only_second) / total]]
    assert found == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize(("units", "places"), [(2, 2), (3, 4), (4, 1), (3, 12)])
def test_posteriors_are_those_of_all_alignments(units: int, places: int) -> None:
    emission, null = random_model(units, places, seed=units)
    expected, _ = enumerate_alignments(emission, null)
    assert run(emission, null, Jumps()) == pytest.approx(expected, abs=1e-5)


def test_expected_jumps_are_those_of_all_alignments() -> None:
    emission, null = random_model(3, 4, seed=5)
    _, expected = enumerate_alignments(emission, null)
    jumps = Jumps()
    run(emission, null, jumps)
    jumps.update()  # one is added to each of the 17 counts
    counts = np.array([1 + expected[jump] for jump in range(-NEAR - 1, NEAR + 2)])
    shares = counts / counts.sum()
    # from place 3 of 5, a jump of -2 to 2 remains inside
    weights, _ = jumps.matrix(6)
    assert weights[3, 1:] == pytest.approx(shares[NEAR - 1 : NEAR + 4], abs=1e-5)


def test_padding_changes_nothing() -> None:
    short, short_null = random_model(2, 3, seed=1)
    long, long_null = random_model(4, 5, seed=2)
    emission = np.zeros((4, 2, 5), dtype=np.float32)
    emission[:2, 0, :3], emission[:, 1] = short, long
    null = np.ones((4, 2), dtype=np.float32)
    null[:2, 0], null[:, 1] = short_null, long_null
    both = posteriors(emission, null, np.array([3, 5]), Jumps())
    assert both[:2, 0, :3] == pytest.approx(run(short, short_null, Jumps()), abs=1e-6)
    assert both[:, 1] == pytest.approx(run(long, long_null, Jumps()), abs=1e-6)
    assert not both[2:, 0].any()
    assert not both[:, 0, 3:].any()


def test_long_sentences_do_not_underflow() -> None:
    emission = np.full((200, 1, 200), 1e-9, dtype=np.float32)
    null = np.full((200, 1), 1e-9, dtype=np.float32)
    found = posteriors(emission, null, np.array([200]), Jumps())
    assert np.isfinite(found).all()
    assert (found.sum(2) <= 1 + 1e-4).all()


def test_jumps_are_learnt() -> None:
    # All units come from the place before the last one's: from right to left.
    emission = np.full((5, 1, 5), 1e-3, dtype=np.float32)
    emission[range(5), 0, range(4, -1, -1)] = 1
    jumps = Jumps()
    for _ in range(3):
        posteriors(emission, np.full((5, 1), 1e-4, dtype=np.float32), np.array([5]), jumps)
        jumps.update()
    weights, _ = jumps.matrix(6)
    assert weights[3].argmax() == 2
