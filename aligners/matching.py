"""From a similarity matrix to links: the methods of SimAlign (Jalili Sabet et al., 2020).

Every function takes ``similarity``, shape (source units, target units), larger is closer, and
returns a boolean matrix of the same shape. Both sides have at least one unit. Of equal similarities
the one with the smaller index wins. Keyword-only arguments are a method's settings, which users
reach by name (``aligners/methods.py``); their annotations say what is allowed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from aligners.settings import Rounds, Share
from aligners.similarity import Similarity

Links = NDArray[np.bool_]


def forward(similarity: Similarity) -> Links:
    """Link every source unit to the target unit it is most similar to."""
    links = np.zeros(similarity.shape, dtype=np.bool_)
    links[np.arange(len(links)), similarity.argmax(axis=1)] = True
    return links


def backward(similarity: Similarity) -> Links:
    """Link every target unit to the source unit it is most similar to."""
    return forward(similarity.T).T


def argmax(similarity: Similarity) -> Links:
    """Keep the links on which both directions agree (SimAlign calls it Argmax, or "inter")."""
    return forward(similarity) & backward(similarity)


def itermax(similarity: Similarity, *, n_max: Rounds = 2, alpha: Share = 0.9) -> Links:
    """Add to the links of :func:`argmax` those found among what it left free, in further rounds.

    A pair of free units keeps its similarity (times ``2 * alpha``, if that is below 1), a pair with
    one free unit counts ``alpha`` times, a pair of linked units nothing; links on which both
    directions agree are added. So a free unit may join a linked one. As SimAlign's program does,
    and unlike the paper's rule, the rounds end when one side has no free unit left: the free units
    of the other side stay unlinked. Where a side has at most two units, the result is argmax's.

    :param n_max: rounds in all, the first one of argmax included.
    """
    links = argmax(similarity)
    if min(similarity.shape) <= 2:
        return links
    for _ in range(n_max - 1):
        free_rows = ~links.any(axis=1, keepdims=True)
        free_columns = ~links.any(axis=0, keepdims=True)
        if not (free_rows.any() and free_columns.any()):
            break
        # float64 even where similarity is float32: rounding alpha * S to float32 makes new ties.
        weights = np.minimum(alpha * free_rows + alpha * free_columns, 1.0)
        found = argmax(similarity * weights) & (free_rows | free_columns)
        if not found.any():
            break
        links |= found
    return links


def mwmf(similarity: Similarity) -> Links:
    """Link one to one, so that the sum of similarities is the greatest (Match in SimAlign).

    A matching of maximum weight among those of maximum cardinality: all units of the shorter side
    are linked. Exact zeros, such as a distortion of 1 leaves in two corners, are no edges of the
    graph: units that have nothing else stay unlinked. Of several best matchings one is returned,
    the same at each call.
    """
    edges = similarity != 0
    weights = similarity.astype(np.float64)
    if not edges.all():
        # More edges must win over heavier ones; no sum of weights can exceed this.
        weights += edges * (min(similarity.shape) + 1.0)
    rows, columns = linear_sum_assignment(weights, maximize=True)
    links = np.zeros(similarity.shape, dtype=np.bool_)
    links[rows, columns] = edges[rows, columns]
    return links
