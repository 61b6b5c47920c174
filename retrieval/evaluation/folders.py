"""Retrieval scores of many languages: vectors of a folder, centred and scored pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitext.errors import MismatchError
from bitext.significance import Interval, Resampling
from encoders.pooling import centre
from retrieval.evaluation.parallel_folder import Parallel, ParallelFolder
from retrieval.evaluation.pool import DEPTH, PoolScore, pool_precision
from retrieval.evaluation.recall import (
    CENTRED,
    DIRECTIONS,
    RAW,
    RetrievalScore,
    intervals,
    score_vectors,
)
from retrieval.vectors.centring import Kind, fit_centring
from retrieval.vectors.files import Rows
from retrieval.vectors.manifest import Space


@dataclass(frozen=True, slots=True)
class Scoring:
    """What all scores of a run share."""

    space: Space
    kinds: Sequence[str]
    """``raw``, ``centred``, or kinds of centring such as ``components:1``."""
    ks: Sequence[int]
    margin: str
    signature: str

    def score(self, source: Rows, target: Rows, kind: str) -> RetrievalScore:
        return score_vectors(
            source,
            target,
            ks=self.ks,
            vectors=kind,
            margin=self.margin,
            layer=self.space.layer,
            signature=self.signature,
        )


@dataclass(frozen=True, slots=True)
class MeanScore:
    """The mean of scores of several languages, in both directions."""

    scores: Sequence[RetrievalScore]
    shared: bool
    """Whether their lines correspond, so that one resample of lines holds for all."""

    def figures(self, direction: str) -> list[float]:
        return [float(x) for x in np.mean([s.figures(direction) for s in self.scores], axis=0)]

    def intervals(self, direction: str, how: Resampling) -> list[Interval]:
        found = [score.found[direction] for score in self.scores]
        return intervals(found, how, shared=self.shared)

    def as_dict(self, how: Resampling | None = None) -> dict[str, object]:
        """Shares of 1, ready for JSON."""
        first = self.scores[0]
        record: dict[str, object] = {"mean_of": len(self.scores)}
        for direction in DIRECTIONS:
            shares: dict[str, object]
            shares = dict(zip(first.names, self.figures(direction), strict=True))
            if how is not None:
                found = zip(first.names, self.intervals(direction, how), strict=True)
                shares["intervals"] = {name: list(interval) for name, interval in found}
            record[direction] = shares
        signature = first.signature if how is None else f"{first.signature} | {how}"
        return {**record, "layer": first.layer, "vectors": first.vectors, "signature": signature}


def check_kinds(kinds: Iterable[str]) -> None:
    """:raises UnknownNameError: if there is no such way of centring."""
    for kind in kinds:
        if kind not in (RAW, CENTRED):
            Kind.parse(kind)


def centred_sides(sides: Mapping[str, Rows], kind: str, space: Space) -> dict[str, Rows]:
    """The vectors of each language, centred by what these vectors themselves tell.

    :param kind: ``raw``, ``centred`` (each has its own mean taken away), or one of
        :mod:`retrieval.vectors.centring`.
    :raises InputError: if there are too few vectors or languages for it.
    """
    if kind == RAW:
        return dict(sides)
    if kind == CENTRED:
        return {language: centre(rows, rows.mean(axis=0)) for language, rows in sides.items()}
    dim = next(iter(sides.values())).shape[1]
    learnt = fit_centring(kind, {name: [rows] for name, rows in sides.items()}, space, dim=dim)
    return {language: learnt.apply(rows, language) for language, rows in sides.items()}


def score_folder(
    folder: ParallelFolder,
    pairs: Sequence[Parallel],
    vectors_of: Callable[[Path], Rows],
    scoring: Scoring,
) -> Iterator[tuple[Parallel, RetrievalScore]]:
    """Score each pair with each kind of vectors; each file is encoded once.

    Where all files are line-parallel a centring is learnt from all languages together, otherwise
    from the two of the pair.

    :param vectors_of: the vectors of a file, in the order of its lines.
    """
    for sides, together in _groups(folder, pairs, vectors_of):
        for kind in scoring.kinds:
            centred = centred_sides(sides, kind, scoring.space)
            for pair in together:
                source, target = (centred[name] for name in pair.languages)
                if len(source) != len(target):
                    raise MismatchError(
                        f"{pair.source} has {len(source)} lines, {pair.target} {len(target)}; "
                        "they must have as many"
                    )
                yield pair, scoring.score(source, target, kind)


def _groups(
    folder: ParallelFolder,
    pairs: Sequence[Parallel],
    vectors_of: Callable[[Path], Rows],
) -> Iterator[tuple[dict[str, Rows], Sequence[Parallel]]]:
    """Languages that are centred together, and the pairs among them."""
    if not folder.shared:
        for pair in pairs:
            yield {pair.languages[side]: vectors_of(pair.files[side]) for side in (0, 1)}, [pair]
        return
    sides: dict[str, Rows] = {}
    for pair in pairs:
        for side in (0, 1):
            if pair.languages[side] not in sides:
                sides[pair.languages[side]] = vectors_of(pair.files[side])
    yield sides, pairs


def score_pool(sides: Mapping[str, Rows], scoring: Scoring) -> Iterator[PoolScore]:
    """mAP in the pool of all languages, with each kind of vectors.

    :param sides: language -> unit rows, shape (lines, dim); row ``i`` means the same in each.
    """
    for kind in scoring.kinds:
        precision = pool_precision(centred_sides(sides, kind, scoring.space))
        candidates = sum(map(len, precision.values())) - 1
        signature = f"{scoring.signature} | {kind} | exact cosine | pool of {len(sides)} languages"
        made = f"{signature} | mAP@{DEPTH}"
        yield PoolScore(precision, candidates, scoring.space.layer, kind, made)
