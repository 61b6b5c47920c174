"""What suits one model: the settings that a checkpoint's ``bitext.json`` names for each task."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bitext.errors import InputError

BUNDLED = "bundled"
"""The name of the model that comes with the package."""
PRESET_FILE = "bitext.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AlignmentPreset(_Strict):
    """How words are best aligned with a model."""

    layer: int | None = Field(None, ge=0)  # two thirds of the way up, if not named
    method: str = "itermax"
    unit: str = "piece"
    distortion: float = Field(0.0, ge=0, le=1)


class RetrievalPreset(_Strict):
    """How sentences are best embedded with a model."""

    layer: int | None = Field(None, ge=0)  # two thirds of the way up, if not named
    pooling: str = "mean"


class Preset(_Strict):
    """The settings of every task; for a model without a ``bitext.json``, the defaults."""

    alignment: AlignmentPreset = AlignmentPreset()
    retrieval: RetrievalPreset = RetrievalPreset()
    transliterate: str | None = None  # before the tokenizer: encoders/languages/transliteration.py


def read_preset(folder: Path) -> Preset:
    """The preset of a checkpoint folder.

    :raises InputError: if its ``bitext.json`` is not JSON, or has an unknown key or a wrong value.
    """
    path = folder / PRESET_FILE
    if not path.is_file():
        return Preset()
    try:
        return Preset.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {key}: {first['msg']}") from None
