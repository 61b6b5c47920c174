"""``/v1/models``: which models requests may name, which are in memory, and what they take there."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from service.access.scopes import Scope, needs
from service.catalogue import list_models as list_in
from service.catalogue import load_model as load_in
from service.catalogue import unload_model as unload_in
from service.openapi import problems
from service.reading import Router
from service.schemas.models import ModelInfo, ModelList
from service.state import StateOf

router = Router(tags=["models"])

Name = Annotated[
    str, Path(description="As at /v1/models; slashes may be sent as they are or as %2F.")
]


@router.get("/models", summary="List models")
@needs(Scope.READ)
async def list_models(state: StateOf) -> ModelList:
    """The models that requests may name, which of them are loaded, and what they take."""
    return await state.aside(list_in, state.models, state.settings)


@router.post("/models/{name:path}/load", responses=problems(404, 422, 503), summary="Load a model")
@needs(Scope.TRAIN)
async def load_model(name: Name, state: StateOf) -> ModelInfo:
    """Load a model now rather than at its first request; nothing happens if it is loaded.

    Where `BITEXT_MAX_MODEL_BYTES` is set, the models used longest ago make room.
    """
    return await state.aside(load_in, name, state.models)


@router.post("/models/{name:path}/unload", responses=problems(404, 422), summary="Unload a model")
@needs(Scope.TRAIN)
async def unload_model(name: Name, state: StateOf) -> ModelInfo:
    """Give a model's memory back. Who uses it is finished first; the next request loads it anew."""
    return await state.aside(unload_in, name, state.models)
