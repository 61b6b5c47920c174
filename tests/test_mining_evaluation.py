"""Mined pairs against gold: cases worked by hand, and LASER's protocol retold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitext.errors import InputError
from bitext.significance import Resampling, bootstrap_sums
from bitext.types import Match
from retrieval.evaluation.mining import (
    Counts,
    Judged,
    best_threshold,
    count_at,
    judge,
    score_at,
    shared_threshold,
)
from retrieval.evaluation.mining_files import read_corpus, read_gold_pairs, read_mined

# Best first: right, wrong, right, wrong. Gold has a third pair that nobody mined.
MATCHES = [
    Match(1, 1, 1.4),
    Match(2, 0, 1.2),
    Match(0, 0, 1.3),
    Match(3, 3, 1.1),
    Match(1, 1, 1.0),  # again, worse: does not count
]
GOLD = [(0, 0), (1, 1), (4, 4)]
#     mined right  P    R    F1
# 1.4   1     1    1   1/3  2/4
# 1.3   2     2    1   2/3  4/5  <- best
# 1.2   3     2   2/3  2/3  4/6
# 1.1   4     2   2/4  2/3  4/7

Write = Callable[..., Path]


def test_counts_by_hand() -> None:
    judged = judge(MATCHES, GOLD)
    assert judged.scores.tolist() == [1.4, 1.3, 1.2, 1.1]
    assert judged.right.tolist() == [True, True, False, False]
    assert [count_at(judged, t) for t in (1.5, 1.3, 1.25, 1.2, 0)] == [
        Counts(0, 0, 3), Counts(2, 2, 3), Counts(2, 2, 3), Counts(3, 2, 3), Counts(4, 2, 3),
    ]  # fmt: skip
    assert Counts(3, 2, 3).precision == Counts(3, 2, 3).recall == pytest.approx(2 / 3)
    assert Counts(4, 2, 3).f1 == pytest.approx(4 / 7)
    # Nothing mined has no wrong pair, as in the rest of bitext, and F1 0.
    assert (Counts(0, 0, 3).precision, Counts(0, 0, 3).recall, Counts(0, 0, 3).f1) == (1, 0, 0)


def test_best_threshold_by_hand() -> None:
    judged = judge(MATCHES, GOLD)
    assert best_threshold(judged) == pytest.approx(1.25)  # between 1.3 and 1.2
    # Where the last pair of all is worth keeping, no next one is there: its own score.
    assert best_threshold(judge(MATCHES[:1], GOLD)) == pytest.approx(1.4)
    assert best_threshold(judge(MATCHES[1:2], GOLD)) == float("inf")  # nothing is right


def test_equal_scores_are_not_parted() -> None:
    # Alone, the right pair would give F1 1; the wrong one of equal score comes with it: 2/3.
    judged = judge([Match(0, 0, 1.3), Match(1, 0, 1.3), Match(2, 2, 1.1)], [(0, 0)])
    assert best_threshold(judged) == pytest.approx(1.2)
    assert count_at(judged, best_threshold(judged)).f1 == pytest.approx(2 / 3)


def test_shared_threshold_by_hand() -> None:
    first = judge(MATCHES, GOLD)
    second = judge([Match(0, 0, 1.4), Match(1, 1, 1.35), Match(2, 2, 1.2)], [(0, 0), (2, 2)])
    # Scores tried: 1.1, 1.2, 1.3, 1.35, 1.4. F1 of the first: 4/7, 2/3, 4/5, 1/2, 1/2;
    # of the second: at 1.1 and 1.2 mined 3, right 2: 4/5; at 1.3 and 1.35 mined 2, right 1: 2/4;
    # at 1.4 mined 1: 2/3. Sums: 1.371, 1.467, 1.3, 1, 1.167.
    assert shared_threshold([first, second]) == pytest.approx(1.2)
    assert shared_threshold([first, second], every=5) == pytest.approx(1.1)  # the only one tried
    assert shared_threshold([first]) == best_threshold(first)
    nothing = judge([], GOLD)
    with pytest.raises(InputError, match="nothing was mined from the sets"):
        shared_threshold([nothing, nothing])


def laser_threshold(scores: list[float], right: list[bool], gold: int) -> float:
    """LASER's bucc.py, told again: walk down the pairs and remember the best F1."""
    best = threshold = 0.0
    for n in range(len(scores)):
        hits = sum(right[: n + 1])
        if hits and 2 * hits / (n + 1 + gold) > best + 1e-12:
            best = 2 * hits / (n + 1 + gold)
            threshold = (scores[n] + scores[n + 1]) / 2
    return threshold


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 20))
def test_threshold_of_laser(right: list[bool], missed: int) -> None:
    right = [*right, False]  # LASER fails where the last pair is the best one
    scores = [2 - n / 64 for n in range(len(right))]
    pairs = [Match(n, n, score) for n, score in enumerate(scores)]
    known = [(n, n) for n, is_right in enumerate(right) if is_right]
    known += [(-n - 1, -n - 1) for n in range(missed)]
    if not any(right):
        return
    assert best_threshold(judge(pairs, known)) == laser_threshold(scores, right, len(known))


def test_score_in_words() -> None:
    score = score_at(judge(MATCHES, GOLD), 1.25, sources=5, signature="made so")
    assert str(score) == (
        "P 100.00  R 66.67  F1 80.00  (2 mined, 2 right, 3 gold)  threshold 1.25 | made so"
    )
    assert json.loads(json.dumps(score.as_dict())) == {
        "precision": 1.0, "recall": pytest.approx(2 / 3), "f1": pytest.approx(0.8),
        "mined": 2, "right": 2, "gold": 3, "threshold": 1.25, "signature": "made so",
    }  # fmt: skip
    nothing = score_at(judge([], GOLD), float("inf"), sources=5)
    assert nothing.as_dict()["threshold"] is None


def test_intervals_cover_as_often_as_they_say() -> None:
    """F1 of a hundred gold pairs of which 70 are found: the spread of a binomial share."""
    matches = [Match(n, n if n < 70 else n + 1, 1.0) for n in range(100)]
    judged = judge(matches, [(n, n) for n in range(100)])
    score = score_at(judged, 1, sources=100, how=Resampling(resamples=4000), signature="s")
    assert score.intervals is not None
    # Each source mines one pair and has one gold pair, so P = R = F1 = right/100:
    # 0.7 +- 1.96 sqrt(0.7 0.3 / 100) = 0.7 +- 0.09
    for low, high in score.intervals.values():
        assert [low, high] == pytest.approx([0.61, 0.79], abs=0.02)
    assert score.signature == "s | 95 % of 4000 resamples, seed 0"
    assert "F1 70.00 [6" in str(score)


def test_bootstrap_sums_are_resamples_of_whole_rows() -> None:
    # Rows (1, 0) and (0, 2): however they are drawn, the first column and half of the second are
    # as many as rows were drawn.
    rows = np.array([[1.0, 0], [0, 2], [1, 0]])
    sums = bootstrap_sums(rows, Resampling(resamples=500))
    assert sums.shape == (500, 2)
    assert (sums[:, 0] + sums[:, 1] / 2 == 3).all()
    # Each of the three draws is a (1, 0) with probability 2/3: mean 2, variance 3 2/3 1/3 = 2/3.
    assert sums[:, 0].mean() == pytest.approx(2, abs=0.15)
    assert sums[:, 0].var() == pytest.approx(2 / 3, abs=0.15)
    with pytest.raises(InputError, match="there is nothing to resample"):
        bootstrap_sums(rows[:0], Resampling())


def test_what_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="there are no gold pairs"):
        judge(MATCHES, [])
    with pytest.raises(InputError, match="the pair 0 0 has no number for a score"):
        judge([Match(0, 0, float("nan"))], GOLD)


def test_judged_keeps_where_gold_lies() -> None:
    judged: Judged = judge(MATCHES, [(4, 4), (0, 0), (4, 4)])
    assert judged.gold.tolist() == [0, 4]
    assert judged.sources.tolist() == [1, 0, 2, 3]


# --- files


def test_files_of_bucc(write: Write) -> None:
    source = read_corpus(str(write("x", "de-1\tein Haus", "de-2\teine Katze", "de-3\tein Haus")))
    target = read_corpus(str(write("y", "en-1\ta cat", "en-2\ta house")))
    assert source.texts == ("ein Haus", "eine Katze", "ein Haus")
    assert read_gold_pairs(str(write("gold", "de-2\ten-1")), source, target) == [(1, 0)]
    # The house is there twice and the dog not at all: nobody can say which line was meant.
    mined = write("mined", "1.2\teine Katze\ta cat", "1.1\tein Haus\ta house", "1\tein Hund\ta cat")
    assert read_mined(str(mined), source, target) == ([Match(1, 0, 1.2)], 2)
    as_json = write("json", '{"score": 1.5, "source_id": 2, "target_id": 1, "source": "ein Haus"}')
    assert read_mined(str(as_json), source, target) == ([Match(2, 1, 1.5)], 0)
    assert read_mined(str(write("none")), source, target) == ([], 0)


def test_plain_files_have_line_numbers(write: Write) -> None:
    source = read_corpus(str(write("x", "ein Haus", "", "eine Katze")))
    assert source.ids == ("0", "1", "2")
    assert read_gold_pairs(str(write("gold", "2\t0")), source, source) == [(2, 0)]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["a\tb", "c"], "line 2: expected 'id TAB sentence' as in line 1, got 'c'"),
        (["a", "b\tc"], "line 2: expected a sentence alone as in line 1, got 'b\tc'"),
        (["a\tb", "a\tc"], "has the id 'a' more than once"),
        (["a\tb", "\tc"], "line 2: expected 'id TAB sentence'"),
        ([], "is empty"),
    ],
)
def test_bad_corpora(write: Write, lines: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_corpus(str(write("x", *lines)))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("a b", "gold, line 1: expected 'source id TAB target id', got 'a b'"),
        ("b\t0", "gold, line 1: .*x has no id 'b'"),
    ],
)
def test_bad_gold(write: Write, line: str, sentence: str) -> None:
    corpus = read_corpus(str(write("x", "a\tb")))
    with pytest.raises(InputError, match=sentence):
        read_gold_pairs(str(write("gold", line)), corpus, corpus)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1.2\ta", "line 1: expected 'score TAB source TAB target' or an object, got '1.2\ta'"),
        ("high\ta\tb", "line 1: expected 'score TAB"),
        ('{"score": 1}', "line 1: expected an object with score, source_id and target_id"),
        ('{"score": 1, "source_id": 0, "target_id": 7}', "x has lines 0 to 0, got 7"),
        ('{"score": 1, "source_id": true, "target_id": 0}', "x has lines 0 to 0, got True"),
    ],
)
def test_bad_mined_pairs(write: Write, line: str, sentence: str) -> None:
    corpus = read_corpus(str(write("x", "a")))
    with pytest.raises(InputError, match=sentence):
        read_mined(str(write("mined", line)), corpus, corpus)
