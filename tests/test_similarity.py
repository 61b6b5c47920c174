"""Similarity and distortion, against values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aligners.similarity import distort, similarity

VECTORS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(-9, 9, width=32)
)


def test_similarity_is_the_cosine_moved_to_zero_one() -> None:
    source = np.array([[1, 0], [3, 4]], dtype=np.float32)
    target = np.array([[2, 0], [0, 5], [-1, 0]], dtype=np.float32)
    # Cosines by hand: (1,0) with (2,0), (0,5), (-1,0): 1, 0, -1. (3,4) has length 5: .6, .8, -.6.
    expected = [[1, 0.5, 0], [0.8, 0.9, 0.2]]
    found = similarity(source, target)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_a_vector_of_zeros_is_half_similar_to_everything() -> None:
    found = similarity(np.zeros((1, 2), np.float32), np.array([[1, 0], [0, 0]], np.float32))
    assert found.tolist() == [[0.5, 0.5]]


def test_distortion_by_hand() -> None:
    # Relative positions: rows 0, 1; columns 0, .5, 1. Squared distances: row 0: 0, .25, 1; row 1:
    # 1, .25, 0. With kappa .5 each similarity is multiplied by 1 - .5 * that.
    given_similarity = np.full((2, 3), 0.8, dtype=np.float32)
    expected = np.array([[1, 0.875, 0.5], [0.5, 0.875, 1]]) * 0.8
    np.testing.assert_allclose(distort(given_similarity, 0.5), expected, rtol=1e-7)


def test_full_distortion_leaves_exact_zeros_in_two_corners() -> None:
    distorted = distort(np.full((4, 3), 0.8, dtype=np.float32), 1.0)
    assert np.argwhere(distorted == 0).tolist() == [[0, 2], [3, 0]]


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_a_side_of_one_unit_is_not_distorted(shape: tuple[int, int]) -> None:
    flat = np.full(shape, 0.8, dtype=np.float32)
    assert np.array_equal(distort(flat, 0.5), flat)


def test_no_distortion_changes_nothing_and_keeps_float32() -> None:
    flat = np.full((4, 4), 0.8, dtype=np.float32)
    assert distort(flat, 0.0).dtype == np.float32
    assert np.array_equal(distort(flat, 0.0), flat)


@given(VECTORS, VECTORS)
def test_similarity_lies_in_zero_one_and_is_symmetric(
    source: np.ndarray, target: np.ndarray
) -> None:
    found = similarity(source, target)
    assert found.shape == (len(source), len(target))
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    np.testing.assert_allclose(found, similarity(target, source).T, atol=1e-6)


@given(VECTORS, VECTORS, st.floats(0, 1))
def test_distortion_only_lowers(source: np.ndarray, target: np.ndarray, kappa: float) -> None:
    plain = np.clip(similarity(source, target), 0, 1)
    distorted = distort(plain, kappa)
    assert np.all(distorted <= plain)
    assert np.all(distorted >= 0)
