"""How alike two lists of vectors are, and how the distance of their positions lowers that.

The rules are SimAlign's (Jalili Sabet et al., 2020), to the bit: the matrix is made of float32
cosines and stays float32, unless a distortion, which is worked out in float64, is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Similarity = NDArray[np.floating[Any]]
"""Shape (source units, target units), larger is closer, in [0, 1] up to rounding if of cosines."""


def similarity(source: Vectors, target: Vectors) -> Vectors:
    """Cosines moved to [0, 1]: ``(cos + 1) / 2``.

    A vector of zeros has cosine 0 with every other, so its similarities are 0.5.

    :param source: shape (source units, dim).
    :param target: shape (target units, dim).
    """
    cosines = _unit_rows(source) @ _unit_rows(target).T
    halves: Vectors = (cosines + 1) / np.float32(2)
    return halves


def dot(source: Vectors, target: Vectors) -> Similarity:
    """Dot products moved as :func:`similarity` moves cosines, ``(x . y + 1) / 2``: not in [0, 1].

    awesome-align (Dou & Neubig, 2021) compares hidden states so, without scaling them. In float64,
    so that moving rounds nothing that a float32 product still told apart.

    :param source: shape (source units, dim).
    :param target: shape (target units, dim).
    """
    products = (source @ target.T).astype(np.float64)
    halves: Similarity = (products + 1) / 2
    return halves


SIMILARITIES: dict[str, Callable[[Vectors, Vectors], Similarity]] = {
    "cosine": similarity,
    "dot": dot,
}


def distort(similarity: Similarity, distortion: float) -> Similarity:
    """Lower each similarity by how far apart the two relative positions are.

    ``S_ij * (1 - distortion * (i / (m - 1) - j / (n - 1)) ** 2)``, with i and j from 0: the first
    units of both sides share position 0 and the last ones position 1. (The paper divides by the
    lengths; SimAlign's program anchors both ends, as here.) A side of one unit has no relative
    positions, and the matrix is then left as it is.

    :param distortion: kappa in [0, 1]; 0 changes nothing, the paper's value is 0.5.
    """
    rows, columns = similarity.shape
    if distortion == 0 or rows < 2 or columns < 2:
        return similarity
    vertical = np.arange(rows) / (rows - 1)
    horizontal = np.arange(columns) / (columns - 1)
    distances = horizontal - vertical[:, np.newaxis]
    distorted: Similarity = similarity * (1.0 - distances**2 * distortion)
    return distorted


def _unit_rows(vectors: Vectors) -> Vectors:
    """Scale each row to length 1; a row of (nearly) zeros stays as it is."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    norms[norms < 10 * np.finfo(norms.dtype).eps] = 1
    unit_rows: Vectors = vectors / norms[:, np.newaxis]
    return unit_rows
