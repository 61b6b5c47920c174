"""Links by probability: each unit's partners by softmax or entmax, agreed upon in both directions.

awesome-align (Dou & Neubig, 2021, section 2.2) reads a matrix of logits twice, over its rows and
over its columns, and links what is probable enough in both directions. The functions whose name
ends in ``_over`` make the probabilities, :func:`intersect` the links of any logits; the matchers
below them read the logits off similarities.

Logits have shape (source units, target units) with at least one unit a side, and are finite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aligners.matching import Links
from aligners.settings import Alpha, Positive, Share
from aligners.similarity import Similarity
from bitext.errors import InputError

Logits = NDArray[np.floating[Any]]
Probabilities = NDArray[np.float64]

HALVINGS = 60
"""Steps of the bisection, which then has the threshold to 2**-60, finer than a float64 near 1."""


# --- probabilities


def softmax_over(logits: Logits, axis: int) -> Probabilities:
    """The exponentials of ``logits``, scaled to sum to 1 along ``axis``."""
    powers = np.exp(_from_greatest(logits, axis))
    shares: Probabilities = powers / powers.sum(axis=axis, keepdims=True)
    return shares


def sparsemax_over(logits: Logits, axis: int) -> Probabilities:
    """The nearest point to ``logits`` whose entries are not negative and sum to 1 along ``axis``.

    ``p = max(z - tau, 0)``, with tau found exactly by sorting (Martins & Astudillo, 2016,
    algorithm 1).
    """
    shifted = _from_greatest(logits, axis)
    falling, ranks = _falling(shifted, axis)
    taus = (falling.cumsum(axis) - 1) / ranks
    probabilities: Probabilities = np.maximum(shifted - _last(taus, taus < falling, axis), 0.0)
    return probabilities


def entmax15_over(logits: Logits, axis: int) -> Probabilities:
    """1.5-entmax along ``axis``: between softmax and sparsemax, with exact zeros.

    ``p = max(z / 2 - tau, 0) ** 2``, with tau found exactly by sorting (Peters, Niculae & Martins,
    2019, algorithm 2): where the k greatest halves have the mean M and the sum S of squared
    distances from it, the k-th candidate is ``M - sqrt((1 - S) / k)``.
    """
    halves = _from_greatest(logits, axis) / 2
    falling, ranks = _falling(halves, axis)
    means = falling.cumsum(axis) / ranks
    distances = (falling**2).cumsum(axis) - ranks * means**2
    taus = means - np.sqrt(np.maximum(1 - distances, 0.0) / ranks)
    roots = np.maximum(halves - _last(taus, taus <= falling, axis), 0.0)
    probabilities: Probabilities = roots**2
    return probabilities


def entmax_over(logits: Logits, axis: int, alpha: float = 1.5) -> Probabilities:
    """alpha-entmax along ``axis`` (Peters, Niculae & Martins, 2019, equation 10).

    ``p = max((alpha - 1) z - tau, 0) ** (1 / (alpha - 1))``: softmax at 1, exact at 1.5 and at 2
    (sparsemax), by bisection elsewhere. The larger alpha, the more exact zeros.

    :raises InputError: if alpha is below 1 or not finite.
    """
    check_alpha(alpha)
    exact = {1.0: softmax_over, 1.5: entmax15_over, 2.0: sparsemax_over}
    if alpha in exact:
        return exact[alpha](logits, axis)
    return _bisect(logits, axis, alpha)


def there_and_back(logits: Logits, alpha: float = 1.0) -> tuple[Probabilities, Probabilities]:
    """The probabilities of both directions.

    :param alpha: 1 for softmax, more for entmax.
    :returns: of each target unit given the source unit (rows sum to 1), and of each source unit
        given the target unit (columns sum to 1); both of the shape of ``logits``.
    """
    return entmax_over(logits, 1, alpha), entmax_over(logits, 0, alpha)


# --- links


def intersect(logits: Logits, *, alpha: float = 1.0, threshold: float = 0.001) -> Links:
    """Link what is more probable than ``threshold`` in each direction by itself.

    On dot products of hidden states, awesome-align's "softmax" is ``alpha=1, threshold=0.001`` and
    its "entmax15" is ``alpha=1.5, threshold=0``.
    """
    there, back = there_and_back(logits, alpha)
    links: Links = (there > threshold) & (back > threshold)
    return links


def softmax(
    similarity: Similarity, *, temperature: Positive = 0.05, threshold: Share = 0.4
) -> Links:
    """Link what both directions together find probable.

    With ``p_ij`` the softmax of the cosines over row i, each divided by ``temperature``, and
    ``q_ij`` that over column j, the links are those with ``sqrt(p_ij q_ij) > threshold``. As in
    awesome-align a unit may have several links or none, but the two directions may make up for each
    other, where there each must pass the threshold alone.

    The defaults were chosen on dev sets for the bundled model, which learnt such probabilities.

    :param temperature: what the cosines are divided by; smaller makes probabilities more extreme.
    :param threshold: of the geometric mean of the two probabilities, 0 to 1.
    """
    there, back = there_and_back(logits_of(similarity, temperature))
    links: Links = np.sqrt(there * back) > threshold
    return links


def intersection(
    similarity: Similarity, *, temperature: Positive = 0.08, threshold: Share = 0.3
) -> Links:
    """Link what each direction by itself finds probable, by softmax, as awesome-align does.

    :param temperature: what the cosines are divided by; smaller makes probabilities more extreme.
    :param threshold: of each of the two probabilities, 0 to 1.
    """
    return intersect(logits_of(similarity, temperature), threshold=threshold)


def entmax(
    similarity: Similarity,
    *,
    temperature: Positive = 0.15,
    alpha: Alpha = 1.5,
    threshold: Share = 0.3,
) -> Links:
    """Link what each direction by itself finds probable, by entmax, as awesome-align does.

    Entmax gives exact zeros: awesome-align's threshold is 0, which wants a smaller temperature. The
    defaults were chosen on dev sets.

    :param temperature: what the cosines are divided by; smaller leaves fewer links.
    :param alpha: at least 1, which is softmax; 2 is sparsemax. Larger leaves fewer links.
    :param threshold: of each of the two probabilities, 0 to 1.
    """
    return intersect(logits_of(similarity, temperature), alpha=alpha, threshold=threshold)


def logits_of(similarity: Similarity, temperature: float) -> NDArray[np.float64]:
    """The cosines (or dot products) that similarities were made of, over ``temperature``.

    :raises InputError: if ``temperature`` is not above 0.
    """
    if not 0 < temperature < np.inf:
        raise InputError(f"temperature must be above 0, got {temperature:g}")
    logits: NDArray[np.float64] = (2 * similarity.astype(np.float64) - 1) / temperature
    return logits


def check_alpha(alpha: float) -> None:
    """Refuse what is no entmax.

    :raises InputError: if alpha is below 1 or not finite.
    """
    if not 1 <= alpha < np.inf:
        raise InputError(f"alpha must be at least 1, got {alpha:g}")


# --- along an axis


def _from_greatest(logits: Logits, axis: int) -> NDArray[np.float64]:
    """The logits less the greatest along ``axis``, which changes no probability."""
    shifted: NDArray[np.float64] = logits.astype(np.float64)
    shifted -= shifted.max(axis=axis, keepdims=True)
    return shifted


def _falling(values: NDArray[np.float64], axis: int) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """The values sorted, greatest first, and their ranks from 1, shaped to go with them."""
    falling = -np.sort(-values, axis=axis)
    shape = [1] * values.ndim
    shape[axis] = -1
    return falling, np.arange(1, values.shape[axis] + 1).reshape(shape)


def _last(taus: NDArray[np.float64], within: NDArray[np.bool_], axis: int) -> NDArray[np.float64]:
    """The candidate of as many of the greatest values as lie above their own candidates."""
    counts = within.sum(axis=axis, keepdims=True)
    last: NDArray[np.float64] = np.take_along_axis(taus, counts - 1, axis)
    return last


def _bisect(logits: Logits, axis: int, alpha: float) -> Probabilities:
    """alpha-entmax for any alpha above 1 (Blondel, Martins & Niculae, 2019, algorithm 1)."""
    scaled = _from_greatest(logits, axis) * (alpha - 1)
    # The greatest is 0. At tau = -1 its share alone is 1; at the upper end no share is above 1 / n.
    low = np.full_like(scaled.max(axis=axis, keepdims=True), -1.0)
    step = np.full_like(low, 1 - scaled.shape[axis] ** (1 - alpha))
    for _ in range(HALVINGS):
        step /= 2
        shares = np.maximum(scaled - (low + step), 0.0) ** (1 / (alpha - 1))
        low += step * (shares.sum(axis=axis, keepdims=True) >= 1)
    shares = np.maximum(scaled - low, 0.0) ** (1 / (alpha - 1))
    probabilities: Probabilities = shares / shares.sum(axis=axis, keepdims=True)
    return probabilities
