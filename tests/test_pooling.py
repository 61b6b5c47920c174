"""Poolings and centring, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.pooling import centre, normalise, pool_sentence, pool_words

# Four pieces: two of word 0, none of word 1, one of word 2, one of word 3.
PIECES = np.array([[1, 0], [3, 2], [5, 5], [0, 7]], dtype=np.float32)
WORD_OF = np.array([0, 0, 2, 3])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2, 1], [0, 0], [5, 5], [0, 7]]),
        ("first", [[1, 0], [0, 0], [5, 5], [0, 7]]),
        ("last", [[3, 2], [0, 0], [5, 5], [0, 7]]),
    ],
)
def test_words_are_pooled_from_their_pieces(pooling: str, expected: list[list[int]]) -> None:
    np.testing.assert_array_equal(pool_words(PIECES, WORD_OF, 4, pooling), expected)


def test_a_sentence_without_pieces_has_words_of_zeros() -> None:
    empty = np.zeros((0, 2), dtype=np.float32)
    assert not pool_words(empty, np.zeros(0, dtype=np.int64), 3, "mean").any()


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2, 3]]),  # of (1, 4) and (3, 2)
        ("max", [[3, 4]]),
        ("cls", [[9, 9]]),
    ],
)
def test_sentences_are_pooled_over_their_own_pieces(pooling: str, expected: list[int]) -> None:
    hidden = torch.tensor([[[9.0, 9], [1, 4], [3, 2], [8, 8]]])
    own = torch.tensor([[False, True, True, False]])
    np.testing.assert_array_equal(pool_sentence(hidden, own, pooling), expected)


def test_normalised_rows_have_length_one_or_none() -> None:
    rows = normalise(np.array([[3, 4], [0, 0]], dtype=np.float32))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]])


def test_centring_takes_the_mean_away_and_leaves_what_is_not_there() -> None:
    vectors = np.array([[1, 1], [0, 0]], dtype=np.float32)
    mean = np.array([1, 0.5], dtype=np.float32)
    # (1, 1) - (1, 0.5) = (0, 0.5), of length 1 after normalising; the empty sentence stays empty
    np.testing.assert_allclose(centre(vectors, mean), [[0, 1], [0, 0]])
