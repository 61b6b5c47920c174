"""A translation model fused with a frozen encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bitext.errors import InputError, MismatchError
from encoders.encoder import Encoder
from nmt.interop.ctranslate2 import export_ctranslate2
from nmt.network.fused import MODEL_TYPE, FrozenReader, Fusion, fuse, mask_of, pack, unpack
from nmt.network.model import (
    Shape,
    TranslationCheckpoint,
    build_network,
    load_translation_checkpoint,
    save_translation_checkpoint,
)
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings
from nmt.pieces.vocabulary import train_vocabulary
from nmt.training.batches import BitextBatches
from nmt.training.config import FuseSettings, TrainConfig
from nmt.training.data import EncodedBitext, Pieces
from nmt.training.loss import loss_of
from nmt.training.optimization import WorkingCopy
from nmt.training.train import train
from nmt.translation.translator import TranslationModel

SENTENCES = ["the house is small", "a cat sleeps in the old house and the garden", "the cat"]


@pytest.fixture(scope="module")
def codec() -> TaggedCodec:
    langs = TranslationSettings(
        source_langs=("en",), target_langs=("de",), max_source=64, max_target=64
    )
    return TaggedCodec(train_vocabulary(SENTENCES * 9, size=300), langs)


@pytest.fixture(scope="module")
def base(codec: TaggedCodec) -> Any:
    sizes: dict[str, Any] = {
        "dim": 8,
        "heads": 2,
        "feed_forward": 16,
        "encoder_layers": 2,
        "decoder_layers": 1,
    }
    shape = Shape(pieces=len(codec.tokenizer), **sizes, max_pieces=64)
    model = build_network(shape, codec, seed=1)
    for parameter in model.parameters():  # far enough from zero for outputs to differ
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def fusion(tiny_model: Path) -> Fusion:
    found = load(tiny_model)
    return Fusion(encoder=str(tiny_model), fingerprint=found.fingerprint, layer=2, dim=16)


def load(folder: Path) -> Encoder:
    from encoders.registry import default_registry

    return default_registry().encoder(str(folder))


@pytest.fixture
def model(base: Any, fusion: Fusion, codec: TaggedCodec) -> Any:
    """In eval mode; its features are twice as wide as itself."""
    made: Any = fuse(base, fusion, seed=2)
    made.eval()
    made.read_with(codec.text, memory=10**6)
    return made


def sources(codec: TaggedCodec, sentences: list[str]) -> dict[str, torch.Tensor]:
    ids = codec.source(sentences, "en", "de")
    width = max(map(len, ids))
    padded = torch.tensor([one + [codec.pad] * (width - len(one)) for one in ids])
    return {"input_ids": padded, "attention_mask": (padded != codec.pad).long()}


def test_all_but_the_second_attentions_is_the_first_models(model: Any, base: Any) -> None:
    before = dict(base.named_parameters())
    names = {name for name, _ in model.named_parameters()}
    new = names - set(before)
    assert new == {name for name in names if ".fused." in name}
    # one in each of two encoder layers and one decoder layer, four matrices and biases each
    assert len(new) == 3 * 8
    assert all(torch.equal(model.get_parameter(name), one) for name, one in before.items())
    assert model.lm_head.weight is model.model.shared.weight
    assert model.get_encoder().embed_tokens.weight is model.model.shared.weight


def test_attention_is_the_mean_of_both(model: Any) -> None:
    one = model.get_encoder().layers[0].self_attn
    torch.manual_seed(3)
    states, features = torch.randn(1, 4, 8), torch.randn(1, 5, 16)
    features[0, 4] = 0  # padding
    given = {"features": features, "features_mask": mask_of(features)}
    found, _ = one(states, **given)
    # the first, by torch itself
    own = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    joined = [getattr(one, f"{part}_proj") for part in "qkv"]
    own.in_proj_weight.data = torch.cat([part.weight for part in joined]).detach()
    own.in_proj_bias.data = torch.cat([part.bias for part in joined]).detach()
    own.out_proj = one.out_proj
    # the second, with keys and values of another width
    other = torch.nn.MultiheadAttention(8, 2, kdim=16, vdim=16, batch_first=True).eval()
    fused = one.fused
    other.q_proj_weight, other.k_proj_weight, other.v_proj_weight = (
        getattr(fused, f"{part}_proj").weight for part in "qkv"
    )
    other.out_proj = fused.out_proj  # biases are zeros to begin with
    wanted = 0.5 * own(states, states, states)[0]
    wanted = wanted + 0.5 * other(states, features[:, :4], features[:, :4])[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("drop_net", "alone"), [(0.0, 0.0), (0.25, 0.25), (0.5, 0.5)], ids=["never", "half", "always"]
)
def test_drop_net_takes_one_alone(drop_net: float, alone: float, base: Any, fusion: Fusion) -> None:
    one: Any = fuse(base, fusion.model_copy(update={"drop_net": drop_net}), seed=1)
    attention: Any = one.get_decoder().layers[0].encoder_attn.train()
    torch.manual_seed(1)
    drawn = [attention.ratios() for _ in range(800)]
    # within four standard errors of a share: 4 x (0.25 x 0.75 / 800) ** 0.5 = 0.06
    assert drawn.count((1.0, 0.0)) / 800 == pytest.approx(alone, abs=0.07)
    assert drawn.count((0.0, 1.0)) / 800 == pytest.approx(alone, abs=0.07)
    assert drawn.count((0.5, 0.5)) / 800 == pytest.approx(1 - 2 * alone, abs=0.07)
    assert {attention.eval().ratios() for _ in range(9)} == {(0.5, 0.5)}


@pytest.mark.parametrize(("dim", "width"), [(3, 5), (5, 3), (4, 4)])
def test_states_and_features_travel_together(dim: int, width: int) -> None:
    states, features = torch.randn(2, 3, dim), torch.randn(2, 4, width)
    packed = pack(states, features)
    assert packed.shape == (2, 7, max(dim, width))
    one, other = unpack(packed, 3, dim, width)
    assert torch.equal(one, states)
    assert torch.equal(other, features)


def test_features_are_those_of_the_encoders_own_pieces(
    fusion: Fusion, codec: TaggedCodec, tiny_model: Path
) -> None:
    reader = FrozenReader(fusion, codec.text)
    given = sources(codec, SENTENCES)
    found = reader(given["input_ids"], given["attention_mask"])
    wanted = load(tiny_model).pieces([text.split() for text in SENTENCES], layer=2)
    for row, pieces in zip(found, wanted, strict=True):
        own = torch.from_numpy(pieces.vectors)
        torch.testing.assert_close(row[: len(own)], own, rtol=0, atol=1e-5)
        assert not row[len(own) :].any()


def test_features_that_are_kept_are_the_same_and_bounded(
    fusion: Fusion, codec: TaggedCodec
) -> None:
    given = sources(codec, SENTENCES)
    inputs = given["input_ids"], given["attention_mask"]
    whole = FrozenReader(fusion, codec.text, memory=10**6)
    first = whole(*inputs)
    assert set(whole._kept) == set(SENTENCES)
    assert torch.equal(whole(*inputs), first)
    # "the cat" alone fits: 16 numbers of 4 bytes a piece
    room = whole._kept["the cat"].nbytes
    small = FrozenReader(fusion, codec.text, memory=room)
    assert torch.equal(small(*inputs), first)
    assert list(small._kept) == ["the cat"]
    assert small.memory == 0


def test_a_sentence_without_text_has_features_of_zeros(fusion: Fusion, codec: TaggedCodec) -> None:
    reader = FrozenReader(fusion, codec.text)
    ids = torch.tensor([[0, 2]])
    assert reader(ids, torch.ones_like(ids)).tolist() == [[[0.0] * 16]]


def test_another_encoder_is_refused(fusion: Fusion, codec: TaggedCodec) -> None:
    other = fusion.model_copy(update={"fingerprint": "0123456789abcdef"})
    with pytest.raises(MismatchError, match="fused with encoder '.*' 0123456789ab, and the one"):
        FrozenReader(other, codec.text)


def test_neighbours_in_a_batch_change_nothing(model: Any, codec: TaggedCodec) -> None:
    given = torch.tensor([[2, 7, 8]])
    alone, several = sources(codec, SENTENCES[:1]), sources(codec, SENTENCES)
    with torch.inference_mode():
        one = model(**alone, decoder_input_ids=given).logits
        among = model(**several, decoder_input_ids=given.expand(3, -1)).logits[:1]
    torch.testing.assert_close(one, among, rtol=0, atol=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
def test_it_generates_with_a_cache_what_it_does_without(
    beams: int, model: Any, codec: TaggedCodec
) -> None:
    how = {"num_beams": beams, "do_sample": False, "max_length": 12}
    given = sources(codec, SENTENCES)
    quick = model.generate(**given, **how)
    assert torch.equal(quick, model.generate(**given, **how, use_cache=False))
    # and the features have a say: without them, something else comes out
    encoded = model.get_encoder()(**given)
    length = given["input_ids"].shape[1]
    encoded.last_hidden_state[:, length:] = 0
    mask = given["attention_mask"]
    blind = model.generate(encoder_outputs=encoded, attention_mask=mask, **how)
    assert blind.shape != quick.shape or not torch.equal(blind, quick)


def test_it_is_saved_and_loaded(model: Any, codec: TaggedCodec, tmp_path: Path) -> None:
    save_translation_checkpoint(tmp_path / "fused", model, codec)
    loaded = load_translation_checkpoint(tmp_path / "fused")
    assert loaded.model.lm_head.weight is loaded.model.model.shared.weight
    given = sources(codec, SENTENCES)
    start = torch.tensor([[2, 7]]).expand(3, -1)
    with torch.inference_mode():
        one = loaded.model(**given, decoder_input_ids=start).logits
        assert torch.equal(one, model(**given, decoder_input_ids=start).logits)
    assert "transformers alone cannot load it" in (tmp_path / "fused" / "README.md").read_text()
    kind = json.loads((tmp_path / "fused" / "config.json").read_text())["model_type"]
    assert kind == MODEL_TYPE
    auto: Any = transformers.models.auto.configuration_auto
    assert kind not in auto.CONFIG_MAPPING_NAMES  # so that transformers alone refuses it


def test_only_second_attentions_are_new_to_the_loss(model: Any, codec: TaggedCodec) -> None:
    ids = codec.source(SENTENCES, "en", "de")
    targets = [[2, 7, 8, 2]] * 3
    corpus = EncodedBitext(Pieces.of(ids), Pieces.of(targets), 1, "en", "de")
    (batch,) = BitextBatches([corpus], pad=codec.pad, seed=1).once(999)
    model.requires_grad_(True)
    for precision in (torch.float32, torch.bfloat16):
        copy = WorkingCopy(model, precision)
        loss, count = loss_of(copy.model, batch, smoothing=0.1)
        loss.backward()  # type: ignore[no-untyped-call]
        copy.collect()
        assert count == 9
        moved = {name for name, one in model.named_parameters() if one.grad is not None}
        assert moved == {name for name, _ in model.named_parameters()}
        model.zero_grad()


def test_only_models_of_our_shape_are_fused(model: Any, fusion: Fusion) -> None:
    with pytest.raises(InputError, match="only a model of bitext's own shape can be fused, got"):
        fuse(model, fusion, seed=1)


def test_a_run_from_a_trained_model(
    base: Any, codec: TaggedCodec, tiny_model: Path, tmp_path: Path
) -> None:
    save_translation_checkpoint(tmp_path / "base", base, codec)
    lines = [f"{text}\t{text}" for text in SENTENCES]
    (tmp_path / "a.tsv").write_text("\n".join(lines) + "\n")
    config = TrainConfig.model_validate(
        {
            "data": {
                "source_lang": "en",
                "target_lang": "de",
                "corpora": [{"file": "a.tsv"}],
                "dev": [{"file": "a.tsv"}],
            },
            "initialize": {"model": str(tmp_path / "base")},
            "model": {"dropout": 0.3},
            "fuse": FuseSettings(encoder=str(tiny_model)),
            "stages": [{"steps": 2, "learning_rate": 0.01, "warmup_steps": 0}],
            "validation": {"every": 2},
        }
    )
    folder = train(config, data=tmp_path, output=tmp_path / "out", progress=False)
    loaded = load_translation_checkpoint(folder)
    assert loaded.model.config.fusion.layer == 2  # the last
    assert loaded.model.config.dropout == 0.3
    report = json.loads((folder / "initialization.json").read_text())
    new = {one["tensor"] for one in report["tensors"] if one["kind"] == "new"}
    assert len(new) == 3 * 8
    started = load_translation_checkpoint(tmp_path / "out" / "start").model
    assert torch.equal(started.model.shared.weight, base.model.shared.weight)
    trained = loaded.model.get_parameter(min(new))
    assert not torch.equal(trained, started.get_parameter(min(new)))
    assert isinstance(loaded.model, transformers.BartForConditionalGeneration)


def test_it_translates_through_our_search_as_generate_does(model: Any, codec: TaggedCodec) -> None:
    translator = TranslationModel.of(model, codec)
    how: dict[str, Any] = {"beam_size": 3, "max_length": 11}
    found = translator.translate(SENTENCES, **how)
    written = model.generate(
        **sources(codec, SENTENCES), num_beams=3, do_sample=False, max_length=12
    )
    assert [one[0].text for one in found] == [codec.text(row) for row in written.tolist()]


def test_it_is_not_exported(model: Any, codec: TaggedCodec, tmp_path: Path) -> None:
    checkpoint = TranslationCheckpoint(tmp_path / "own", model, codec, "")
    with pytest.raises(InputError, match="own' is fused with a frozen encoder, which CTranslate2"):
        export_ctranslate2(checkpoint, tmp_path / "exported")
