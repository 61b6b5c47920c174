"""Which pieces translate each other: a statistical word aligner over the pieces of a bitext.

IBM model 1 with the diagonal position prior and the variational Bayes estimate of fast_align (Dyer,
Chahuneau & Smith, 2013), both directions trained to agree (Liang, Taskar & Klein, 2006). It is what
can be learnt from a corpus in a minute of counting; pretraining takes its links as first guides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

NULL_PROBABILITY = 0.08
"""Chance that a word comes from nothing in the other sentence, as in fast_align."""
CONCENTRATION = 0.01
"""Dirichlet prior on each word's translations: small, so that rare words do not collect garbage."""
FIRST_TENSION = 4.0
TENSION_RANGE = (0.1, 14.0)


@dataclass(frozen=True, slots=True)
class PieceBitext:
    """The pieces of one language pair's sentences, laid end to end.

    Sentence ``k`` is ``pieces[offsets[k]:offsets[k + 1]]`` on either side.
    """

    source: Ints
    source_offsets: NDArray[np.int64]
    target: Ints
    target_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source_offsets) - 1


@dataclass(frozen=True, slots=True)
class PieceLinks:
    """Links between pieces: positions in the sentence, and the two directions' agreed probability.

    The links of sentence ``k`` are those from ``offsets[k]`` to ``offsets[k + 1]``.
    """

    offsets: NDArray[np.int64]
    source: NDArray[np.uint8]
    target: NDArray[np.uint8]
    weight: NDArray[np.float16]


class _Cells:
    """Every (source piece, target piece) of every pair: the cells of all matrices, laid flat."""

    def __init__(self, bitext: PieceBitext) -> None:
        m = np.diff(bitext.source_offsets)
        n = np.diff(bitext.target_offsets)
        pair = np.repeat(np.arange(len(m), dtype=np.int32), m * n)
        first = np.zeros(len(m) + 1, dtype=np.int64)
        np.cumsum(m * n, out=first[1:])
        inside = np.arange(len(pair), dtype=np.int64) - first[pair]
        i, j = np.divmod(inside, n[pair])
        self.pair = pair
        self.i, self.j = i.astype(np.uint8), j.astype(np.uint8)
        self.source_token = (bitext.source_offsets[pair] + i).astype(np.int32)
        self.target_token = (bitext.target_offsets[pair] + j).astype(np.int32)
        self.distance = np.abs((i + 0.5) / m[pair] - (j + 0.5) / n[pair]).astype(np.float32)
        source, target = bitext.source[self.source_token], bitext.target[self.target_token]
        key = source.astype(np.int64) << 32 | target
        types, self.type = np.unique(key, return_inverse=True)
        self.type = self.type.astype(np.int32)
        self.type_source = (types >> 32).astype(np.int32)
        self.type_target = (types & 0xFFFFFFFF).astype(np.int32)


class _Direction:
    """One direction of the model: each generated piece is explained by one piece, or by nothing."""

    def __init__(self, given_type: Ints, generated_token: Ints, generated: Ints) -> None:
        self.given_type = given_type  # the explaining piece of each cell type
        self.token = generated_token  # the generated token of each cell
        self.tokens = len(generated)
        self.null = np.bincount(generated)[generated] / len(generated)
        self.tension = FIRST_TENSION
        self.translation: Floats | None = None

    def posterior(self, cells: _Cells) -> Floats:
        """Chance that each cell's generated token comes from its given token."""
        prior = np.exp(-self.tension * cells.distance)
        total = np.bincount(self.token, prior, self.tokens)
        self._expected_distance = np.average(
            np.bincount(self.token, prior * cells.distance, self.tokens) / np.maximum(total, 1e-9)
        )
        weight = prior * ((1 - NULL_PROBABILITY) / total).astype(np.float32)[self.token]
        if self.translation is None:
            weight *= np.float32(1e-3)  # any constant: no translation is likelier than another
            null = np.full(self.tokens, NULL_PROBABILITY * 1e-3)
        else:
            weight *= self.translation[cells.type]
            null = NULL_PROBABILITY * self.null
        evidence = np.bincount(self.token, weight, self.tokens) + null
        return np.asarray(weight / evidence.astype(np.float32)[self.token], dtype=np.float32)

    def update(self, cells: _Cells, counts: Floats) -> None:
        """New translation probabilities and tension from expected ``counts`` of the cells."""
        types = np.bincount(cells.type, counts, len(self.given_type))
        totals = np.bincount(self.given_type, types)
        seen = np.bincount(self.given_type)
        lowest = digamma(totals + CONCENTRATION * seen)[self.given_type]
        self.translation = np.exp(digamma(types + CONCENTRATION) - lowest).astype(np.float32)
        found = float(np.average(cells.distance, weights=counts))
        step = 20 * (self._expected_distance - found)  # fast_align's step size
        self.tension = float(np.clip(self.tension + step, *TENSION_RANGE))


def align_pieces(bitext: PieceBitext, *, iterations: int = 5, threshold: float = 0.3) -> PieceLinks:
    """Learn a lexicon from ``bitext`` and link its pieces.

    :param iterations: passes of expectation maximisation, the first two without agreement.
    :param threshold: links whose two directions' probabilities multiply to less are left out.
    """
    cells = _Cells(bitext)
    forward = _Direction(cells.type_source, cells.target_token, bitext.target)
    backward = _Direction(cells.type_target, cells.source_token, bitext.source)
    for iteration in range(iterations):
        there, back = forward.posterior(cells), backward.posterior(cells)
        if iteration >= 2:
            there = back = there * back
        forward.update(cells, there)
        backward.update(cells, back)
    agreed = forward.posterior(cells) * backward.posterior(cells)
    kept = np.flatnonzero(agreed >= threshold)
    offsets = np.searchsorted(cells.pair[kept], np.arange(len(bitext) + 1))
    return PieceLinks(offsets, cells.i[kept], cells.j[kept], agreed[kept].astype(np.float16))
