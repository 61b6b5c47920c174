"""``/indexes``: make, look at, fill and remove indexes."""

from __future__ import annotations

from fastapi import APIRouter, Response

from service.limits import check_sentences
from service.openapi import BODY, problems
from service.schemas import AddRequest, AddResponse, IndexInfo, IndexList, IndexName, IndexSettings
from service.state import State, StateOf

router = APIRouter(prefix="/indexes", tags=["indexes"])

_DEFAULT = IndexSettings()


@router.get("", summary="List indexes", responses=problems(409))
def list_indexes(state: StateOf) -> IndexList:
    """All indexes, by name."""
    return IndexList(indexes=[_info(name, state) for name in state.indexes.names()])


@router.get("/{name}", summary="Look at an index", responses=problems(404, 409, 422))
def get_index(name: str, state: StateOf) -> IndexInfo:
    """What an index was built with and what it holds."""
    return _info(name, state)


@router.put(
    "/{name}",
    summary="Make an index",
    responses={
        200: {"description": "It is there already, with these settings."},
        201: {"model": IndexInfo, "description": "It was made."},
        **problems(*BODY, 403, 409, 503),
    },
)
async def put_index(
    name: IndexName, state: StateOf, response: Response, settings: IndexSettings = _DEFAULT
) -> IndexInfo:
    """Make an empty index. Asking again with the same settings changes nothing (200)."""
    info, is_new = await state.models.run(_create, name, settings, state)
    if is_new:
        response.status_code = 201
        response.headers["Location"] = f"/indexes/{name}"
    return info


@router.delete(
    "/{name}",
    status_code=204,
    response_model=None,
    summary="Remove an index",
    responses=problems(403, 404, 422),
)
def delete_index(name: str, state: StateOf) -> None:
    """Remove an index and its sentences."""
    state.indexes.delete(name)


@router.post(
    "/{name}/sentences",
    status_code=201,
    summary="Add sentences",
    responses=problems(*BODY, 403, 404, 409, 503),
)
async def add_sentences(name: str, request: AddRequest, state: StateOf) -> AddResponse:
    """Add sentences of one language to an index: all of them, or on an error none.

    A centred index takes the language's mean from the first sentences it is given, of which there
    must then be at least ten.
    """
    check_sentences(request.sentences, state.settings)
    return await state.models.run(_add, name, request, state)


def _create(name: str, settings: IndexSettings, state: State) -> tuple[IndexInfo, bool]:
    _, is_new = state.indexes.create(
        name,
        state.models.encoder(settings.model),
        layer=settings.layer,
        pooling=settings.pooling,
        centring=settings.centring,
    )
    return _info(name, state), is_new


def _add(name: str, request: AddRequest, state: State) -> AddResponse:
    encoder = state.encoder_of(state.indexes.get(name))
    ids = state.indexes.add(
        name,
        request.sentences,
        language=request.language,
        encoder=encoder,
        too_long=request.too_long,
    )
    return AddResponse(ids=ids, count=state.indexes.get(name).count())


def _info(name: str, state: State) -> IndexInfo:
    index = state.indexes.get(name)
    return IndexInfo(
        name=name,
        model=index.manifest.model,
        fingerprint=index.manifest.fingerprint,
        layer=index.manifest.layer,
        pooling=index.manifest.pooling,
        centring=index.centring,
        dim=index.manifest.dim,
        count=index.count(),
        languages=dict(index.languages),
    )
