"""The mean of each language's vectors, which a centred index takes away from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from bitext.errors import InputError
from retrieval.vectors.files import Rows

MEAN_SENTENCES = 10
"""The fewest different sentences a mean is taken from: taking its mean from one leaves nothing."""


class RunningMean:
    """The mean of one language's vectors, taken in float64 as they come."""

    def __init__(self, language: str, dim: int) -> None:
        self.language = language
        self._sum = np.zeros(dim, np.float64)
        self._count = 0
        self._different: set[str] = set()  # sentences, until there are enough

    def add(self, texts: Sequence[str], vectors: Rows) -> None:
        self._sum += vectors.sum(axis=0, dtype=np.float64)
        self._count += len(vectors)
        if len(self._different) < MEAN_SENTENCES:
            self._different.update(texts)

    def value(self) -> Rows:
        """Shape (dim,).

        :raises InputError: if there were too few different sentences.
        """
        if len(self._different) < MEAN_SENTENCES:
            raise InputError(
                f"the mean of language '{self.language}' needs at least {MEAN_SENTENCES} different "
                f"sentences, got {len(self._different)}; set it from other text of that language, "
                "or do not centre"
            )
        return (self._sum / self._count).astype(np.float32)


def digest_of_means(means: Mapping[str, Rows]) -> str:
    """The centre of an index: one short digest of all its means."""
    digests = (f"{language} {_digest(mean)}" for language, mean in sorted(means.items()))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def _digest(mean: Rows) -> str:
    return hashlib.sha256(mean.astype("<f4").tobytes()).hexdigest()[:16]
