"""``GET /v1/models``: which models requests may name, and which are in memory."""

from __future__ import annotations

from fastapi import APIRouter

from service.access.scopes import Scope, needs
from service.schemas.models import ModelInfo, ModelList
from service.state import StateOf

router = APIRouter(tags=["models"])


@router.get("/models", summary="List models")
@needs(Scope.READ)
async def list_models(state: StateOf) -> ModelList:
    """The models that requests may name, and those that are loaded."""
    return ModelList(
        default=state.models.names[0],
        available=list(state.models.names),
        loaded=[
            ModelInfo(
                name=model.name,
                revision=model.revision,
                fingerprint=model.fingerprint,
                dtype=model.dtype,
                device=model.device,
                layers=model.layers,
                dim=model.dim,
                bytes=model.bytes,
            )
            for model in state.models.loaded()
        ],
    )
