"""From a similarity matrix to links: the methods of SimAlign (Jalili Sabet et al., 2020), and one
by probabilities, after awesome-align (Dou & Neubig, 2021).

Every function takes ``similarity``, shape (source units, target units), larger is closer, and
returns a boolean matrix of the same shape. Both sides have at least one unit. Of equal similarities
the one with the smaller index wins. Keyword-only arguments are a method's settings, which users
reach by name (``aligners/methods.py``); their annotations say what is allowed.

``MATCHERS`` has what works on the matrices of many pairs at once, as some methods are fast only so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from aligners.similarity import Similarity

Links = NDArray[np.bool_]
Matcher = Callable[..., list[Links]]
"""From similarity matrices, and settings by keyword, to the links of each."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Rounds = Annotated[int, Field(ge=1, le=100)]


def each(one: Callable[..., Links]) -> Matcher:
    """A matcher from a function of one matrix and settings."""

    @wraps(one)
    def many(similarities: Sequence[Similarity], **settings: object) -> list[Links]:
        return [one(similarity, **settings) for similarity in similarities]

    return many


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


def softmax(
    similarity: Similarity, *, temperature: Positive = 0.05, threshold: Share = 0.4
) -> Links:
    """Link what both directions together find probable.

    With ``p_ij`` the softmax of the cosines over row i, each divided by ``temperature``, and
    ``q_ij`` that over column j, the links are those with ``sqrt(p_ij q_ij) > threshold``. As in
    awesome-align (Dou & Neubig, 2021, section 2.2) a unit may have several links or none, but the
    two directions may make up for each other, where there each must pass the threshold alone.

    The defaults were chosen on dev sets for the bundled model, which learnt such probabilities.
    """
    logits = (2 * similarity.astype(np.float64) - 1) / temperature
    there = probabilities(logits, axis=1)
    back = probabilities(logits, axis=0)
    links: Links = np.sqrt(there * back) > threshold
    return links


def probabilities(logits: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Softmax along ``axis``."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=axis, keepdims=True)
    return shares


MATCHERS: dict[str, Matcher] = {
    "argmax": each(argmax),
    "forward": each(forward),
    "backward": each(backward),
    "itermax": each(itermax),
    "mwmf": each(mwmf),
    "softmax": each(softmax),
}
