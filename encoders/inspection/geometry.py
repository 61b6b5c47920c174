"""How the sentence vectors of two languages lie to each other, in four figures.

Every function takes the vectors of the same sentences in two languages, row i of one translating
row i of the other, or those of one language. None depends on how many dimensions there are, nor on
a rotation of either side (but :func:`language_accuracy`, which compares the sides as they are).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.pooling import Vectors

Exact = NDArray[np.float64]

VARIANCE = 0.99
"""The share of variance that the principal components kept for CCA explain."""
SENTENCES_PER_COMPONENT = 10
"""Sentences that each component kept for CCA must have; with fewer, anything correlates."""


def linear_cka(source: Vectors, target: Vectors) -> float:
    """Centred kernel alignment with a linear kernel (Kornblith et al., 2019, section 3).

    ``||Y'X||^2 / (||X'X|| ||Y'Y||)`` in Frobenius norms, of columns whose mean is 0: from 0 to 1,
    and 1 where one side is a rotated and scaled copy of the other. A side without variance has 0.

    :param source: shape (sentences, dim); so ``target``, whose dim may be another.
    """
    x, y = _centred(source), _centred(target)
    norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / norms) if norms > 0 else 0.0


def mean_canonical_correlation(source: Vectors, target: Vectors) -> tuple[float, tuple[int, int]]:
    """The mean correlation of the directions in which both sides agree best, as in SVCCA.

    Each side is first reduced to the principal components that explain 99 % of its variance (Raghu
    et al., 2017), but to no more than a tenth as many as there are sentences: with as many
    components as sentences any two sides would correlate fully. So figures compare layers of one
    run, which have the same sentences, and hardly two runs. A side without variance has 0.

    :return: the mean correlation, 0 to 1, and how many components each side kept.
    """
    x, y = _principal(_centred(source)), _principal(_centred(target))
    kept = (x.shape[1], y.shape[1])
    if not min(kept):
        return 0.0, kept
    # Between orthonormal bases, canonical correlations are cosines of angles: singular values.
    correlations = np.linalg.svd(x.T @ y, compute_uv=False)
    return float(correlations.clip(0, 1).mean()), kept


def anisotropy(vectors: Vectors) -> float:
    """The mean cosine of two different sentences (Ethayarajh, 2019): 0 where all directions occur.

    Exact, over all pairs, as the cosines of unit rows sum to the squared length of their sum.

    :param vectors: unit rows, at least two, shape (sentences, dim).
    """
    count = len(vectors)
    total = vectors.sum(axis=0, dtype=np.float64)
    itself = float(np.square(vectors, dtype=np.float64).sum())
    return float((total @ total - itself) / (count * (count - 1)))


def language_accuracy(source: Vectors, target: Vectors) -> float:
    """How often a sentence is nearer to the mean of its own language than to the other's.

    The means are taken from every second sentence and the others are told apart, and the other way
    round: 0.5 where vectors do not show their language, 1 where they always do. A sentence that is
    as near to either counts half.

    :param source: at least two rows, shape (sentences, dim); so ``target``.
    """
    right = 0.0
    for fold in (0, 1):
        means = [_exact(side[1 - fold :: 2]).mean(axis=0) for side in (source, target)]
        direction = means[0] - means[1]
        middle = (means[0] + means[1]) @ direction / 2
        for side, sign in ((source, 1), (target, -1)):
            margin = sign * (_exact(side[fold::2]) @ direction - middle)
            right += float((margin > 0).sum() + (margin == 0).sum() / 2)
    return right / (2 * len(source))


def _principal(centred: Exact) -> Exact:
    """An orthonormal basis of the kept principal components' scores, (sentences, components)."""
    basis, singular, _ = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2
    total = variances.sum()
    if total <= np.finfo(np.float32).eps ** 2:
        return basis[:, :0]
    # one more than the components that do not reach the share yet
    enough = int((np.cumsum(variances) < VARIANCE * total).sum()) + 1
    allowed = max(1, len(centred) // SENTENCES_PER_COMPONENT)
    return basis[:, : min(enough, allowed)]


def _centred(vectors: Vectors) -> Exact:
    exact = _exact(vectors)
    centred: Exact = exact - exact.mean(axis=0)
    return centred


def _exact(vectors: Vectors) -> Exact:
    return vectors.astype(np.float64)
