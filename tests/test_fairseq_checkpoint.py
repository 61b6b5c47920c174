"""fairseq's checkpoints as networks of transformers, and back.

``EXPECTED`` is what fairseq 0.12.2 itself computes with the same weights, which a formula makes:
its ``checkpoint_utils.load_model_ensemble`` loaded the files that ``write`` writes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from bitext.errors import InputError, MismatchError, UnknownNameError
from nmt.interop.fairseq_checkpoint import read_checkpoint, write_checkpoint
from nmt.interop.fairseq_dictionary import make_dictionary, read_dictionary, write_dictionary
from nmt.interop.fairseq_import import dictionary_of, export_model, import_model
from nmt.interop.fairseq_models import (
    encoder_model,
    is_encoder,
    positions,
    sinusoids,
    transformer_parts,
    translation_model,
)
from nmt.interop.fairseq_tokenizer import tokenizer_for
from nmt.network.model import load_translation_checkpoint

DIM, VOCABULARY, POSITIONS = 8, 16, 20
SOURCE = torch.tensor([[4, 5, 6, 2], [7, 2, 1, 1]])
TARGET = torch.tensor([[2, 8, 9], [2, 10, 1]])
SIZES = {
    "encoder_embed_dim": DIM, "decoder_embed_dim": DIM, "encoder_layers": 1, "decoder_layers": 2,
    "encoder_ffn_embed_dim": 12, "decoder_ffn_embed_dim": 10,
    "encoder_attention_heads": 2, "decoder_attention_heads": 4,
    "max_source_positions": POSITIONS, "max_target_positions": POSITIONS,
}  # fmt: skip


def waves(name: str, *shape: int) -> Tensor:
    """A tensor that only its name and shape decide."""
    count = torch.arange(torch.Size(shape).numel())
    return 0.6 * torch.sin(0.7 * count + sum(map(ord, name)) % 97).reshape(shape)


def linear(weights: dict[str, Tensor], name: str, rows: int, columns: int) -> None:
    weights[f"{name}.weight"] = waves(f"{name}.weight", rows, columns)
    weights[f"{name}.bias"] = waves(f"{name}.bias", rows)


def norm(weights: dict[str, Tensor], name: str) -> None:
    weights[f"{name}.weight"] = 1 + waves(f"{name}.weight", DIM)
    weights[f"{name}.bias"] = waves(f"{name}.bias", DIM)


def layer(weights: dict[str, Tensor], name: str, inner: int, *attentions: str) -> None:
    for attention in attentions:
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(weights, f"{name}.{attention}.{part}", DIM, DIM)
        norm(weights, f"{name}.{attention}_layer_norm")
    linear(weights, f"{name}.fc1", inner, DIM)
    linear(weights, f"{name}.fc2", DIM, inner)
    norm(weights, f"{name}.final_layer_norm")


def twice(weights: dict[str, Tensor], name: str, inner: int) -> None:
    """The second copy of an encoder layer that fairseq 0.12 writes; wrong, so that use shows."""
    sizes = {"in_proj": (3 * DIM, DIM), "out_proj": (DIM, DIM), "fc1": (inner, DIM),
             "fc2": (DIM, inner)}  # fmt: skip
    for part, shape in sizes.items():
        weights[f"{name}.{part}_weight"] = torch.zeros(shape)
        weights[f"{name}.{part}_bias"] = torch.zeros(shape[0])


def transformer_weights(before: bool, normed: bool, learned: bool) -> dict[str, Tensor]:
    embedding = waves("embedding", VOCABULARY, DIM)
    embedding[1] = 0
    weights: dict[str, Tensor] = {}
    for side, inner, layers in (("encoder", 12, 1), ("decoder", 10, 2)):
        weights[f"{side}.version"] = torch.tensor([3.0])
        weights[f"{side}.embed_tokens.weight"] = embedding
        if learned:
            name = f"{side}.embed_positions.weight"
            weights[name] = waves(name, POSITIONS + 2, DIM)
        else:
            weights[f"{side}.embed_positions._float_tensor"] = torch.zeros(1)
        if normed:
            norm(weights, f"{side}.layernorm_embedding")
        attentions = ["self_attn"] if side == "encoder" else ["self_attn", "encoder_attn"]
        for i in range(layers):
            layer(weights, f"{side}.layers.{i}", inner, *attentions)
        if before:
            norm(weights, f"{side}.layer_norm")
    twice(weights, "encoder.layers.0", 12)
    weights["decoder.output_projection.weight"] = embedding
    return weights


def transformer_settings(before: bool, normed: bool, learned: bool, **more: Any) -> dict[str, Any]:
    settings = {
        **SIZES, "arch": "transformer", "task": "translation", "source_lang": "en",
        "target_lang": "de", "activation_fn": "relu", "share_all_embeddings": True,
        "encoder_normalize_before": before, "decoder_normalize_before": before,
        "layernorm_embedding": normed, "encoder_learned_pos": learned,
        "decoder_learned_pos": learned, "no_scale_embedding": False, "dropout": 0.1,
    }  # fmt: skip
    return {**settings, **more}


def xlmr_weights(
    side: str = "encoder", norm_name: str = "layernorm_embedding"
) -> dict[str, Tensor]:
    # made by the names of today, whatever they are called then
    weights: dict[str, Tensor] = {}
    embedding = waves("embedding", VOCABULARY, DIM)
    embedding[1] = 0
    table = waves("positions", POSITIONS + 2, DIM)
    table[1] = 0
    weights["sentence_encoder.version"] = torch.tensor([3.0])
    weights["sentence_encoder.embed_tokens.weight"] = embedding
    weights["sentence_encoder.embed_positions.weight"] = table
    norm(weights, f"sentence_encoder.{norm_name}")
    if norm_name != "layernorm_embedding":
        inner: dict[str, Tensor] = {}
        norm(inner, "sentence_encoder.layernorm_embedding")
        for part in ("weight", "bias"):
            name = f"sentence_encoder.layernorm_embedding.{part}"
            weights[f"sentence_encoder.{norm_name}.{part}"] = inner[name]
    for i in range(2):
        layer(weights, f"sentence_encoder.layers.{i}", 12, "self_attn")
    linear(weights, "lm_head.dense", DIM, DIM)
    norm(weights, "lm_head.layer_norm")
    weights["lm_head.weight"] = embedding
    weights["lm_head.bias"] = waves("lm_head.bias", VOCABULARY)
    return {f"{side}.{name}": tensor for name, tensor in weights.items()}


XLMR_SETTINGS = {
    "arch": "roberta", "task": "masked_lm", "encoder_embed_dim": DIM, "encoder_layers": 2,
    "encoder_ffn_embed_dim": 12, "encoder_attention_heads": 2, "activation_fn": "gelu",
    "max_positions": POSITIONS, "pooler_activation_fn": "tanh", "pooler_dropout": 0.0,
    "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0,
}  # fmt: skip

FORMS = {
    # norm before blocks, norm over embeddings, learned positions
    "bart": (False, True, True),
    "bart, computed positions": (False, True, False),
    "mbart": (True, True, True),
    "fsmt": (False, False, False),
    "m2m_100": (True, False, False),
}


def write(path: Path, form: str, **more: Any) -> Path:
    shape = FORMS[form]
    write_checkpoint(path, transformer_settings(*shape, **more), transformer_weights(*shape))
    return path


# form -> of the encoder's output the third piece of the first sentence, of the logits the second
# piece of the second sentence and the third of the first; the first four numbers of each
EXPECTED = {
    "bart": [
        [0.614562, 1.962297, -1.327723, 0.662278], [-2.034016, 0.0, 0.729572, 1.972623],
        [-2.108809, 0.0, 0.339900, 1.667628],
    ],
    "bart, computed positions": [
        [1.526878, 0.822428, -1.437575, 1.538045], [-1.961431, 0.0, 0.987847, 2.159939],
        [-2.083490, 0.0, 0.495198, 1.792073],
    ],
    "mbart": [
        [1.125868, 0.143988, -1.083722, 0.147075], [-2.151905, 0.0, -4.027844, -2.263687],
        [-0.276579, 0.0, -3.439273, -2.939187],
    ],
    "fsmt": [
        [0.650339, 1.979802, -1.368166, 0.705906], [-2.013177, 0.0, 0.809862, 2.031966],
        [-2.068908, 0.0, 0.566922, 1.847685],
    ],
    "m2m_100": [
        [1.115562, -0.631168, -0.952510, 0.489396], [-1.966647, 0.0, -4.001025, -2.358811],
        [-1.327211, 0.0, -3.869105, -2.651471],
    ],
}  # fmt: skip
XLMR_EXPECTED = [
    # hidden states of the first sentence's third piece, logits of the second's first
    [-0.840885, 0.138400, -0.891915, -2.048470], [-3.025752, -0.457190, 2.293426, 4.037979],
]  # fmt: skip


def close(tensor: Tensor, expected: list[float]) -> bool:
    return torch.allclose(tensor[: len(expected)], torch.tensor(expected), atol=2e-5)


# --- reading


def test_a_weight_is_read_once_and_what_means_nothing_is_left_out(tmp_path: Path) -> None:
    weights = read_checkpoint(write(tmp_path / "model.pt", "bart, computed positions")).weights
    written = transformer_weights(*FORMS["bart, computed positions"])
    # 8 of the encoder layer's second copy, 2 versions, 2 that keep a device
    assert len(written) - len(weights) == 12
    assert all(torch.equal(weights[name], written[name]) for name in weights)


def test_settings_are_found_in_the_old_place_and_in_both_new_forms(tmp_path: Path) -> None:
    model = {"encoder.embed_tokens.weight": torch.zeros(2, 2)}
    args = {"arch": "transformer", "encoder_layers": 3, "source_lang": "en"}
    nested = {"_name": "transformer", "encoder": {"layers": 3}}
    states: list[dict[str, Any]] = [
        {"args": argparse.Namespace(**args)},
        {"args": None, "cfg": {"model": argparse.Namespace(**args), "task": {}}},
        {"args": None, "cfg": {"model": nested, "task": {"source_lang": "en"}}},
    ]
    for number, state in enumerate(states):
        path = tmp_path / f"{number}.pt"
        torch.save({**state, "model": model}, path)
        checkpoint = read_checkpoint(path)
        assert checkpoint.setting("encoder_layers") == 3
        assert checkpoint.setting("source_lang") == "en"
        assert checkpoint.setting("target_lang", "de") == "de"


def test_queries_keys_and_values_of_one_matrix_are_parted(tmp_path: Path) -> None:
    fused = torch.arange(6.0).reshape(6, 1)  # of dim 2: rows 0-1 queries, 2-3 keys, 4-5 values
    state = {"args": argparse.Namespace(arch="x"),
             "model": {"encoder.layers.0.self_attn.in_proj_weight": fused.half()}}  # fmt: skip
    torch.save(state, tmp_path / "model.pt")
    weights = read_checkpoint(tmp_path / "model.pt").weights
    assert weights["encoder.layers.0.self_attn.k_proj.weight"].tolist() == [[2.0], [3.0]]
    assert set(weights) == {f"encoder.layers.0.self_attn.{p}_proj.weight" for p in "qkv"}


def test_python_objects_are_not_brought_to_life(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"args": Path("x"), "model": {}}, path)
    with pytest.raises(InputError, match=r"model.pt holds Python objects \(pathlib"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"weights": {}}, "is not a checkpoint of fairseq: it has no 'model'"),
        ({"model": {}}, "has neither 'args' nor 'cfg'"),
    ],
)
def test_what_is_no_checkpoint_is_said(
    tmp_path: Path, state: dict[str, Any], sentence: str
) -> None:
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match=sentence):
        read_checkpoint(tmp_path / "model.pt")
    (tmp_path / "text.pt").write_text("no checkpoint at all")
    with pytest.raises(InputError, match="text.pt"):
        read_checkpoint(tmp_path / "text.pt")
    with pytest.raises(InputError, match="cannot read .*none.pt: No such file"):
        read_checkpoint(tmp_path / "none.pt")


# --- the Transformer


@pytest.mark.parametrize("form", FORMS)
def test_a_transformer_computes_what_fairseq_computes(tmp_path: Path, form: str) -> None:
    model = translation_model(read_checkpoint(write(tmp_path / "model.pt", form)))
    assert model.config.model_type == form.split(",")[0]
    with torch.no_grad():
        found = model(
            input_ids=SOURCE, attention_mask=(SOURCE != 1).long(), decoder_input_ids=TARGET
        )
    encoded, second, first = EXPECTED[form]
    assert close(found.encoder_last_hidden_state[0, 2], encoded)
    assert close(found.logits[1, 1], second)
    assert close(found.logits[0, 2], first)


def test_computed_positions_are_sines_then_cosines_of_falling_rates() -> None:
    # dim 4: rates 1 and 1/10000; row 2 is the first piece's, row 1 the padding's
    table = sinusoids(4, 4)
    expected = torch.tensor(
        [[0.909297, 0.0002, -0.416147, 1.0], [0.141120, 0.0003, -0.989992, 1.0]]
    )
    assert torch.allclose(table[2:], expected, atol=1e-6)
    assert table[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("form", "more", "sentence"),
    [
        ("bart", {"arch": "lstm"}, "arch 'lstm' is not a Transformer"),
        ("bart", {"adaptive_softmax_cutoff": "1000"}, "adaptive_softmax_cutoff is '1000'"),
        ("bart", {"cross_self_attention": True}, "cross_self_attention is True"),
        ("bart", {"decoder_output_dim": 4}, "decoder_embed_dim 8 and decoder_output_dim 4"),
        ("bart", {"max_target_positions": 9}, "max_source_positions 20 and max_target_positions 9"),
        ("bart", {"activation_fn": "linear"}, "activation_fn 'linear' cannot be converted, only"),
        ("bart", {"layernorm_embedding": False}, "learned positions .* only with layernorm_embed"),
        ("fsmt", {"layernorm_embedding": True}, "has no encoder.layernorm_embedding.weight"),
        ("mbart", {"encoder_normalize_before": False, "decoder_normalize_before": False},
         "has weights that a Transformer has not, such as decoder.layer_norm.bias"),
    ],
)  # fmt: skip
def test_what_has_no_equal_is_refused_by_the_name_of_the_setting(
    tmp_path: Path, form: str, more: dict[str, Any], sentence: str
) -> None:
    checkpoint = read_checkpoint(write(tmp_path / "model.pt", form, **more))
    with pytest.raises(InputError, match=sentence):
        translation_model(checkpoint)


def test_two_embeddings_are_refused(tmp_path: Path) -> None:
    shape = FORMS["bart"]
    weights = transformer_weights(*shape)
    weights["decoder.embed_tokens.weight"] = torch.ones(VOCABULARY, DIM)
    write_checkpoint(tmp_path / "model.pt", transformer_settings(*shape), weights)
    with pytest.raises(
        InputError, match="share_all_embeddings is off, decoder.embed_tokens.weight"
    ):
        translation_model(read_checkpoint(tmp_path / "model.pt"))


# --- XLM-R


@pytest.mark.parametrize(
    "names", [("encoder", "layernorm_embedding"), ("decoder", "emb_layer_norm")]
)
def test_an_xlmr_computes_what_fairseq_computes(tmp_path: Path, names: tuple[str, str]) -> None:
    # the second names are those of the files that XLM-R was published in
    write_checkpoint(tmp_path / "model.pt", XLMR_SETTINGS, xlmr_weights(*names))
    checkpoint = read_checkpoint(tmp_path / "model.pt")
    assert is_encoder(checkpoint)
    model = encoder_model(checkpoint)
    with torch.no_grad():
        found = model(SOURCE, attention_mask=(SOURCE != 1).long(), output_hidden_states=True)
    assert close(found.hidden_states[-1][0, 2], XLMR_EXPECTED[0])
    assert close(found.logits[1, 0], XLMR_EXPECTED[1])


def test_an_xlmr_of_another_form_is_refused(tmp_path: Path) -> None:
    weights = xlmr_weights()
    norm(weights, "encoder.sentence_encoder.layer_norm")
    write_checkpoint(tmp_path / "model.pt", XLMR_SETTINGS, weights)
    with pytest.raises(InputError, match="encoder_normalize_before is on"):
        encoder_model(read_checkpoint(tmp_path / "model.pt"))
    write_checkpoint(
        tmp_path / "model.pt", {**XLMR_SETTINGS, "activation_fn": "relu"}, xlmr_weights()
    )
    with pytest.raises(InputError, match="activation_fn is 'relu'; an XLM-R has gelu"):
        encoder_model(read_checkpoint(tmp_path / "model.pt"))


# --- folders

WORDS = ["▁the", "▁house", "▁is", "s", "mall", "▁das", "▁haus", "▁ist", "▁k", "lein", ".", "x"]


@pytest.fixture
def dictionaries(tmp_path: Path) -> Path:
    """The folder of a dictionary for both languages."""
    for language in ("en", "de"):
        write_dictionary(make_dictionary(WORDS), tmp_path / f"dict.{language}.txt")
    return tmp_path


Call = Callable[..., tuple[int, str, str]]


def test_a_transformer_becomes_a_folder_of_ours(dictionaries: Path, call: Call) -> None:
    write(dictionaries / "model.pt", "bart")
    output = dictionaries / "out"
    code, out, err = call(
        "fairseq", "import-model", dictionaries / "model.pt", output, "--joiner", "sentencepiece"
    )
    assert (code, err) == (0, "")
    assert "BartForConditionalGeneration, en-de" in out
    assert "text must come cut into symbols" in out
    loaded = load_translation_checkpoint(output)
    codec = loaded.codec
    # ids 4 to 15 in the order of WORDS; </s> 2 at the end, as fairseq has it; ? is unknown
    assert codec.source(["▁the ▁house ?"], "en", "de") == [[4, 5, 3, 2]]
    assert codec.target(["▁das ▁haus"], "de") == [[9, 10]]
    assert codec.prefix("de") == [2]
    assert codec.text([9, 10, 11, 12, 13, 14, 2]) == "das haus ist klein."
    assert (codec.max_source, codec.max_target) == (POSITIONS, POSITIONS)
    with torch.no_grad():
        found = loaded.model(SOURCE, (SOURCE != 1).long(), decoder_input_ids=TARGET)
    assert close(found.logits[0, 2], EXPECTED["bart"][2])


def test_a_folder_of_ours_becomes_the_same_transformer(dictionaries: Path, call: Call) -> None:
    write(dictionaries / "model.pt", "mbart")
    import_model(dictionaries / "model.pt", dictionaries / "ours")
    code, out, err = call("fairseq", "export-model", dictionaries / "ours", dictionaries / "theirs")
    assert (code, err) == (0, "")
    assert out.endswith("theirs: transformer, en-de, 16 symbols\n")
    back = read_checkpoint(dictionaries / "theirs" / "model.pt")
    first = read_checkpoint(dictionaries / "model.pt")
    assert back.weights.keys() == first.weights.keys()
    assert all(torch.equal(back.weights[name], first.weights[name]) for name in first.weights)
    wanted = {**transformer_settings(*FORMS["mbart"]), "data": "."}
    assert {name: back.settings.get(name) for name in wanted} == wanted
    for language in ("en", "de"):
        found = read_dictionary(dictionaries / "theirs" / f"dict.{language}.txt")
        assert list(found.symbols[4:]) == WORDS


@pytest.mark.parametrize("joiner", ["none", "subword-nmt"])
def test_symbols_are_joined_as_they_were_cut(joiner: str) -> None:
    tokenizer: Any = tokenizer_for(make_dictionary(["ha@@", "us", "klein"]), None, joiner=joiner)
    expected = {"none": "ha@@ us klein", "subword-nmt": "haus klein"}
    assert tokenizer.decode([4, 5, 6]).strip() == expected[joiner]


def test_a_tokenizer_takes_the_order_of_a_dictionary(tiny_model: Path) -> None:
    old = transformers.AutoTokenizer.from_pretrained(tiny_model)
    ids = old("the house", add_special_tokens=False)["input_ids"]
    pieces = list(dict.fromkeys(old.convert_ids_to_tokens(ids)))
    dictionary = make_dictionary([*reversed(pieces), "madeupword0000"])
    new = tokenizer_for(dictionary, tiny_model, start=True)
    found = new.convert_ids_to_tokens(new("the house")["input_ids"])
    assert found == ["<s>", *old.convert_ids_to_tokens(ids), "</s>"]
    assert new.convert_tokens_to_ids(pieces[-1]) == 4
    assert len(new) == len(dictionary)
    with pytest.raises(MismatchError, match="1 of the dictionary's 5 symbols, such as 'zzz'"):
        tokenizer_for(make_dictionary(["zzz"]), tiny_model)


def test_a_sentencepiece_model_takes_the_order_of_a_dictionary(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "spm", "unigram")
    import sentencepiece

    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = [theirs.id_to_piece(i) for i in range(3, theirs.get_piece_size())]
    ours = tokenizer_for(make_dictionary(reversed(pieces)), path)
    for text in ("the big house", "  a  small   garden ", "häuser!"):
        cut = theirs.encode(text, out_type=str)
        found = ours.convert_ids_to_tokens(ours(text)["input_ids"])[:-1]
        assert found == [piece if piece in pieces else "<unk>" for piece in cut]
        assert ours.decode(ours(text)["input_ids"], skip_special_tokens=True) == theirs.decode(
            [piece for piece in cut if piece in pieces]
        )


def train_sentencepiece(start: Path, kind: str) -> Path:
    import sentencepiece

    text = ["the house is small", "a big garden", "the big cat sleeps", "a small house"] * 5
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_prefix=str(start), vocab_size=40, model_type=kind,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return start.with_suffix(".model")


def test_a_sentencepiece_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "spm", "bpe")
    with pytest.raises(InputError, match="SentencePiece model of kind bpe; only unigram"):
        tokenizer_for(make_dictionary(["a"]), path)
    (tmp_path / "no.model").write_bytes(b"\x01 not one")
    with pytest.raises(InputError, match="no.model is not a SentencePiece model"):
        tokenizer_for(make_dictionary(["a"]), tmp_path / "no.model")


def test_an_xlmr_becomes_an_encoder_that_bitext_loads(tmp_path: Path) -> None:
    write_checkpoint(
        tmp_path / "model.pt", XLMR_SETTINGS, xlmr_weights("decoder", "emb_layer_norm")
    )
    # 16 embeddings: 4 special ones, 11 of the dictionary, and <mask>, which fairseq's task adds
    write_dictionary(make_dictionary(WORDS[:11]), tmp_path / "dict.txt")
    said = import_model(tmp_path / "model.pt", tmp_path / "out")
    assert "XLMRobertaForMaskedLM" in said
    from encoders.registry import ModelRegistry

    encoder = ModelRegistry().encoder(str(tmp_path / "out"))
    assert encoder.sentences(["▁the ▁house"]).shape == (1, DIM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("▁the ▁house")["input_ids"] == [0, 4, 5, 2]
    assert tokenizer.mask_token_id == 15


def test_a_dictionary_of_another_model_is_refused(dictionaries: Path) -> None:
    write(dictionaries / "model.pt", "bart")
    write_dictionary(make_dictionary(WORDS[:5]), dictionaries / "dict.de.txt")
    with pytest.raises(MismatchError, match="dict.de.txt differ; only models with one vocabulary"):
        import_model(dictionaries / "model.pt", dictionaries / "out")
    write_dictionary(make_dictionary(WORDS[:5]), dictionaries / "dict.en.txt")
    with pytest.raises(MismatchError, match="has 16 embeddings, its dictionary 9 symbols"):
        import_model(dictionaries / "model.pt", dictionaries / "out")
    assert not (dictionaries / "out").exists()


def test_languages_and_joiners_must_be_known(dictionaries: Path) -> None:
    write(dictionaries / "model.pt", "bart", source_lang=None)
    with pytest.raises(InputError, match="does not name its source language; give --source"):
        import_model(dictionaries / "model.pt", dictionaries / "out")
    with pytest.raises(UnknownNameError, match="unknown joiner 'x'; choose one of: none, sentence"):
        import_model(dictionaries / "model.pt", dictionaries / "out", source="en", joiner="x")


@pytest.mark.parametrize(
    ("form", "change", "sentence"),
    [
        ("fsmt", {}, "a fsmt model cannot become one of fairseq's, only bart and mbart"),
        ("bart", {"decoder_start_token_id": 0}, "decoding starts from 0; fairseq has"),
        ("bart", {"activation_function": "silu"}, "fairseq has no activation 'silu'"),
    ],
)
def test_what_fairseq_has_not_is_not_written(
    dictionaries: Path, form: str, change: dict[str, Any], sentence: str
) -> None:
    model = translation_model(read_checkpoint(write(dictionaries / "model.pt", form)))
    for name, value in change.items():
        setattr(model.config, name, value)
    with pytest.raises((InputError, MismatchError), match=sentence):
        transformer_parts(model, "en", "de")


def test_only_a_model_of_these_directions_is_written(dictionaries: Path) -> None:
    write(dictionaries / "model.pt", "bart")
    import_model(dictionaries / "model.pt", dictionaries / "ours")
    with pytest.raises(InputError, match="the model knows en; choose one by --source"):
        export_model(dictionaries / "ours", dictionaries / "theirs", source="fr")


def test_a_tokenizer_with_other_special_pieces_gives_no_dictionary(tmp_path: Path) -> None:
    written: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "a": 1}, "unk_token": "a"},
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(written))
    other = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    with pytest.raises(MismatchError, match=r"the first pieces are \[PAD\], a; fairseq's"):
        dictionary_of(other)


def test_positions_are_those_of_the_table_or_the_setting(tmp_path: Path) -> None:
    for form in ("bart", "fsmt"):
        assert positions(read_checkpoint(write(tmp_path / "model.pt", form))) == POSITIONS
