"""Eight-bit inference: the rounding, and hidden states near float32's."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bitext.errors import InputError
from encoders.checkpoint import Checkpoint, ModelKey, load_checkpoint
from encoders.encoder import Encoder
from encoders.int8 import Int8Tap, round_matrix
from encoders.layers import LayerTap

SENTENCES = ["the house is small and the garden is big", "eine katze", "a cat sleeps"]


def test_numbers_are_rounded_by_one_scale_a_row() -> None:
    """Row 0: the greatest is 254, so a step is 2: 254 -> 127, -3 / 2 -> -1.5, rounded to even."""
    weight = np.array([[254, -3, 2], [0, 0, 0]], dtype=np.float32)
    rounded, scale = round_matrix(weight, 1)
    assert rounded.tolist() == [[127, -2, 1], [0, 0, 0]]
    assert scale.tolist() == [[2], [1]]
    turned, scales = round_matrix(weight.T.copy(), 0)
    assert (rounded == turned.T).all()
    assert (scale == scales.T).all()


def test_without_openvino_it_says_what_to_install(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r'needs OpenVINO; install it with: pip install "bitext'):
        Encoder(load_checkpoint(ModelKey(str(tiny_model), dtype="int8")))


def test_int8_is_for_the_processor(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="int8 runs on the cpu, not on device 'meta'"):
        load_checkpoint(ModelKey(str(tiny_model), dtype="int8", device="meta"))


@pytest.fixture
def checkpoint(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (bitext[int8])")
    monkeypatch.setattr("encoders.int8.HF_HOME", str(tmp_path / "cache"))
    return load_checkpoint(ModelKey(str(tiny_model), dtype="int8"))


def cosines(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.cosine_similarity(left, right, dim=-1)


def test_states_are_near_those_of_float32_at_every_shape(
    checkpoint: Checkpoint, encoder: Encoder
) -> None:
    tap = Int8Tap(checkpoint.model, checkpoint.fingerprint)
    exact = LayerTap(checkpoint.model)
    for rows, length, padded in [(1, 1, 0), (1, 9, 0), (5, 12, 4), (2, 40, 39)]:
        ids = torch.arange(rows * length).reshape(rows, length) % 50 + 5
        mask = torch.ones_like(ids)
        if padded:
            mask[0, -padded:] = 0
            ids[0, -padded:] = encoder._splitter.pad
        inputs = {"input_ids": ids, "attention_mask": mask}
        found, expected = tap((0, 2), **inputs), exact((0, 2), **inputs)
        own = mask.bool()
        torch.testing.assert_close(found[0][own], expected[0][own])  # embeddings are not rounded
        assert cosines(found[2][own], expected[2][own]).min() > 0.99
        assert not torch.equal(found[2], expected[2])  # so eight bits it is


def test_an_encoder_runs_in_int8_and_keeps_its_graph(
    checkpoint: Checkpoint, encoder: Encoder, tmp_path: Path
) -> None:
    first = Encoder(checkpoint)
    assert first.dtype == "int8"
    vectors = first.sentences(SENTENCES, layer=2)
    assert (vectors * encoder.sentences(SENTENCES, layer=2)).sum(axis=1).min() > 0.99
    (kept,) = (tmp_path / "cache" / "bitext-int8").iterdir()
    assert kept.name.startswith(f"{checkpoint.fingerprint}-2-")
    when = (kept / "model.xml").stat().st_mtime_ns
    again = Encoder(checkpoint).sentences(SENTENCES, layer=2)
    np.testing.assert_array_equal(vectors, again)
    assert (kept / "model.xml").stat().st_mtime_ns == when


def test_nothing_is_told_to_the_makers(checkpoint: Checkpoint) -> None:
    Int8Tap(checkpoint.model, checkpoint.fingerprint)
    assert sys.modules.get("openvino_telemetry") is None
