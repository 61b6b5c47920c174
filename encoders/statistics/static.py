"""Word vectors of the joint vocabulary from a parallel corpus, without any training.

Pieces that occur in the same sentence pairs get similar vectors, whatever their language: rows are
pieces, columns are sentence pairs ("sentence IDs"), the cells' positive pointwise mutual
information is factorised by a truncated SVD (Levy, Søgaard & Goldberg, 2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from encoders.statistics.cells import UnitBitext

POWER_ITERATIONS = 3
OVERSAMPLING = 10
"""Directions that the truncated SVD of the first vectors computes beyond those that are kept."""


def cooccurrence(bitexts: list[UnitBitext], vocabulary: int) -> sparse.csr_matrix:
    """Which pieces occur in which sentence pair, shape (vocabulary, pairs)."""
    columns = []
    for bitext in bitexts:
        ids = np.concatenate([bitext.source, bitext.target])
        pair = np.concatenate(
            [
                np.repeat(np.arange(len(bitext)), np.diff(offsets))
                for offsets in (bitext.source_offsets, bitext.target_offsets)
            ]
        )
        ones = np.ones(len(ids), dtype=np.float32)
        counts = sparse.csr_matrix((ones, (ids, pair)), shape=(vocabulary, len(bitext)))
        counts.data[:] = 1  # said twice in one sentence tells no more than once
        columns.append(counts)
    return sparse.csr_matrix(sparse.hstack(columns))


def positive_pmi(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """log p(piece, pair) / (p(piece) p(pair)), negative values dropped."""
    total = counts.sum()
    rows = np.asarray(counts.sum(1)).ravel()
    columns = np.asarray(counts.sum(0)).ravel()
    pmi = counts.tocoo()
    data = np.log(pmi.data * total / (rows[pmi.row] * columns[pmi.col]))
    weighted = sparse.csr_matrix((np.maximum(data, 0), (pmi.row, pmi.col)), shape=counts.shape)
    weighted.eliminate_zeros()
    return weighted.astype(np.float32)


def static_vectors(
    bitexts: list[UnitBitext], *, vocabulary: int, dim: int, seed: int
) -> NDArray[np.float32]:
    """A vector for every piece, shape (vocabulary, dim); pieces that never occur get zeros.

    The left singular vectors scaled by the square root of the singular values, by randomised
    subspace iteration (Halko, Martinsson & Tropp, 2011).
    """
    matrix = positive_pmi(cooccurrence(bitexts, vocabulary))
    transposed = matrix.T.tocsr()
    rng = np.random.default_rng(seed)
    block = rng.standard_normal((vocabulary, dim + OVERSAMPLING), dtype=np.float32)
    for _ in range(POWER_ITERATIONS):
        block = np.linalg.qr(matrix @ (transposed @ block))[0]
    small = transposed @ block  # (pairs, dim + OVERSAMPLING)
    values, rotation = np.linalg.eigh((small.T @ small).astype(np.float64))
    order = np.argsort(-values)[:dim]
    scale = np.maximum(values[order], 0) ** 0.25  # eigenvalues are squared singular values
    return np.asarray(block @ rotation[:, order] * scale, dtype=np.float32)
