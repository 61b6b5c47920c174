"""What ``auto`` means for a model and a device."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from bitext.errors import InputError, ModelNotFoundError
from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.hub import find_folder
from encoders.precision import (
    SMALL_MODEL,
    automatic_dtype,
    count_weights,
    multiplies_bfloat16,
)
from encoders.preset import BUNDLED
from encoders.registry import ModelRegistry

CPU = torch.device("cpu")


def capabilities(monkeypatch: pytest.MonkeyPatch, **found: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)


def test_weights_are_counted_without_loading_them(tiny_model: Path) -> None:
    model = load_checkpoint(ModelKey(str(tiny_model))).model
    assert count_weights(tiny_model) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16"])
def test_a_large_model_takes_bfloat16_where_the_processor_has_it(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("encoders.precision.SMALL_MODEL", 100)  # the tiny one counts as large
    capabilities(monkeypatch, **{name: True})
    assert automatic_dtype(tiny_model, CPU) == "bfloat16"
    capabilities(monkeypatch, **{name: False}, avx512_f=True)
    assert automatic_dtype(tiny_model, CPU) == "float32"


def test_a_small_model_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities(monkeypatch, avx512_bf16=True)
    assert 0 < count_weights(find_folder(BUNDLED)) < SMALL_MODEL
    assert automatic_dtype(find_folder(BUNDLED), CPU) == "float32"


def test_a_torch_that_cannot_tell_counts_as_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not multiplies_bfloat16(CPU)
    assert not multiplies_bfloat16(torch.device("meta"))


def test_auto_and_what_it_means_are_one_loaded_model(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ModelRegistry()
    first = registry.encoder(str(tiny_model), dtype="auto")
    assert first is registry.encoder(str(tiny_model), dtype="float32")
    assert first.dtype == "float32"  # a signature names what was computed, not what was asked for
    monkeypatch.setattr("encoders.precision.SMALL_MODEL", 100)
    capabilities(monkeypatch, avx512_bf16=True)
    assert registry.encoder(str(tiny_model), dtype="auto").dtype == "bfloat16"


def test_auto_of_what_cannot_be_read(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="bitext download nobody/nothing"):
        ModelKey("nobody/nothing", dtype="auto").settled()
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    (copy / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(InputError, match="cannot be loaded"):
        ModelKey(str(copy), dtype="auto").settled()
