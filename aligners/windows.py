"""Long pairs: aligned window by window, each a piece of the source beside its translation.

A model reads only so many pieces at once, and does well only at lengths like those it learnt from.
Cutting each side by itself would leave words and their translations in windows that do not
correspond. So a first, rough comparison of the whole pair finds the path on which the translation
goes through it: units that are each other's best by far, in the heaviest chain that runs forward
on both sides. At links of that chain both sides are cut together, and each window, with some words
of its neighbours around it, is compared again as a pair of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aligners.comparison import Compared, Numbers
from aligners.matching import argmax
from aligners.similarity import Similarity
from bitext.types import SentencePair

CORE = 15
"""Source words of a window, at least; twice as many at most where links are found to cut at."""
OVERLAP = 8
"""Words of its neighbours that a window has around its own, on every side. Both were chosen on dev
sets with the bundled model; its sentences in training were seldom longer than such windows."""

PASSES = 2
"""The similarities of the first windows tell where to cut the second ones."""

Weights = NDArray[np.float64]


Compare = Callable[[list[SentencePair]], list[Compared | None]]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a long pair: what is compared, and which of it is the window's own."""

    pair: SentencePair
    start: tuple[int, int]  # of the compared words, in the long pair's source and target
    own: range  # source words of the long pair


def compare_windows(pair: SentencePair, rough: Compared, compare: Compare) -> Compared:
    """The similarities of a long pair, from windows that are cut better each time.

    :param rough: the whole pair, compared as well as it can be.
    :param compare: what compares the pairs of the windows; ``None`` where a side has no units.
    """
    compared = rough
    for _ in range(PASSES):
        windows = cut_windows(pair, compared)
        compared = stitch(rough, windows, compare([window.pair for window in windows]))
    return compared


def cut_windows(pair: SentencePair, rough: Compared) -> list[Window]:
    """Windows of a long pair, whose own source words together are all of it.

    :param rough: the whole pair, compared as well as it can be.
    """
    lengths = len(pair.source), len(pair.target)
    cuts = [(0, 0), *_cuts(*_path(rough), lengths[0]), lengths]
    windows = []
    for (source, target), (source_end, target_end) in pairwise(cuts):
        start = max(0, source - OVERLAP), max(0, target - OVERLAP)
        part = SentencePair(
            pair.source[start[0] : source_end + OVERLAP],
            pair.target[start[1] : target_end + OVERLAP],
        )
        windows.append(Window(part, start, range(source, source_end)))
    return windows


def stitch(
    rough: Compared, windows: Sequence[Window], compared: Sequence[Compared | None]
) -> Compared:
    """The long pair with the similarities that its windows found; all others are the lowest.

    :param rough: the whole pair, whose units and shape are kept.
    :param compared: one a window; ``None`` where a side of it has no units.
    """
    weights = _lowest_like(rough.weights, [one.weights for one in compared if one])
    similarity = weights
    if rough.similarity is not rough.weights:
        similarity = _lowest_like(rough.similarity, [one.similarity for one in compared if one])
    for window, one in zip(windows, compared, strict=True):
        if one is None:
            continue
        own = np.isin(one.source_of + window.start[0], window.own)
        rows = np.searchsorted(rough.source_of, window.own.start)
        columns = np.searchsorted(rough.target_of, window.start[1])
        place = np.s_[rows : rows + own.sum(), columns : columns + len(one.target_of)]
        weights[place] = one.weights[own]
        similarity[place] = one.similarity[own]
    return Compared(weights, similarity, rough.source_of, rough.target_of, rough.words)


def _lowest_like(whole: Similarity, parts: Sequence[Similarity]) -> Similarity:
    return np.full_like(whole, min((part.min() for part in parts), default=0))


def _cuts(source: Numbers, target: Numbers, weight: Weights, end: int) -> Iterator[tuple[int, int]]:
    """Where both sides are cut: behind the surest links of the path, ``CORE`` words apart or more.

    :param source: words of the path's links, ascending, and those of ``target`` with them.
    """
    last, last_target = 0, 0
    while last + CORE + CORE // 2 < end:
        behind = np.flatnonzero((source >= last + CORE) & (target > last_target))
        near = behind[source[behind] < last + 2 * CORE]
        if not len(behind):
            return
        surest = near[np.argmax(weight[near])] if len(near) else behind[0]
        last, last_target = int(source[surest]) + 1, int(target[surest]) + 1
        if last >= end:
            return
        yield last, last_target


def _path(rough: Compared) -> tuple[Numbers, Numbers, Weights]:
    """The heaviest chain of links that runs forward on both sides: their words and weights."""
    i, j, weight = _anchors(rough.weights)
    chain = _heaviest_chain(j, weight)
    return rough.source_of[i[chain]], rough.target_of[j[chain]], weight[chain]


def _anchors(similarity: Similarity) -> tuple[Numbers, Numbers, Weights]:
    """Units that are each other's best, and by how much no other one comes near."""
    i, j = np.nonzero(argmax(similarity))
    second = np.full(len(i), similarity.min(), dtype=similarity.dtype)
    if similarity.shape[1] > 1:
        second = np.maximum(second, np.partition(similarity, -2, axis=1)[i, -2])
    if similarity.shape[0] > 1:
        second = np.maximum(second, np.partition(similarity, -2, axis=0)[-2, j])
    return i, j, (similarity[i, j] - second).astype(np.float64)


def _heaviest_chain(target: Numbers, weight: Weights) -> list[int]:
    """Of links in the order of their source, the heaviest subset whose targets ascend."""
    total = np.zeros(len(target))
    before = np.full(len(target), -1)
    for k in range(len(target)):
        earlier = np.flatnonzero(target[:k] < target[k])
        if len(earlier):
            best = earlier[np.argmax(total[earlier])]
            total[k], before[k] = total[best], best
        total[k] += weight[k]
    chain = []
    at = int(total.argmax())
    while at >= 0:
        chain.append(at)
        at = int(before[at])
    return chain[::-1]
