"""Beads against gold: strict and lax precision and recall, as vecalign's ``score.py`` has them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitext.errors import InputError, MismatchError
from bitext.significance import Resampling
from retrieval.documents.evaluation import MEASURES, BeadCounts, Pair, count_groups, evaluate

GOLD: list[Pair] = [
    ((0,), (0,)),
    ((1,), (1, 2)),
    ((2, 3), (3,)),
    ((4,), ()),
    ((5,), (4,)),
    ((), (5,)),
]
FOUND: list[Pair] = [
    ((0,), (0,)),  # right
    ((1,), (1,)),  # lax: gold pairs 1 with 1
    ((), (2,)),  # wrong: gold has a partner for it
    ((2, 3, 4), (3,)),  # lax
    ((5,), ()),  # wrong
    ((), (4,)),  # wrong
    ((), (5,)),  # right, left out in gold too
]


def test_measures_counted_by_hand() -> None:
    score = evaluate([FOUND], [GOLD])
    # Of 7 beads 2 are right strictly, 2 more laxly. Gold pairs something in 4: (0, 0) is found;
    # 1-1,2 and 2,3-3 are found laxly; 5-4 is not.
    assert score.counts == BeadCounts(7, 2, 4, 4, 1, 3)
    measures = score.measures
    assert measures["strict_p"] == pytest.approx(2 / 7)
    assert measures["strict_r"] == pytest.approx(1 / 4)
    assert measures["strict_f1"] == pytest.approx(2 * (2 / 7) * (1 / 4) / (2 / 7 + 1 / 4))
    assert measures["lax_p"] == pytest.approx(4 / 7)
    assert measures["lax_r"] == pytest.approx(3 / 4)
    assert measures["lax_f1"] == pytest.approx(2 * (4 / 7) * (3 / 4) / (4 / 7 + 3 / 4))


# What vecalign 2.0's score_multiple says of the same beads (precision, recall and F1, strict and
# then lax), printed by its own Python: one document, two with a repeated bead, and nothing found.
VECALIGN: list[tuple[list[list[Pair]], list[list[Pair]], list[float]]] = [
    ([FOUND], [GOLD], [0.285714, 0.25, 0.266667, 0.571429, 0.75, 0.648649]),
    (
        [FOUND, [((0,), (0,)), ((0,), (0,)), ((1,), ())]],
        [GOLD, [((0, 1), (0,)), ((0, 1), (0,)), ((), (1,))]],
        [0.222222, 0.2, 0.210526, 0.555556, 0.8, 0.655738],
    ),
    ([[((0,), ()), ((), (0,))]], [[((0,), (0,))]], [0, 0, 0, 0, 0, 0]),
]


@pytest.mark.parametrize(("found", "gold", "expected"), VECALIGN)
def test_measures_equal_vecaligns(
    found: list[list[Pair]], gold: list[list[Pair]], expected: list[float]
) -> None:
    measures = evaluate(found, gold).measures
    names = [f"{kind}_{name}" for kind in ("strict", "lax") for name in ("p", "r", "f1")]
    assert [measures[name] for name in names] == pytest.approx(expected, abs=1e-6)


def test_documents_are_counted_together() -> None:
    # One bead right of one, and none right of three: precision is 1/4, not the mean 1/2.
    wrong: list[Pair] = [((0,), (0,)), ((1,), (1,)), ((2,), (2,))]
    other: list[Pair] = [((0,), (2,)), ((1, 2), (3,))]
    score = evaluate([[((0,), (0,))], wrong], [[((0,), (0,))], other])
    assert score.measures["strict_p"] == 1 / 4
    assert score.measures["strict_r"] == 1 / 3
    assert score.documents == 2


def test_groups_hold_the_beads_that_share_sentences() -> None:
    # 0-0 and the left out 5 stand alone. Found 1-1 and gold 1-1,2 share with the left out 2;
    # 2,3,4-3 shares with 2,3-3 and the left out 4; 5-4 with both its halves. Counts: found,
    # strict, lax, gold, strict, lax.
    assert sorted(count_groups(FOUND, GOLD)) == [
        (1, 0, 1, 1, 0, 1),
        (1, 1, 1, 0, 0, 0),
        (1, 1, 1, 1, 1, 1),
        (2, 0, 0, 1, 0, 0),
        (2, 0, 1, 1, 0, 1),
    ]


SENTENCES = st.lists(st.integers(0, 6), max_size=3, unique=True).map(lambda s: tuple(sorted(s)))
BEADS = st.lists(st.tuples(SENTENCES, SENTENCES), max_size=8)


@given(BEADS, BEADS)
def test_groups_sum_to_plain_counts(found: list[Pair], gold: list[Pair]) -> None:
    def right(beads: list[Pair], against: list[Pair]) -> tuple[int, int, int]:
        unique = {bead for bead in beads if bead[0] or bead[1]}
        linked = {(i, j) for source, target in against for i in source for j in target}
        lax = [b for b in unique if any((i, j) in linked for i in b[0] for j in b[1])]
        strict = unique & set(against)
        return len(unique), len(strict), len(strict | set(lax))

    def paired(beads: list[Pair]) -> list[Pair]:
        return [bead for bead in beads if bead[0] and bead[1]]

    groups = count_groups(found, gold)
    sums = tuple(map(sum, zip(*groups, strict=True))) if groups else (0,) * 6
    assert sums == right(found, gold) + right(paired(gold), paired(found))


def test_intervals_hold_the_score_and_repeat_by_seed() -> None:
    beads: list[Pair] = [((i,), (i,)) for i in range(40)]
    found = [*beads[:30], *[((i,), (i + 1,)) for i in range(30, 39)]]
    how = Resampling(resamples=200)
    score = evaluate([found], [beads], how)
    assert set(score.intervals) == set(MEASURES)
    low, high = score.intervals["strict_p"]
    assert low < score.measures["strict_p"] < high
    assert evaluate([found], [beads], how) == score
    assert "95 % of 200 resamples, seed 0" in str(score)


def test_a_perfect_score_prints_itself() -> None:
    score = evaluate([GOLD], [GOLD])
    said = "strict F1 100.00  P 100.00  R 100.00  lax F1 100.00  P 100.00  R 100.00"
    assert str(score).startswith(f"{said}  (1 document, 6 beads, 4 in gold) | bitext ")
    record = score.as_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["strict_f1"] == 1


def test_documents_without_partners_or_beads() -> None:
    with pytest.raises(MismatchError, match="2 documents need as many of gold, got 1"):
        evaluate([GOLD, GOLD], [GOLD])
    with pytest.raises(InputError, match="no beads to score"):
        evaluate([[((), ())]], [[]])
