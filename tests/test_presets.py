"""Presets of models that many use, found by name and size."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aligners.aligner import check_choices
from encoders.preset import Preset, known_presets, preset_of
from encoders.registry import ModelRegistry


@pytest.mark.parametrize("name", sorted(known_presets()))
def test_known_presets_name_layers_and_methods_that_exist(name: str) -> None:
    known = known_presets()[name]
    assert name == name.lower()
    assert known.alignment.layer is not None
    assert known.retrieval.layer is not None
    assert max(known.alignment.layer, known.retrieval.layer) <= known.layers
    check_choices(
        method=known.alignment.method,
        unit=known.alignment.unit,
        similarity=known.alignment.similarity,
    )


@pytest.mark.parametrize("name", ["sentence-transformers/LaBSE", "/models/labse", "LaBSE"])
def test_a_model_is_known_by_the_last_part_of_its_name(tmp_path: Path, name: str) -> None:
    assert preset_of(tmp_path, name, layers=12, dim=768).alignment.layer == 6


def test_another_model_of_that_name_is_not_taken_for_it(tmp_path: Path) -> None:
    assert preset_of(tmp_path, "my/LaBSE", layers=6, dim=768) == Preset()
    assert preset_of(tmp_path, "my/LaBSE", layers=12, dim=384) == Preset()
    assert preset_of(tmp_path, "my/LaBSE-small", layers=12, dim=768) == Preset()


def test_a_folders_own_preset_comes_first(tmp_path: Path) -> None:
    (tmp_path / "bitext.json").write_text('{"alignment": {"layer": 3}}')
    found = preset_of(tmp_path, "LaBSE", layers=12, dim=768)
    assert (found.alignment.layer, found.alignment.method) == (3, "itermax")


def test_the_encoder_takes_it(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny-known"
    shutil.copytree(tiny_model, folder)
    (folder / "bitext.json").unlink(missing_ok=True)
    encoder = ModelRegistry().encoder(str(folder))
    assert encoder.preset == Preset()
    known = known_presets()["labse"].model_copy(
        update={"layers": encoder.layers, "dim": encoder.dim}
    )
    monkeypatch.setitem(known_presets(), "tiny-known", known)
    again = ModelRegistry().encoder(str(folder))
    assert again.preset.alignment.similarity == "dot"


def test_e5_models_are_given_the_prefix_they_were_trained_with() -> None:
    prefixes = {name: known.retrieval.prefix for name, known in known_presets().items()}
    assert {name for name, prefix in prefixes.items() if prefix == "query: "} == {
        name for name in prefixes if "-e5-" in name
    }
    assert prefixes["labse"] == ""
