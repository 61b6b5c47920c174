"""A search, tile by tile, for the nearest of every row and of every column of a table of cosines.

A *floor* is a cosine that at least ``k`` cells of a line surely have, so that a cell below it is
not among the best; a *limit* is what a floor comes to in the numbers of a tile, which are rounded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval.mining.best import Best
from retrieval.mining.sides import Ids, Rows, RowTable, Scores, Side, exact_cosines
from retrieval.mining.tiles import Cells, Floats, Limits, Tile, at_least, group_of, numbers

COLUMNS = 2048
"""Columns of a tile."""
FEWEST, MOST = 256, 8192
"""Rows of a tile at least and at most, whatever the memory."""
MANY = 1 / 32
"""Share of a tile's cells above which float32, which leaves fewer, is worth a second product."""
VAIN = 8
"""Tiles after which bfloat16 is given up altogether."""
WAITING = 2**18
"""Candidates that wait, at most, until they are sorted in among the best."""

_HALF_STEP = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}  # relative error of one rounding
_ULP = 2.0**-23  # of a float32 near 1


class Strip(NamedTuple):
    """Some sources on their way through all targets."""

    start: int
    rows: Rows
    narrow: torch.Tensor
    group: int
    floors: Floats
    """The ``k`` largest cosines that are sure so far, least first, shape (rows, k)."""


class Floors(NamedTuple):
    """Of each row of a tile, and of each column."""

    rows: Floats
    columns: Floats


class TiledSearch:
    """Sources against targets; after each :meth:`strip`, the best are exact for those so far."""

    def __init__(
        self,
        source: RowTable,
        target: RowTable,
        k: int,
        dtype: torch.dtype,
        device: torch.device,
        memory: int,
    ) -> None:
        self.source = Side(source, "source", dtype)
        self.target = Side(target, "target", dtype)
        self.forward = Best(len(self.source), min(k, len(self.target)))
        self.backward = Best(len(self.target), min(k, len(self.source)))
        self._dtype = dtype
        self._device = device
        self._dim = source.shape[1]
        self._tile = Tile(device)
        self._vain = 0  # products in bfloat16 so far that left too many cells
        self._columns = min(COLUMNS, len(self.target))
        per_vector = 2 * 4 * self._dim  # itself, and what is multiplied
        rows = (memory - self._columns * per_vector) // (4 * self._columns + per_vector)
        self._rows = min(len(self.source), max(FEWEST, min(MOST, rows)))
        self._for_rows: list[tuple[Ids, Ids, Scores]] = []
        self._for_columns: list[tuple[Ids, Ids, Scores]] = []

    def strip(self, start: int) -> int:
        """Compare the next sources, from ``start`` on, with all targets; say how many they were."""
        rows = self.source.rows(start, start + self._rows)
        group = group_of(min(len(rows), self._columns), max(self.forward.k, self.backward.k))
        floors = np.full((len(rows), self.forward.k), -np.inf)
        strip = Strip(start, rows, self._narrow(rows, group, self._dtype), group, floors)
        for first, columns in self.target.parts(self._columns):
            strip = strip._replace(floors=self._visit(strip, first, columns))
        self._settle()
        return len(rows)

    def finish(self) -> None:
        """Set the neighbours of rows of zeros: everything is equally near."""
        for side, best in ((self.source, self.forward), (self.target, self.backward)):
            best.scores[side.zeros] = 0
            best.ids[side.zeros] = np.arange(best.k)

    def _visit(self, strip: Strip, first: int, columns: Rows) -> Floats:
        """Find the useful cells of one tile; give the floors of the strip's rows after it."""
        if self._dtype == torch.bfloat16:
            most = int(MANY * len(strip.rows) * len(columns))
            floors = self._try(strip, first, columns, self._dtype, most)
            if floors is not None:
                return floors
            self._vain += 1
            if self._vain == VAIN:
                self._dtype = torch.float32
        floors = self._try(strip, first, columns, torch.float32, None)
        assert floors is not None
        return floors

    def _try(
        self, strip: Strip, first: int, columns: Rows, dtype: torch.dtype, most: int | None
    ) -> Floats | None:
        """The same in ``dtype``; nothing is done if more than ``most`` cells seem useful."""
        source = strip.narrow
        if source.dtype != dtype:
            source = self._narrow(strip.rows, strip.group, dtype)
        tile = self._tile
        tile.fill(source, self._narrow(columns, strip.group, dtype), strip.group)
        tile.blank(len(strip.rows), len(columns))
        tile.fold()
        of_rows, floors = self._floors(strip, first, len(columns), dtype)
        limits = self._limits(strip, first, floors, dtype)
        if limits.least() <= 0:
            tile.order()
            tile.fold()
        found: list[Cells] = []
        count = 0
        for cells in tile.reaching(limits):
            found.append(cells)
            count += len(cells[0])
            if most is not None and count > most:
                return None
            if most is None and count > WAITING:
                self._take(strip, first, columns, found, floors)
                found, count = [], 0
        self._take(strip, first, columns, found, floors)
        return of_rows

    def _narrow(self, rows: Rows, group: int, dtype: torch.dtype) -> torch.Tensor:
        """``rows`` as a product wants them, with zeros up to a multiple of ``group``."""
        lines = -(-len(rows) // group) * group
        room = torch.zeros(lines, self._dim, dtype=dtype, device=self._device)
        room[: len(rows)] = torch.from_numpy(rows)
        return room

    def _floors(
        self, strip: Strip, first: int, count: int, dtype: torch.dtype
    ) -> tuple[Floats, Floors]:
        """The sure cosines of the strip's rows with this tile seen, and the floors that follow."""
        error = self._error(dtype)
        new = _sure(self._tile.of_rows[: len(strip.rows)], self.forward.k, dtype, error)
        of_rows = _largest(np.concatenate([strip.floors, new], axis=1), self.forward.k)
        of_columns = self.backward.last[first : first + count].astype(np.float64)
        if not np.isfinite(of_columns).all():
            groups = np.ascontiguousarray(self._tile.of_columns[:, :count].T)
            sure = _sure(groups, self.backward.k, dtype, error)
            of_columns = np.maximum(of_columns, sure[:, 0])
        return of_rows, Floors(of_rows[:, 0], of_columns)

    def _limits(self, strip: Strip, first: int, floors: Floors, dtype: torch.dtype) -> Limits:
        """What a cell must reach; of a row of zeros nothing is wanted, so no cell does."""
        zeros = (self.source.zeros[strip.start :], self.target.zeros[first:])
        limits = []
        for own, none in zip(floors, zeros, strict=True):
            limit = at_least(own - self._error(dtype), dtype)
            limit[none[: len(limit)]] = np.iinfo(limit.dtype).max
            limits.append(limit)
        return Limits(*limits)

    def _error(self, dtype: torch.dtype) -> float:
        """How far a sum of products may be off, before it is rounded to the tile's dtype.

        ``|xy - x'y'| <= |x - x'| |y| + |x'| |y - y'|`` for what rounding made of two rows of length
        1, and the sums are in float32. The last term is for scores, which are float32 as well.
        """
        rounding = self.source.rounding + self.target.rounding if dtype == torch.bfloat16 else 0.0
        return 1.01 * (rounding + self._dim * _ULP) + _ULP

    def _take(
        self, strip: Strip, first: int, columns: Rows, found: list[Cells], floors: Floors
    ) -> None:
        """Score cells of a tile exactly, and let those wait that may be among the best."""
        if not found:
            return
        cells = np.concatenate([row * len(columns) + column for row, column in found])
        cells.sort()
        cells = cells[np.diff(cells, prepend=-1) > 0]  # some reached both limits
        row, column = np.divmod(cells, len(columns))
        scores = exact_cosines(strip.rows, columns, row, column)
        good = scores >= floors.rows[row] - _ULP
        self._for_rows.append((row[good] + strip.start, column[good] + first, scores[good]))
        good = scores >= floors.columns[column] - _ULP
        self._for_columns.append((column[good] + first, row[good] + strip.start, scores[good]))
        if sum(len(item[0]) for item in self._for_rows + self._for_columns) > WAITING:
            self._settle()

    def _settle(self) -> None:
        """Sort in what waits."""
        for best, waiting in ((self.forward, self._for_rows), (self.backward, self._for_columns)):
            if waiting:
                queries, ids, scores = zip(*waiting, strict=True)
                best.offer(np.concatenate(queries), np.concatenate(ids), np.concatenate(scores))
                waiting.clear()


def _sure(groups: NDArray[Any], k: int, dtype: torch.dtype, error: float) -> Floats:
    """Cosines that ``k, k - 1, ..., 1`` cells of each line surely have at least, shape (lines, k).

    :param groups: ordered integers, the largest cell of each group, shape (lines, groups).
    """
    products = numbers(_largest(groups, k))
    rounding = np.where(np.isfinite(products), abs(products), 0) * _HALF_STEP[dtype]
    missing = max(0, k - products.shape[1])
    return np.pad(products - rounding - error, ((0, 0), (missing, 0)), constant_values=-np.inf)


def _largest(values: NDArray[Any], k: int) -> NDArray[Any]:
    """The ``k`` largest of each line, the least of them first; all, if there are fewer."""
    count = values.shape[1]
    if count > k:
        values = np.partition(values, count - k, axis=1)[:, count - k :]
    return np.sort(values, axis=1)
