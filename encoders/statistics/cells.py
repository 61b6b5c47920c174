"""Sentence pairs as blocks of cells, one for each source unit and target unit of a pair.

A statistical aligner goes through the cells block by block, so that its arrays fit into the
processor's caches, and counts what they hold by their type: which two units meet in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

_BLOCK = 1 << 18
"""Cells of a block."""
_EXACT = 12
"""Sentences of up to this many units are batched by their very length, longer ones by fours."""
_OUTSIDE = np.iinfo(np.int64).max
"""Key of the cells beyond a sentence's end; sorts behind all others."""


@dataclass(frozen=True, slots=True)
class UnitBitext:
    """The units of one language pair's sentences, words or pieces, laid end to end.

    Sentence ``k`` is ``units[offsets[k]:offsets[k + 1]]`` on either side. A number stands for the
    same spelling on both.
    """

    source: Ints
    source_offsets: Longs
    target: Ints
    target_offsets: Longs

    def __len__(self) -> int:
        return len(self.source_offsets) - 1


class Side:
    """One side of a block's sentences, padded to one length."""

    def __init__(self, units: Ints, offsets: Longs, pairs: Longs, width: int) -> None:
        self.lengths: Longs = np.diff(offsets)[pairs]
        place = np.arange(width)
        self.mask: NDArray[np.bool_] = place < self.lengths[:, None]  # (pairs, width)
        self.units = units[np.where(self.mask, offsets[pairs][:, None] + place, 0)]


class Block:
    """Sentence pairs of about equal lengths.

    Their cells have the ``shape`` (pairs, source width, target width) and are those of ``span`` in
    an array of all cells.
    """

    def __init__(self, bitext: UnitBitext, pairs: Longs, widths: Longs, at: int) -> None:
        self.pairs = pairs
        self.source = Side(bitext.source, bitext.source_offsets, pairs, int(widths[0]))
        self.target = Side(bitext.target, bitext.target_offsets, pairs, int(widths[1]))
        self.shape = (len(pairs), int(widths[0]), int(widths[1]))
        self.span = slice(at, at + int(np.prod(self.shape)))

    def keys(self) -> Longs:
        """Source unit and target unit of each cell as one number."""
        keys = self.source.units.astype(np.int64)[:, :, None] << 32 | self.target.units[:, None]
        keys[~(self.source.mask[:, :, None] & self.target.mask[:, None])] = _OUTSIDE
        return keys.ravel()


class Cells:
    """All cells of a bitext, and their types: ``source[t]`` and ``target[t]`` meet in type ``t``.

    Cells beyond a sentence's end have the type ``len(source)``.
    """

    def __init__(self, bitext: UnitBitext) -> None:
        self.blocks = list(_blocks(bitext))
        self.count = self.blocks[-1].span.stop if self.blocks else 0
        keys = np.empty(self.count, dtype=np.int64)
        for block in self.blocks:
            keys[block.span] = block.keys()
        types, numbers = np.unique(keys, return_inverse=True)
        types = types[types != _OUTSIDE]
        self.type: Ints = numbers.astype(np.int32)
        self.source: Ints = (types >> 32).astype(np.int32)
        self.target: Ints = (types & 0xFFFFFFFF).astype(np.int32)


def _blocks(bitext: UnitBitext) -> Iterator[Block]:
    lengths = np.stack([np.diff(bitext.source_offsets), np.diff(bitext.target_offsets)], axis=1)
    widths = np.where(lengths <= _EXACT, lengths, -(-lengths // 4) * 4)
    order = np.lexsort((widths[:, 1], widths[:, 0]))
    order = order[widths[order].all(1)]  # a pair with an empty side has no cells
    borders = np.flatnonzero((np.diff(widths[order], axis=0) != 0).any(1)) + 1
    at = 0
    for alike in np.split(order, borders):
        if len(alike):
            step = max(1, _BLOCK // int(widths[alike[0]].prod()))
            for start in range(0, len(alike), step):
                block = Block(bitext, alike[start : start + step], widths[alike[0]], at)
                at = block.span.stop
                yield block
