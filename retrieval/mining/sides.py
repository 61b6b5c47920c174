"""The vectors of one side of a search, read in parts, and cosines of pairs of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bitext.errors import InputError

PAIRS = 256
"""Pairs whose cosines are computed together: so few that their rows stay in the cache."""
PART = 2048
"""Rows that are read together where their number does not matter."""

Ids = NDArray[np.int64]
Rows = NDArray[np.float32]
Scores = NDArray[np.float32]


class RowTable(Protocol):
    """Unit rows, or zeros, in float32 or float16: an array, or a memory map, read in parts."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, part: Any, /) -> Any: ...


class Side:
    """Vectors, and what a search must know of all of them.

    :raises InputError: if a row has neither length 1 nor length 0.
    """

    def __init__(self, vectors: RowTable, name: str, dtype: torch.dtype) -> None:
        self._vectors = vectors
        self._name = name
        self.zeros = np.zeros(vectors.shape[0], bool)
        self.rounding = 0.0
        """The length of the longest difference that rounding to ``dtype`` makes to a row."""
        for start, rows in self.parts(PART):
            self.zeros[start : start + len(rows)] = self._check(start, rows) == 0
            off = rows - torch.from_numpy(rows).to(dtype).float().numpy()
            self.rounding = max(self.rounding, float(_lengths(off).max()))

    def __len__(self) -> int:
        return len(self.zeros)

    def parts(self, many: int) -> Iterator[tuple[int, Rows]]:
        """All rows, ``many`` at a time, with the number of the first."""
        for start in range(0, len(self), many):
            yield start, self.rows(start, start + many)

    def rows(self, start: int, stop: int) -> Rows:
        """A copy of some rows in float32."""
        return np.array(self._vectors[start:stop], np.float32, order="C")

    def _check(self, start: int, rows: Rows) -> NDArray[np.float32]:
        lengths = _lengths(rows)
        wrong = np.flatnonzero(~((abs(lengths - 1) < 1e-3) | (lengths == 0)))
        if len(wrong):
            raise InputError(
                f"row {start + wrong[0]} of the {self._name} vectors has length "
                f"{lengths[wrong[0]]:g}; each must have length 1, or 0 for a sentence without "
                "pieces"
            )
        return lengths


def exact_cosines(source: Rows, target: Rows, of_source: Ids, of_target: Ids) -> Scores:
    """Cosines of pairs of unit rows, summed in float64: the same whatever else is asked for.

    :param of_source: the row of ``source`` of each pair; ``of_target`` likewise.
    """
    cosines = np.empty(len(of_source), np.float32)
    for start in range(0, len(of_source), PAIRS):
        part = slice(start, start + PAIRS)
        left, right = source[of_source[part]], target[of_target[part]]
        cosines[part] = np.einsum("ij,ij->i", left.astype(np.float64), right.astype(np.float64))
    return cosines


def _lengths(rows: Rows) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return lengths
