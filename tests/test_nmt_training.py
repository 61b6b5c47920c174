"""A run from text to a translator, and what the trainer keeps, averages and ends by."""

from __future__ import annotations

import json
import math
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bitext.errors import InputError, MismatchError, UnknownNameError
from nmt.network.model import load_translation_checkpoint
from nmt.training.batches import Batch, BatchSource, make_batch
from nmt.training.config import TrainConfig
from nmt.training.run import TrainingFolder
from nmt.training.train import train
from nmt.training.trainer import Trainer

WORDS = {
    "red": "rot",
    "green": "grün",
    "cat": "Katze",
    "dog": "Hund",
    "sees": "sieht",
    "runs": "läuft",
    "tree": "Baum",
    "house": "Haus",
}
"""A language and its translation, word by word."""


def sentences() -> list[str]:
    """Distinct pairs of two to four words."""
    drawn = random.Random(1)
    english = [drawn.choices(list(WORDS), k=drawn.randint(2, 4)) for _ in range(400)]
    pairs = [" ".join(one) + "\t" + " ".join(WORDS[word] for word in one) for one in english]
    return list(dict.fromkeys(pairs))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    lines = sentences()
    (folder / "dev.tsv").write_text("\n".join(lines[:20]) + "\n", encoding="utf-8")
    (folder / "train.tsv").write_text("\n".join(lines[20:]) + "\n", encoding="utf-8")
    return folder


SHAPE = {
    "dim": 32,
    "heads": 4,
    "feed_forward": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "max_pieces": 32,
    "dropout": 0.0,
}


def config(**more: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "data": {
                "source_lang": "en",
                "target_lang": "de",
                "corpora": [{"file": "train.tsv"}],
                "dev": [{"file": "dev.tsv"}],
            },
            "vocabulary": {"size": 320},
            "initialize": {"model": None},
            "model": SHAPE,
            **more,
        }
    )


@pytest.fixture(scope="module")
def trained(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run of some seconds."""
    stage = {
        "steps": 300,
        "batch_tokens": 300,
        "learning_rate": 0.01,
        "warmup_steps": 20,
        "schedule": "cosine",
        "label_smoothing": 0.0,
    }
    output = tmp_path_factory.mktemp("trained")
    how = config(stages=[stage], validation={"every": 150})
    train(how, data=corpora, output=output, progress=False)
    return output


def log_of(output: Path) -> list[dict[str, Any]]:
    text = (output / "run" / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_it_learns_to_translate_what_it_has_not_read(trained: Path) -> None:
    figures = [line for line in log_of(trained) if "bleu" in line]
    assert [line["step"] for line in figures] == [150, 300]
    # a model that does not look at the source has 8 here
    assert max(line["bleu"] for line in figures) > 40
    assert figures[-1]["dev"] == figures[-1]["bleu"]


def test_the_log_says_how_it_goes(trained: Path) -> None:
    lines = [line for line in log_of(trained) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(20, 301, 20))
    assert set(lines[0]) == {"stage", "step", "loss", "pieces/s", "learning rate", "pieces"}
    assert lines[0]["learning rate"] == 0.01  # warm
    assert lines[-1]["loss"] < 0.2 * lines[0]["loss"]
    pieces = [line["pieces"] for line in lines]
    assert pieces == sorted(pieces)


def test_the_folder_is_one_of_transformers(trained: Path) -> None:
    model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(trained / "model")
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.get_encoder().embed_tokens.weight is model.lm_head.weight
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "model")
    (line, *_) = sentences()
    source, target = line.split("\t")
    given = tokenizer(source, return_tensors="pt")
    written = model.generate(**given, max_length=20, num_beams=1, do_sample=False)
    found: Any = tokenizer.decode(written[0], skip_special_tokens=True)
    assert set(found.split()) & set(target.split())
    assert set(found.split()) <= set(WORDS.values())


def test_the_folder_says_what_it_is(trained: Path) -> None:
    checkpoint = load_translation_checkpoint(trained / "model")
    assert checkpoint.codec.languages == ("de", "en")
    report = json.loads((trained / "model" / "initialization.json").read_text(encoding="utf-8"))
    assert {one["kind"] for one in report["tensors"]} == {"new"}
    (cleaning,) = json.loads((trained / "run" / "cleaning.json").read_text(encoding="utf-8"))
    assert cleaning["kept"] == cleaning["pairs"] == len(sentences()) - 20
    assert len(list((trained / "run" / "kept").iterdir())) == 2


def test_the_start_is_kept(trained: Path) -> None:
    start = load_translation_checkpoint(trained / "start").model
    end = load_translation_checkpoint(trained / "model").model
    assert not torch.equal(start.lm_head.weight, end.lm_head.weight)


def test_a_model_of_ours_is_trained_further(trained: Path, corpora: Path, tmp_path: Path) -> None:
    further = {
        "initialize": {"model": str(trained / "model")},
        "vocabulary": {},
        "model": {"dropout": 0.2},
        "stages": [{"steps": 1, "warmup_steps": 0, "learning_rate": 1e-4}],
    }
    folder = train(config(**further), data=corpora, output=tmp_path / "out", progress=False)
    before = load_translation_checkpoint(trained / "model")
    start = load_translation_checkpoint(tmp_path / "out" / "start")
    assert torch.equal(start.model.lm_head.weight, before.model.lm_head.weight)
    assert start.model.config.dropout == 0.2
    assert start.codec.source(["red"], "en", "de") == before.codec.source(["red"], "en", "de")
    (line,) = [line for line in log_of(tmp_path / "out") if "bleu" in line]
    assert line["bleu"] > 30  # it has not begun anew
    assert folder == tmp_path / "out" / "model"


def test_a_model_of_ours_knows_its_own_languages(
    trained: Path, corpora: Path, tmp_path: Path
) -> None:
    files = {"corpora": [{"file": "train.tsv"}]}
    french = config(
        data={"source_lang": "en", "target_lang": "fr", **files},
        initialize={"model": str(trained / "model")},
        vocabulary={},
        model={},
        stages=[{"steps": 1}],
    )
    with pytest.raises(UnknownNameError, match="unknown target language 'fr'"):
        train(french, data=corpora, output=tmp_path / "out", progress=False)


def test_another_run_does_not_overwrite_it(trained: Path, corpora: Path) -> None:
    other = config(stages=[{"steps": 1}])
    with pytest.raises(MismatchError, match="holds a run of another recipe"):
        train(other, data=corpora, output=trained, progress=False)


def test_a_run_that_cannot_begin_leaves_nothing(corpora: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    frozen = {"steps": 1, "freeze": ["encoder", "decoder", "embeddings", "cross_attention"]}
    with pytest.raises(InputError, match="leaves nothing that moves"):
        train(config(stages=[frozen]), data=corpora, output=output, progress=False)
    assert not output.exists()
    train(config(stages=[{"steps": 1}]), data=corpora, output=output, progress=False)
    assert (output / "model" / "config.json").is_file()


def test_a_missing_file_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file: .*train\.tsv"):
        train(config(stages=[{"steps": 1}]), data=tmp_path, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Repeated(BatchSource):
    """One batch, again and again."""

    def __init__(self) -> None:
        rows = [torch.tensor([5, 6, 2]).int().numpy()] * 2
        targets = [torch.tensor([2, 7, 8, 2]).int().numpy()] * 2
        self.batch = make_batch(rows, targets, [1, 1], pad=1)

    def plans(self, *, tokens: int, stage: int, start: int) -> Iterator[int]:
        while True:
            yield start
            start += 1

    def build(self, plan: int) -> Batch:
        return self.batch


def network() -> Any:
    torch.manual_seed(1)
    return transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            vocab_size=12,
            d_model=8,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=8,
            decoder_ffn_dim=8,
            max_position_embeddings=8,
        )
    )


def fitted(
    folder: Path,
    figures: list[float] | None = None,
    *,
    model: Any = None,
    batches: BatchSource | None = None,
    **more: Any,
) -> Trainer:
    """A run of eight steps at most, measured after each; ``figures`` are what is measured."""
    coming = iter(figures or [])
    stages = [{"steps": 8, "warmup_steps": 0, "learning_rate": 0.05}]
    validation = {"every": 1, "keep": 2, **more.pop("validation", {})}
    how = config(**{"stages": stages, "validation": validation, **more})
    measure: Callable[[Any], dict[str, float]] | None = None
    if figures is not None:

        def measure(model: Any) -> dict[str, float]:
            return {"dev": next(coming)}

    run = TrainingFolder(folder, how)
    own = network() if model is None else model
    trainer = Trainer(own, batches or Repeated(), how, run, measure=measure, progress=False)
    trainer.fit()
    return trainer


def kept(folder: Path, step: int) -> dict[str, torch.Tensor]:
    run = TrainingFolder.load_kept
    return run(_Kept(folder), f"stage-0-step-{step}", torch.device("cpu"))


class _Kept(TrainingFolder):
    """A run's folder that is looked at."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run"


@pytest.mark.parametrize(("of_mean", "is_mean"), [(9.0, True), (4.9, False)])
def test_the_mean_is_taken_only_where_it_is_better(
    of_mean: float, is_mean: bool, tmp_path: Path
) -> None:
    # steps 2 and 4 are the best of eight; then the mean of the two is measured
    figures = [1.0, 5.0, 2.0, 4.0, 3.0, 3.0, 3.0, 3.0, of_mean]
    trainer = fitted(tmp_path, figures)
    assert sorted(path.name for path in (tmp_path / "run" / "kept").iterdir()) == [
        "stage-0-step-2.safetensors",
        "stage-0-step-4.safetensors",
    ]
    best, second = kept(tmp_path, 2), kept(tmp_path, 4)
    for name, parameter in trainer.model.named_parameters():
        mean = (best[name] + second[name]) / 2
        torch.testing.assert_close(parameter.detach(), mean if is_mean else best[name])
    assert log_of(tmp_path)[-1]["mean of the kept: dev"] == of_mean


def test_without_averaging_the_best_is_taken(tmp_path: Path) -> None:
    figures = [1.0, 5.0, 2.0, 4.0, 3.0, 3.0, 3.0, 3.0]
    trainer = fitted(tmp_path, figures, validation={"average": False})
    best = kept(tmp_path, 2)
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, best[name])


def test_a_stage_ends_when_nothing_gets_better(tmp_path: Path) -> None:
    figures = [1.0, 2.0, 2.0, 1.5, 1.9]  # two measurements that are not better, and the mean
    fitted(tmp_path, figures, validation={"patience": 2})
    assert max(line["step"] for line in log_of(tmp_path) if "dev" in line) == 4


def test_a_stage_begins_with_the_best_of_the_last_and_a_new_optimizer(tmp_path: Path) -> None:
    stages = [
        {"name": "one", "steps": 3, "warmup_steps": 0, "learning_rate": 0.05},
        {"name": "two", "steps": 1, "warmup_steps": 0, "learning_rate": 0.0},
    ]
    figures = [9.0, 1.0, 1.0, 3.0]
    trainer = fitted(tmp_path, figures, stages=stages, validation={"average": False})
    once = fitted(tmp_path / "once", stages=[{**stages[0], "steps": 1}])
    best = dict(once.model.named_parameters())
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, best[name])
    assert [line["stage"] for line in log_of(tmp_path) if "dev" in line] == [*["one"] * 3, "two"]


def test_a_moving_average_is_the_result_without_dev_data_too(tmp_path: Path) -> None:
    stages = [{"steps": 1, "warmup_steps": 0, "learning_rate": 0.05}]
    before = {name: one.detach().clone() for name, one in network().named_parameters()}
    plain = fitted(tmp_path / "plain", stages=stages)
    moved = dict(plain.model.named_parameters())
    mean = fitted(tmp_path / "mean", stages=stages, validation={"ema": 0.9})
    for name, parameter in mean.model.named_parameters():
        # after the first step: a tenth of what was, nine tenths of what is
        wanted = 0.1 * before[name] + 0.9 * moved[name]
        torch.testing.assert_close(parameter.detach(), wanted.detach())


class Interrupted(Repeated):
    """Somebody presses Ctrl-C as a batch is made."""

    def build(self, plan: int) -> Batch:
        signal.raise_signal(signal.SIGINT)
        return self.batch


def test_who_interrupts_is_told_how_it_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from here"):
        fitted(tmp_path, batches=Interrupted())
    assert (tmp_path / "run" / "checkpoint").is_dir()


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model.model.encoder.layers[0].fc1.bias[0] = math.nan
    with pytest.raises(InputError) as caught:
        fitted(tmp_path, model=model)
    assert str(caught.value) == (
        "stage 'train', step 1: the loss is nan; lower the learning rate or warm up for longer; "
        "the last checkpoint is whole"
    )
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_frozen_parts_stay_what_they_were_until_they_are_thawed(tmp_path: Path) -> None:
    frozen = {"freeze": ["encoder", "embeddings"], "warmup_steps": 0, "learning_rate": 0.05}
    before = {name: one.detach().clone() for name, one in network().named_parameters()}
    names = ("model.encoder.layers.0.fc1.weight", "model.decoder.layers.0.fc1.weight")
    moved = []
    for number, stage in enumerate([{"steps": 2}, {"steps": 3, "thaw_step": 2}]):
        trainer = fitted(tmp_path / str(number), stages=[{**frozen, **stage}])
        own = dict(trainer.model.named_parameters())
        moved.append([not torch.equal(own[name], before[name]) for name in names])
    assert moved == [[False, True], [True, True]]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_accumulated_batches_are_one_large_one(precision: str, tmp_path: Path) -> None:
    # the same batch twice in one step has the mean gradient of the batch once
    results = []
    for number in (1, 2):
        stage = {"steps": 2, "warmup_steps": 0, "accumulate": number, "precision": precision}
        model = network().train()
        model.config.dropout = 0.0
        for module in model.modules():
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        trainer = fitted(tmp_path / str(number), model=model, stages=[stage])
        results.append(dict(trainer.model.named_parameters()))
    for name, parameter in results[0].items():
        torch.testing.assert_close(parameter, results[1][name], rtol=1e-4, atol=1e-5)
