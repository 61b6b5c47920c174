"""What suits one model: the settings that a checkpoint's ``bitext.json`` names for each task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bitext.errors import InputError
from bitext.text import atomic_write

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
    similarity: str = "cosine"
    temperature: float = Field(0.05, gt=0)  # of the cosines, where probabilities are told
    distortion: float = Field(0.0, ge=0, le=1)
    threshold: float = Field(0.0, ge=0, le=1)  # links that score less are dropped
    window: int | None = Field(None, ge=8)  # pieces it reads well at once; None: as many as it can


class RetrievalPreset(_Strict):
    """How sentences are best embedded with a model."""

    layer: int | None = Field(None, ge=0)  # two thirds of the way up, if not named
    pooling: str = "mean"
    centred: bool = False  # whether each language's mean is best taken away
    threshold: float | None = Field(None, ge=-1, le=1)  # the least cosine of a hit; None: any


class Preset(_Strict):
    """The settings of every task; for a model without a ``bitext.json``, the defaults."""

    alignment: AlignmentPreset = AlignmentPreset()
    retrieval: RetrievalPreset = RetrievalPreset()
    transliterate: str | None = None  # before the tokenizer: encoders/languages/transliteration.py


def write_preset(folder: Path, measured: Mapping[str, Mapping[str, object]]) -> Preset:
    """Change the ``measured`` keys of a checkpoint folder's preset and keep its others.

    A threshold belongs to the vectors that it was measured with: where another layer, or anything
    else of the task, changes and no threshold was measured, an old one goes.

    :param measured: task -> key -> value.
    :raises InputError: if the ``bitext.json`` that is there cannot be read, or none be written.
    """
    changed = read_preset(folder).model_dump(exclude_unset=True)
    for task, values in measured.items():
        keys = changed.setdefault(task, {})
        if any(keys.get(key) != value for key, value in values.items()):
            keys.pop("threshold", None)
        keys.update(values)
    preset = Preset.model_validate(changed)
    with atomic_write(folder / PRESET_FILE) as file:
        json.dump(preset.model_dump(exclude_unset=True), file, indent=2)
        file.write("\n")
    return preset


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
