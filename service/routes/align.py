"""``POST /align``: the words of sentence pairs, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastapi import APIRouter

from bitext.types import Alignment, SentencePair
from service.access.scopes import Scope, needs
from service.limits import check_cells, check_pairs, check_words
from service.openapi import BODY, problems
from service.schemas.align import (
    AlignedPair,
    AlignRequest,
    AlignResponse,
    Link,
    MethodAnswer,
    Side,
)
from service.state import State, StateOf

if TYPE_CHECKING:
    from aligners.aligner import Aligner
    from aligners.comparison import WordMatrix
    from aligners.detail import PairDetail

router = APIRouter(tags=["align"])

MATRICES = ("similarity", "forward", "backward")
"""The fields of an answer, and of a ``PairDetail``, that have a number for each two words."""


class _Words(NamedTuple):
    """The words of one side and, of raw text, where they stand."""

    words: list[str]
    offsets: list[tuple[int, int]] | None


class _Found(NamedTuple):
    """The alignments of a pair by method, and what they were made of if that was asked for."""

    alignments: Mapping[str, Alignment]
    detail: PairDetail | None


@router.post(
    "/align",
    response_model_exclude_none=True,
    responses=problems(*BODY, 503),
    summary="Align words",
)
@needs(Scope.READ)
async def align(request: AlignRequest, state: StateOf) -> AlignResponse:
    """Align the words of one sentence pair or of many.

    Raw text is segmented by Unicode's rules and the words come back with their offsets; a list of
    words is taken as it is. Links score from 0 to 1.
    """
    check_pairs(request.each(), state.settings)
    return await state.models.run(_align, request, state)


def _align(request: AlignRequest, state: State) -> AlignResponse:
    _check(request)
    sides = [
        (
            _split(pair.source, f"pair {number}, source", state),
            _split(pair.target, f"pair {number}, target", state),
        )
        for number, pair in enumerate(request.each(), 1)
    ]
    cells = sum(len(source.words) * len(target.words) for source, target in sides)
    check_cells(cells, len(request.methods or [1]), state.settings, detail=request.detail)
    aligner = _aligner(request, state)
    methods = request.methods or [aligner.method]
    pairs = [SentencePair(source.words, target.words) for source, target in sides]
    find = _in_detail if request.detail else _links_only
    return AlignResponse(
        alignments=[
            _answer(*pair, found, several=request.methods is not None)
            for pair, found in zip(sides, find(aligner, pairs, methods), strict=True)
        ],
        model=aligner.encoder.name,
        method=methods[0],
        layer=aligner.layer,
        temperature=aligner.temperature if request.detail else None,
    )


def _check(request: AlignRequest) -> None:
    """Refuse what no model could make right, before one is loaded."""
    from aligners.aligner import check_choices

    methods: Sequence[str | None] = request.methods or [request.method]
    for method in methods:
        check_choices(
            method=method,
            unit=request.unit,
            similarity=request.similarity,
            distortion=request.distortion,
            threshold=request.threshold,
        )


def _aligner(request: AlignRequest, state: State) -> Aligner:
    from aligners.aligner import Aligner

    return Aligner(
        state.models.encoder(request.model),
        method=request.method,
        layer=request.layer,
        unit=request.unit,
        similarity=request.similarity,
        distortion=request.distortion,
        threshold=request.threshold,
        too_long=request.too_long,
    )


def _split(side: Side, where: str, state: State) -> _Words:
    from bitext.segmentation import segment

    if not isinstance(side, str):
        return _Words(side, None)
    words = segment(side)
    check_words(where, len(words), state.settings)
    return _Words([word.text for word in words], [(word.start, word.end) for word in words])


def _links_only(
    aligner: Aligner, pairs: Sequence[SentencePair], methods: Sequence[str]
) -> list[_Found]:
    found = aligner.align_methods(pairs, methods)
    return [
        _Found({name: found[name][number] for name in methods}, None)
        for number in range(len(pairs))
    ]


def _in_detail(
    aligner: Aligner, pairs: Sequence[SentencePair], methods: Sequence[str]
) -> list[_Found]:
    return [_Found(detail.alignments, detail) for detail in aligner.details(pairs, methods)]


def _answer(source: _Words, target: _Words, found: _Found, *, several: bool) -> AlignedPair:
    answers = {name: _of_method(one, found.detail) for name, one in found.alignments.items()}
    matrices = {}
    if found.detail is not None:
        matrices = {name: _rows(getattr(found.detail, name)) for name in MATRICES}
    return AlignedPair(
        source_words=source.words,
        target_words=target.words,
        source_offsets=source.offsets,
        target_offsets=target.offsets,
        by_method=answers if several else None,
        **dict(next(iter(answers.values()))),
        **matrices,
    )


def _of_method(alignment: Alignment, detail: PairDetail | None) -> MethodAnswer:
    links = [
        Link(source=i, target=j, score=round(score, 6))  # as bitext align --json
        for (i, j), score in zip(alignment.links, alignment.scores, strict=True)
    ]
    if detail is None:
        return MethodAnswer(links=links)
    for link in links:
        link.forward = round(float(detail.forward[link.source, link.target]), 4)
        link.backward = round(float(detail.backward[link.source, link.target]), 4)
    null_source, null_target = detail.null_words(alignment)
    return MethodAnswer(
        links=links,
        score=round(detail.score(alignment), 6),
        null_source=null_source,
        null_target=null_target,
    )


def _rows(matrix: WordMatrix) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in matrix.tolist()]
