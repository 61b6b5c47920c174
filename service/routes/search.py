"""``/v1/indexes/{name}/search``: search one index, once or several times."""

from __future__ import annotations

from service.access.scopes import Scope, needs
from service.limits import check_search, check_searches
from service.openapi import BODY, MODEL, problems
from service.reading import Router
from service.schemas.search import BatchRequest, BatchResponse, SearchRequest, SearchResponse
from service.searching import search
from service.state import State, StateOf

router = Router(prefix="/indexes/{name}/search", tags=["indexes"])


@router.post("", summary="Search an index", responses=problems(*BODY, 404, 409, *MODEL))
@needs(Scope.READ, computes=True)
async def search_index(name: str, request: SearchRequest, state: StateOf) -> SearchResponse:
    """The same as `POST /retrieve`. Several queries are encoded together."""
    check_search(request, state.settings)
    return await state.models.run(search, name, request.each(), request, state)


@router.post(
    "/batch", summary="Search in several ways", responses=problems(*BODY, 404, 409, *MODEL)
)
@needs(Scope.READ, computes=True)
async def search_batch(name: str, request: BatchRequest, state: StateOf) -> BatchResponse:
    """Several searches, each with its own filter, language, `k` and threshold: all or none."""
    check_searches(request.searches, state.settings)
    return await state.models.run(_search_all, name, request, state)


def _search_all(name: str, request: BatchRequest, state: State) -> BatchResponse:
    return BatchResponse(
        searches=[search(name, one.each(), one, state) for one in request.searches]
    )
