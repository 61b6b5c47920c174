"""Expected precision and recall of thresholds: parts by hand, the whole on corpora made for it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bitext.errors import InputError, UnknownNameError
from bitext.significance import Interval, Resampling
from bitext.types import Neighbours
from retrieval.mining.calibration import SPARE, Calibration, calibrate, calibrate_judged
from retrieval.mining.deprivation import deprive
from retrieval.mining.estimate import rising
from retrieval.mining.miner import MODES, Candidates, candidates
from retrieval.mining.neighbours import BothWays, nearest_both_ways
from retrieval.mining.planting import first_neighbours, plant, without_planted

Rows = NDArray[np.float32]

# --- planting


def test_planted_pairs_come_after_the_corpora() -> None:
    planted = plant(
        iter(["a", "b", "c"]),
        iter(["x", "y"]),
        [("e", "p"), ("a", "q"), ("f", "y"), ("e", "r"), ("g", "s")],
    )
    # ("a", "q") and ("f", "y") have a side in the corpora; "e" was planted before.
    assert (planted.sources, planted.targets, planted.left_out) == (["e", "g"], ["p", "s"], 3)
    # Rows 0 to 2 are sources and 0 and 1 targets.
    assert planted.known.tolist() == [[3, 2], [4, 3]]


def test_planted_sentences_are_no_output() -> None:
    found = Candidates(np.array([0, 1, 3]), np.array([1, 2, 0]), np.array([1.3, 1.2, 1.1]))
    # Target 2 is planted, and source 3.
    own = without_planted(found, sources=3, targets=2)
    assert [column.tolist() for column in own] == [[0], [1], [1.3]]


# --- sentences that are not there


def test_depriving_by_hand() -> None:
    both = BothWays(
        Neighbours(
            np.array([[0.9, 0.5, 0.4], [0.8, 0.7, 0.3]], np.float32),
            np.array([[1, 0, 2], [1, 2, 0]]),
        ),
        Neighbours(
            np.array([[0.5, 0.3], [0.9, 0.8], [0.7, 0.4]], np.float32),
            np.array([[0, 1], [0, 1], [1, 0]]),
        ),
    )
    left = deprive(both, 2, sources=np.array([], np.int64), targets=np.array([1]))
    # Without target 1, targets 0 and 2 are left and have the numbers 0 and 1.
    assert (left.sources.tolist(), left.targets.tolist()) == ([0, 1], [0, 2])
    assert left.both.forward.ids.tolist() == [[0, 1], [1, 0]]
    assert left.both.forward.scores == pytest.approx(np.array([[0.5, 0.4], [0.7, 0.3]]))
    assert left.both.backward.ids.tolist() == [[0, 1], [1, 0]]
    # Without source 0 as well, source 1 is the only neighbour of each target: repeated.
    left = deprive(both, 2, sources=np.array([0]), targets=np.array([1]))
    assert left.both.backward.ids.tolist() == [[0, 0], [0, 0]]
    assert left.both.backward.scores == pytest.approx(np.array([[0.3, 0.3], [0.7, 0.7]]))
    assert left.both.forward.ids.tolist() == [[1, 0]]


def test_depriving_is_searching_without() -> None:
    random = np.random.default_rng(0)
    source, target = (unit(random.standard_normal((40, 8))) for _ in range(2))
    gone_sources, gone_targets = np.array([3, 7, 20]), np.array([0, 39])
    left = deprive(
        nearest_both_ways(source, target, 4 + SPARE), 4, sources=gone_sources, targets=gone_targets
    )
    again = nearest_both_ways(
        np.delete(source, gone_sources, axis=0), np.delete(target, gone_targets, axis=0), 4
    )
    for ours, theirs in zip(left.both, again, strict=True):
        assert (ours.ids == theirs.ids).all()
        assert (ours.scores == theirs.scores).all()
    assert left.sources[3] == 4  # the fourth source left was the fifth


def unit(rows: NDArray[np.float64]) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        ([1, 3, 2], [1, 1, 1], [1, 2.5, 2.5]),
        ([1, 3, 2], [1, 1, 3], [1, 2.25, 2.25]),  # (3 + 3*2) / 4
        ([3, 2, 1], [1, 1, 1], [2, 2, 2]),
        ([1, 2, 3], [1, 5, 1], [1, 2, 3]),
    ],
)
def test_rising_by_hand(values: list[float], weights: list[float], expected: list[float]) -> None:
    assert rising(np.array(values), np.array(weights)).tolist() == expected


# --- what is reported


def made(precision: list[float]) -> Calibration:
    figures = np.array(precision)
    count = len(precision)
    thresholds = np.array([1 + 0.1 * n for n in range(count)])
    return Calibration(
        thresholds,
        np.arange(count, 0, -1),
        figures,
        figures - 0.05,
        figures + 0.05,
        1 - figures,
        1 - figures - 0.05,
        1 - figures + 0.05,
        40.0,
        Interval(30.0, 50.0),
        "as said",
    )


def test_threshold_for_a_precision() -> None:
    found = made([0.2, 0.5, 0.92])
    assert found.at_precision(0.5) == pytest.approx(1.1)
    assert found.at_precision(0.6) == pytest.approx(1.2)
    assert found.at_precision(0.5, surely=True) == pytest.approx(1.2)  # lower ends: 0.45, 0.87
    with pytest.raises(
        InputError,
        match=r"no threshold is expected to reach precision 0.95; the best is 0.920, at 1.2000",
    ):
        found.at_precision(0.95)
    with pytest.raises(InputError, match="precision must be between 0 and 1, got 90"):
        found.at_precision(90)
    # What holds at 1.15 is what holds at the threshold below it.
    assert found.at(1.15)["precision"] == 0.5
    assert found.at(0.1)["precision"] == 0.2


def test_table() -> None:
    assert made([0.2, 0.5, 0.92]).table().splitlines() == [
        "threshold\tmined\tprecision\tinterval\trecall\tinterval",
        "1.1000\t2\t0.500\t[0.450, 0.550]\t0.500\t[0.450, 0.550]",
        "1.2000\t1\t0.920\t[0.870, 0.970]\t0.080\t[0.030, 0.130]",  # 0.6 to 0.9 alike
        "translations there: 40 [30, 50]; as said",
    ]


# --- judged candidates


def test_judged_by_hand() -> None:
    scores = np.arange(10) / 10
    # Judged: 0.1 wrong, 0.3 right, 0.5 wrong, 0.7 right, 0.9 right. Right at or above:
    # 0.0: 3/5; 0.2: 3/4; 0.4: 2/3, which must not fall and is pooled with the one before.
    right = np.array([False, True, False, True, True])
    found = calibrate_judged(np.array([0.1, 0.3, 0.5, 0.7, 0.9]), right, scores)
    assert found.at(0.0)["precision"] == pytest.approx(0.6)
    assert found.at(0.65)["precision"] == pytest.approx(1)
    assert 2 / 3 < found.at(0.35)["precision"] < 3 / 4
    # 10 candidates of precision 0.6: 6 right; above 0.65 three of precision 1: recall 3/6.
    assert found.pairs == pytest.approx(6)
    assert found.at(0.65)["recall"] == pytest.approx(0.5)
    assert found.evidence.startswith("5 judged candidates; recall of right candidates only")
    with pytest.raises(InputError, match="needs candidates and judgements of some, got none"):
        calibrate_judged(np.array([]), np.array([], np.bool_), scores)


# --- the whole


def corpora(pairs: int, alone: int, seed: int) -> tuple[Rows, Rows]:
    """Vectors of ``pairs`` translations, in the same rows, and sentences alone after them.

    Sentences come in stories of ten, so that wrong candidates are near.
    """
    random = np.random.default_rng(seed)
    stories = random.standard_normal(((pairs + 2 * alone) // 10 + 1, 24))
    meaning = 0.7 * random.standard_normal((pairs + 2 * alone, 24))
    meaning += stories[random.integers(0, len(stories), len(meaning))]
    rows = np.arange(pairs + alone)
    said = meaning[rows], meaning[np.where(rows < pairs, rows, rows + alone)]
    source, target = (unit(side + 0.45 * random.standard_normal(side.shape)) for side in said)
    return source, target


@pytest.mark.parametrize(
    ("mode", "planted"),
    [*((mode, 150) for mode in MODES), ("max", 0), ("intersection", 0), ("forward", 0)],
)
def test_expected_precision_is_the_true_one(mode: str, planted: int) -> None:
    # Pairs that were made alike, so that the first ones can be planted: they go to the end.
    made = corpora(300 + planted, 700, seed=1)
    source, target = (np.roll(side, -planted, axis=0) for side in made)
    both = nearest_both_ways(source, target, 4 + SPARE)
    rows = 1000 + np.arange(planted)
    found = calibrate(
        both,
        k=4,
        sources=1000,
        targets=1000,
        mode=mode,
        known=np.stack([rows, rows], axis=1) if planted else None,
        how=Resampling(resamples=50),
    )
    own = without_planted(candidates(first_neighbours(both, 4), "ratio", mode), 1000, 1000)
    right = (own.source == own.target) & (own.source < 300)
    for estimate in ("precision", "recall"):  # no estimate lies outside its interval
        middle = getattr(found, estimate)
        assert (getattr(found, f"{estimate}_low") <= middle).all()
        assert (middle <= getattr(found, f"{estimate}_high")).all()
    for wanted in (0.7, 0.9):
        threshold = found.at_precision(wanted)
        above = own.score >= threshold
        assert right[above].mean() == pytest.approx(wanted, abs=0.09)
        if planted:
            assert right[above].sum() / 300 == pytest.approx(
                found.at(threshold)["recall"], abs=0.13
            )
    assert found.mined[0] == len(own.score)
    assert (np.diff(found.precision) >= 0).all()
    evidence = f"{planted} known pairs" if planted else "rough: no known pairs"
    assert found.evidence.startswith(evidence)


def test_known_pairs_of_the_corpora_serve_too() -> None:
    source, target = corpora(300, 700, seed=3)
    both = nearest_both_ways(source, target, 4 + SPARE)
    rows = np.arange(100)
    found = calibrate(both, k=4, sources=1000, targets=1000, known=np.stack([rows, rows], axis=1))
    own = candidates(first_neighbours(both, 4), "ratio", "max")
    right = (own.source == own.target) & (own.source < 300)
    above = own.score >= found.at_precision(0.9)
    assert right[above].mean() == pytest.approx(0.9, abs=0.06)
    assert found.pairs == pytest.approx(300, abs=60)


def test_the_same_seed_gives_the_same_figures() -> None:
    source, target = corpora(100, 100, seed=4)
    both = nearest_both_ways(source, target, 4 + SPARE)
    once, again = (
        calibrate(both, k=4, sources=200, targets=200, how=Resampling(resamples=5))
        for _ in range(2)
    )
    assert once.table() == again.table()


def test_too_little_to_calibrate() -> None:
    source, target = corpora(20, 20, seed=5)
    both = nearest_both_ways(source, target, 4 + SPARE)
    with pytest.raises(InputError, match="calibration needs at least 100 candidates, got 40"):
        calibrate(both, k=4, sources=40, targets=40, mode="forward")
    with pytest.raises(UnknownNameError, match="unknown mode 'best'"):
        calibrate(both, k=4, sources=40, targets=40, mode="best")
