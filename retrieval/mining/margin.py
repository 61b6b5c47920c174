"""Margins: how much nearer two sentences are than their neighbourhoods let one expect.

Of a pair, ``cosine`` is its own and ``around`` the mean of two means: that of the cosines of the
source's ``k`` nearest targets, and that of the target's ``k`` nearest sources. Artetxe & Schwenk
(2019, arXiv 1811.01136), equations 1 to 3. All functions work on whole arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Margin = Callable[[Numbers, Numbers], Numbers]

LEAST_AROUND = 0.05
"""What ``ratio`` divides by at least.

Sentences have nearest neighbours with cosines of some tenths. Where the vectors were centred, or
the corpora are tiny, there may be none: the mean is then near zero or below, a ratio would be huge
for no reason or change its sign, and a poor pair would come first.
"""


def absolute(cosine: Numbers, around: Numbers) -> Numbers:
    """The cosine alone."""
    return np.broadcast_to(cosine, np.broadcast_shapes(cosine.shape, around.shape)).copy()


def distance(cosine: Numbers, around: Numbers) -> Numbers:
    """By how much the pair is nearer."""
    return cosine - around


def ratio(cosine: Numbers, around: Numbers) -> Numbers:
    """How many times as near the pair is; see :data:`LEAST_AROUND`."""
    return cosine / np.maximum(around, LEAST_AROUND)


MARGINS: dict[str, Margin] = {"absolute": absolute, "distance": distance, "ratio": ratio}
