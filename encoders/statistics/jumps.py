"""A hidden Markov model of word alignment: the next unit's explanation is a jump from the last one.

Vogel, Ney & Tillmann (1996), with the empty words of Och & Ney (2003): a unit that comes from
nothing leaves the place from which the next jump starts as it was. Before the first unit that place
is one to the left of the sentence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

NEAR = 7
"""Jumps of up to this many places have a probability each; all farther ones share one."""
FAR = 10
"""Over how many places the probability of a farther jump spreads."""


class Jumps:
    """How likely jumps of -8 or less, -7, ... 0, ... 7, 8 or more places are."""

    def __init__(self) -> None:
        distance = np.abs(np.arange(-NEAR - 1, NEAR + 2) - 1)
        self._counts = np.zeros(2 * NEAR + 3)
        self._set(np.exp(-distance / 3))

    def add(self, jumps: Floats) -> None:
        """Count expected jumps from state to state, shape (states, states)."""
        self._counts += np.bincount(_bucket(len(jumps)).ravel(), jumps.ravel(), len(self._counts))

    def update(self) -> None:
        """Turn what was counted into probabilities, if anything was."""
        if self._counts.any():
            self._set(self._counts + 1)
            self._counts[:] = 0

    def matrix(self, states: int) -> tuple[Floats, Floats]:
        """Weights of jumps, and what makes them probabilities.

        State 0 is the place before the sentence, which nothing jumps to. The weights have the
        shape (states, states); row ``m`` of the other array holds the inverse of each state's sum
        over a sentence of ``m`` units.
        """
        if states not in self._matrices:
            weights = self._weights[_bucket(states)]
            weights[:, 0] = 0
            sums = np.cumsum(weights, axis=1).T
            inverse = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
            self._matrices[states] = (weights.astype(np.float32), inverse.astype(np.float32))
        return self._matrices[states]

    def _set(self, weights: NDArray[np.float64]) -> None:
        self._weights = np.maximum(weights / weights.sum(), 1e-6)
        self._weights[[0, -1]] /= FAR
        self._matrices: dict[int, tuple[Floats, Floats]] = {}


def _bucket(states: int) -> Longs:
    place = np.arange(states)
    return np.asarray(np.clip(place - place[:, None], -NEAR - 1, NEAR + 1) + NEAR + 1)


def posteriors(emission: Floats, null: Floats, lengths: Longs, jumps: Jumps) -> Floats:
    """Chance that each unit comes from each place, by the forward-backward algorithm.

    Counts the expected jumps in ``jumps``.

    :param emission: chance that a unit comes from a place at all, times its probability given each
        place; shape (units, pairs, places), as is that of the result. Zero beyond a sentence's end.
    :param null: chance that it comes from nothing, times its probability then; shape (units,
        pairs). One beyond a sentence's end.
    :param lengths: places of each pair.
    """
    emission = np.pad(emission, ((0, 0), (0, 0), (1, 0)))
    weights, inverse = jumps.matrix(emission.shape[2])
    inverse = inverse[lengths]
    leaving, reached, scale = _forward(emission, null, weights, inverse)
    emission *= scale
    arriving = _backward(emission, null[:, :, None] * scale, weights, inverse, reached)
    states = emission.shape[2]
    jumps.add(leaving.reshape(-1, states).T @ arriving.reshape(-1, states) * weights)
    return reached[:, :, 1:]


def _forward(
    emission: Floats, null: Floats, weights: Floats, inverse: Floats
) -> tuple[Floats, Floats, Floats]:
    """Go through the units from the first to the last.

    :returns: the chance to leave each state for the next unit, divided by its sum of weights; the
        chance to reach it by a jump; what scales each step to a sum of one.
    """
    leaving, reached = np.empty_like(emission), np.empty_like(emission)
    scale = np.empty((*null.shape, 1), dtype=np.float32)
    state = np.zeros_like(emission[0])
    state[:, 0] = 1
    for step in range(len(emission)):
        np.multiply(state, inverse, out=leaving[step])
        np.matmul(leaving[step], weights, out=reached[step])
        reached[step] *= emission[step]
        state *= null[step, :, None]
        state += reached[step]
        scale[step] = 1 / state.sum(1, keepdims=True)
        state *= scale[step]
        reached[step] *= scale[step]
    return leaving, reached, scale


def _backward(
    emission: Floats, null: Floats, weights: Floats, inverse: Floats, reached: Floats
) -> Floats:
    """Go back through the units; turns ``reached`` into posteriors.

    :returns: ``emission`` (overwritten) times the chance of all later units.
    """
    later = np.ones_like(emission[0])
    across = np.ascontiguousarray(weights.T)
    for step in range(len(emission) - 1, -1, -1):
        reached[step] *= later
        emission[step] *= later
        later *= null[step]
        later += (emission[step] @ across) * inverse
    return emission
