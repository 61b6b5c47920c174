"""Every family of encoders that ``transformers`` loads: random small ones, saved and read back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from bitext.errors import InputError
from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.encoder import Encoder
from encoders.graph import UNSUPPORTED, GraphTap

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
ENCODER_HALF: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "decoder_start_token_id": 2,
}
BUCKETS_AND_CONVOLUTION: dict[str, Any] = {
    "position_buckets": 4,
    "conv_kernel_size": 3,
    "conv_act": "gelu",
}
RELATIVE: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
# LaBSE is a BERT, E5 an XLM-R or BERT, IndicBERT an ALBERT
CONFIGS: dict[str, Any] = {
    "bert": hf.BertConfig(**SMALL),
    "xlm-r": hf.XLMRobertaConfig(**SMALL, max_position_embeddings=66),
    "xlm": hf.XLMConfig(emb_dim=16, n_layers=3, n_heads=2),
    "distilbert": hf.DistilBertConfig(dim=16, n_layers=3, n_heads=2, hidden_dim=32),
    "albert": hf.AlbertConfig(**SMALL, embedding_size=8),
    "rembert": hf.RemBertConfig(**SMALL, input_embedding_size=8),
    "electra": hf.ElectraConfig(**SMALL, embedding_size=8),
    "deberta": hf.DebertaConfig(**SMALL, **RELATIVE),
    "deberta-v2": hf.DebertaV2Config(**SMALL, **RELATIVE, **BUCKETS_AND_CONVOLUTION),
    "modernbert": hf.ModernBertConfig(**SMALL),
    "t5": hf.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2),
    "bart": hf.BartConfig(**ENCODER_HALF),
    "m2m100": hf.M2M100Config(**ENCODER_HALF),
}


@pytest.fixture(scope="module", params=CONFIGS)
def checkpoint(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A random model of each family with the tiny tokenizer, whose ids its configuration states."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_model)
    config = CONFIGS[request.param]
    config.vocab_size = len(tokenizer)
    config.pad_token_id, config.bos_token_id = tokenizer.pad_token_id, tokenizer.bos_token_id
    config.eos_token_id = config.sep_token_id = tokenizer.eos_token_id
    config.cls_token_id = tokenizer.cls_token_id
    config.pad_index = tokenizer.pad_token_id  # XLM's own names
    config.eos_index, config.bos_index = tokenizer.eos_token_id, tokenizer.bos_token_id
    torch.manual_seed(0)
    hf.AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_every_layer_equals_that_of_transformers(checkpoint: Path) -> None:
    encoder = Encoder(load_checkpoint(ModelKey(str(checkpoint))))
    assert (encoder.layers, encoder.dim, encoder.max_pieces) == (3, 16, 62)
    model = hf.AutoModel.from_pretrained(checkpoint).eval()
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    words = ["the", "old", "house"]
    tokenizer = hf.AutoTokenizer.from_pretrained(checkpoint)
    ids = tokenizer([words], is_split_into_words=True, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        states = model(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True
        ).hidden_states
    for layer, expected in enumerate(states):
        # in a batch with a longer sentence, so that padding is masked as well
        found = encoder.pieces([words, [*words, *words, *words]], layer=layer)[0].vectors
        np.testing.assert_allclose(found, expected[0, 1:-1], atol=1e-5)


def test_a_pass_in_one_go_gives_the_same_bits(checkpoint: Path) -> None:
    """Of every family: by a graph or, where a trace would not do, without one."""
    encoder = Encoder(load_checkpoint(ModelKey(str(checkpoint))))
    other = encoder.in_one_go()
    words = ["the", "old", "house", "is", "small"]
    shapes = [[words], [words[:1]], [words, words[:2], words * 3], [words * 2, ["a"]], [words[:3]]]
    for sentences in shapes:
        for layer in range(encoder.layers + 1):
            found = other.pieces(sentences, layer=layer)
            for one, expected in zip(found, encoder.pieces(sentences, layer=layer), strict=True):
                np.testing.assert_array_equal(one.vectors, expected.vectors)
    if checkpoint.name.startswith(("bert", "xlm-r")) and sys.version_info < UNSUPPORTED:
        assert isinstance(other._tap, GraphTap)
        assert all(graph is not None for graph in other._tap._graphs.values())


def test_a_model_without_an_encoder_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    hf.GPT2Config(n_embd=16, n_layer=1, n_head=2).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_model / name).read_bytes())
    with pytest.raises(InputError, match="is a gpt2 model, which has no encoder$"):
        load_checkpoint(ModelKey(str(tmp_path)))
