"""One load for everybody, and letting go."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bitext.errors import ModelNotFoundError, TooLargeError
from encoders.encoder import Encoder
from encoders.registry import ModelRegistry


@pytest.fixture
def models(tiny_model: Path, tmp_path: Path) -> list[str]:
    """Three copies of the tiny model."""
    return [str(shutil.copytree(tiny_model, tmp_path / name)) for name in "abc"]


def test_concurrent_first_requests_share_one_load(tiny_model: Path) -> None:
    registry = ModelRegistry()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: registry.encoder(str(tiny_model)), range(8)))
    assert all(encoder is found[0] for encoder in found)
    assert len(registry.loaded()) == 1


def test_models_of_unlike_dtypes_loaded_at_once_do_not_mix(models: list[str]) -> None:
    registry = ModelRegistry()
    wanted = [(name, dtype) for name in models for dtype in ("float32", "bfloat16")]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda key: registry.encoder(key[0], dtype=key[1]), wanted))
    for (_, dtype), encoder in zip(wanted, found, strict=True):
        dtypes = {str(p.dtype) for p in encoder.checkpoint.model.parameters()}
        assert dtypes == {f"torch.{dtype}"}


def test_threads_share_an_encoder_at_different_layers(encoder: Encoder) -> None:
    texts = ["the house is small", "das haus"] * 5
    expected = {layer: encoder.sentences(texts, layer=layer) for layer in (0, 1, 2)}
    with ThreadPoolExecutor(6) as pool:
        layers = [0, 1, 2] * 6
        found = pool.map(lambda layer: encoder.sentences(texts, layer=layer), layers)
    for layer, vectors in zip(layers, found, strict=True):
        np.testing.assert_allclose(vectors, expected[layer], atol=1e-6)


def test_another_dtype_is_another_model(tiny_model: Path) -> None:
    registry = ModelRegistry()
    registry.encoder(str(tiny_model))
    registry.encoder(str(tiny_model), dtype="bfloat16")
    first, second = registry.loaded()
    assert (first.dtype, second.dtype) == ("float32", "bfloat16")
    assert second.bytes < 0.6 * first.bytes
    assert (first.layers, first.dim) == (2, 16)


def test_the_model_used_longest_ago_makes_room(models: list[str]) -> None:
    size = ModelRegistry().encoder(models[0]).bytes
    registry = ModelRegistry(memory_limit=2 * size)
    a, b, c = models
    registry.encoder(a)
    registry.encoder(b)
    registry.encoder(a)
    registry.encoder(c)
    assert [model.name for model in registry.loaded()] == [a, c]


def test_a_model_larger_than_the_limit_is_refused(tiny_model: Path) -> None:
    registry = ModelRegistry(memory_limit=1000)
    with pytest.raises(TooLargeError, match="more than the limit of 1000"):
        registry.encoder(str(tiny_model))
    assert registry.loaded() == []


def test_an_evicted_model_is_loaded_anew(tiny_model: Path) -> None:
    registry = ModelRegistry()
    before = registry.encoder(str(tiny_model))
    assert registry.evict(str(tiny_model)) == 1
    assert registry.loaded() == []
    assert registry.encoder(str(tiny_model)) is not before


def test_a_failed_load_is_tried_again(tiny_model: Path, tmp_path: Path) -> None:
    registry = ModelRegistry()
    later = tmp_path / "later"
    with pytest.raises(ModelNotFoundError):
        registry.encoder(str(later))
    shutil.copytree(tiny_model, later)
    assert registry.encoder(str(later)).layers == 2
