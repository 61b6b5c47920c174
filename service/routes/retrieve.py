"""``POST /retrieve``: the sentences of an index that mean most nearly what a query does."""

from __future__ import annotations

from fastapi import APIRouter

from service.limits import check_k, check_queries
from service.openapi import BODY, problems
from service.schemas import Hit, RetrieveRequest, RetrieveResponse
from service.state import State, StateOf

router = APIRouter(tags=["retrieve"])


@router.post("/retrieve", responses=problems(*BODY, 404, 409, 503), summary="Find translations")
async def retrieve(request: RetrieveRequest, state: StateOf) -> RetrieveResponse:
    """Find, for each query, the `k` sentences of an index that are nearest to it, in any language.

    Scores are cosines. The index `sample` is there from the start.
    """
    check_k(request.k, state.settings)
    check_queries(request.queries, state.settings)
    return await state.models.run(_retrieve, request, state)


def _retrieve(request: RetrieveRequest, state: State) -> RetrieveResponse:
    index = state.indexes.get(request.index)
    encoder = state.encoder_of(index)
    with state.indexes.named(request.index):
        found = index.retrieve(
            request.queries,
            k=request.k,
            encoder=encoder,
            language=request.language,
            threshold=request.threshold,
            too_long=request.too_long,
        )
    return RetrieveResponse(
        results=[
            [
                Hit(id=hit.id, text=hit.text, score=round(hit.score, 6), language=hit.language)
                for hit in hits
            ]
            for hits in found
        ]
    )
