"""Retrieval against gold: line ``i`` of one file is the translation of line ``i`` of the other.

Each sentence is searched for, by cosine and exactly, among all sentences of the other side.

- recall@k: the share of sentences whose translation is among the k nearest;
- error: the share of those whose translation is not the best one: the xsim of LASER (Heffernan et
  al., 2022). Best by the cosine, which makes it ``1 - recall@1``, or by a margin: of the nearest
  ``NEIGHBOURS``, the one whose cosine most exceeds ``(a + b) / 2``, where ``a`` and ``b`` are the
  mean cosines of both sentences with their own nearest (Artetxe & Schwenk, 2019).

Only the line with the same number counts: a second copy of the translation is another line, and
of equal scores the earlier line comes first. Centred, each side has its own mean taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitext import __version__
from bitext.errors import InputError, MismatchError, UnknownNameError, choose_from
from bitext.significance import Interval, Resampling, bootstrap_sums
from encoders.pooling import centre
from retrieval.index.index import Index
from retrieval.vectors.encoding import Progress, check_directions, chunks, encode, space_of
from retrieval.vectors.files import Rows
from retrieval.vectors.manifest import Space

if TYPE_CHECKING:
    from encoders.encoder import Encoder

DIRECTIONS = ("forward", "backward")
"""Source sentences searched for among target sentences, and the other way round."""
RAW = "raw"
CENTRED = "centred"
RAW_AND_CENTRED = (False, True)
NEIGHBOURS = 4
"""How many nearest sentences a margin looks at, as in LASER."""

Found = NDArray[np.float64]

# Cosine, mean cosine of both neighbourhoods -> score. A ratio may have any sign here, as in LASER's
# xsim; that of retrieval.mining.margin, by which people mine, is guarded.
_MARGINS: dict[str, Callable[[Found, Found], Found]] = {
    "absolute": lambda cosine, around: cosine,
    "distance": lambda cosine, around: cosine - around,
    "ratio": lambda cosine, around: cosine / around,
}
MARGINS = tuple(_MARGINS)


@dataclass(frozen=True, slots=True)
class RetrievalScore:
    """How well the sentences of two sides find each other, and the choices that depends on."""

    pairs: int
    layer: int | None
    vectors: str
    """``raw``, ``centred``, or another way of centring."""
    recall: Mapping[str, Mapping[int, float]]
    """Direction -> k -> recall@k, a share of 1; k = 1 is always there."""
    errors: Mapping[str, float]
    """Direction -> the share of sentences whose translation is not the best."""
    signature: str
    found: Mapping[str, Found] = field(repr=False, compare=False)
    """Direction -> for each sentence what it counts: recall@k for each k, error; 0 or 1."""

    @property
    def centred(self) -> bool:
        return self.vectors != RAW

    @property
    def names(self) -> list[str]:
        """Of the figures, in the order of the columns of :attr:`found`."""
        return [*(f"recall@{k}" for k in self.recall[DIRECTIONS[0]]), "error"]

    def error(self, direction: str) -> float:
        """The share of sentences whose translation is not the best."""
        return self.errors[direction]

    def figures(self, direction: str) -> list[float]:
        """The shares that :attr:`names` names."""
        return [*self.recall[direction].values(), self.errors[direction]]

    def intervals(self, direction: str, how: Resampling) -> list[Interval]:
        """Of the figures of one direction: bootstrap over the sentences."""
        return intervals([self.found[direction]], how, shared=True)

    def __str__(self) -> str:
        shown = []
        for direction in self.recall:
            pairs = zip(self.names, self.figures(direction), strict=True)
            shown.append(" ".join([direction, *(f"{n} {100 * share:.2f}" for n, share in pairs)]))
        return f"{'  '.join(shown)}  ({self.pairs} pairs) | {self.signature}"

    def as_dict(self, how: Resampling | None = None) -> dict[str, object]:
        """The same as shares of 1, ready for JSON; with intervals if ``how`` says so."""
        record: dict[str, object] = {
            direction: self._direction(direction, how) for direction in self.recall
        }
        return {
            **record,
            "pairs": self.pairs,
            "layer": self.layer,
            "centred": self.centred,
            "vectors": self.vectors,
            "signature": self.signature if how is None else f"{self.signature} | {how}",
        }

    def _direction(self, direction: str, how: Resampling | None) -> dict[str, object]:
        shares: dict[str, object] = dict(zip(self.names, self.figures(direction), strict=True))
        if how is not None:
            found = zip(self.names, self.intervals(direction, how), strict=True)
            shares["intervals"] = {name: list(interval) for name, interval in found}
        return shares


def found_at(queries: Rows, candidates: Rows, ks: Iterable[int]) -> dict[int, NDArray[np.bool_]]:
    """For each k and query, whether the candidate at the same row is among the k nearest.

    :param queries: unit rows, shape (pairs, dim); so ``candidates``.
    :return: k -> shape (pairs,); k = 1 is always there.
    :raises InputError: if a k is less than 1.
    :raises MismatchError: if there is nothing to search, or sides differ in length.
    """
    ks = sorted({1, *ks})
    if ks[0] < 1:
        raise InputError(f"k must be at least 1, got {ks[0]}")
    _check_sides(queries, candidates)
    ids = Index.build(candidates).search(queries, ks[-1]).ids
    found = ids == np.arange(len(ids))[:, None]
    return {k: found[:, :k].any(axis=1) for k in ks}


def recall_at(queries: Rows, candidates: Rows, ks: Iterable[int]) -> dict[int, float]:
    """The share of queries whose candidate, the one at the same row, is among the k nearest."""
    return {k: float(found.mean()) for k, found in found_at(queries, candidates, ks).items()}


def best_by_margin(queries: Rows, candidates: Rows, margin: str, k: int = NEIGHBOURS) -> Found:
    """The row of the best candidate of each query, among its ``k`` nearest, shape (queries,).

    :param queries: unit rows, shape (queries, dim); ``candidates`` as well, of any number.
    :param margin: one of ``MARGINS``. Of equal scores the nearer candidate is best.
    :raises UnknownNameError: if there is no such margin.
    """
    if margin not in _MARGINS:
        raise UnknownNameError(choose_from("margin", margin, MARGINS))
    scores, ids = Index.build(candidates).search(queries, k)
    back = Index.build(queries).search(candidates, k).scores.mean(axis=1, dtype=np.float64)
    around = (scores.mean(axis=1, dtype=np.float64)[:, None] + back[ids]) / 2
    best = _MARGINS[margin](scores.astype(np.float64), around).argmax(axis=1)
    return np.asarray(ids[np.arange(len(ids)), best])


def xsim(queries: Rows, candidates: Rows, *, margin: str = "ratio", k: int = NEIGHBOURS) -> float:
    """The share of queries whose best candidate is not the one at the same row, as LASER's xsim."""
    _check_sides(queries, candidates)
    best = best_by_margin(queries, candidates, margin, k)
    return float((best != np.arange(len(best))).mean())


def score_vectors(
    source: Rows,
    target: Rows,
    *,
    ks: Iterable[int] = (1,),
    centred: bool = False,
    vectors: str | None = None,
    margin: str = "absolute",
    layer: int | None = None,
    signature: str = f"bitext {__version__}",
) -> RetrievalScore:
    """Score two sides whose rows correspond, in both directions.

    :param source: unit rows, shape (pairs, dim); so ``target``.
    :param centred: take its own mean away from each side before.
    :param vectors: what the rows are, where they have been centred already.
    :param margin: what the error goes by, one of ``MARGINS``.
    :param layer: where the vectors come from, and ``signature`` how they were made.
    """
    ks = tuple(ks)
    if centred:
        source, target = (centre(side, side.mean(axis=0)) for side in (source, target))
    vectors = vectors or (CENTRED if centred else RAW)
    recall, errors, found = {}, {}, {}
    for name, sides in zip(DIRECTIONS, ((source, target), (target, source)), strict=True):
        hits = found_at(*sides, ks)
        wrong = ~hits[1]
        if margin != "absolute":
            wrong = best_by_margin(*sides, margin) != np.arange(len(source))
        recall[name] = {k: float(hit.mean()) for k, hit in hits.items()}
        errors[name] = float(wrong.mean())
        found[name] = np.stack([*hits.values(), wrong], axis=1).astype(np.float64)
    scored = "" if margin == "absolute" else f" | error by {margin} margin, k {NEIGHBOURS}"
    made = f"{signature} | {vectors} | exact cosine{scored}"
    return RetrievalScore(len(source), layer, vectors, recall, errors, made, found)


def intervals(found: Sequence[Found], how: Resampling, *, shared: bool) -> list[Interval]:
    """Of the mean of each column: first over the units of a table, then over the tables.

    :param found: tables of the same columns, each of shape (units, columns).
    :param shared: unit ``i`` is the same in all tables, such as line ``i`` in many languages, so
        that all are resampled together; otherwise each apart.
    """
    tables = [np.mean(found, axis=0)] if shared else list(found)
    drawn = [
        bootstrap_sums(table, how, stream=number) / len(table)
        for number, table in enumerate(tables)
    ]
    return [how.interval(column) for column in np.mean(drawn, axis=0).T]


def evaluate(
    encoder: Encoder,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    layer: int | None = None,
    pooling: str | None = None,
    ks: Iterable[int] = (1,),
    centring: Sequence[bool] = RAW_AND_CENTRED,
    margin: str = "absolute",
    too_long: str = "error",
    progress: Progress | None = None,
) -> list[RetrievalScore]:
    """Encode both sides once and score them, once for each of ``centring``.

    :param sources: line ``i`` translates line ``i`` of ``targets``.
    :param layer: ``None`` for the model's preset; so ``pooling``.
    :raises InputError: if a sentence is empty.
    """
    space = space_of(encoder, layer, pooling)
    source, target = (
        encode_all(encoder, texts, space, what=side, too_long=too_long, progress=progress)
        for side, texts in (("source sentence", sources), ("target sentence", targets))
    )
    made = signature_of(encoder, space)
    ks = tuple(ks)
    return [
        score_vectors(
            source,
            target,
            ks=ks,
            centred=centred,
            margin=margin,
            layer=space.layer,
            signature=made,
        )
        for centred in centring
    ]


def signature_of(encoder: Encoder, space: Space) -> str:
    """The choices that change the vectors, to print beside a score."""
    revision = f" revision {encoder.revision}" if encoder.revision else ""
    parts = [
        f"bitext {__version__}",
        f"model {encoder.name}@{encoder.fingerprint}{revision}",
        encoder.dtype,
        f"layer {space.layer}",
        f"pooling {space.pooling}",
    ]
    return " | ".join(parts)


def encode_all(
    encoder: Encoder,
    texts: Sequence[str],
    space: Space,
    *,
    what: str = "sentence",
    too_long: str = "error",
    empty: bool = False,
    progress: Progress | None = None,
) -> Rows:
    """The unit vectors of ``texts``, shape (len(texts), dim).

    :param empty: give a sentence without pieces a row of zeros, rather than refuse it.
    :raises InputError: if a sentence is empty and ``empty`` does not allow it.
    """
    rows = np.empty((len(texts), encoder.dim), np.float32)
    done = 0
    for chunk in chunks(texts):
        vectors = encode(
            encoder, chunk, space, too_long=too_long, what=what, before=done, progress=progress
        )
        if not empty:
            check_directions(vectors, chunk, what=what, before=done)
        rows[done : done + len(chunk)] = vectors
        done += len(chunk)
    return rows


def _check_sides(queries: Rows, candidates: Rows) -> None:
    if len(queries) != len(candidates) or not len(queries):
        raise MismatchError(
            f"{len(queries)} queries need as many candidates, got {len(candidates)}"
        )
