"""Null words by entropy: what is equally like everything translates nothing.

Of each link, the entropies of its row and of its column, of similarities scaled to sum to 1, are
divided by their greatest possible values; the smaller of the two tells how undecided the link is
(SimAlign: Jalili Sabet et al., 2020). Links above a quantile tau of a corpus are
dropped. tau belongs to a model and a method, and is found once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aligners.matching import Links
from aligners.similarity import Similarity
from bitext.errors import InputError

FEWEST_UNITS = 3
"""Where a side has fewer, entropy says little, and all links are kept."""


def entropies(similarity: Similarity) -> NDArray[np.float64]:
    """How undecided each link would be, 0 (its row or column has but one entry) to 1 (all alike).

    ``min(H(row i) / log n, H(column j) / log m)``. A row or column of zeros, which says nothing,
    counts as 1; a matrix with fewer than ``FEWEST_UNITS`` units on a side is 0 throughout.

    :param similarity: shape (m, n), no entry below 0.
    """
    if min(similarity.shape) < FEWEST_UNITS:
        return np.zeros(similarity.shape)
    values = similarity.astype(np.float64)
    undecided: NDArray[np.float64] = np.minimum(
        _shares_of_greatest(values, 1), _shares_of_greatest(values, 0)
    )
    return undecided


def keep_decided(links: Links, similarity: Similarity, tau: float) -> Links:
    """The links whose entropy is at most ``tau``."""
    kept: Links = links & (entropies(similarity) <= tau)
    return kept


def calibrate(
    links: Sequence[Links], similarities: Sequence[Similarity], share: float = 0.95
) -> float:
    """The tau that keeps about ``share`` of the links of a corpus.

    The value at position ``int(share * N)``, from 0, of the entropies of all N links, sorted, as in
    SimAlign's program. Pairs with fewer than ``FEWEST_UNITS`` units on a side, and links of entropy
    0, do not count. Without links that count, tau is 1, which drops none.

    :param links: one matrix a pair, before any were dropped.
    :param share: 0 to 1; the paper has 0.95. With 1 no link is dropped.
    :raises InputError: if ``share`` is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise InputError(f"share must be from 0 to 1, got {share:g}")
    found = [
        entropies(similarity)[linked]
        for linked, similarity in zip(links, similarities, strict=True)
    ]
    values = np.concatenate(found) if found else np.zeros(0)
    values = np.sort(values[values > 0])
    position = int(share * len(values))
    return float(values[position]) if position < len(values) else 1.0


def _shares_of_greatest(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The entropy along ``axis`` over its greatest possible value; that axis keeps length 1."""
    sums = values.sum(axis=axis, keepdims=True)
    shares = np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(axis=axis, keepdims=True) / np.log(values.shape[axis])
    share: NDArray[np.float64] = np.where(sums > 0, entropy, 1.0)
    return share
