"""``POST /v1/embeddings``: vectors of texts, for clients made for OpenAI's interface."""

from __future__ import annotations

from fastapi import Response

from service.access.scopes import Scope, needs
from service.embedding import embed
from service.limits import check_inputs
from service.openapi import BODY, MODEL, problems
from service.reading import Router
from service.schemas.embeddings import EmbeddingsRequest, EmbeddingsResponse
from service.state import State, StateOf

router = Router(tags=["embeddings"])


@router.post(
    "/embeddings",
    response_model=EmbeddingsResponse,
    responses=problems(*BODY, *MODEL),
    summary="Embed texts",
)
@needs(Scope.READ, computes=True)
async def create_embeddings(request: EmbeddingsRequest, state: StateOf) -> Response:
    """One unit vector a text. `layer`, `pooling`, `prefix` and `too_long` are not OpenAI's.

    `usage` counts the pieces that the tokenizer makes of the texts and their prefixes, without the
    special ones that frame them.
    """
    check_inputs(request.each(), state.settings)
    return Response(await state.models.run(_embed, request, state), media_type="application/json")


def _embed(request: EmbeddingsRequest, state: State) -> bytes:
    """The answer, written in the thread too: many numbers take long enough to hold others up."""
    return embed(request, state.models.encoder(request.model)).model_dump_json().encode()
