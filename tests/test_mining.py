"""Mining: modes worked by hand, and LASER's algorithm spelt out."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitext.errors import InputError, UnknownNameError
from bitext.types import Match, Neighbours
from retrieval.mining.approximate import choose_search, nearest_both_ways_approximately
from retrieval.mining.margin import MARGINS
from retrieval.mining.miner import MODES, BitextMiner, candidates, score_pairs
from retrieval.mining.neighbours import BothWays, nearest_both_ways
from retrieval.mining.sides import Rows


def neighbours(*lines: list[tuple[float, int]]) -> Neighbours:
    """Of each query its neighbours, as (cosine, id)."""
    table = np.array(lines)
    return Neighbours(table[..., 0].astype(np.float32), table[..., 1].astype(np.int64))


# Cosines          target 0  target 1  target 2
#     source 0         0.9       0.8       0.1
#     source 1         0.7       0.6       0.2
# with k = 1: source 0 and source 1 both choose target 0; target 0 and 1 choose source 0 and target
# 2 source 1.
SMALL = BothWays(
    neighbours([(0.9, 0)], [(0.7, 0)]),
    neighbours([(0.9, 0)], [(0.8, 0)], [(0.2, 1)]),
)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("forward", [(0, 0, 0.9), (1, 0, 0.7)]),
        ("backward", [(0, 0, 0.9), (0, 1, 0.8), (1, 2, 0.2)]),
        ("intersection", [(0, 0, 0.9)]),
        ("max", [(0, 0, 0.9), (1, 2, 0.2)]),
        ("union", [(0, 0, 0.9), (0, 1, 0.8), (1, 0, 0.7), (1, 2, 0.2)]),
    ],
)
def test_each_mode(mode: str, expected: list[tuple[int, int, float]]) -> None:
    found = list(BitextMiner(margin="absolute", mode=mode, k=1).matches(SMALL))
    assert [(match.source, match.target) for match in found] == [item[:2] for item in expected]
    assert [match.score for match in found] == pytest.approx([item[2] for item in expected])


def test_the_best_candidate_has_the_largest_margin_not_the_largest_cosine() -> None:
    # Target 0 is near to everything (mean of its neighbours 0.9), target 1 is not (0.5). Source 0
    # has mean 0.8. Ratios: 0.85 / ((0.8 + 0.9) / 2) = 1, and 0.75 / ((0.8 + 0.5) / 2) = 1.154.
    both = BothWays(
        neighbours([(0.85, 0), (0.75, 1)], [(0.95, 0), (0.25, 1)]),
        neighbours([(0.95, 1), (0.85, 0)], [(0.75, 0), (0.25, 1)]),
    )
    found = candidates(both, "ratio", "forward")
    first = found.source.tolist().index(0)
    assert found.target[first] == 1
    assert found.score[first] == pytest.approx(0.75 / 0.65)
    assert candidates(both, "absolute", "forward").target.tolist() == [0, 0]


def test_equal_scores_go_to_the_smaller_source_then_the_smaller_target() -> None:
    # All three sources and two targets are the same sentence: every cosine is 1.
    rows = np.ones((3, 1), np.float32)
    found = list(BitextMiner(margin="absolute", k=3, mode="union").mine(rows, rows[:2]))
    assert found == [Match(0, 0, 1.0), Match(0, 1, 1.0), Match(1, 0, 1.0), Match(2, 0, 1.0)]


def test_only_what_is_above_the_threshold_is_mined() -> None:
    miner = BitextMiner(margin="absolute", mode="forward", k=1, threshold=float(np.float32(0.7)))
    assert [match[:2] for match in miner.matches(SMALL)] == [(0, 0)]  # 0.7 itself is not above


# --- equality


def random_rows(count: int, dim: int, seed: int) -> Rows:
    rows = np.random.default_rng(seed).standard_normal((count, dim)) + 0.5
    unit: Rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def as_laser_does(source: Rows, target: Rows, k: int, margin: str, mode: str) -> list[Match]:
    """What LASER's mine_bitexts.py computes, pair by pair, from a whole table of cosines."""
    table = source.astype(np.float64) @ target.T.astype(np.float64)
    near = [np.argsort(-lines, axis=1, kind="stable")[:, :k] for lines in (table, table.T)]
    means = [
        np.take_along_axis(lines, ids, 1).mean(1)
        for lines, ids in zip((table, table.T), near, strict=True)
    ]

    def score(i: int, j: int) -> float:
        around = (means[0][i] + means[1][j]) / 2
        return float(MARGINS[margin](np.array(table[i, j]), np.array(around)))

    best_target = [max(ids, key=lambda j: score(i, j)) for i, ids in enumerate(near[0])]
    best_source = [max(ids, key=lambda i: score(i, j)) for j, ids in enumerate(near[1])]
    ahead = [(i, int(j)) for i, j in enumerate(best_target)]
    back = [(int(i), j) for j, i in enumerate(best_source)]
    if mode in ("forward", "backward"):
        pairs = ahead if mode == "forward" else back
    elif mode == "intersection":
        pairs = [pair for pair in ahead if pair in back]
    else:
        pairs = sorted({*ahead, *back})
    scored = sorted((Match(*pair, score(*pair)) for pair in pairs), key=lambda m: (-m.score, m))
    if mode != "max":
        return scored
    kept: list[Match] = []
    for match in scored:
        if all(match.source != one.source and match.target != one.target for one in kept):
            kept.append(match)
    return kept


@settings(deadline=None, max_examples=40)
@given(
    sources=st.integers(1, 40),
    targets=st.integers(1, 40),
    k=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_mining_is_what_laser_does(sources: int, targets: int, k: int, seed: int) -> None:
    source, target = random_rows(sources, 12, seed), random_rows(targets, 12, seed + 1)
    both = nearest_both_ways(source, target, k)
    for margin, mode in product(MARGINS, MODES):
        found = list(BitextMiner(margin=margin, mode=mode, k=k).matches(both))
        expected = as_laser_does(source, target, k, margin, mode)
        assert [match[:2] for match in found] == [match[:2] for match in expected]
        assert [match.score for match in found] == pytest.approx(
            [match.score for match in expected],
            rel=1e-5,
            abs=1e-6,  # a ratio may be large
        )


def test_nothing_is_mined_from_nothing() -> None:
    rows = random_rows(3, 4, 1)
    for mode in MODES:
        assert list(BitextMiner(mode=mode).mine(rows, rows[:0])) == []
        assert list(BitextMiner(mode=mode).mine(rows[:0], rows)) == []


# --- pairs that are given


def test_given_pairs_score_what_mined_ones_do() -> None:
    source, target = random_rows(30, 8, 1), random_rows(40, 8, 2)
    for margin in MARGINS:
        mined = list(BitextMiner(margin=margin, k=3).mine(source, target))
        pairs = np.array([match[:2] for match in mined])
        scores = score_pairs(source, target, pairs, k=3, margin=margin)
        np.testing.assert_array_equal(scores, [match.score for match in mined])


def test_a_pair_far_apart_is_scored_too() -> None:
    # Source 0 and target 1 are at right angles; k = 1 and the nearest are at cosine 1, so the
    # distance is 0 - (1 + 1) / 2 = -1.
    rows = np.eye(2, dtype=np.float32)
    assert score_pairs(rows, rows[::-1], k=1, margin="distance").tolist() == [-1, -1]
    assert score_pairs(rows, rows, k=1, margin="distance").tolist() == [0, 0]


def test_pairs_are_read_from_a_mapped_file(tmp_path: Path) -> None:
    rows = random_rows(9, 4, 1)
    rows.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=rows.shape)
    np.testing.assert_array_equal(score_pairs(mapped, mapped), score_pairs(rows, rows))


def test_pairs_must_be_there() -> None:
    rows = random_rows(3, 4, 1)
    with pytest.raises(InputError, match="3 sources and 2 targets cannot be paired"):
        score_pairs(rows, rows[:2])
    with pytest.raises(InputError, match="there is no target 2; they count from 0 to 1"):
        score_pairs(rows, rows[:2], np.array([[0, 1], [1, 2]]))


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="'cosine'; choose one of: absolute, dist"):
        BitextMiner(margin="cosine")
    with pytest.raises(UnknownNameError, match="mode 'both'; choose one of: backward, forw"):
        candidates(SMALL, mode="both")


# --- approximately


def test_approximate_neighbours_of_an_exact_index_are_the_exact_ones() -> None:
    source, target = random_rows(60, 8, 1), random_rows(50, 8, 2)
    found = nearest_both_ways_approximately(source, target, 3, kind="flat")
    expected = nearest_both_ways(source, target, 3)
    np.testing.assert_array_equal(found.forward.ids, expected.forward.ids)
    np.testing.assert_array_equal(found.backward.ids, expected.backward.ids)


def test_large_tables_are_not_computed() -> None:
    # 2 x 50,000 x 50,000 x 256 operations at 300 billion a second are 4.3 s, those of 3 million on
    # either side at dim 768 12.8 hours.
    assert choose_search(50_000, 50_000, 256) == (
        "exact",
        "50,000 x 50,000 cosines of dim 256 take two cores about 5 s: few enough to compute them "
        "all",
    )
    choice = choose_search(3_000_000, 3_000_000, 768)
    assert choice.search == "ivf"
    assert "about 13 h:" in choice.reason
