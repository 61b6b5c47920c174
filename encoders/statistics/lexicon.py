"""Which units translate each other: a statistical aligner of a bitext's words or pieces.

Each unit of a sentence comes from a unit of the other, or from nothing. The first passes are IBM
model 1 (Brown et al., 1993) with a diagonal prior (Dyer, Chahuneau & Smith, 2013), later ones a
hidden Markov model of jumps (``encoders/statistics/jumps.py``). The two directions are trained to
agree (Liang, Taskar & Klein, 2006), but in the first pass and the last: they agree on one link a
unit, and the last pass lets each find the units that together translate one. It is what can be
learnt from a corpus in minutes of counting; pretraining takes its links as first guides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from encoders.statistics.cells import Block, Cells, Ints, Longs, Side, UnitBitext
from encoders.statistics.jumps import Floats, Jumps, posteriors

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

NULL_PROBABILITY = 0.03
"""Chance that a unit comes from nothing in the other sentence."""
FIRST_PASSES = 2
"""Passes of IBM model 1, before those of the hidden Markov model."""
DIAGONAL = 4.0
"""How fast the first passes' prior falls with the distance from the diagonal."""

CONCENTRATION = 0.1
"""Dirichlet prior on each unit's translations: small, so that rare units collect no garbage."""
SAME_FORM = 3.0
"""Added to the prior of a unit and itself: names, numbers and signs are often left as they are."""
SAME_STEM = 2.0
"""Added to the prior of two units of one stem: words of one origin, a name and its inflection."""
STEM_PRIOR = 5.0
"""Occurrences of each unit, translated as its stem is, that are added to those counted."""
UNSEEN_STEM = 1.0
"""Occurrences of each stem with translations never seen: how little a rare stem is believed."""
NULL_PRIOR = 1000.0
"""Occurrences of nothing, spread as all units are, that are added to those counted."""

STEM_LETTERS = 4


@dataclass(frozen=True, slots=True)
class UnitLinks:
    """Links between units: positions in the sentence, and how probable they are.

    The links of sentence ``k`` are those from ``offsets[k]`` to ``offsets[k + 1]``.
    """

    offsets: Longs
    source: NDArray[np.uint16]
    target: NDArray[np.uint16]
    weight: NDArray[np.float16]


def stems_of(spellings: Sequence[str]) -> Ints:
    """A number for the first :data:`STEM_LETTERS` letters of each spelling."""
    numbers: dict[str, int] = {}
    stems = (spelling[:STEM_LETTERS] for spelling in spellings)
    return np.array([numbers.setdefault(stem, len(numbers)) for stem in stems], dtype=np.int32)


def align_units(
    bitext: UnitBitext,
    *,
    stems: Ints | None = None,
    iterations: int = 5,
    threshold: float = 0.2,
    beside: float = 0.7,
) -> UnitLinks:
    """Learn a lexicon from ``bitext`` and link its units.

    :param stems: the stem of each unit by its number, for instance by :func:`stems_of`; a rare unit
        is translated as its stem is.
    :param iterations: passes of expectation maximisation.
    :param threshold: links whose two directions' probabilities multiply to less are left out.
    :param beside: but one that is beside such a link, and joins a unit that has none, needs this
        probability in one direction only; its weight is the higher of the two. 1 leaves all out.
    """
    cells = Cells(bitext)
    prior = _prior(cells, stems)
    forward = _Direction(cells.source, cells.target, bitext.target, prior, stems)
    backward = _Direction(cells.target, cells.source, bitext.source, prior, stems)
    there, back = np.empty((2, cells.count), dtype=np.float32)
    for number in range(iterations if cells.count else 0):
        agree = 0 < number < iterations - 1
        for block in cells.blocks:
            one, other = _both(block, cells, forward, backward, first=number < FIRST_PASSES)
            there[block.span] = (one * other if agree else one).ravel()
            if not agree:
                back[block.span] = other.ravel()
        forward.update(cells, there)
        backward.update(cells, there if agree else back)
    found = []
    for block in cells.blocks:
        one, other = _both(block, cells, forward, backward)
        weights = select(one, other, threshold, beside)
        pair, i, j = np.nonzero(weights)
        found.append((block.pairs[pair], i, j, weights[pair, i, j]))
    return _in_order(found, len(bitext))


def select(forward: Floats, backward: Floats, threshold: float, beside: float) -> Floats:
    """Weights of the links, zero at all others; arrays have the shape (pairs, source, target).

    Links beside links are added round by round, as by the heuristic "grow" of Och & Ney (2003).
    """
    weights = forward * backward
    weights[weights < threshold] = 0
    either = np.maximum(forward, backward)
    either[either <= beside] = 0
    while True:
        linked = weights > 0
        free = ~linked.any(2, keepdims=True) | ~linked.any(1, keepdims=True)
        added = free & _beside(linked) & (either > 0)
        if not added.any():
            return weights
        weights[added] = either[added]


def _beside(linked: Mask) -> Mask:
    near = np.zeros_like(linked)
    near[:, 1:] |= linked[:, :-1]
    near[:, :-1] |= linked[:, 1:]
    near[:, :, 1:] |= linked[:, :, :-1]
    near[:, :, :-1] |= linked[:, :, 1:]
    return near


def _in_order(found: Sequence[tuple[Longs, Longs, Longs, Floats]], pairs: int) -> UnitLinks:
    """Links in the order of the sentences."""
    nothing = np.zeros(0, dtype=np.int64)
    columns = zip(*found, strict=True) if found else [[nothing]] * 4
    pair, source, target, weight = map(np.concatenate, columns)
    order = np.argsort(pair, kind="stable")
    return UnitLinks(
        np.searchsorted(pair[order], np.arange(pairs + 1)),
        source[order].astype(np.uint16),
        target[order].astype(np.uint16),
        weight[order].astype(np.float16),
    )


def _both(
    block: Block,
    cells: Cells,
    forward: _Direction,
    backward: _Direction,
    *,
    first: bool = False,
) -> tuple[Floats, Floats]:
    """Both directions' posteriors, shape (pairs, source, target)."""
    types = cells.type[block.span].reshape(block.shape)
    there = forward.posterior(types.transpose(2, 0, 1), block.target, block.source, first)
    back = backward.posterior(types.transpose(1, 0, 2), block.source, block.target, first)
    return there.transpose(1, 2, 0), back.transpose(1, 0, 2)


def _prior(cells: Cells, stems: Ints | None) -> Doubles:
    """What is added to each type's count."""
    prior = np.full(len(cells.source), CONCENTRATION)
    if stems is not None:
        prior[stems[cells.source] == stems[cells.target]] = CONCENTRATION + SAME_STEM
    prior[cells.source == cells.target] = CONCENTRATION + SAME_FORM
    return prior


class _Direction:
    """One direction of the model: each generated unit comes from a given one, or from nothing."""

    def __init__(
        self, given: Ints, generated: Ints, units: Ints, prior: Doubles, stems: Ints | None
    ) -> None:
        self._given = given  # unit of each type
        self._prior = prior
        self._stems = None if stems is None else _StemTable(given, generated, units, stems)
        self._frequency = np.bincount(units) / max(1, len(units))
        self._from_nothing = np.zeros(len(self._frequency))
        # before anything is learnt, no translation is likelier than another
        self._null: Floats = np.ones(len(self._frequency), dtype=np.float32)
        self._translation: Floats = np.ones(len(given) + 1, dtype=np.float32)
        self._translation[-1] = 0  # beyond a sentence's end
        self._jumps = Jumps()

    def posterior(self, types: Ints, generated: Side, given: Side, first: bool) -> Floats:
        """Chance that each unit comes from each given one.

        :param types: type of each cell, shape (generated, pairs, given); so is the result.
        """
        emission = self._translation[types]
        emission *= np.float32(1 - NULL_PROBABILITY)
        null = np.where(generated.mask, self._null[generated.units] * NULL_PROBABILITY, 1)
        null = null.T.astype(np.float32)
        if first:
            emission *= _diagonal(generated, given)
            found: Floats = emission / (emission.sum(2) + null)[:, :, None]
        else:
            found = posteriors(emission, null, given.lengths, self._jumps)
        nothing = np.maximum(1 - found.sum(2), 0).T * generated.mask
        self._from_nothing += _sums(generated.units.ravel(), nothing.ravel(), len(self._null))
        return found

    def update(self, cells: Cells, counts: Floats) -> None:
        """New probabilities from the expected ``counts`` of the cells and those since the last.

        The variational Bayes estimate: exp(digamma(count + prior)) in place of the count (Johnson,
        2007).
        """
        types = _sums(cells.type, counts, len(self._given) + 1)[:-1]
        raised = types + self._prior
        if self._stems is not None:
            raised += STEM_PRIOR * self._stems.translation(types)
        totals = digamma(_sums(self._given, raised))
        self._translation[:-1] = np.exp(digamma(raised) - totals[self._given])
        nothing = self._from_nothing + NULL_PRIOR * self._frequency
        self._null = (nothing / nothing.sum()).astype(np.float32)
        self._from_nothing[:] = 0
        self._jumps.update()


class _StemTable:
    """Translations of stems; the units of a stem share its probability as their frequencies are."""

    def __init__(self, given: Ints, generated: Ints, units: Ints, stems: Ints) -> None:
        keys = stems[given].astype(np.int64) << 32 | stems[generated]
        types, numbers = np.unique(keys, return_inverse=True)
        self._type: Ints = numbers.astype(np.int32)  # of stems, by that of units
        self._given: Ints = (types >> 32).astype(np.int32)
        frequency = np.bincount(units)
        of_stem = np.bincount(stems[: len(frequency)], frequency)
        self._share = (frequency[generated] / of_stem[stems[generated]]).astype(np.float32)

    def translation(self, counts: Doubles) -> Doubles:
        """What each type's probability is by its units' stems, from the types' expected counts."""
        stems = _sums(self._type, counts, len(self._given))
        stems /= (_sums(self._given, stems) + UNSEEN_STEM)[self._given]
        return np.asarray(stems[self._type] * self._share, dtype=np.float64)


def _sums(groups: Ints, values: NDArray[np.floating], groups_in_all: int = 0) -> Doubles:
    return np.asarray(np.bincount(groups, values, groups_in_all), dtype=np.float64)


def _diagonal(generated: Side, given: Side) -> Floats:
    """Prior of given places for each generated one, shape (generated, pairs, given)."""
    here = (np.arange(generated.mask.shape[1])[:, None] + 0.5) / generated.lengths
    there = (np.arange(given.mask.shape[1]) + 0.5) / given.lengths[:, None]
    prior = np.exp(-DIAGONAL * np.abs(there[None] - here[:, :, None])).astype(np.float32)
    prior *= given.mask[None]
    prior /= prior.sum(2, keepdims=True)
    return prior
