"""``POST /align``: the words of sentence pairs, and the links between them."""

from __future__ import annotations

from service.access.scopes import Scope, needs
from service.aligning import align as align_in
from service.limits import check_pairs
from service.openapi import BODY, MODEL, problems
from service.reading import Router
from service.schemas.align import AlignRequest, AlignResponse
from service.state import StateOf

router = Router(tags=["align"])


@router.post(
    "/align",
    response_model_exclude_none=True,
    responses=problems(*BODY, *MODEL),
    summary="Align words",
)
@needs(Scope.READ, computes=True)
async def align(request: AlignRequest, state: StateOf) -> AlignResponse:
    """Align the words of one sentence pair or of many.

    Raw text is segmented by Unicode's rules and the words come back with their offsets; a list of
    words is taken as it is. Links score from 0 to 1.
    """
    check_pairs(request.each(), state.settings)
    return await state.models.run(align_in, request, state)
