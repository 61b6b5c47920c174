"""``POST /retrieve``: the sentences of an index that mean most nearly what a query does."""

from __future__ import annotations

from service.access.scopes import Scope, needs
from service.limits import check_k, check_queries
from service.openapi import BODY, MODEL, problems
from service.reading import Router
from service.schemas.search import RetrieveRequest, SearchResponse
from service.searching import search
from service.state import StateOf

router = Router(tags=["retrieve"])


@router.post("/retrieve", responses=problems(*BODY, 404, 409, *MODEL), summary="Find translations")
@needs(Scope.READ, computes=True)
async def retrieve(request: RetrieveRequest, state: StateOf) -> SearchResponse:
    """Find, for each query, the `k` sentences of an index that are nearest to it, in any language.

    Scores are cosines. The index `sample` is there from the start.
    """
    check_k(request.k, state.settings)
    check_queries(request.queries, state.settings)
    return await state.models.run(search, request.index, request.queries, request, state)
