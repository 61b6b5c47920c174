"""What is known of each model, and models loaded and let go by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitext.errors import choose_from
from service.errors import SHOWN, UnknownModelError
from service.schemas.models import ModelInfo, ModelList

if TYPE_CHECKING:
    from encoders.registry import LoadedModel
    from service.models import Models
    from service.settings import Settings


def list_models(models: Models, settings: Settings) -> ModelList:
    """All models that requests may name, for use in a thread."""
    listed = [encoder_info(name, models) for name in models.names]
    listed += [translator_info(name, models) for name in models.translators.places()]
    return ModelList(
        default=models.names[0],
        models=listed,
        bytes=sum(info.bytes or 0 for info in listed),
        max_bytes=settings.max_model_bytes,
    )


def load_model(name: str, models: Models) -> ModelInfo:
    """Load the model ``name`` if it is not in memory yet.

    :raises UnknownModelError: if there is no such model.
    """
    _check(name, models)
    if name in models.names:
        models.encoder(name)
        return encoder_info(name, models)
    models.translators.get(name)
    return translator_info(name, models)


def unload_model(name: str, models: Models) -> ModelInfo:
    """Let go of the model ``name``; requests that use it are finished first.

    :raises UnknownModelError: if there is no such model.
    """
    _check(name, models)
    if name in models.names:
        models.release(name)
        return encoder_info(name, models)
    models.translators.evict(name)
    return translator_info(name, models)


def encoder_info(name: str, models: Models) -> ModelInfo:
    """What is known of an encoder."""
    found = next((model for model in models.loaded() if model.name == name), None)
    if found is None:
        return ModelInfo(name=name, kind="encoder", loaded=False)
    return _of_encoder(found)


def translator_info(name: str, models: Models) -> ModelInfo:
    """What is known of a translation model."""
    translators = models.translators
    info = ModelInfo(name=name, kind="translation", loaded=False)
    if (own := translators.languages(name)) is not None:
        info.source_langs, info.target_langs = list(own.source), list(own.target)
        info.languages = sorted({*own.source, *own.target})
    model = translators.held(name)
    if model is None:
        exported = (Path(translators.places().get(name, "")) / "model.bin").is_file()
        info.engine = "ctranslate2" if exported else "torch"
        return info
    info.loaded = True
    info.fingerprint = model.fingerprint
    info.bytes = model.bytes
    info.engine, info.dtype, info.device = (
        model.engine.name,
        model.engine.dtype,
        model.engine.device,
    )
    return info


def _of_encoder(model: LoadedModel) -> ModelInfo:
    return ModelInfo(
        name=model.name,
        kind="encoder",
        loaded=True,
        revision=model.revision,
        fingerprint=model.fingerprint,
        dtype=model.dtype,
        device=model.device,
        bytes=model.bytes,
        layers=model.layers,
        dim=model.dim,
    )


def _check(name: str, models: Models) -> None:
    there = [*models.names, *models.translators.places()]
    if name not in there:
        raise UnknownModelError(choose_from("model", name[:SHOWN], there))
