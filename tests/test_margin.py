"""Margins, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.mining.margin import LEAST_AROUND, MARGINS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absolute", [0.8, 0.6]),
        ("distance", [0.8 - 0.5, 0.6 - 0.75]),
        ("ratio", [0.8 / 0.5, 0.6 / 0.75]),
    ],
)
def test_each_margin(name: str, expected: list[float]) -> None:
    found = MARGINS[name](np.array([0.8, 0.6]), np.array([0.5, 0.75]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_ratio_keeps_sense_where_there_are_no_neighbours() -> None:
    # Below 0.05 that is what is divided by: 0.03 / 0.05 = 0.6, not 30 or -30. From there on the
    # quotient is the plain one.
    cosine = np.array([0.03, 0.03, -0.2, 0.03, 0.1])
    around = np.array([0.001, -0.001, -0.1, LEAST_AROUND, 0.051])
    expected = [0.6, 0.6, -4, 0.6, 0.1 / 0.051]
    np.testing.assert_allclose(MARGINS["ratio"](cosine, around), expected, rtol=1e-12)


def test_margins_take_tables_of_neighbours() -> None:
    cosine, around = np.ones((3, 2)), np.full((3, 1), 0.5)
    for margin in MARGINS.values():
        assert margin(cosine, around).shape == (3, 2)
