"""``POST /v1/mine``: translations among the sentences of a request."""

from __future__ import annotations

from service.access.scopes import Scope, needs
from service.limits import check_mined
from service.mining import mine as mine_in
from service.openapi import BODY, MODEL, problems
from service.reading import Router
from service.schemas.mining import MineRequest, MineResponse
from service.state import State, StateOf

router = Router(tags=["retrieve"])


@router.post("/mine", responses=problems(*BODY, *MODEL), summary="Mine translations")
@needs(Scope.READ, computes=True)
async def mine(request: MineRequest, state: StateOf) -> MineResponse:
    """Find the sentences of two lists that translate each other, best first.

    The same as the command `bitext mine`, which takes lists of any length. Empty sentences are in
    no pair; of equal ones the first is.
    """
    check_mined(request, state.settings)
    return await state.models.run(_mine, request, state)


def _mine(request: MineRequest, state: State) -> MineResponse:
    return mine_in(request, state.models.encoder(request.model))
