"""``POST /v1/translate``: texts of one language in another."""

from __future__ import annotations

from service.access.scopes import Scope, needs
from service.limits import check_translated
from service.openapi import BODY, problems
from service.reading import Router
from service.schemas.translate import TranslateRequest, TranslateResponse
from service.state import StateOf
from service.translating import translate as translate_in

router = Router(tags=["translate"])


@router.post(
    "/translate",
    response_model_exclude_none=True,
    responses=problems(*BODY, 404, 503),
    summary="Translate texts",
)
@needs(Scope.READ, computes=True)
async def translate(request: TranslateRequest, state: StateOf) -> TranslateResponse:
    """Translate texts with one of the translation models, and align both if that is asked for.

    A text is a sentence, or as much as the model takes at once; a longer one is refused, or
    translated sentence by sentence. Nothing is cut: a hypothesis that had to stop says `truncated`.
    """
    beams = request.n_best if request.sample else request.beam_size
    check_translated(request.each(), beams, state.settings)
    return await state.models.run(translate_in, request, state)
