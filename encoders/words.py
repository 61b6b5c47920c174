"""Words of a corpus as numbers: equal ones have equal numbers, and words of one stem share that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.corpus import ParallelSentences, Sentences
from encoders.lexicon import UnitBitext

STEM = 4
"""Characters that make a stem; a shorter word is its own."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


def number_words(
    pairs: ParallelSentences, names: Sequence[str]
) -> tuple[UnitBitext, NDArray[np.int32]]:
    """The words of both sides as numbers, and the number of each word's stem.

    Both sides count together: a word that is spelt alike in two languages has one number.

    :param names: the pieces of the vocabulary.
    :return: the bitext of words, and stems by word.
    """
    sides = [_keys(side) for side in (pairs.source, pairs.target)]
    keys = np.concatenate([side[0] for side in sides])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    numbers: NDArray[np.int32] = inverse.astype(np.int32)
    here = len(sides[0][0])
    bitext = UnitBitext(numbers[:here], sides[0][1], numbers[here:], sides[1][1])
    return bitext, _stems(pairs, first, here, names)


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


def _stems(
    pairs: ParallelSentences, first: NDArray[np.int64], here: int, names: Sequence[str]
) -> NDArray[np.int32]:
    """The stem of each word, by one place where it stands (``here`` words are source ones)."""
    bounds = []
    for side in (pairs.source, pairs.target):
        bounds.append(np.append(_starts(side)[0], len(side.pieces)))
    stems: dict[str, int] = {}
    found = np.empty(len(first), dtype=np.int32)
    for word, at in enumerate(first.tolist()):
        side, place = (pairs.source, at) if at < here else (pairs.target, at - here)
        edges = bounds[0] if at < here else bounds[1]
        spelt = "".join(names[k] for k in side.pieces[edges[place] : edges[place + 1]])
        letters = spelt.replace("\u2581", "").replace("##", "").replace("\u0120", "")
        key = letters[:STEM] if len(letters) >= STEM else f"{letters} {word}"
        found[word] = stems.setdefault(key, len(stems))
    return found
