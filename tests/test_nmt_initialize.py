"""Which pretrained weight goes where."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import transformers

from bitext.errors import InputError, UnknownNameError
from encoders.subwords import SubwordSplitter
from nmt.network.initialize import (
    PretrainedEncoder,
    choose_layers,
    initialize,
    read_encoder,
    share_blocks,
)
from nmt.network.model import Shape, build_network
from nmt.network.report import Report
from nmt.network.spelling import spell_pieces
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings
from nmt.pieces.vocabulary import train_vocabulary
from nmt.training.config import InitializeSettings


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> PretrainedEncoder:
    return read_encoder(str(tiny_model))


def built(tokenizer: Any, **shape: Any) -> Any:
    langs = TranslationSettings(
        source_langs=("en",), target_langs=("de",), max_source=64, max_target=64
    )
    sizes = {"dim": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 2, "decoder_layers": 2}
    whole = Shape(pieces=len(tokenizer), **{**sizes, "max_pieces": 64, **shape})
    return build_network(whole, TaggedCodec(tokenizer, langs), seed=1)


def started(
    theirs: PretrainedEncoder, *, shape: dict[str, Any] | None = None, **how: Any
) -> tuple[Any, Report]:
    """A network of the encoder's own pieces, initialised."""
    model = built(theirs.tokenizer, **(shape or {}))
    kept = list(range(len(theirs.tokenizer)))
    settings = InitializeSettings(**how)
    return model, initialize(model, theirs, theirs.tokenizer, settings, kept=kept)


def test_the_encoder_is_xlm_r(encoder: PretrainedEncoder, tiny_model: Path) -> None:
    model, _ = started(encoder)
    # BART's normalisations have an epsilon of 1e-5, which this XLM-R gets too
    theirs = transformers.AutoModel.from_pretrained(
        tiny_model, layer_norm_eps=1e-5, add_pooling_layer=False
    ).eval()
    torch.manual_seed(2)
    ids = torch.randint(5, len(encoder.tokenizer), (3, 40))
    pad = encoder.tokenizer.pad_token_id
    ids[1, 7:], ids[2, 30:] = pad, pad
    mask = (ids != pad).long()
    with torch.inference_mode():
        own = model.eval().get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        wanted = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
    there = mask.bool()
    torch.testing.assert_close(own[there], wanted[there], rtol=0, atol=1e-5)
    assert float(wanted[there].std()) > 0.5  # not all the same


LAYER = "encoder.layer.{}.{}"


@pytest.mark.parametrize(
    ("choice", "layers", "origins"),
    [("spread", 1, [2]), ("first", 1, [1]), ("last", 1, [2]), ([2, 1], 2, [2, 1])],
)
def test_where_decoder_layers_come_from(
    choice: Any, layers: int, origins: list[int], encoder: PretrainedEncoder
) -> None:
    shape, how = {"decoder_layers": layers}, {"decoder_from": choice, "cross_attention": "self"}
    model, report = started(encoder, shape=shape, **how)
    lines = {one.tensor: one.source for one in report.origins}
    for number, origin in enumerate(origins):
        layer = model.model.decoder.layers[number]
        pairs = {
            "self_attn.q_proj": "attention.self.query",
            "self_attn.out_proj": "attention.output.dense",
            "encoder_attn.k_proj": "attention.self.key",  # attention to the source begins so
            "encoder_attn_layer_norm": "attention.output.LayerNorm",
            "fc1": "intermediate.dense",
            "final_layer_norm": "output.LayerNorm",
        }
        for own, theirs in pairs.items():
            source = LAYER.format(origin - 1, theirs) + ".weight"
            weight = layer.get_submodule(own).weight
            assert torch.equal(weight, encoder.weights[source])
            assert lines[f"model.decoder.layers.{number}.{own}.weight"] == source


@pytest.mark.parametrize(
    ("choice", "of", "n", "layers"),
    [
        ("spread", 12, 6, [2, 4, 6, 8, 10, 12]),
        ("spread", 4, 3, [2, 3, 4]),
        ("spread", 4, 1, [4]),
        ("spread", 2, 4, [1, 1, 2, 2]),
        ("first", 12, 3, [1, 2, 3]),
        ("last", 12, 3, [10, 11, 12]),
        ([3, 3], 4, 2, [3, 3]),
    ],
)
def test_layers_are_chosen(
    choice: Literal["spread", "first", "last"] | list[int], of: int, n: int, layers: list[int]
) -> None:
    assert choose_layers(choice, of, n) == layers


def test_layers_that_cannot_be_chosen() -> None:
    with pytest.raises(UnknownNameError, match="decoder_from: no layer 5; choose from 1 to 4"):
        choose_layers([1, 5], 4, 2)
    with pytest.raises(InputError, match="decoder_from names 1 layers, and the decoder has 2"):
        choose_layers([1], 4, 2)
    with pytest.raises(InputError, match="decoder_from 'last': 5 layers cannot be taken of 4"):
        choose_layers("last", 4, 5)


def kinds(report: Report, part: str) -> set[str]:
    return {one.kind for one in report.origins if part in one.tensor}


def test_cross_attention_is_new_unless_asked_for(encoder: PretrainedEncoder) -> None:
    model, report = started(encoder)
    assert kinds(report, "encoder_attn") == {"new"}
    own = model.model.decoder.layers[0].encoder_attn.k_proj.weight
    assert not torch.equal(own, encoder.weights[LAYER.format(0, "attention.self.key.weight")])


@pytest.mark.parametrize(
    ("how", "new"),
    [
        ({}, set()),
        ({"encoder": False}, {"model.encoder"}),
        ({"decoder": False}, {"model.decoder"}),
        ({"embeddings": False}, {"model.shared"}),
        ({"encoder": False, "decoder": False, "embeddings": False}, {"model"}),
    ],
)
def test_the_report_has_every_parameter_once(
    how: dict[str, Any], new: set[str], encoder: PretrainedEncoder
) -> None:
    model, report = started(encoder, cross_attention="self", **how)
    lines = Counter(one.tensor for one in report.origins)
    assert lines == Counter(name for name, _ in model.named_parameters())
    assert (report.model is None) == (new == {"model"})
    for one in report.origins:
        assert (one.kind == "new") == any(one.tensor.startswith(f"{part}.") for part in new)


def test_from_nothing_all_is_new(encoder: PretrainedEncoder) -> None:
    model = built(encoder.tokenizer)
    before = {name: one.clone() for name, one in model.named_parameters()}
    report = initialize(model, None, encoder.tokenizer, InitializeSettings())
    assert {one.kind for one in report.origins} == {"new"}
    assert all(torch.equal(one, before[name]) for name, one in model.named_parameters())


def test_shared_blocks_are_one(encoder: PretrainedEncoder) -> None:
    model, _ = started(encoder)
    before = sum(one.numel() for one in model.parameters())
    share_blocks(model)
    side = model.model
    assert side.decoder.layers[1].fc1.weight is side.encoder.layers[1].fc1.weight
    own = side.decoder.layers[0].self_attn.q_proj.weight
    assert own is side.encoder.layers[0].self_attn.q_proj.weight
    # a layer: 4 of 16 x 16 + 16, two of 16 x 32 and their 48, two normalisations of 32
    assert before - sum(one.numel() for one in model.parameters()) == 2 * (1088 + 1072 + 64)
    other, _ = started(encoder, shape={"decoder_layers": 1})
    with pytest.raises(InputError, match=r"as many decoder layers \(1\) as encoder layers \(2\)"):
        share_blocks(other)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"dim": 32}, "model.dim is 32, and encoder '.*' has 16; leave it out"),
        ({"heads": 4}, "model.heads is 4, and encoder '.*' has 2"),
        ({"feed_forward": 16}, "model.feed_forward is 16, and encoder '.*' has 32"),
        ({"activation": "relu"}, "model.activation is relu, and encoder '.*' has gelu"),
        ({"encoder_layers": 3}, "model.encoder_layers is 3, and encoder '.*' has 2"),
        ({"max_pieces": 65}, "model.max_pieces is 65, and encoder '.*' has 64 positions"),
    ],
)
def test_sizes_that_differ(
    shape: dict[str, Any], sentence: str, encoder: PretrainedEncoder
) -> None:
    with pytest.raises(InputError, match=sentence):
        started(encoder, shape=shape)


def test_new_pieces_get_the_mean_of_those_that_spell_them(encoder: PretrainedEncoder) -> None:
    texts = ["the house is small", "das haus ist klein", "the garden"] * 9
    tokenizer = train_vocabulary(texts, size=300)
    model = built(tokenizer)
    report = initialize(model, encoder, tokenizer, InitializeSettings())
    table = encoder.weights["embeddings.word_embeddings.weight"]
    own = model.model.shared.weight
    piece = max((one for one in tokenizer.get_vocab() if one.startswith("▁")), key=len)
    number = tokenizer.convert_tokens_to_ids(piece)
    (spelling,) = SubwordSplitter(encoder.tokenizer).texts([piece[1:]])
    assert len(piece) > 2
    torch.testing.assert_close(own[number], table[spelling.ids].mean(0))
    assert torch.equal(own[2], table[2])  # </s> is </s>
    assert kinds(report, "shared") == {"averaged"}
    # what nothing is known of is as long as the rest, on the whole
    spelt = spell_pieces(tokenizer, encoder.tokenizer)
    unknown = [number for number, ids in spelt.items() if not ids]
    known = [number for number, ids in spelt.items() if ids]
    assert (own[unknown].std() / own[known].std()).item() == pytest.approx(1, abs=0.01)


def test_long_embeddings_are_scaled_down(tiny_model: Path) -> None:
    encoder = read_encoder(str(tiny_model))
    table = encoder.weights["embeddings.word_embeddings.weight"]
    length = float(table.pow(2).mean().sqrt()) * 4  # of 16 units
    long = encoder.weights | {"embeddings.word_embeddings.weight": table * (8 / length)}
    scaled = PretrainedEncoder("long", "", long, encoder.config, encoder.tokenizer)
    model, report = started(scaled)
    torch.testing.assert_close(model.model.shared.weight, table / length)
    assert any("multiplied by 0.125" in note for note in report.notes)
