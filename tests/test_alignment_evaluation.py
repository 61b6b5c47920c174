"""Precision, recall, F1 and AER: by hand, at the edges, and against published outputs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitext.errors import InputError
from bitext.scoring import evaluate, from_one, looks_one_based
from bitext.text import read_alignments, read_gold
from bitext.types import Alignment, GoldAlignment

# Pair 1: of links 0-0, 1-1, 2-1 the first is sure, the second possible, the third wrong; sure 3-3
# is missed. Pair 2: its one link is sure, and so is all of the gold.
HYPOTHESES = [Alignment.parse("0-0 1-1 2-1"), Alignment.parse("0-1")]
GOLD = [GoldAlignment.parse("0-0 1p1 3-3"), GoldAlignment.parse("0-1")]


def test_measures_by_hand() -> None:
    score = evaluate(HYPOTHESES, GOLD)
    # |A| = 4, |S| = 3, |A & S| = 2, |A & P| = 3.
    assert (score.links, score.sure, score.possible) == (4, 3, 4)
    assert score.precision == 3 / 4
    assert score.recall == 2 / 3
    assert score.f1 == pytest.approx(2 * (3 / 4) * (2 / 3) / (3 / 4 + 2 / 3))
    assert score.aer == pytest.approx(1 - 5 / 7)


def test_a_score_prints_itself_with_its_signature() -> None:
    printed = str(evaluate(HYPOTHESES, GOLD, signature="bitext 0 | method argmax"))
    # 1 - 5/7 = 28.571 %, 2 * .75 * .6667 / 1.4167 = 70.588 %.
    assert printed == (
        "AER 28.57  P 75.00  R 66.67  F1 70.59  (2 pairs, 4 links) | bitext 0 | method argmax"
    )


def test_a_score_as_a_dictionary() -> None:
    found = evaluate(HYPOTHESES, GOLD, signature="s").as_dict()
    assert found["precision"] == 0.75
    assert found["links_in_possible"] == 3
    assert found["signature"] == "s"


@pytest.mark.parametrize(
    ("hypothesis", "gold", "expected"),
    [
        # AER, P, R, F1. Nothing found: nothing of it is wrong, everything is missed.
        ("", "0-0", (1, 1, 0, 0)),
        # Nothing to find: nothing is missed, everything is wrong.
        ("0-0", "", (1, 0, 1, 0)),
        ("", "", (0, 1, 1, 1)),
        # Possible links only: nothing has to be found; what is found may be right, or half so.
        ("0-0", "0p0", (0, 1, 1, 1)),
        ("", "0p0", (0, 1, 1, 1)),
        ("0-0 0-1", "0p0", (1 / 2, 1 / 2, 1, 2 / 3)),
        # All wrong on both sides: F1 is 0 and not 0/0.
        ("0-1", "0-0", (1, 0, 0, 0)),
        ("0-0", "0-0", (0, 1, 1, 1)),
    ],
)
def test_measures_at_the_edges(
    hypothesis: str, gold: str, expected: tuple[float, float, float, float]
) -> None:
    score = evaluate([Alignment.parse(hypothesis)], [GoldAlignment.parse(gold)])
    assert (score.aer, score.precision, score.recall, score.f1) == pytest.approx(expected)


def test_no_pairs_at_all() -> None:
    assert evaluate([], []).aer == 0


def test_gold_past_the_end_of_a_sentence_counts_as_missed() -> None:
    # The pair has one word a side; link 0-7 is in the gold all the same: one of two sure is found.
    assert evaluate([Alignment.parse("0-0")], [GoldAlignment.parse("0-0 0-7")]).recall == 1 / 2


def test_unequal_counts_are_refused() -> None:
    with pytest.raises(InputError, match="2 alignments cannot be scored by 1 of gold"):
        evaluate(HYPOTHESES, GOLD[:1])


LINKS = st.frozensets(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8)
CORPORA = st.lists(st.tuples(LINKS, LINKS, LINKS), max_size=4)


@given(CORPORA)
def test_measures_are_shares_and_never_divide_by_zero(
    corpus: list[tuple[frozenset[tuple[int, int]], ...]],
) -> None:
    hypotheses = [Alignment.of((link, 1.0) for link in links) for links, _, _ in corpus]
    gold = [GoldAlignment(sure, sure | more) for _, sure, more in corpus]
    score = evaluate(hypotheses, gold)
    for value in (score.aer, score.precision, score.recall, score.f1):
        assert 0 <= value <= 1
        assert math.isfinite(value)
    perfect = evaluate([Alignment.of((link, 1.0) for link in g.sure) for g in gold], gold)
    assert perfect.aer == 0
    assert perfect.f1 == 1


@given(CORPORA)
def test_aer_is_one_minus_f1_where_all_gold_is_sure(
    corpus: list[tuple[frozenset[tuple[int, int]], ...]],
) -> None:
    hypotheses = [Alignment.of((link, 1.0) for link in links) for links, _, _ in corpus]
    score = evaluate(hypotheses, [GoldAlignment(sure, sure) for _, sure, _ in corpus])
    if score.links and score.sure:
        assert score.aer == pytest.approx(1 - score.f1)


# --- counting from 1


def test_gold_from_one_is_counted_from_zero() -> None:
    assert [str(g) for g in from_one([GoldAlignment.parse("1-1 2p3")])] == ["0-0 1p2"]


def test_gold_with_a_word_zero_does_not_count_from_one() -> None:
    with pytest.raises(InputError, match="gold line 2 has a word 0"):
        from_one([GoldAlignment.parse("1-1"), GoldAlignment.parse("1-0")])


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        (["1-1 2-2", "1-2"], True),  # 2 is one past the end of a pair of two words a side
        (["1-1", "2p1"], True),
        (["1-1 2-2", "0-2"], False),  # one word 0, on one side, anywhere
        (["1-1", "1-1"], False),  # nothing points past the end
        (["1-1 3-3", "1-1"], False),  # two past the end is no off-by-one
        (["", ""], False),
    ],
)
def test_gold_that_points_one_past_the_end_looks_one_based(gold: list[str], expected: bool) -> None:
    parsed = [GoldAlignment.parse(line) for line in gold]
    assert looks_one_based(parsed, lengths=[(2, 2), (2, 2)]) is expected


@pytest.mark.parametrize(
    ("hypothesis", "gold", "expected"),
    [
        ("0-0 1-1 2-2", "1-1 2-2 3-3", True),  # 3 links agree when shifted, 2 as they are
        ("1-1 2-2", "1-1 2-2", False),  # the first word is linked nowhere
        ("0-0 1-1", "0-0 1-1", False),
        ("", "1-1", False),
    ],
)
def test_gold_that_agrees_better_when_shifted_looks_one_based(
    hypothesis: str, gold: str, expected: bool
) -> None:
    gold_lines, hypotheses = [GoldAlignment.parse(gold)], [Alignment.parse(hypothesis)]
    assert looks_one_based(gold_lines, hypotheses=hypotheses) is expected


# --- published outputs

# The data's README; they also are the figures that the systems' papers print.
PEERS = """
enfr awesome-align 4.07 96.27 95.42
enfr cross-align 3.36 97.37 95.59
enfr fastalign-grow-diagonal 10.48 90.84 87.77
enfr fastalign-grow-diagonal-final 12.09 87.66 88.29
enfr fastalign-intersection 11.17 92.41 84.5
enfr giza-grow-diagonal 5.94 97.54 89.7
enfr giza-grow-diagonal-final 6.16 95.5 91.58
enfr giza-intersection 7.56 98.36 85.64
zhen awesome-align 13.31 86.68 86.7
zhen cross-align 10.0 89.06 90.98
deen cross-align 13.53 91.95 81.48
deen fastalign-grow-diagonal 27.02 84.54 64.06
deen fastalign-grow-diagonal-final 27.67 80.64 65.44
deen fastalign-intersection 27.96 87.13 61.27
deen giza-grow-diagonal 21.41 94.26 67.21
deen giza-grow-diagonal-final 20.55 91.27 70.17
deen giza-intersection 23.39 95.79 63.68
"""


@pytest.mark.parametrize(
    "row", PEERS.strip().splitlines(), ids=lambda row: " ".join(row.split()[:2])
)
def test_published_outputs_score_what_was_published(data: Path, row: str) -> None:
    name, system, *figures = row.split()
    folder = data / "alignment"
    gold = read_gold(folder / f"{name}.gold")
    hypotheses = list(read_alignments(folder / "peer_outputs" / f"{name}.{system}.align"))
    score = evaluate(hypotheses, gold)
    found = [100 * value for value in (score.aer, score.precision, score.recall)]
    assert found == pytest.approx([float(figure) for figure in figures], abs=0.006)
    assert not looks_one_based(gold, hypotheses=hypotheses)
