"""Retrieval against gold: line ``i`` of one file is the translation of line ``i`` of the other.

Each sentence is searched for, by cosine and exactly, among all sentences of the other side.

- recall@k: the share of sentences whose translation is among the k nearest;
- error: the share whose translation is not the nearest, ``1 - recall@1``. Without a margin, this is
  the xsim of LASER (Heffernan et al., 2022).

Only the line with the same number counts: a second copy of the translation is another line, and
of equal scores the earlier line comes first. Centred, each side has its own mean taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitext import __version__
from bitext.errors import InputError, MismatchError
from encoders.pooling import centre
from retrieval.encoding import Progress, check_directions, chunks, encode, space_of
from retrieval.index import Index
from retrieval.manifest import Space
from retrieval.vectors import Rows

if TYPE_CHECKING:
    from encoders.encoder import Encoder

DIRECTIONS = ("forward", "backward")
"""Source sentences searched for among target sentences, and the other way round."""
RAW_AND_CENTRED = (False, True)


@dataclass(frozen=True, slots=True)
class RetrievalScore:
    """How well the sentences of two sides find each other, and the choices that depends on."""

    pairs: int
    layer: int | None
    centred: bool
    recall: Mapping[str, Mapping[int, float]]
    """Direction -> k -> recall@k, a share of 1; k = 1 is always there."""
    signature: str

    def error(self, direction: str) -> float:
        """The share of sentences whose translation is not the nearest."""
        return 1 - self.recall[direction][1]

    def __str__(self) -> str:
        shown = []
        for direction, recall in self.recall.items():
            figures = [f"recall@{k} {100 * share:.2f}" for k, share in recall.items()]
            shown.append(f"{direction} {' '.join(figures)} error {100 * self.error(direction):.2f}")
        return f"{'  '.join(shown)}  ({self.pairs} pairs) | {self.signature}"

    def as_dict(self) -> dict[str, object]:
        """The same as shares of 1, ready for JSON."""
        return {
            **{
                direction: {
                    **{f"recall@{k}": share for k, share in recall.items()},
                    "error": self.error(direction),
                }
                for direction, recall in self.recall.items()
            },
            "pairs": self.pairs,
            "layer": self.layer,
            "centred": self.centred,
            "signature": self.signature,
        }


def recall_at(queries: Rows, candidates: Rows, ks: Iterable[int]) -> dict[int, float]:
    """The share of queries whose candidate, the one at the same row, is among the k nearest.

    :param queries: unit rows, shape (pairs, dim); so ``candidates``.
    :raises InputError: if a k is less than 1, or there is nothing to search.
    """
    ks = sorted({1, *ks})
    if ks[0] < 1:
        raise InputError(f"k must be at least 1, got {ks[0]}")
    if len(queries) != len(candidates) or not len(queries):
        raise MismatchError(
            f"{len(queries)} queries need as many candidates, got {len(candidates)}"
        )
    ids = Index.build(candidates).search(queries, ks[-1]).ids
    found = ids == np.arange(len(ids))[:, None]
    return {k: float(found[:, :k].any(axis=1).mean()) for k in ks}


def score_vectors(
    source: Rows,
    target: Rows,
    *,
    ks: Iterable[int] = (1,),
    centred: bool = False,
    layer: int | None = None,
    signature: str = f"bitext {__version__}",
) -> RetrievalScore:
    """Score two sides whose rows correspond, in both directions.

    :param source: unit rows, shape (pairs, dim), not centred; so ``target``.
    :param centred: take its own mean away from each side before.
    :param layer: where the vectors come from, and ``signature`` how they were made.
    """
    ks = tuple(ks)
    if centred:
        source, target = (centre(side, side.mean(axis=0)) for side in (source, target))
    sides = ((source, target), (target, source))
    return RetrievalScore(
        pairs=len(source),
        layer=layer,
        centred=centred,
        recall={name: recall_at(*pair, ks) for name, pair in zip(DIRECTIONS, sides, strict=True)},
        signature=f"{signature} | {'centred' if centred else 'raw'} | exact cosine",
    )


def evaluate(
    encoder: Encoder,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    layer: int | None = None,
    pooling: str | None = None,
    ks: Iterable[int] = (1,),
    centring: Sequence[bool] = RAW_AND_CENTRED,
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
        _encode_all(encoder, texts, space, side, too_long, progress)
        for side, texts in (("source sentence", sources), ("target sentence", targets))
    )
    made = signature_of(encoder, space)
    return [
        score_vectors(source, target, ks=ks, centred=centred, layer=space.layer, signature=made)
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


def _encode_all(
    encoder: Encoder,
    texts: Sequence[str],
    space: Space,
    what: str,
    too_long: str,
    progress: Progress | None,
) -> Rows:
    rows = np.empty((len(texts), encoder.dim), np.float32)
    done = 0
    for chunk in chunks(texts):
        vectors = encode(
            encoder, chunk, space, too_long=too_long, what=what, before=done, progress=progress
        )
        check_directions(vectors, chunk, what=what, before=done)
        rows[done : done + len(chunk)] = vectors
        done += len(chunk)
    return rows
