"""``POST /v1/project``: spans of sentences carried over to their translations."""

from __future__ import annotations

from service.access.scopes import Scope, needs
from service.limits import check_pairs
from service.openapi import BODY, problems
from service.projecting import project_pairs
from service.reading import Router
from service.schemas.project import ProjectRequest, ProjectResponse
from service.state import StateOf

router = Router(tags=["align"])


@router.post(
    "/project",
    response_model_exclude_unset=True,
    responses=problems(*BODY, 503),
    summary="Carry labels over",
)
@needs(Scope.READ, computes=True)
async def project(request: ProjectRequest, state: StateOf) -> ProjectResponse:
    """Carry `spans`, `tags`, `answers` or inline `markup` of sentences over to translations.

    The same as the command `bitext project`: words are aligned, and each span becomes the target
    words that it is linked to. Every span comes back, with a score, or with the reason why it is
    lost. Places in texts count code points, in lists words.
    """
    check_pairs(request.each(), state.settings)
    return await state.models.run(project_pairs, request, state)
