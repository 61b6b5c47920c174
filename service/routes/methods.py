"""``GET /v1/methods``: the ways to choose links, and what each is for."""

from __future__ import annotations

from aligners.explanations import EXPLANATIONS
from aligners.methods import settings_of
from service.access.scopes import Scope, needs
from service.openapi import MODEL, problems
from service.reading import Router
from service.schemas.methods import MethodInfo, MethodList
from service.state import State, StateOf

router = Router(tags=["align"])


@router.get("/methods", responses=problems(*MODEL), summary="List methods")
@needs(Scope.READ, computes=True)
async def list_methods(state: StateOf) -> MethodList:
    """The methods of `/align`, their settings, and the one that suits the default model."""
    return MethodList(
        default=await state.models.run(_own, state),
        methods=[
            MethodInfo(
                name=name,
                group=group,
                explanation=text,
                settings={
                    key: field.default for key, field in settings_of(name).model_fields.items()
                },
            )
            for name, (group, text) in EXPLANATIONS.items()
        ],
    )


def _own(state: State) -> str:
    return state.models.encoder().preset.alignment.method
