"""One tile of a table of cosines, and the few of its cells that may be among the best of a line.

A *tile* holds the products of some source rows with some target rows, in a narrow format. Nobody
sorts it. The largest of each group of ``GROUP`` cells is kept, along both sides; where it does not
reach the limit of its line (the worst cosine that is still of use there), the whole group is
passed over. All of it is integer arithmetic on the bits of the numbers, which processors do several
times as fast as with bfloat16 itself.

*Ordered* integers compare as the numbers do whose bits they were: of a negative number all bits but
the sign are turned over. As long as every limit is above zero a tile needs no such turning, since
negative numbers stay below zero either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

GROUP = 32
"""Cells of a group; fewer where a tile has few lines."""
CELLS = 2**20
"""How many cells are looked at together."""

Ints = NDArray[np.signedinteger]
Floats = NDArray[np.float64]
Cells = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of some cells of a tile."""

_Bits = TypeVar("_Bits", NDArray[Any], torch.Tensor)

_INTEGERS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
_NOTHING = -1  # all bits set; as an ordered integer it is the least of all


class Limits(NamedTuple):
    """The ordered integer that a cell must reach to matter to its row, and to its column.

    They are as many as the rows and columns of the tile before it was filled up.
    """

    rows: Ints
    columns: Ints

    def least(self) -> int:
        return min(int(self.rows.min()), int(self.columns.min()))


class Tile:
    """Room for the products of some vectors, used again and again."""

    def __init__(self, device: torch.device) -> None:
        self._room = torch.empty(0, dtype=torch.int16, device=device)

    def fill(self, source: torch.Tensor, target: torch.Tensor, group: int) -> None:
        """Multiply ``source``, shape (rows, dim), with ``target``, shape (columns, dim).

        Both have been filled up with zeros to a multiple of ``group`` lines; see :meth:`blank`.
        """
        self._group = group
        shape = (len(source), len(target))
        size = shape[0] * shape[1] * source.itemsize // 2
        if len(self._room) < size:
            self._room = self._room.new_empty(size)
        products = self._room[:size].view(source.dtype).view(shape)
        torch.mm(source, target.T, out=products)
        self._cells = products.view(_INTEGERS[source.dtype])
        self._ordered = False

    def blank(self, rows: int, columns: int) -> None:
        """Make cells outside the first ``rows`` and ``columns`` smaller than anything."""
        self._cells[rows:] = _NOTHING
        self._cells[:, columns:] = _NOTHING

    def order(self) -> None:
        """Make the tile one of ordered integers, if it is not one yet."""
        if not self._ordered:
            _turn(self._cells)
            self._ordered = True

    def fold(self) -> None:
        """Find the largest cell of each group, along rows and along columns."""
        rows, columns = self._cells.shape
        group = self._group
        # The cells of a group lie as far apart as they can: so all of these are long loops.
        wide = self._cells.view(rows, group, columns // group).amax(1)
        high = self._cells.view(rows // group, group, columns).amax(1)
        if not self._ordered:
            _turn(wide)
            _turn(high)
        self.of_rows: Ints = wide.cpu().numpy()  # (rows, columns / group)
        self.of_columns: Ints = high.cpu().numpy()  # (rows / group, columns)

    def reaching(self, limits: Limits) -> Iterator[Cells]:
        """The cells that reach a limit of theirs, some at a time; one that reaches both, twice."""
        assert self._ordered or limits.least() > 0, "negative cells are not in order"
        columns = self._cells.shape[1]
        high, wide = len(limits.rows), len(limits.columns)
        found = np.flatnonzero(self.of_rows[:high] >= limits.rows[:, None])
        row, place = np.divmod(found, columns // self._group)
        yield from self._look(row * columns + place, columns // self._group, limits.rows, row)
        found = np.flatnonzero(self.of_columns[:, :wide] >= limits.columns)
        place, column = np.divmod(found, wide)
        first = place * self._group * columns + column
        yield from self._look(first, columns, limits.columns, column)

    def _look(self, first: Ints, step: int, limits: Ints, lines: Ints) -> Iterator[Cells]:
        """Look into groups: cells ``step`` apart from ``first`` on, against the limits of lines."""
        flat = self._cells.view(-1)
        offsets = np.arange(self._group) * step
        many = max(1, CELLS // self._group)
        for start in range(0, len(first), many):
            part = slice(start, start + many)
            places = first[part, None] + offsets  # (groups, group)
            if flat.device.type == "cpu":
                cells = flat.numpy().take(places)
            else:
                cells = flat[torch.from_numpy(places).to(flat.device)].cpu().numpy()
            good = places[cells >= limits[lines[part], None]]
            yield np.divmod(good, self._cells.shape[1])


def group_of(lines: int, k: int) -> int:
    """How large groups may be so that enough of them lie along ``lines`` cells."""
    group = GROUP
    while group > 1 and lines < 4 * k * group:
        group //= 2
    return group


def at_least(limits: Floats, dtype: torch.dtype) -> Ints:
    """Ordered integers that any number of ``dtype`` not below ``limits`` reaches."""
    with np.errstate(over="ignore"):
        floats = limits.astype(np.float32)
    floats = np.where(floats > limits, np.nextafter(floats, np.float32(-np.inf)), floats)
    ordered = _turn(floats.view(np.int32))
    return ordered if dtype == torch.float32 else (ordered >> 16).astype(np.int16)


def numbers(ordered: Ints) -> Floats:
    """The numbers that ordered integers stand for; minus infinity for the least of them."""
    bits = _turn(ordered.copy())
    wide = bits if bits.dtype == np.int32 else bits.astype(np.int32) << 16
    floats = wide.view(np.float32)
    return np.where(np.isnan(floats), np.float32(-np.inf), floats).astype(np.float64)


def _turn(bits: _Bits) -> _Bits:
    """Turn over, in place, the bits of negative numbers but the sign; twice is not at all."""
    width = bits.itemsize * 8
    mask = bits >> (width - 1)
    mask &= (1 << (width - 1)) - 1
    bits ^= mask
    return bits
