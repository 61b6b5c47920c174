"""Vectors on their way into an index: of length 1 each, a block at a time, and a sample of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitext.errors import InputError
from retrieval.vectors.files import Rows

BLOCK_ROWS = 2**14
"""Rows read from a mapped file, checked and added at once."""
SEED = 1


def checked(vectors: Rows, before: int = 0) -> Rows:
    """``vectors`` as FAISS wants them: float32 and contiguous.

    :param before: how many rows came before these, for the number in the message.
    :raises InputError: if the length of a row is neither 1 nor 0.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    wrong = np.flatnonzero(~((abs(lengths - 1) < 1e-3) | (lengths == 0)))
    if len(wrong):
        raise InputError(
            f"row {before + wrong[0]} of the vectors has length {lengths[wrong[0]]:g}; each must "
            "have length 1, or 0 for a sentence without pieces"
        )
    return vectors


def blocks(vectors: Rows) -> Iterator[Rows]:
    """``BLOCK_ROWS`` of the rows at a time, as FAISS wants them."""
    for start in range(0, len(vectors), BLOCK_ROWS):
        yield np.ascontiguousarray(vectors[start : start + BLOCK_ROWS], dtype=np.float32)


def sample(old: Rows, new: Rows, size: int) -> Rows:
    """``size`` of the rows of both, chosen at random and always the same."""
    places = np.random.default_rng(SEED).choice(len(old) + len(new), size, replace=False)
    places.sort()
    split = np.searchsorted(places, len(old))
    chosen = [old[places[:split]], new[places[split:] - len(old)]]
    return np.concatenate(chosen).astype(np.float32, copy=False)
