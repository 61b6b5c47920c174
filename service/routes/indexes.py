"""``/v1/indexes``: make, look at and remove indexes."""

from __future__ import annotations

from fastapi import Response

from service.access.scopes import Scope, needs
from service.openapi import BODY, MODEL, problems
from service.reading import Router
from service.schemas.fields import IndexName
from service.schemas.indexes import IndexInfo, IndexList, IndexSettings
from service.state import State, StateOf

router = Router(prefix="/indexes", tags=["indexes"])

_DEFAULT = IndexSettings()


@router.get("", summary="List indexes", responses=problems(409))
@needs(Scope.READ)
def list_indexes(state: StateOf) -> IndexList:
    """All indexes, by name."""
    return IndexList(indexes=[info(name, state) for name in state.indexes.names()])


@router.get("/{name}", summary="Look at an index", responses=problems(404, 409, 422))
@needs(Scope.READ)
def get_index(name: str, state: StateOf) -> IndexInfo:
    """What an index was built with and what it holds."""
    return info(name, state)


@router.put(
    "/{name}",
    summary="Make an index",
    responses={
        200: {"description": "It is there already, with these settings."},
        201: {"model": IndexInfo, "description": "It was made."},
        **problems(*BODY, 403, 409, *MODEL),
    },
)
@needs(Scope.WRITE, computes=True)
async def put_index(
    name: IndexName, state: StateOf, response: Response, settings: IndexSettings = _DEFAULT
) -> IndexInfo:
    """Make an empty index. Asking again with the same settings changes nothing (200)."""
    made, is_new = await state.models.run(_create, name, settings, state)
    if is_new:
        response.status_code = 201
        response.headers["Location"] = f"/v1/indexes/{name}"
    return made


@router.delete(
    "/{name}",
    status_code=204,
    response_model=None,
    summary="Remove an index",
    responses=problems(403, 404, 422),
)
@needs(Scope.WRITE)
def delete_index(name: str, state: StateOf) -> None:
    """Remove an index and its sentences. Its snapshots stay."""
    state.indexes.delete(name)


def info(name: str, state: State) -> IndexInfo:
    """What an answer says of the index ``name``; for use in a thread."""
    with state.indexes.reading(name) as index:
        own = index.manifest
        return IndexInfo(
            name=name,
            model=own.model,
            fingerprint=own.fingerprint,
            layer=own.layer,
            pooling=own.pooling,
            centring=index.centring,
            dim=own.dim,
            count=index.count(),
            languages=dict(index.languages),
        )


def _create(name: str, settings: IndexSettings, state: State) -> tuple[IndexInfo, bool]:
    _, is_new = state.indexes.create(
        name,
        state.models.encoder(settings.model),
        layer=settings.layer,
        pooling=settings.pooling,
        centring=settings.centring,
    )
    return info(name, state), is_new
