"""Words of a corpus as numbers, the same number for the same spelling in either language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.statistics.cells import UnitBitext
from encoders.training.corpus import ParallelSentences, Sentences

_MIX = np.uint64(0x9E3779B97F4A7C15)


def number_words(pairs: ParallelSentences, names: Sequence[str]) -> tuple[UnitBitext, list[str]]:
    """The words of both sides as numbers, and the spelling of each number.

    Both sides count together: a word that is spelt alike in two languages has one number.

    :param names: the pieces of the vocabulary.
    """
    sides = [_keys(side) for side in (pairs.source, pairs.target)]
    keys = np.concatenate([side[0] for side in sides])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    numbers: NDArray[np.int32] = inverse.astype(np.int32)
    here = len(sides[0][0])
    bitext = UnitBitext(numbers[:here], sides[0][1], numbers[here:], sides[1][1])
    return bitext, _spellings(pairs, first, here, names)


def _keys(side: Sentences) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A number for each word, made of its pieces and their order; and the sentences' offsets."""
    starts, number = _starts(side)
    if not len(starts):
        return np.zeros(0, dtype=np.uint64), np.zeros(len(side) + 1, dtype=np.int64)
    lengths = np.diff(np.append(starts, len(side.pieces)))
    place = np.arange(len(side.pieces)) - np.repeat(starts, lengths)
    with np.errstate(over="ignore"):
        mixed = (side.pieces.astype(np.uint64) + np.uint64(1)) * _MIX
        mixed = (mixed ^ (mixed >> np.uint64(29))) * (place.astype(np.uint64) * np.uint64(2) + _MIX)
        keys = np.add.reduceat(mixed, starts)
    return keys, np.searchsorted(number[starts], np.arange(len(side) + 1)).astype(np.int64)


def _starts(side: Sentences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each word's pieces start, and the sentence of each piece."""
    number = np.repeat(np.arange(len(side)), side.lengths())
    begins = np.diff(side.word_of.astype(np.int64), prepend=-1) != 0
    begins |= np.diff(number, prepend=-1) != 0
    return np.flatnonzero(begins), number


def _spellings(
    pairs: ParallelSentences, first: NDArray[np.int64], here: int, names: Sequence[str]
) -> list[str]:
    """The spelling of each word, read at one place where it stands (``here`` are source words)."""
    sides = (pairs.source, pairs.target)
    edges = [np.append(_starts(side)[0], len(side.pieces)).tolist() for side in sides]
    found = []
    for at in first.tolist():
        which, place = (0, at) if at < here else (1, at - here)
        pieces = sides[which].pieces[edges[which][place] : edges[which][place + 1]]
        spelt = "".join(names[piece] for piece in pieces)
        found.append(spelt.replace("\u2581", "").replace("##", "").replace("\u0120", ""))
    return found
