"""``POST /align``: the words of sentence pairs, and the links between them."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import APIRouter

from bitext.types import Alignment, SentencePair
from service.limits import check_pairs, check_words
from service.openapi import BODY, problems
from service.schemas import AlignedPair, AlignRequest, AlignResponse, Link, Side
from service.state import State, StateOf

router = APIRouter(tags=["align"])


class _Words(NamedTuple):
    """The words of one side and, of raw text, where they stand."""

    words: list[str]
    offsets: list[tuple[int, int]] | None


@router.post(
    "/align",
    response_model_exclude_none=True,
    responses=problems(*BODY, 503),
    summary="Align words",
)
async def align(request: AlignRequest, state: StateOf) -> AlignResponse:
    """Align the words of one sentence pair or of many.

    Raw text is segmented by Unicode's rules and the words come back with their offsets; a list of
    words is taken as it is. Links score from 0 to 1.
    """
    check_pairs(request.each(), state.settings)
    return await state.models.run(_align, request, state)


def _align(request: AlignRequest, state: State) -> AlignResponse:
    from aligners.aligner import Aligner, check_choices

    check_choices(
        method=request.method,
        unit=request.unit,
        distortion=request.distortion,
        threshold=request.threshold,
    )
    sides = [
        (
            _split(pair.source, f"pair {number}, source", state),
            _split(pair.target, f"pair {number}, target", state),
        )
        for number, pair in enumerate(request.each(), 1)
    ]
    aligner = Aligner(
        state.models.encoder(request.model),
        method=request.method,
        layer=request.layer,
        unit=request.unit,
        distortion=request.distortion,
        threshold=request.threshold,
        too_long=request.too_long,
    )
    found = aligner.align([SentencePair(source.words, target.words) for source, target in sides])
    return AlignResponse(
        alignments=[_answer(*pair, links) for pair, links in zip(sides, found, strict=True)],
        model=aligner.encoder.name,
        method=aligner.method,
        layer=aligner.layer,
    )


def _split(side: Side, where: str, state: State) -> _Words:
    from bitext.segmentation import segment

    if not isinstance(side, str):
        return _Words(side, None)
    words = segment(side)
    check_words(where, len(words), state.settings)
    return _Words([word.text for word in words], [(word.start, word.end) for word in words])


def _answer(source: _Words, target: _Words, alignment: Alignment) -> AlignedPair:
    return AlignedPair(
        source_words=source.words,
        target_words=target.words,
        links=[
            Link(source=i, target=j, score=round(score, 6))  # as bitext align --json
            for (i, j), score in zip(alignment.links, alignment.scores, strict=True)
        ],
        source_offsets=source.offsets,
        target_offsets=target.offsets,
    )
