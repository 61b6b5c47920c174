"""The plugin for fairseq: what needs no fairseq, and all of it where fairseq is installed."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

from nmt.interop.fairseq_plugin import mllm

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "nmt" / "interop" / "fairseq_plugin"


# --- without fairseq


def test_the_plugin_needs_nothing_that_is_not_beside_fairseq() -> None:
    there = {*sys.stdlib_module_names, "torch", "safetensors", "fairseq"}
    for path in PLUGIN.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= there, path


@pytest.mark.parametrize(
    ("layers", "wanted", "chosen"),
    [(4, 4, [0, 1, 2, 3]), (12, 6, [0, 2, 4, 7, 9, 11]), (4, 2, [0, 3]), (4, 1, [3])],
)  # fmt: skip
def test_a_shallower_stack_takes_layers_evenly(layers: int, wanted: int, chosen: list[int]) -> None:
    # 6 of 12: 11/5 = 2.2 apart, so 0, 2.2, 4.4, 6.6, 8.8, 11
    assert mllm.spread(layers, wanted) == chosen


def test_a_deeper_stack_is_refused() -> None:
    with pytest.raises(ValueError, match="5 layers were asked for, and the MLLM has 4"):
        mllm.spread(4, 5)


def test_the_weights_of_a_folder_have_fairseqs_names(tiny_model: Path) -> None:
    model: Any = transformers.XLMRobertaModel.from_pretrained(tiny_model, add_pooling_layer=False)
    weights = mllm.read_weights(tiny_model)
    layer = mllm.layer_tensors(weights, 1)
    query = model.encoder.layer[1].attention.self.query
    assert len(layer) == 16
    assert torch.equal(layer["self_attn.q_proj.weight"], query.weight)
    cross = mllm.cross_tensors(layer)
    assert len(cross) == 10
    assert torch.equal(cross["encoder_attn.q_proj.weight"], query.weight)
    assert torch.equal(cross["encoder_attn_layer_norm.bias"], layer["self_attn_layer_norm.bias"])


def test_what_all_pieces_get_is_part_of_their_positions(tiny_model: Path) -> None:
    weights, config = mllm.read_weights(tiny_model), mllm.read_config(tiny_model)
    rows = mllm.position_rows(weights, config)
    assert mllm.positions(config) == 64
    assert rows.shape == (66, 16)
    assert not rows[:2].any()
    expected = (
        weights["embeddings.position_embeddings.weight"][2]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    assert torch.equal(rows[2], expected)


def test_a_dictionary_finds_its_rows_by_their_pieces(tmp_path: Path) -> None:
    unigram = {
        "model": {"vocab": [["<s>", 0], ["<pad>", 0], ["▁a", -1.5]]},
        "added_tokens": [{"id": 3, "content": "<mask>"}],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(unigram))
    pieces = mllm.read_pieces(tmp_path)
    assert pieces == {"<s>": 0, "<pad>": 1, "▁a": 2, "<mask>": 3}
    symbols = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "▁a", "madeupword0000"]
    assert mllm.embedding_rows(symbols, pieces) == {0: 0, 1: 1, 4: 3, 5: 2}
    # BERT's names of the special ones
    assert mllm.embedding_rows(symbols[:4], {"[PAD]": 0, "[CLS]": 7, "[SEP]": 8}) == {
        0: 7, 1: 0, 2: 8,
    }  # fmt: skip


def test_berts_first_names_of_a_norm_are_understood(tmp_path: Path) -> None:
    named = {
        "bert.embeddings.word_embeddings.weight": torch.zeros(2, 2),
        "bert.embeddings.LayerNorm.gamma": torch.ones(2),
        "bert.embeddings.LayerNorm.beta": torch.zeros(2),
    }
    save_file(named, tmp_path / "model.safetensors")
    assert set(mllm.read_weights(tmp_path)) == {
        "embeddings.word_embeddings.weight",
        "embeddings.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
    }


def test_a_folder_that_holds_no_such_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--mllm-path .*: there is no config.json in it"):
        mllm.read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="holds a gpt2 model; known are: bert, camembert"):
        mllm.read_config(tmp_path)
    with pytest.raises(ValueError, match=r"there are no weights \(\*.safetensors\) in it"):
        mllm.read_weights(tmp_path)
    with pytest.raises(ValueError, match="there is no tokenizer.json in it"):
        mllm.read_pieces(tmp_path)


def python(*arguments: str, executable: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    return subprocess.run(
        [executable, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("arguments", [[], ["fly"]])
def test_the_launcher_says_which_commands_there_are(arguments: list[str]) -> None:
    done = python(str(PLUGIN), *arguments)
    assert done.returncode == 1
    assert "choose one of: preprocess, train, generate" in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("fairseq") is not None, reason="fairseq is installed beside bitext"
)
def test_the_launcher_says_how_fairseq_is_installed() -> None:
    done = python(str(PLUGIN), "train")
    assert done.returncode == 1
    assert "No module named 'fairseq_cli'; `make fairseq` shows how" in done.stderr


def test_the_shim_lets_fairseqs_settings_be_defaults_and_nobody_elses() -> None:
    # Python 3.11 refuses a default without a hash, which every plain dataclass is.
    program = f"""
import sys; sys.path.insert(0, {str(PLUGIN)!r})
import shim; shim.prepare()
from dataclasses import dataclass, field
def make(module):
    inner = dataclass(type("Inner", (), {{"__module__": module, "__annotations__": {{}}}}))
    names = {{"__module__": module, "__annotations__": {{"a": inner, "b": inner}},
              "a": inner(), "b": field(default=inner())}}
    return dataclass(type("Outer", (), names))
made = make("fairseq.dataclass.configs")
assert made().a is made().a
assert made.__dataclass_fields__["b"].default is made().b
try:
    make("other")
except ValueError:
    print("refused")
"""
    done = python("-c", program)
    assert done.stderr == ""
    assert done.stdout == ("refused\n" if sys.version_info >= (3, 11) else "")


# --- with fairseq


@pytest.fixture(scope="module")
def fairseq() -> str:
    """The Python of an environment that has fairseq; without one the test is skipped."""
    folder = Path(os.environ.get("BITEXT_FAIRSEQ") or ROOT / ".venv-fairseq")
    path = folder / "bin" / "python"
    if not path.is_file():
        pytest.skip(f"no fairseq: {path} is not there (make fairseq, or set BITEXT_FAIRSEQ)")
    return str(path)


def test_data_and_a_model_go_to_fairseq_and_back(fairseq: str, tmp_path: Path) -> None:
    script = ["sh", str(ROOT / "scripts" / "fairseq-demo.sh"), str(Path(fairseq).parents[1])]
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*script, str(tmp_path)], capture_output=True, text=True, check=False, env=environment,
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("fairseq: all done")
    assert "equal byte by byte" in done.stdout


def test_the_encoder_in_fairseq_is_the_mllm(fairseq: str, tiny_model: Path, tmp_path: Path) -> None:
    """The same hidden states from both; the dictionary has the pieces in another order."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    pieces = [tokenizer.convert_ids_to_tokens(i) for i in reversed(range(4, len(tokenizer)))]
    program = f"""
import sys, json; sys.path.insert(0, {str(PLUGIN.parent)!r}); sys.path.insert(0, {str(PLUGIN)!r})
import shim; shim.prepare()
import argparse, torch, fairseq
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
shim.repair()
import fairseq_plugin
torch.manual_seed(1)
dictionary = Dictionary()
for piece in json.loads({json.dumps(json.dumps(pieces))}):
    dictionary.add_symbol(piece)
class Task:
    source_dictionary = target_dictionary = dictionary
args = argparse.Namespace(arch="transformer_from_mllm", mllm_path={str(tiny_model)!r},
                          mllm_init="both", decoder_layers=1, dropout=0.0)
ARCH_CONFIG_REGISTRY[args.arch](args)
model = ARCH_MODEL_REGISTRY[args.arch].build_model(args, Task()).eval()
size = len(dictionary)
tokens = torch.tensor([[0, size - 3, size - 4, size - 5, 2]])
with torch.no_grad():
    states = model.encoder(tokens)["encoder_out"][0][:, 0]
cross = model.decoder.layers[0]
tied = model.decoder.output_projection.weight is model.encoder.embed_tokens.weight
print(json.dumps([states.tolist(), cross.encoder_attn.q_proj.weight.tolist(), tied]))
"""
    done = python("-c", program, executable=fairseq)
    assert done.returncode == 0, done.stderr
    states, cross, tied = json.loads(done.stdout.splitlines()[-1])
    # id n of the dictionary is piece (size + 3 - n) of the model: size - 3 is 6
    model: Any = transformers.XLMRobertaModel.from_pretrained(tiny_model, add_pooling_layer=False)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5  # of fairseq
    with torch.no_grad():
        expected = model.eval()(torch.tensor([[0, 6, 7, 8, 2]])).last_hidden_state[0]
    assert torch.allclose(torch.tensor(states), expected, atol=1e-5)
    # one decoder layer: the last one's
    query = model.encoder.layer[1].attention.self.query.weight
    assert torch.equal(torch.tensor(cross), query)
    assert tied
