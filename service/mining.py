"""Mining among the sentences of one request, as ``bitext mine`` does it between two files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError, TooLongError
from bitext.types import SentencePair
from service.schemas.mining import MinedPair, MineRequest, MineResponse

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.filters.filters import FilterChain, PairFilter
    from retrieval.mining.miner import Candidates
    from retrieval.mining.rules import Rules
    from retrieval.vectors.files import Rows
    from retrieval.vectors.manifest import Space

SIDES = ("source", "target")
NOTHING = -1


class _Side(NamedTuple):
    """The different sentences of a side, and how they stand in its list."""

    texts: list[str]
    places: list[int]
    """Of each, where it stood first."""
    rows: NDArray[np.int64]
    """Of each item of the list, which sentence it is; ``NOTHING`` for an empty one."""


def mine(request: MineRequest, encoder: Encoder) -> MineResponse:
    """The pairs of ``request``, best first, or the scores of all of them in order.

    :raises UnknownNameError: if there is no such margin, mode, pooling, layer or centring.
    :raises InputError: if a side has no sentence, there are too few to centre by, or no threshold
        is expected to reach the precision.
    :raises TooLongError: if a sentence has more pieces than the model takes, and may not.
    """
    from retrieval.mining.rules import Rules
    from retrieval.vectors.encoding import space_of

    rules = Rules(
        request.margin,
        request.mode,
        request.k,
        request.threshold,
        request.precision,
        coverage=request.coverage,
    )
    _check_scored(request)
    filters = None if request.filters is None else _chain(request.filters)
    space = space_of(encoder, request.layer, request.pooling, prefix=request.prefix)
    sides = [_side(name, getattr(request, name)) for name in SIDES]
    vectors = [
        _encode(encoder, side, space, name, request.too_long)
        for name, side in zip(SIDES, sides, strict=True)
    ]
    if request.centring is not None:
        vectors = _centred(vectors, request.centring, space, encoder.dim)
    matches, threshold = (
        _scored(rules, sides, vectors)
        if request.score_only
        else _mined(rules, sides, vectors, encoder)
    )
    dropped = None
    if filters is not None:
        matches, dropped = _filtered(matches, request, filters)
    return MineResponse(
        matches=matches[: request.top],
        model=encoder.name,
        layer=space.layer,
        threshold=threshold,
        dropped=dropped,
    )


def _check_scored(request: MineRequest) -> None:
    if not request.score_only:
        return
    for field in ("threshold", "precision", "coverage", "filters", "top"):
        if getattr(request, field) not in (None, 0.0):
            raise InputError(f"field '{field}': score_only scores all pairs; it leaves none out")
    if len(request.source) != len(request.target):
        raise InputError(
            f"{len(request.source)} source and {len(request.target)} target sentences cannot be "
            "paired one by one, as score_only does"
        )


def _side(name: str, given: Sequence[str]) -> _Side:
    """:raises InputError: if nothing is in any of the sentences."""
    number_of: dict[str, int] = {}
    places = []
    rows = np.full(len(given), NOTHING, np.int64)
    for place, text in enumerate(given):
        if not text.strip():
            continue
        if text not in number_of:
            number_of[text] = len(number_of)
            places.append(place)
        rows[place] = number_of[text]
    if not places:
        raise InputError(f"field '{name}' has no sentence with anything in it")
    return _Side(list(number_of), places, rows)


def _encode(encoder: Encoder, side: _Side, space: Space, name: str, too_long: str) -> Rows:
    """Shape (sentences, dim), in the chunks in which the command encodes a file.

    Batches of other sentences may round otherwise.
    """
    from retrieval.vectors.encoding import chunks, encode

    parts: list[Rows] = []
    before = 0
    for chunk in chunks(side.texts):
        try:
            parts.append(encode(encoder, chunk, space, too_long=too_long))
        except TooLongError as error:
            row = before + error.sentence
            raise error.called(f"{name} sentence {side.places[row] + 1}") from None
        before += len(chunk)
    return np.concatenate(parts)


def _centred(vectors: Sequence[Rows], kind: str, space: Space, dim: int) -> list[Rows]:
    from retrieval.vectors.centring import fit_centring

    named = dict(zip(SIDES, vectors, strict=True))
    centring = fit_centring(kind, {side: [rows] for side, rows in named.items()}, space, dim=dim)
    return [centring.apply(rows, side) for side, rows in named.items()]


def _mined(
    rules: Rules, sides: Sequence[_Side], vectors: Sequence[Rows], encoder: Encoder
) -> tuple[list[MinedPair], float | None]:
    """Pairs and the threshold that they are above."""
    from retrieval.mining.neighbours import nearest_both_ways
    from retrieval.mining.rules import Own, choose

    source, target = sides
    of_source, of_target = vectors
    both = nearest_both_ways(of_source, of_target, rules.neighbours)
    own = Own(len(of_source), len(of_target), np.empty((0, 2), np.int64))
    chosen = choose(both, rules, own, lambda found: _coverage(found, sides, encoder))
    pairs = zip(*(part.tolist() for part in chosen.pairs), strict=True)
    matches = [
        MinedPair(source=source.places[left], target=target.places[right], score=round(score, 6))
        for left, right, score in pairs
    ]
    return matches, chosen.threshold


def _coverage(found: Candidates, sides: Sequence[_Side], encoder: Encoder) -> NDArray[np.float64]:
    """How far the words of each candidate translate each other, shape (candidates,)."""
    from bitext.bridges import coverage_by

    source, target = sides
    rows = zip(found.source.tolist(), found.target.tolist(), strict=True)
    pairs = [SentencePair(source.texts[left], target.texts[right]) for left, right in rows]
    return np.asarray(coverage_by(encoder)(pairs), np.float64)


def _chain(names: Sequence[str]) -> FilterChain:
    """:raises UnknownNameError: if there is no such filter or setting.
    :raises InputError: if one is named twice, or a value is not what it takes.
    """
    from retrieval.filters.filters import DEFAULT_FILTERS, FilterChain, parse_filter

    wanted = list(chain.from_iterable(DEFAULT_FILTERS if n == "default" else [n] for n in names))
    found: dict[str, PairFilter] = {}
    for name in wanted:
        short = name.partition(":")[0]
        if short in found:
            raise InputError(f"field 'filters': {short} is given twice")
        found[short] = parse_filter(name)
    return FilterChain(found)


def _filtered(
    matches: Sequence[MinedPair], request: MineRequest, filters: FilterChain
) -> tuple[list[MinedPair], dict[str, int]]:
    """The pairs that no filter drops, and how many each has dropped."""
    texts = [SentencePair(request.source[m.source], request.target[m.target]) for m in matches]
    verdicts = [verdict.filter for verdict in filters.judge(texts)]
    kept = [m for m, gone in zip(matches, verdicts, strict=True) if gone is None]
    return kept, Counter(gone for gone in verdicts if gone is not None)


def _scored(
    rules: Rules, sides: Sequence[_Side], vectors: Sequence[Rows]
) -> tuple[list[MinedPair], None]:
    """Each source sentence with the target sentence in the same place."""
    from retrieval.mining.miner import score_pairs

    of_source, of_target = vectors
    rows = np.stack([side.rows for side in sides], axis=1)
    are_there = (rows != NOTHING).all(axis=1)
    scores = np.full(len(rows), np.nan)
    scores[are_there] = score_pairs(
        of_source, of_target, rows[are_there], k=rules.k, margin=rules.margin
    )
    known = zip(scores.tolist(), are_there.tolist(), strict=True)
    matches = [
        MinedPair(source=place, target=place, score=round(score, 6) if is_there else None)
        for place, (score, is_there) in enumerate(known)
    ]
    return matches, None
