"""``GET /health`` (does the process answer?), ``GET /ready`` (can it work?), and the problems."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from service.access.scopes import Scope, needs
from service.errors import KINDS
from service.openapi import Problem, problems
from service.reading import Router
from service.schemas.health import Status
from service.state import StateOf

router = Router(tags=["health"])


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Is the process alive?")
@needs(Scope.OPEN)
async def health() -> Status:
    """Answers as soon as the process listens, whatever the model does."""
    return Status(status="alive")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Is the model loaded?", responses=problems(503))
@needs(Scope.OPEN)
async def ready(state: StateOf) -> Status:
    """Answers 503 until the model is loaded and warm and the sample index is there."""
    state.check_ready()
    return Status(status="ready")


@router.get("/problems/{slug}", include_in_schema=False)
@needs(Scope.OPEN)
async def explain_problem(slug: str) -> Problem:
    """What the ``type`` of a problem document leads to."""
    for kind in KINDS.values():
        if kind.slug == slug:
            return Problem(
                type=f"/problems/{slug}",
                title=kind.title,
                status=kind.status,
                detail=kind.meaning,
                instance=f"/problems/{slug}",
            )
    raise HTTPException(404)
