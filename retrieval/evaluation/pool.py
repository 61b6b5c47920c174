"""One pool of all languages: does a sentence find its translations before all else in it?

The measure of LAReQA (Roy et al., 2020), there for answers to questions: the candidates of all
languages lie in one pool, and all translations of a query are relevant. A model whose vectors
rather tell languages apart ranks the query's own language first and fails, though each pair of
languages by itself may be well. The query itself is not among the candidates. With ``r`` relevant
candidates, of which ``hit(i)`` says whether rank ``i`` is one::

    AP@20 = sum over i <= 20 of hit(i) * (hits up to i) / i,  divided by min(r, 20)

and mAP@20 is the mean over the queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError, MismatchError
from bitext.significance import Interval, Resampling, bootstrap_sums
from retrieval.index.index import Index
from retrieval.vectors.files import Rows

DEPTH = 20
"""Ranks that are looked at."""


@dataclass(frozen=True, slots=True)
class PoolScore:
    """mAP of the queries of each language in the pool of all."""

    precision: Mapping[str, NDArray[np.float64]] = field(repr=False)
    """Language -> the average precision of each of its sentences, a share of 1."""
    candidates: int
    layer: int | None
    vectors: str
    signature: str

    @property
    def languages(self) -> list[str]:
        return list(self.precision)

    @property
    def mean(self) -> float:
        """Of all queries."""
        return float(np.mean([self.of(language) for language in self.precision]))

    def of(self, language: str) -> float:
        """mAP of the queries of one language."""
        return float(self.precision[language].mean())

    def interval(self, language: str | None, how: Resampling) -> Interval:
        """Of one language's mAP, or of all: bootstrap over lines, in all languages together."""
        chosen = self.languages if language is None else [language]
        values = np.mean([self.precision[name] for name in chosen], axis=0)[:, None]
        return how.interval(bootstrap_sums(values, how)[:, 0] / len(values))

    def as_dict(self, how: Resampling | None = None) -> dict[str, object]:
        """Shares of 1, ready for JSON."""
        record: dict[str, object] = {
            "map": self.mean,
            "languages": {language: self.of(language) for language in self.languages},
        }
        if how is not None:
            record["interval"] = list(self.interval(None, how))
        return {
            **record,
            "queries": sum(map(len, self.precision.values())),
            "candidates": self.candidates,
            "layer": self.layer,
            "vectors": self.vectors,
            "signature": self.signature if how is None else f"{self.signature} | {how}",
        }


def pool_precision(
    sides: Mapping[str, Rows], *, depth: int = DEPTH
) -> dict[str, NDArray[np.float64]]:
    """The average precision of every sentence in the pool of all.

    :param sides: language -> unit rows, shape (lines, dim); row ``i`` means the same in each.
    :return: language -> shape (lines,).
    :raises InputError: if there are fewer than two languages.
    :raises MismatchError: if they have not all the same number of lines.
    """
    if len(sides) < 2:
        raise InputError(f"a pool needs at least 2 languages, got {len(sides)}")
    lines = {language: len(rows) for language, rows in sides.items()}
    if len(set(lines.values())) > 1:
        counts = ", ".join(f"{language} {count}" for language, count in lines.items())
        raise MismatchError(f"a pool needs the same lines in every language, got {counts}")
    count = next(iter(lines.values()))
    pool = Index.build(np.concatenate(list(sides.values())))
    found = {}
    for number, (language, rows) in enumerate(sides.items()):
        own = number * count + np.arange(count)
        ids = _without(pool.search(rows, depth + 1).ids, own)[:, :depth]
        relevant = ids % count == np.arange(count)[:, None]
        found[language] = average_precision(relevant, len(sides) - 1)
    return found


def average_precision(hits: NDArray[np.bool_], relevant: int) -> NDArray[np.float64]:
    """AP of rankings that were cut to some depth.

    :param hits: whether each rank is relevant, shape (queries, depth).
    :param relevant: how many relevant candidates each query has.
    :return: shape (queries,).
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    gained = (hits * np.cumsum(hits, axis=1) / ranks).sum(axis=1)
    found: NDArray[np.float64] = gained / min(relevant, hits.shape[1])
    return found


def _without(ids: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row without its own id; where copies of the query keep it out, without the last."""
    is_own = ids == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    others: NDArray[np.int64] = ids[~is_own].reshape(len(ids), -1)
    return others
