"""What suits one model: the settings that a checkpoint's ``bitext.json`` names for each task.

Models that many use and that come without one have theirs in ``presets.toml``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import Field, ValidationError

from bitext.errors import InputError
from bitext.text import atomic_write
from encoders.strict import Strict, read_toml

BUNDLED = "bundled"
"""The name of the model that comes with the package."""
PRESET_FILE = "bitext.json"


class AlignmentPreset(Strict):
    """How words are best aligned with a model."""

    layer: int | None = Field(None, ge=0)  # two thirds of the way up, if not named
    method: str = "itermax"
    unit: str = "piece"
    similarity: str = "cosine"
    temperature: float = Field(0.05, gt=0)  # of the cosines, where probabilities are told
    distortion: float = Field(0.0, ge=0, le=1)
    threshold: float = Field(0.0, ge=0, le=1)  # links that score less are dropped
    null_entropy: float = Field(1.0, ge=0, le=1)  # links less decided are dropped; 1: none
    window: int | None = Field(None, ge=8)  # pieces up to which it reads well; None: all it takes


class RetrievalPreset(Strict):
    """How sentences are best embedded with a model."""

    layer: int | None = Field(None, ge=0)  # two thirds of the way up, if not named
    pooling: str = "mean"
    prefix: str = ""  # written before every sentence, such as "query: "
    centred: bool = False  # whether each language's mean is best taken away
    threshold: float | None = Field(None, ge=-1, le=1)  # the least cosine of a hit; None: any


class Preset(Strict):
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


class _Known(Strict):
    """The settings of a model that many use."""

    layers: int
    dim: int
    alignment: AlignmentPreset
    retrieval: RetrievalPreset


def preset_of(folder: Path, name: str, *, layers: int, dim: int) -> Preset:
    """The preset of a checkpoint: its folder's, or that of a known model of its name and size.

    :param name: as the user said it: a folder or a hub name.
    :raises InputError: if there is a ``bitext.json`` and it cannot be read.
    """
    if not (folder / PRESET_FILE).is_file():
        known = known_presets().get(Path(name).name.lower())
        if known is not None and (known.layers, known.dim) == (layers, dim):
            return Preset(alignment=known.alignment, retrieval=known.retrieval)
    return read_preset(folder)


class _KnownModels(Strict):
    models: dict[str, _Known]


@cache
def known_presets() -> Mapping[str, _Known]:
    """The models of ``presets.toml``, by the last part of their names in small letters."""
    return read_toml(Path(__file__).parent / "presets.toml", _KnownModels).models
