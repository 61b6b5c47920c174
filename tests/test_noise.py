"""Noise: how far words move, how many go, that words of several pieces stay in one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.training.noise import (
    MASK,
    MbartNoise,
    Noise,
    Starts,
    XlmNoise,
    infilled,
    kept_words,
    shuffle_words,
)

PIECES = np.arange(10, 20)
# Words of 2, 1, 3, 2 and 2 pieces.
STARTS = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 0], bool)
WORDS = [(10, 11), (12,), (13, 14, 15), (16, 17), (18, 19)]
BLANK = 99


def words_in(found: list[int]) -> list[tuple[int, ...]]:
    """The words that a result is made of, masks left out; anything else is an error."""
    words = {word[0]: word for word in WORDS}
    read, place = [], 0
    while place < len(found):
        if found[place] == BLANK:
            place += 1
            continue
        word = words[found[place]]
        assert tuple(found[place : place + len(word)]) == word, "a word was torn"
        read.append(word)
        place += len(word)
    return read


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- words in order


@given(st.integers(0, 40), st.integers(0, 5), st.integers(0, 1000))
def test_no_word_moves_further_than_it_may(words: int, most: int, seed: int) -> None:
    order = shuffle_words(words, generator(seed), most)
    assert sorted(order) == list(range(words))
    assert not words or np.abs(order - np.arange(words)).max() <= most


def test_words_do_move_as_far_as_they_may() -> None:
    moved = [shuffle_words(30, generator(seed)) - np.arange(30) for seed in range(50)]
    assert np.abs(moved).max() == 3


def test_about_a_tenth_is_dropped_and_one_word_always_stays() -> None:
    kept = kept_words(20_000, generator())
    assert 0.89 < kept.mean() < 0.91  # 5 standard deviations of 0.002
    almost_all = [kept_words(3, generator(seed), 0.99).sum() for seed in range(50)]
    assert min(almost_all) == 1
    assert kept_words(0, generator()).shape == (0,)


@given(st.integers(0, 60), st.floats(0, 1), st.integers(0, 1000))
def test_masks_stand_for_just_the_share_of_words(words: int, share: float, seed: int) -> None:
    order = infilled(words, generator(seed), share)
    left = order[order != MASK]
    assert len(left) == words - int(np.ceil(share * words))
    assert (np.diff(left) > 0).all()  # in their old order


def test_spans_are_as_long_as_the_paper_has_them() -> None:
    # 350,000 of a million words, in spans of 3.5 words by Poisson: 100,000 masks, of which
    # e^-3.5 = 3 % stand for no word. The standard deviation of their number is some 170.
    order = infilled(1_000_000, generator())
    assert (order == MASK).sum() == pytest.approx(100_000, abs=900)


def test_a_mask_may_stand_for_no_word() -> None:
    # With spans of 0.1 words on average nearly all masks are put in between: the one word that is
    # hidden takes some ten draws.
    order = infilled(3, generator(), share=0.3, span=0.1)
    assert (order != MASK).sum() == 2
    assert (order == MASK).sum() > 1


# --- pieces


@pytest.mark.parametrize("noise", [XlmNoise(), MbartNoise(), XlmNoise(shuffle=9, dropout=0.5)])
def test_words_of_several_pieces_stay_in_one(noise: Noise) -> None:
    for seed in range(30):
        found = noise.apply(PIECES, generator(seed), mask=BLANK, starts=STARTS)
        words = words_in(found.tolist())
        assert len(set(words)) == len(words)
    assert PIECES.tolist() == list(range(10, 20)), "the sentence itself is left as it was"


def test_without_noise_all_stays() -> None:
    quiet = XlmNoise(shuffle=0, dropout=0, blank=0)
    assert quiet.apply(PIECES, generator(), mask=BLANK, starts=STARTS).tolist() == PIECES.tolist()
    quiet_too = MbartNoise(share=0)
    assert quiet_too.apply(PIECES, generator(), mask=BLANK).tolist() == PIECES.tolist()


def test_a_blanked_word_is_a_mask_for_each_piece() -> None:
    # Nothing moves or goes, so the places of the masks tell the words.
    noise = XlmNoise(shuffle=0, dropout=0, blank=0.5)
    blanked = set()
    for seed in range(20):
        found = noise.apply(PIECES, generator(seed), mask=BLANK, starts=STARTS)
        assert len(found) == len(PIECES)
        for first, word in zip(np.flatnonzero(STARTS), WORDS, strict=True):
            part = tuple(found[first : first + len(word)])
            assert part in (word, (BLANK,) * len(word))
            blanked |= {part} - {word}
    assert blanked == {(BLANK,), (BLANK,) * 2, (BLANK,) * 3}


def test_a_hidden_span_is_one_mask() -> None:
    # All five words, in spans of some twenty: one mask.
    noise = MbartNoise(share=1, span=20)
    assert noise.apply(PIECES, generator(), mask=BLANK, starts=STARTS).tolist() == [BLANK]


def test_sentences_change_their_order() -> None:
    sentences: Starts = np.array([1, 0, 0, 1, 0, 0, 1, 0, 0, 0], bool)
    parts = [[10, 11, 12], [13, 14, 15], [16, 17, 18, 19]]
    noise = MbartNoise(share=0)
    orders = set()
    for seed in range(40):
        found = noise.apply(
            PIECES, generator(seed), mask=BLANK, starts=STARTS, sentences=sentences
        ).tolist()
        first = sorted(parts, key=lambda part: found.index(part[0]))
        assert found == [piece for part in first for piece in part]
        orders.add(tuple(part[0] for part in first))
    assert len(orders) == 6
    kept = MbartNoise(share=0, permute=False)
    assert kept.apply(PIECES, generator(), mask=0, sentences=sentences).tolist() == PIECES.tolist()


def test_words_keep_their_pieces_when_sentences_move() -> None:
    sentences: Starts = np.array([1, 0, 0, 0, 0, 0, 1, 0, 0, 0], bool)
    for seed in range(30):
        found = MbartNoise().apply(
            PIECES, generator(seed), mask=BLANK, starts=STARTS, sentences=sentences
        )
        # ceil(0.35 * 5) = 2 words are hidden.
        assert len(words_in(found.tolist())) == 3


def test_words_as_text_take_a_mask_longer_than_they_are() -> None:
    noise = XlmNoise(shuffle=0, dropout=0, blank=0.99)
    found = noise.apply(np.array(["a", "b"]), generator(), mask="<mask>")
    assert found.tolist() == ["<mask>", "<mask>"]


@pytest.mark.parametrize("noise", [XlmNoise(), MbartNoise()])
def test_the_generator_decides_alone(noise: Noise) -> None:
    made = [noise.apply(PIECES, generator(5), mask=BLANK).tolist() for _ in range(2)]
    other = [noise.apply(PIECES, generator(seed), mask=BLANK).tolist() for seed in range(6, 9)]
    assert made[0] == made[1]
    assert made[0] not in other


@pytest.mark.parametrize("noise", [XlmNoise(), MbartNoise()])
def test_nothing_stays_nothing(noise: Noise) -> None:
    assert noise.apply(np.zeros(0, np.int64), generator(), mask=BLANK).tolist() == []
