"""``GET /info``: version, model, limits and features."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version

from bitext import __version__
from service.access.scopes import Scope, needs
from service.catalogue import encoder_info
from service.reading import Router
from service.schemas.info import Info
from service.settings import Settings
from service.state import State, StateOf

router = Router(tags=["health"])

LIBRARIES = ("torch", "transformers", "ctranslate2", "openvino", "faiss-cpu", "icu4py")
"""What results depend on; those that are not installed are left out."""


@router.get("/info", summary="What is this service?")
@needs(Scope.READ)
async def info(state: StateOf) -> Info:
    """The version, the default model with its fingerprint, limits, and what is possible here."""
    return await state.aside(_info, state)


def _info(state: State) -> Info:
    translators = list(state.models.translators.places())
    return Info(
        name="bitext",
        version=__version__,
        ready=state.ready,
        model=encoder_info(state.models.names[0], state.models),
        translation_models=translators,
        limits=_limits(state.settings),
        features={
            "translate": bool(translators),
            "ctranslate2": "ctranslate2" in _libraries(),
            "sample": state.settings.sample,
        },
        libraries=_libraries(),
    )


def _limits(settings: Settings) -> dict[str, int]:
    every = settings.model_dump()
    return {
        name: value
        for name, value in every.items()
        if name.startswith("max_") and isinstance(value, int)
    }


@functools.cache
def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
