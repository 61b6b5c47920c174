"""Which units translate each other: a statistical aligner over a bitext's words or pieces.

Each unit of one sentence is explained by a unit of the other, or by nothing. First passes are IBM
model 1 (Brown et al., 1993) with a fixed diagonal prior (Dyer, Chahuneau & Smith, 2013), later ones
a hidden Markov model of jumps (``encoders/jumps.py``); the two directions are trained to agree
(Liang, Taskar & Klein, 2006). It is what can be learnt from a corpus in minutes of counting;
pretraining takes its links as first guides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from encoders.jumps import Jumps, posteriors

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]

NULL_PROBABILITY = 0.03
"""Chance that a unit comes from nothing in the other sentence."""
DIAGONAL = 4.0
"""How fast the first passes' prior falls with the distance from the diagonal."""
FIRST_PASSES = 1
"""Passes of IBM model 1 before those of the hidden Markov model."""
PASSES_ALONE = 1
"""Passes before the directions have to agree."""

CONCENTRATION = 0.1
"""Dirichlet prior on each unit's translations: small, so that rare units collect no garbage."""
SAME_FORM = 3.0
"""Added to the prior of a unit and itself: names, numbers and signs are often left as they are."""
SAME_STEM = 2.0
"""Added to the prior of two units of one stem: words of one origin, a name and its inflection."""
STEM_PRIOR = 5.0
"""Occurrences of each unit, translated as its stem is, that are added to those counted."""
UNSEEN_STEM = 1.0
"""Occurrences of each stem with translations never seen: of how much a rare stem is believed."""
NULL_PRIOR = 1000.0
"""Occurrences of nothing, spread as all units are, that are added to those counted."""

_SLICE = 1 << 18
"""Cells whose posteriors are computed together: what fits into the processor's caches."""
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


@dataclass(frozen=True, slots=True)
class UnitLinks:
    """Links between units: positions in the sentence, and the two directions' agreed probability.

    The links of sentence ``k`` are those from ``offsets[k]`` to ``offsets[k + 1]``.
    """

    offsets: Longs
    source: NDArray[np.uint8]
    target: NDArray[np.uint8]
    weight: NDArray[np.float16]


def align_units(
    bitext: UnitBitext,
    *,
    stems: Ints | None = None,
    iterations: int = 5,
    threshold: float = 0.1,
) -> UnitLinks:
    """Learn a lexicon from ``bitext`` and link its units.

    :param stems: the stem of each unit by its number, for instance an id of its first four
        letters, the same in both languages.
    :param iterations: passes of expectation maximisation: first :data:`FIRST_PASSES` of IBM model
        1, the others of the hidden Markov model.
    :param threshold: links whose two directions' probabilities multiply to less are left out.
    """
    table = _Table(bitext)
    prior = table.prior(stems)
    forward = _Direction(table.source, table.target, bitext.target, prior, stems)
    backward = _Direction(table.target, table.source, bitext.source, prior, stems)
    for number in range(iterations):
        there, back = np.empty((2, table.cells), dtype=np.float32)
        for piece in table.slices:
            cells = piece.span
            there[cells], back[cells] = _both(piece, table, forward, backward, number)
            if number >= PASSES_ALONE:
                there[cells] *= back[cells]
        forward.update(table, there)
        backward.update(table, there if number >= PASSES_ALONE else back)
    return _collect(bitext, table, forward, backward, iterations, threshold)


def _collect(
    bitext: UnitBitext,
    table: _Table,
    forward: _Direction,
    backward: _Direction,
    iterations: int,
    threshold: float,
) -> UnitLinks:
    """The links above the threshold in the order of the sentences."""
    found = [np.zeros((0, 4), dtype=np.float32)]
    numbers = [np.zeros(0, dtype=np.int64)]
    for piece in table.slices:
        there, back = _both(piece, table, forward, backward, iterations)
        agreed = (there * back).reshape(piece.shape)
        row, i, j = np.nonzero(agreed >= threshold)
        numbers.append(piece.pairs[row])
        found.append(
            np.stack([i, j, agreed[row, i, j]], axis=1).astype(np.float32)[:, [0, 1, 2, 2]]
        )
    pair, links = np.concatenate(numbers), np.concatenate(found)
    order = np.argsort(pair, kind="stable")
    pair, links = pair[order], links[order]
    return UnitLinks(
        np.searchsorted(pair, np.arange(len(bitext) + 1)),
        links[:, 0].astype(np.uint8),
        links[:, 1].astype(np.uint8),
        links[:, 2].astype(np.float16),
    )


def _both(
    piece: _Slice, table: _Table, forward: _Direction, backward: _Direction, number: int
) -> tuple[Floats, Floats]:
    """Both directions' posteriors in pass ``number``, flat in the order (pair, source, target)."""
    types = table.types[piece.span].reshape(piece.shape)
    there = forward.posterior(types.transpose(2, 0, 1), piece.target, piece.source, number)
    back = backward.posterior(types.transpose(1, 0, 2), piece.source, piece.target, number)
    return there.transpose(1, 2, 0).ravel(), back.transpose(1, 0, 2).ravel()


class _Side:
    """One side of a slice's sentence pairs, padded to one length."""

    def __init__(self, units: Ints, offsets: Longs, pairs: Longs, width: int) -> None:
        self.lengths = np.diff(offsets)[pairs]
        place = np.arange(width)
        self.mask: Mask = place < self.lengths[:, None]
        self.units = units[np.where(self.mask, offsets[pairs][:, None] + place, 0)]


class _Slice:
    """Sentence pairs of about equal lengths: their cells (pair, source, target), one block."""

    def __init__(self, bitext: UnitBitext, pairs: Longs, shape: tuple[int, int], at: int) -> None:
        self.pairs = pairs
        self.source = _Side(bitext.source, bitext.source_offsets, pairs, shape[0])
        self.target = _Side(bitext.target, bitext.target_offsets, pairs, shape[1])
        self.shape = (len(pairs), *shape)
        self.span = slice(at, at + len(pairs) * shape[0] * shape[1])

    def keys(self) -> Longs:
        """Source unit and target unit of each cell as one number."""
        keys = self.source.units.astype(np.int64)[:, :, None] << 32 | self.target.units[:, None]
        keys[~(self.source.mask[:, :, None] & self.target.mask[:, None])] = _OUTSIDE
        return keys.ravel()


def _slices(bitext: UnitBitext) -> Iterator[_Slice]:
    widths = [_width(np.diff(o)) for o in (bitext.source_offsets, bitext.target_offsets)]
    order = np.lexsort((widths[1], widths[0]))
    order = order[(widths[0][order] > 0) & (widths[1][order] > 0)]
    shapes = np.stack(widths, axis=1)[order]
    borders = np.flatnonzero((np.diff(shapes, axis=0) != 0).any(1)) + 1
    at = 0
    for group in np.split(order, borders) if len(order) else []:
        shape = int(widths[0][group[0]]), int(widths[1][group[0]])
        step = max(1, _SLICE // (shape[0] * shape[1]))
        for start in range(0, len(group), step):
            piece = _Slice(bitext, group[start : start + step], shape, at)
            at = piece.span.stop
            yield piece


def _width(lengths: Longs) -> Longs:
    return np.where(lengths <= _EXACT, lengths, -(-lengths // 4) * 4)


class _Table:
    """Every (source unit, target unit) that some pair holds, numbered, and which one a cell is."""

    def __init__(self, bitext: UnitBitext) -> None:
        self.slices = list(_slices(bitext))
        self.cells = self.slices[-1].span.stop if self.slices else 0
        keys = np.empty(self.cells, dtype=np.int64)
        for piece in self.slices:
            keys[piece.span] = piece.keys()
        types, cells = np.unique(keys, return_inverse=True)
        types = types[types != _OUTSIDE]  # padding is numbered one past the others
        self.types = cells.astype(np.int32)
        self.source = (types >> 32).astype(np.int32)
        self.target = (types & 0xFFFFFFFF).astype(np.int32)

    def prior(self, stems: Ints | None) -> Doubles:
        """What is added to each type's count."""
        prior = np.full(len(self.source), CONCENTRATION)
        if stems is not None:
            prior[stems[self.source] == stems[self.target]] += SAME_STEM
        same = self.source == self.target
        prior[same] = CONCENTRATION + SAME_FORM
        return prior


class _Direction:
    """One direction of the model: each generated unit comes from a given one, or from nothing."""

    def __init__(
        self, given: Ints, generated: Ints, units: Ints, prior: Doubles, stems: Ints | None
    ) -> None:
        self._given = given  # the explaining unit of each type
        self._prior = prior
        self._stems = None if stems is None else _StemTable(given, generated, units, stems)
        self._frequency = np.bincount(units) / max(1, len(units))
        self._from_nothing = np.zeros(len(self._frequency))
        self._null: Floats = self._frequency.astype(np.float32)
        flat = np.ones(len(given) + 1, dtype=np.float32)  # no translation is likelier than another
        flat[-1] = 0
        self._translation: Floats = flat
        self._learnt = False
        self._jumps = Jumps()

    def posterior(self, types: Ints, generated: _Side, given: _Side, number: int) -> Floats:
        """Chance that each unit comes from each given one.

        :param types: type of each cell, shape (generated, pairs, given); so is the result.
        """
        emission = self._translation[types]
        null = self._null[generated.units] if self._learnt else np.float32(1)
        null = np.where(generated.mask, NULL_PROBABILITY * null, 1).astype(np.float32).T
        if number < FIRST_PASSES:
            emission *= _diagonal(generated, given)
            emission *= np.float32(1 - NULL_PROBABILITY)
            found: Floats = emission / (emission.sum(2) + null)[:, :, None]
        else:
            found = posteriors(
                emission, null, given.lengths, self._jumps, np.float32(1 - NULL_PROBABILITY)
            )
        nothing = np.maximum(1 - found.sum(2), 0).T * generated.mask
        self._from_nothing += np.bincount(
            generated.units.ravel(), nothing.ravel(), len(self._from_nothing)
        )
        return found

    def update(self, table: _Table, counts: Floats) -> None:
        """New probabilities from the expected ``counts`` of the cells and those since the last.

        The variational Bayes estimate: exp(digamma(count + prior)) in place of count (Johnson,
        2007).
        """
        types = np.bincount(table.types, counts, len(self._given) + 1)[:-1]
        raised = types + self._prior
        if self._stems is not None:
            raised += STEM_PRIOR * self._stems.translation(types)
        totals = np.bincount(self._given, raised)
        expected = np.exp(digamma(raised) - digamma(totals)[self._given])
        self._translation = np.append(expected, 0).astype(np.float32)
        nothing = self._from_nothing + NULL_PRIOR * self._frequency
        self._null = (nothing / nothing.sum()).astype(np.float32)
        self._from_nothing[:] = 0
        self._jumps.update()
        self._learnt = True


class _StemTable:
    """Translations of stems, by which rare units are translated.

    The units of a stem share its probability as their frequencies are.
    """

    def __init__(self, given: Ints, generated: Ints, units: Ints, stems: Ints) -> None:
        keys = stems[given].astype(np.int64) << 32 | stems[generated]
        types, numbers = np.unique(keys, return_inverse=True)
        self._type = numbers.astype(np.int32)  # of each type of units
        self._given = (types >> 32).astype(np.int32)
        frequency = np.bincount(units)
        of_stem = np.bincount(stems[: len(frequency)], frequency)
        self._share = (frequency[generated] / of_stem[stems[generated]]).astype(np.float32)

    def translation(self, counts: Doubles) -> Doubles:
        """What each type's probability is by its units' stems, from the types' expected counts."""
        stems = np.bincount(self._type, counts, len(self._given))
        stems /= (np.bincount(self._given, stems) + UNSEEN_STEM)[self._given]
        return stems[self._type] * self._share


def _diagonal(generated: _Side, given: _Side) -> Floats:
    """Prior of given places for each generated one, shape (generated, pairs, given)."""
    here = (np.arange(generated.mask.shape[1])[:, None] + 0.5) / generated.lengths
    there = (np.arange(given.mask.shape[1]) + 0.5) / given.lengths[:, None]
    prior = np.exp(-DIAGONAL * np.abs(there[None] - here[:, :, None])).astype(np.float32)
    prior *= given.mask[None]
    prior /= prior.sum(2, keepdims=True)
    return prior
