"""Adapting a checkpoint: which weights move, what is kept, when it stops, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from bitext.errors import BitextError
from bitext.text import read_gold, read_parallel, words
from bitext.types import SentencePair
from encoders.checkpoint import ModelKey, load_checkpoint, load_for_training
from encoders.encoder import Encoder
from encoders.inspection.calibration import calibrate
from encoders.objectives import OBJECTIVES
from encoders.objectives.network import Network
from encoders.preset import PRESET_FILE
from encoders.training.adaptation import Adaptation, TuneSettings, adapt, choose_trained, merge_lora

STAGE = {
    "name": "words",
    "steps": 4,
    "batch_tokens": 300,
    "warmup_steps": 0,
    "learning_rate": 0.01,
    "objectives": {"words": {}},
}


def settings(**changes: Any) -> Adaptation:
    given = {
        "corpora": ["toy.en-de.tsv"],
        "max_sentence_pieces": 40,
        "stages": [STAGE],
        **changes,
    }
    return Adaptation.model_validate(given)


def run(model: Path, data: Path, output: Path, **changes: Any) -> dict[str, torch.Tensor]:
    """The weights after an adaptation."""
    folder = adapt(str(model), settings(**changes), data=data, output=output)
    return load_file(folder / "model.safetensors")


def moved(before: Path, after: dict[str, torch.Tensor]) -> set[str]:
    """Which weights of the encoder are not what they were."""
    old = load_file(before / "model.safetensors")
    bare = {name.removeprefix("roberta."): tensor for name, tensor in after.items()}
    return {name for name, tensor in old.items() if not torch.equal(bare[name], tensor)}


def test_the_result_is_an_ordinary_checkpoint(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    weights = run(tiny_model, toy_corpora, tmp_path)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}, "as it was kept"
    assert moved(tiny_model, weights)
    assert Encoder(load_checkpoint(ModelKey(str(tmp_path / "model")))).layers == 2
    plain = transformers.AutoModel.from_pretrained(tmp_path / "model")
    assert plain.config.model_type == "xlm-roberta"


def test_frozen_embeddings_stay(tiny_model: Path, toy_corpora: Path, tmp_path: Path) -> None:
    weights = run(tiny_model, toy_corpora, tmp_path, tune={"embeddings": False})
    changed = moved(tiny_model, weights)
    assert "embeddings.word_embeddings.weight" not in changed
    assert any(name.startswith("encoder.layer.0.") for name in changed)


def test_only_the_named_blocks_move(tiny_model: Path, toy_corpora: Path, tmp_path: Path) -> None:
    tune = {"layers": [2, 2], "embeddings": False}
    changed = moved(tiny_model, run(tiny_model, toy_corpora, tmp_path, tune=tune))
    blocks = {name for name in changed if name.startswith("encoder.")}
    assert blocks
    assert all(name.startswith("encoder.layer.1.") for name in blocks)


@pytest.mark.parametrize("matrices", ["attention", "all"])
def test_lora_is_merged_into_the_matrices_it_stood_beside(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path, matrices: str
) -> None:
    tune = {"method": "lora", "lora": {"rank": 2, "matrices": matrices}}
    weights = run(tiny_model, toy_corpora, tmp_path, tune=tune)
    assert not any("lora" in name for name in weights)
    changed = moved(tiny_model, weights)
    assert changed
    assert all(name.endswith(".weight") for name in changed), "biases stay"
    touched_feed_forward = any(".intermediate." in name for name in changed)
    assert touched_feed_forward == (matrices == "all")


def test_a_merged_matrix_is_the_sum_of_both(tiny_model: Path) -> None:
    model, tokenizer, _ = load_for_training(str(tiny_model))
    network = Network(model, tokenizer)
    choose_trained(network, TuneSettings.model_validate({"method": "lora", "lora": {"rank": 2}}))
    query: Any = model.roberta.encoder.layer[0].attention.self.query
    with torch.no_grad():
        query.lora_B["default"].weight.fill_(0.5)
    base = query.get_base_layer().weight.detach().clone()
    # alpha / rank = 16 / 2; B is all 0.5, so every row of B A is half the sum of A's two rows
    expected = base + 8 * 0.5 * query.lora_A["default"].weight.detach().sum(0)
    merge_lora(model)
    torch.testing.assert_close(model.roberta.encoder.layer[0].attention.self.query.weight, expected)


def test_gold_links_and_monolingual_text(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    stage = {**STAGE, "objectives": {"gold": {}, "mlm": {}}}
    changes = {"corpora": [], "gold": ["toy"], "monolingual": ["toy.de.txt"], "stages": [stage]}
    assert moved(tiny_model, run(tiny_model, toy_corpora, tmp_path, **changes))
    [line] = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert {"gold", "mlm"} <= set(json.loads(line))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_objective_of_pairs_trains_together(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path, precision: str
) -> None:
    of_pairs = [name for name, kind in OBJECTIVES.items() if kind.reads in ("pairs", "links")]
    named: dict[str, dict[str, Any]] = {
        name: {} for name in of_pairs if not name.startswith("distil")
    }
    stage = {**STAGE, "steps": 2, "precision": precision, "objectives": named, "join_pieces": 20}
    assert moved(tiny_model, run(tiny_model, toy_corpora, tmp_path, stages=[stage]))
    [line] = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert named.keys() <= json.loads(line).keys()


def test_replayed_text_is_read(tiny_model: Path, toy_corpora: Path, tmp_path: Path) -> None:
    replay = {"corpora": ["toy.en-nl.tsv"], "share": 0.5}
    changes = {"replay": replay, "stages": [{**STAGE, "steps": 6}]}
    mixed = run(tiny_model, toy_corpora, tmp_path / "mixed", **changes)
    alone = run(tiny_model, toy_corpora, tmp_path / "alone", stages=[{**STAGE, "steps": 6}])
    assert any(not torch.equal(tensor, alone[name]) for name, tensor in mixed.items())


def test_a_presets_choices_go_along(tiny_model: Path, toy_corpora: Path, tmp_path: Path) -> None:
    model = tmp_path / "with-preset"
    shutil.copytree(tiny_model, model)
    (model / PRESET_FILE).write_text('{"alignment": {"layer": 1}}')
    run(model, toy_corpora, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "model" / PRESET_FILE).read_text())
    assert kept == {"alignment": {"layer": 1}}


DEV = {
    "every": 1,
    "patience": 2,
    "alignment": [{"source": "toy.src", "target": "toy.tgt", "gold": "toy.gold"}],
    "retrieval": ["toy.en-de.tsv"],
}


def log_of(output: Path) -> list[dict[str, Any]]:
    lines = (output / "run" / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("measure", ["aer", "retrieval"])
def test_the_best_on_dev_data_is_kept_and_patience_ends_a_stage(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path, measure: str
) -> None:
    # a rate so high that the model can only get worse after a while
    stage = {**STAGE, "steps": 60, "learning_rate": 0.3}
    dev = {**DEV, "measure": measure}
    run(tiny_model, toy_corpora, tmp_path, dev=dev, stages=[stage])
    measured = [line for line in log_of(tmp_path) if "dev" in line]
    values = [line["dev"] for line in measured]
    best = max(range(len(values)), key=lambda k: values[k])
    assert len(values) == min(60, best + 3), "two more after the best one"
    figures = {"AER toy", "accuracy toy.en-de.tsv"}
    assert figures <= set(measured[0])
    sign = -1 if measure == "aer" else 1
    name = "AER toy" if measure == "aer" else "accuracy toy.en-de.tsv"
    assert all(line["dev"] == pytest.approx(sign * line[name]) for line in measured)
    kept = load_file(tmp_path / "run" / "best" / "state.safetensors")
    final = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(final[name], kept[f"model.{name}"]) for name in final)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tune": {"layers": [1, 3]}}, "first and the last of the blocks 1 to 2, got 1 and 3"),
        ({"max_sentence_pieces": 100}, "sentences of 100 pieces and 2 special ones do not fit"),
        ({"gold": ["nowhere"]}, "nowhere.src: there is no such file"),
        ({"dev": {**DEV, "alignment": [{"source": "x", "target": "y", "gold": "z"}]}}, "x"),
        ({"teacher": "no/such"}, "neither a folder nor in the local cache"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_model_or_the_data(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BitextError, match=message):
        run(tiny_model, toy_corpora, tmp_path, **changes)
    assert not (tmp_path / "model").exists()


def test_a_wrong_name_does_not_claim_the_folder(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    with pytest.raises(BitextError, match="no file matches"):
        run(tiny_model, toy_corpora, tmp_path, corpora=["nothing.en-de.tsv"])
    assert moved(tiny_model, run(tiny_model, toy_corpora, tmp_path))


def test_a_wrong_line_of_a_corpus_is_named(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    lines = (toy_corpora / "toy.en-de.tsv").read_text() * 300  # 48 pairs each
    text = lines.splitlines()
    text[12344] = "the cat\tdie katze\ta third column"
    (tmp_path / "bad.en-de.tsv").write_text("\n".join(text) + "\n")
    with pytest.raises(
        BitextError, match=r"bad.en-de.tsv, line 12345: expected .source TAB target., found 2 tabs"
    ):
        run(tiny_model, tmp_path, tmp_path / "out", corpora=["bad.en-de.tsv"])


def test_a_tokenizer_of_another_vocabulary(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    model = tmp_path / "mixed-up"
    shutil.copytree(tiny_model, model)
    bundled = Path(__file__).parents[1] / "encoders" / "bundled" / "tokenizer.json"
    shutil.copy(bundled, model / "tokenizer.json")
    with pytest.raises(BitextError, match="32000 pieces and its embeddings have 77 rows"):
        run(model, toy_corpora, tmp_path / "out")


def test_another_models_run_is_refused(tiny_model: Path, toy_corpora: Path, tmp_path: Path) -> None:
    run(tiny_model, toy_corpora, tmp_path / "out")
    other = tmp_path / "out" / "model"
    with pytest.raises(BitextError, match="holds a run of another recipe"):
        run(other, toy_corpora, tmp_path / "out")


MLM = {**STAGE, "objectives": {"mlm": {}}}
NEW = "qaxto zibbel qaxto murfo\n"


@pytest.fixture
def new_language(toy_corpora: Path, tmp_path: Path) -> Path:
    """The toy corpora and 60 lines of a language that the tiny model cuts into letters."""
    data = tmp_path / "data"
    shutil.copytree(toy_corpora, data)
    (data / "new.qaa.txt").write_text(NEW * 60)
    return data


@pytest.mark.parametrize("factorise", [None, 6])
def test_new_pieces_are_learnt_and_the_result_is_ordinary(
    tiny_model: Path, new_language: Path, tmp_path: Path, factorise: int | None
) -> None:
    language = {"text": ["new.qaa.txt"], "pieces": 30, "factorise": factorise}
    changes = {"monolingual": ["new.qaa.txt"], "stages": [MLM], "language": language}
    weights = run(tiny_model, new_language, tmp_path / "out", **changes)
    old = load_file(tiny_model / "model.safetensors")["embeddings.word_embeddings.weight"]
    new = weights["roberta.embeddings.word_embeddings.weight"]
    assert len(old) < len(new) <= len(old) + 30
    if factorise is not None:  # only factors of new pieces move
        torch.testing.assert_close(new[: len(old)], old)
    plain = transformers.AutoTokenizer.from_pretrained(tmp_path / "out" / "model")
    before = transformers.AutoTokenizer.from_pretrained(tiny_model)
    assert len(plain) == len(new)
    assert before.unk_token_id in before(NEW)["input_ids"]  # q, x and z
    assert plain.unk_token_id not in plain(NEW)["input_ids"]
    assert Encoder(load_checkpoint(ModelKey(str(tmp_path / "out" / "model")))).dim == 16


def test_a_language_adapter_learns_while_the_model_stays(
    tiny_model: Path, new_language: Path, tmp_path: Path
) -> None:
    changes = {"monolingual": ["new.qaa.txt"], "stages": [MLM], "language": {"adapter": {}}}
    assert not moved(tiny_model, run(tiny_model, new_language, tmp_path / "out", **changes))
    sentence = [["qaxto", "zibbel"]]
    adapted = Encoder(load_checkpoint(ModelKey(str(tmp_path / "out" / "model"))))
    base = Encoder(load_checkpoint(ModelKey(str(tiny_model))))
    difference = adapted.words(sentence, layer=2)[0] - base.words(sentence, layer=2)[0]
    assert abs(difference).max() > 1e-4


def test_transliteration_goes_into_the_preset(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    run(tiny_model, toy_corpora, tmp_path, language={"transliterate": "latin"})
    encoder = Encoder(load_checkpoint(ModelKey(str(tmp_path / "model"))))
    assert encoder.preset.transliterate == "latin"


def test_an_interrupted_adaptation_goes_on_with_the_pieces_it_learnt(
    tiny_model: Path, new_language: Path, tmp_path: Path
) -> None:
    language = {"text": ["new.qaa.txt"], "pieces": 30, "adapter": {"reduction": 4}}
    changes = {"monolingual": ["new.qaa.txt"], "checkpoint_steps": 2, "language": language}
    whole = run(tiny_model, new_language, tmp_path / "whole", stages=[MLM], **changes)
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "model")
    shutil.rmtree(tmp_path / "again" / "run" / "checkpoint")  # as if killed before the first one
    again = run(tiny_model, new_language, tmp_path / "again", stages=[MLM], **changes)
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor)


def test_the_preset_is_calibrated_on_dev_gold(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    model = tmp_path / "start"
    shutil.copytree(tiny_model, model)
    (model / PRESET_FILE).write_text('{"alignment": {"method": "mwmf", "layer": 0, "window": 40}}')
    run(model, toy_corpora, tmp_path / "out", dev={**DEV, "measure": "aer"})
    encoder = Encoder(load_checkpoint(ModelKey(str(tmp_path / "out" / "model"))))
    preset = encoder.preset.alignment
    assert (preset.layer, preset.unit, preset.window) == (2, "word", 40)
    assert preset.method.split(":")[0] in ("argmax", "softmax")
    pairs = [
        SentencePair(words(str(one.source)), words(str(one.target)))
        for one in read_parallel(toy_corpora / "toy.src", toy_corpora / "toy.tgt")
    ]
    gold = read_gold(toy_corpora / "toy.gold")
    promised = calibrate(encoder, pairs, gold, layer=2)
    assert (preset.method, preset.threshold) == (promised.method, promised.threshold)


def test_without_dev_gold_an_old_threshold_goes(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    model = tmp_path / "start"
    shutil.copytree(tiny_model, model)
    (model / PRESET_FILE).write_text('{"alignment": {"method": "mwmf", "threshold": 0.5}}')
    run(model, toy_corpora, tmp_path / "out")
    preset = Encoder(load_checkpoint(ModelKey(str(tmp_path / "out" / "model")))).preset.alignment
    assert (preset.method, preset.threshold) == ("mwmf", 0.0)
