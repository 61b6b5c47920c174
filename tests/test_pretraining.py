"""Pretraining end to end on a toy bitext: an ordinary checkpoint, and resuming exactly."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from bitext.errors import BitextError
from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.encoder import Encoder
from encoders.statistics.lexicon import align_units
from encoders.statistics.words import number_words
from encoders.training.batches import TrainingCorpus
from encoders.training.corpus import CorpusFile, PieceReader, find_corpora, read_pairs
from encoders.training.pretraining import pretrain
from encoders.training.recipe import DevSettings, Recipe, read_recipe

RECIPE = """
corpora = ["toy.en-*.tsv"]
seed = 3
checkpoint_steps = 2
max_sentence_pieces = 46

[vocabulary]
size = 120
min_character_count = 1

[model]
dim = 16
layers = 2
heads = 2
feed_forward = 32
max_pieces = 48

[[stages]]
name = "vectors"
steps = 3
batch_tokens = 400
objectives.words = { layer = 0 }

[[stages]]
name = "network"
steps = 5
batch_tokens = 400
join_pieces = 12
warmup_steps = 2
objectives.words = { layer = 1 }
objectives.sentences = {}
objectives.mlm = { every = 2 }
objectives.tlm = { every = 2 }
"""


@pytest.fixture(scope="module")
def corpora(toy_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two toy language pairs of 48 sentences each, and the recipe."""
    folder = tmp_path_factory.mktemp("corpora")
    for language in ("de", "nl"):
        shutil.copy(toy_corpora / f"toy.en-{language}.tsv", folder)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def recipe(corpora: Path) -> Recipe:
    return read_recipe(corpora / "recipe.toml")


@pytest.fixture(scope="module")
def trained(corpora: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    pretrain(recipe, data=corpora, output=output)
    return output


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_the_result_is_an_ordinary_checkpoint(trained: Path) -> None:
    encoder = Encoder(load_checkpoint(ModelKey(str(trained / "model"))))
    assert (encoder.layers, encoder.dim, encoder.max_pieces) == (2, 16, 46)
    plain = transformers.AutoModelForMaskedLM.from_pretrained(trained / "model")
    assert plain.config.model_type == "xlm-roberta"
    assert {tensor.dtype for tensor in weights(trained / "model").values()} == {torch.float16}


def test_training_changed_what_it_started_from(trained: Path) -> None:
    start, end = weights(trained / "start"), weights(trained / "model")
    name = "roberta.encoder.layer.0.output.dense.weight"
    assert not start[name].any()  # every block begins by handing on what it gets
    assert end[name].any()


def test_at_the_start_every_layer_gives_the_static_vectors(trained: Path) -> None:
    encoder = Encoder(load_checkpoint(ModelKey(str(trained / "start"))))
    words = [["the", "cat", "sees", "a", "dog"]]
    layers = [encoder.words(words, layer=layer)[0] for layer in (0, 1, 2)]
    np.testing.assert_allclose(layers[0], layers[1], atol=1e-3)
    np.testing.assert_allclose(layers[0], layers[2], atol=1e-3)


def test_the_log_tells_the_losses(trained: Path) -> None:
    log = (trained / "run" / "log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [("vectors", 3), ("network", 5)]
    assert {"words", "sentences", "mlm", "tlm"} <= set(lines[1])


def test_a_killed_run_ends_as_an_uninterrupted_one(
    corpora: Path, trained: Path, tmp_path: Path
) -> None:
    # the same vocabulary: its trainer adds up in parallel, so the last bits of scores may differ
    shutil.copytree(trained / "run" / "tokenizer", tmp_path / "run" / "tokenizer")
    command = [sys.executable, "-m", "bitext", "pretrain", str(corpora / "recipe.toml")]
    command += ["--data", str(corpora), "--output", str(tmp_path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    while not (tmp_path / "run" / "checkpoint" / "place.json").is_file():
        assert process.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True)
    expected, found = weights(trained / "model"), weights(tmp_path / "model")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-3, rtol=1e-2)


def test_a_folder_that_is_no_checkpoint_is_not_replaced(
    corpora: Path, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(BitextError, match=r"will not replace .*model: it is not a checkpoint"):
        pretrain(recipe, data=corpora, output=tmp_path)
    assert (tmp_path / "model" / "thesis.txt").read_text() == "years of work"


def test_a_device_that_is_not_there_shows_before_any_work(
    corpora: Path, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(BitextError, match="unknown device 'abacus'"):
        pretrain(recipe, data=corpora, output=tmp_path, device="abacus")
    assert not any(tmp_path.iterdir())


def test_dev_data_that_is_not_there_shows_before_any_work(
    corpora: Path, recipe: Recipe, tmp_path: Path
) -> None:
    dev = DevSettings(measure="retrieval", retrieval=["nowhere.tsv"])
    with pytest.raises(BitextError, match="nowhere.tsv: there is no such file"):
        pretrain(recipe.model_copy(update={"dev": dev}), data=corpora, output=tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_output_below_a_file(corpora: Path, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BitextError, match="cannot write .*file/run: Not a directory"):
        pretrain(recipe, data=corpora, output=tmp_path / "file")


def test_a_pair_without_sentences_is_named(tmp_path: Path, recipe: Recipe, corpora: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(corpora, data)
    (data / "toy.en-it.tsv").write_text("the cat\t \n")
    with pytest.raises(BitextError, match="en-it has no sentence pair of a length that fits"):
        pretrain(recipe, data=data, output=tmp_path / "out")


def test_a_folder_with_another_recipes_run_is_refused(
    corpora: Path, recipe: Recipe, trained: Path
) -> None:
    other = recipe.model_copy(update={"seed": 4})
    with pytest.raises(BitextError, match="holds a run of another recipe"):
        pretrain(other, data=corpora, output=trained)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["no*.tsv"], r"corpora: no file matches 'no\*.tsv'"),
        (["/etc/*"], "corpora: expected a pattern below .*, got '/etc/"),
        ([""], "corpora: expected a pattern below .*, got ''"),
        (["recipe.toml"], "expected a name such as 'x.en-de.tsv.gz', got"),
    ],
)
def test_corpora_that_cannot_be_used(corpora: Path, patterns: list[str], message: str) -> None:
    with pytest.raises(BitextError, match=message):
        find_corpora(patterns, corpora)


@pytest.fixture(scope="module")
def corpus(corpora: Path, trained: Path) -> TrainingCorpus:
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "model")
    reader = PieceReader(tokenizer)
    parts = {}
    for language in ("de", "nl"):
        file = CorpusFile(corpora / f"toy.en-{language}.tsv", "en", language)
        pairs, dropped = read_pairs([file], reader, 60)
        assert dropped == 0
        parts[language] = pairs, align_units(number_words(pairs, reader.names)[0])
    return TrainingCorpus(parts, seed=1)


def test_a_batch_is_a_function_of_seed_and_number(corpus: TrainingCorpus) -> None:
    def some(start: int) -> list[np.ndarray]:
        stream = corpus.batches(alpha=0.5, tokens=300, join=0, stage=0, start=start)
        return [batch.source for batch in itertools.islice(stream, 6 - start)]

    for again, first in zip(some(2), some(0)[2:], strict=True):
        np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("join", [0, 40])
def test_batches_hold_to_their_budget_and_links_to_their_words(
    corpus: TrainingCorpus, join: int
) -> None:
    stream = corpus.batches(alpha=0.5, tokens=300, join=join, stage=0, start=0)
    for batch in itertools.islice(stream, 20):
        pairs, width = len(batch.source), max(batch.source.shape[1], batch.target.shape[1]) + 2
        assert pairs == 1 or 2 * pairs * width <= 300
        row, i, j = batch.links.T
        assert (i <= batch.source_words[row].max(axis=1)).all()
        assert (j <= batch.target_words[row].max(axis=1)).all()
        for pieces, words in (
            (batch.source, batch.source_words),
            (batch.target, batch.target_words),
        ):
            np.testing.assert_array_equal(pieces < 0, words < 0)
            steps = np.diff(words, axis=1)[words[:, 1:] >= 0]
            assert set(steps.tolist()) <= {0, 1}  # words count on through joined pairs
        assert len(batch.link_weights) == len(batch.links) > 0


def test_too_long_pairs_are_counted_not_cut(corpora: Path, trained: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "model")
    file = CorpusFile(corpora / "toy.en-de.tsv", "en", "de")
    pairs, dropped = read_pairs([file], PieceReader(tokenizer), 5)
    assert len(pairs) + dropped == 48
    assert dropped > 0
    assert pairs.source.lengths().max(initial=0) <= 5
