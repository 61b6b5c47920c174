"""The loop of training: steps by hand, and how a run ends, goes on, and fails."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bitext.errors import InputError
from encoders.checkpoint import load_for_training
from encoders.objectives import OBJECTIVES
from encoders.objectives.network import Network
from encoders.objectives.step import Step
from encoders.training import run as run_module
from encoders.training.adaptation import Adaptation, adapt, read_adaptation
from encoders.training.preparation import prepare_streams
from encoders.training.recipe import Stage
from encoders.training.run import Place, RunFolder, Tensors, save_tensors
from encoders.training.trainer import Trainer, build_optimizer, schedule

STAGE = {
    "name": "words",
    "steps": 6,
    "batch_tokens": 300,
    "warmup_steps": 0,
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "objectives": {"words": {}},
}


def settings(*stages: dict[str, Any], **changes: Any) -> Adaptation:
    given = {
        "corpora": ["toy.en-de.tsv"],
        "max_sentence_pieces": 40,
        "stages": [{**STAGE, **stage} for stage in stages],
        **changes,
    }
    return Adaptation.model_validate(given)


def build(model: Path, data: Path, output: Path, training: Adaptation) -> Trainer:
    weights, tokenizer, _ = load_for_training(str(model))
    weights.config.hidden_dropout_prob = weights.config.attention_probs_dropout_prob = 0.0
    for module in weights.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    run = RunFolder(output, training)
    streams = prepare_streams(training, tokenizer, data, run.path)
    return Trainer(Network(weights, tokenizer), streams, training, run, progress=False)


def checkpoint(output: Path) -> tuple[Place, Tensors]:
    folder = output / "run" / "checkpoint"
    place = Place(**json.loads((folder / "place.json").read_text()))
    return place, load_file(folder / "state.safetensors")


def log_of(output: Path) -> list[dict[str, Any]]:
    """The lines of the log, without the rate, which no two runs share."""
    lines = [json.loads(line) for line in (output / "run" / "log.jsonl").read_text().splitlines()]
    return [{name: v for name, v in line.items() if name != "pieces/s"} for line in lines]


# --- one step by hand


@pytest.mark.parametrize(
    ("warmup", "factors"),
    [
        # half-way up, at the top, then eight equal steps down: 8/8, 7/8, ...
        (2, [1 / 2, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        (0, [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        (20, [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]),  # ends before the top
    ],
)
def test_the_learning_rate_rises_and_falls_on_lines(warmup: int, factors: list[float]) -> None:
    stage = Stage.model_validate({**STAGE, "steps": 10, "warmup_steps": warmup})
    assert [schedule(step, stage) for step in range(10)] == pytest.approx(factors)


def test_a_step_moves_by_the_mean_gradient_of_its_batches(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    # so small a weight that the gradient is shorter than 1 and is not clipped
    stage = {"steps": 1, "accumulate": 3, "objectives": {"words": {"weight": 1e-3}}}
    training = settings(stage)
    trainer = build(tiny_model, toy_corpora, tmp_path / "run", training)
    trainer.fit()
    moments = checkpoint(tmp_path / "run")[1]

    other = build(tiny_model, toy_corpora, tmp_path / "hand", training)
    assert other.streams.pairs is not None
    only = training.stages[0]
    objective = OBJECTIVES["words"](only.objectives["words"], other.network)
    plans = other.streams.pairs.plans(
        alpha=only.alpha, tokens=only.batch_tokens, join=0, stage=0, start=0, order="random"
    )
    losses = []
    for plan in islice(plans, 3):
        step = Step(
            batch=other.streams.pairs.build(plan),
            network=other.network,
            generator=torch.Generator(),
            layers=frozenset({2}),
        )
        losses.append(1e-3 * objective(step))
    loss: Any = torch.stack(losses).mean()
    loss.backward()
    gradients = {n: p.grad for n, p in other.network.model.named_parameters() if p.grad is not None}
    assert sum(float(g.square().sum()) for g in gradients.values()) < 1
    for name, gradient in gradients.items():
        # Adam's first moment after one step is (1 - 0.9) times the gradient
        found = moments[f"exp_avg.model.{name}"]
        torch.testing.assert_close(found, 0.1 * gradient, atol=1e-9, rtol=1e-3)


def test_word_embeddings_have_a_rate_of_their_own(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    training = settings({"steps": 1, "learning_rate": 0.01, "embedding_rate": 0.1})
    trainer = build(tiny_model, toy_corpora, tmp_path, training)
    encoder = trainer.network.model.roberta
    weights = [
        encoder.embeddings.word_embeddings.weight,
        encoder.encoder.layer[0].output.dense.weight,
    ]
    before = [weight.detach().clone() for weight in weights]
    trainer.fit()
    moves = [float((w.detach() - b).abs().max()) for w, b in zip(weights, before, strict=True)]
    # Adam's first step moves every weight that has a gradient by the rate, whatever the gradient
    assert moves == pytest.approx([0.001, 0.01], rel=1e-2)


def test_what_an_objective_adds_is_trained_with_the_rest(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    training = settings({"objectives": {"psi": {}}}, {"name": "later"})
    trainer = build(tiny_model, toy_corpora, tmp_path, training)
    objectives = torch.nn.ModuleDict(
        {"psi": OBJECTIVES["psi"](OBJECTIVES["psi"].Settings(), trainer.network)}
    )
    own = set(objectives.parameters())
    assert own, "a classifier"
    rest, embeddings = build_optimizer(trainer.network, objectives, training.stages[0]).param_groups
    assert own <= set(rest["params"])
    assert {p.shape for p in embeddings["params"]} == {(77, 16)}, "rows of the tiny vocabulary"
    assert not set(embeddings["params"]) & set(rest["params"])
    trainer.fit()
    kept = checkpoint(tmp_path)[1]
    assert not any(name.startswith("objectives.psi") for name in kept), "the last stage has none"


# --- precision


def test_the_gradients_of_reduced_precision_are_those_of_float32(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    moments = {}
    for precision in ("float32", "bfloat16", "float16"):
        stage = {"steps": 1, "precision": precision, "objectives": {"words": {"weight": 1e-2}}}
        build(tiny_model, toy_corpora, tmp_path / precision, settings(stage)).fit()
        state = checkpoint(tmp_path / precision)[1]
        moments[precision] = torch.cat(
            [t.flatten() for name, t in sorted(state.items()) if name.startswith("exp_avg.")]
        )
    # bfloat16 has 8 bits, float16 11; an unscaled loss would be wrong by a factor of 65536
    for precision, allowed in (("bfloat16", 0.05), ("float16", 0.01)):
        error = (moments[precision] - moments["float32"]).norm() / moments["float32"].norm()
        assert float(error) < allowed, precision


def test_float16_leaves_out_steps_that_overflow_and_remembers_its_scale(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    # a loss of some 5 * 2**20 is no number in float16 (at most 65504) once its gradient is scaled
    stage = {"precision": "float16", "steps": 30, "objectives": {"mlm": {"weight": 2.0**20}}}
    build(tiny_model, toy_corpora, tmp_path, settings(stage, checkpoint_steps=30)).fit()
    place, state = checkpoint(tmp_path)
    left_out = round(math.log2(65536 / place.scale))  # each of them halves the scale
    assert 0 < left_out < 30
    assert place.unscaled <= 30 - left_out
    done = {int(t) for name, t in state.items() if name.startswith("step.model.roberta.encoder")}
    assert done == {30 - left_out}


# --- a run that is stopped goes on

CONFIG = """
corpora = ["toy.en-de.tsv"]
max_sentence_pieces = 40
checkpoint_steps = EVERY

[[stages]]
name = "words"
steps = 20
batch_tokens = 300
learning_rate = 0.01
warmup_steps = 5
objectives.words = {}

[[stages]]
name = "network"
steps = 110
batch_tokens = 300
learning_rate = 0.003
warmup_steps = 5
objectives.words = { layer = 1 }
objectives.mlm = { every = 2 }
objectives.psi = {}
"""


@pytest.fixture(scope="module")
def unbroken(tiny_model: Path, toy_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run of two stages that nobody stopped."""
    output = tmp_path_factory.mktemp("unbroken")
    (output / "adapt.toml").write_text(CONFIG.replace("EVERY", "1000"))
    training = read_adaptation(output / "adapt.toml")
    adapt(str(tiny_model), training, data=toy_corpora, output=output, progress=False)
    return output


def command(model: Path, data: Path, output: Path, every: int) -> list[str]:
    (output / "adapt.toml").write_text(CONFIG.replace("EVERY", str(every)))
    told = [sys.executable, "-m", "bitext", "adapt", str(output / "adapt.toml")]
    return [*told, "--model", str(model), "--data", str(data), "--output", str(output)]


def stop(told: list[str], ready: Callable[[], bool], how: signal.Signals) -> tuple[int, str]:
    """Start a command, send a signal once it is ``ready``; its exit code and what it said."""
    root = Path(__file__).parents[1]
    with subprocess.Popen(told, cwd=root, stderr=subprocess.PIPE, text=True) as process:
        while not ready():
            assert process.poll() is None, "it ended before it could be stopped"
            time.sleep(0.01)
        process.send_signal(how)
        _, said = process.communicate()
    return process.returncode, said


def is_in_second_stage(output: Path) -> bool:
    place = output / "run" / "checkpoint" / "place.json"
    return place.is_file() and json.loads(place.read_text())["stage"] == 1


def assert_the_same(output: Path, unbroken: Path) -> None:
    expected = load_file(unbroken / "model" / "model.safetensors")
    found = load_file(output / "model" / "model.safetensors")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    assert log_of(output) == log_of(unbroken)


def test_ctrl_c_saves_and_the_same_command_goes_on(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path, unbroken: Path
) -> None:
    told = command(tiny_model, toy_corpora, tmp_path, every=1000)
    # the first checkpoint is that of the first stage's end; in the second only Ctrl-C makes one
    first = tmp_path / "run" / "checkpoint" / "place.json"
    code, said = stop(told, first.is_file, signal.SIGINT)
    assert code == 130
    assert said.splitlines()[-1] == "bitext adapt: interrupted"
    place = checkpoint(tmp_path)[0]
    assert place.stage == 1
    assert 0 < place.step < 110
    assert not (tmp_path / "model").exists()
    subprocess.run(told, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.DEVNULL)
    assert_the_same(tmp_path, unbroken)


def test_a_run_killed_in_its_second_stage_goes_on_there(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path, unbroken: Path
) -> None:
    told = command(tiny_model, toy_corpora, tmp_path, every=7)  # amid the lines of the log
    code, _ = stop(told, lambda: is_in_second_stage(tmp_path), signal.SIGKILL)
    assert code == -signal.SIGKILL
    place = checkpoint(tmp_path)[0]
    assert place.stage == 1
    assert 0 < place.step < 110
    subprocess.run(told, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.DEVNULL)
    assert_the_same(tmp_path, unbroken)


def test_a_second_stage_starts_fresh(unbroken: Path) -> None:
    place, state = checkpoint(unbroken)
    assert place == Place(stage=1, step=110)
    taken = {
        int(t) for name, t in state.items() if name.startswith("step.model.roberta.encoder.layer.0")
    }
    assert taken == {110}, "Adam counts the stage's own steps, and not the 20 before"
    rates = {line["step"]: line["learning rate"] for line in log_of(unbroken)[1:]}
    # the last step of 110, of which 5 warmed up: one of 105 parts is left
    assert rates[110] == pytest.approx(0.003 / 105, abs=1e-6)


def test_float16_goes_on_with_its_scale(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    stage = {"precision": "float16", "steps": 12, "objectives": {"mlm": {"weight": 2.0**20}}}
    training = settings(stage, checkpoint_steps=5)
    whole = build(tiny_model, toy_corpora, tmp_path / "whole", training)
    whole.fit()
    broken = build(tiny_model, toy_corpora, tmp_path / "broken", training)
    with failing_save(after=2), pytest.raises(InputError):
        broken.fit()
    assert checkpoint(tmp_path / "broken")[0].step == 10
    build(tiny_model, toy_corpora, tmp_path / "broken", training).fit()
    places, states = zip(*(checkpoint(tmp_path / n) for n in ("whole", "broken")), strict=True)
    assert places[0] == places[1]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


# --- a run that fails


@contextmanager
def failing_save(after: int) -> Iterator[None]:
    """The disk is full once ``after`` files of tensors are written."""
    written = 0

    def save(tensors: Tensors, path: Path) -> None:
        nonlocal written
        if written == after:
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += 1
        save_file(tensors, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "save_file", save)
        yield


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    training = settings({}, checkpoint_steps=2)
    folder = tmp_path / "run"
    with failing_save(after=1), pytest.raises(InputError) as caught:
        adapt(str(tiny_model), training, data=toy_corpora, output=tmp_path, progress=False)
    assert str(caught.value) == f"cannot write {folder}: No space left on device"
    assert not list(folder.glob(".*")), "nothing half-written stays"
    assert not (tmp_path / "model").exists()
    assert checkpoint(tmp_path)[0].step == 2
    adapt(str(tiny_model), training, data=toy_corpora, output=tmp_path, progress=False)
    adapt(str(tiny_model), training, data=toy_corpora, output=tmp_path / "whole", progress=False)
    found, expected = (
        load_file(output / "model" / "model.safetensors")
        for output in (tmp_path, tmp_path / "whole")
    )
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_file_that_may_not_grow_is_one_sentence(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InputError, match=r"^cannot write .*: .*File too large") as caught:
            save_tensors({"a": torch.zeros(100_000)}, tmp_path / "state.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_no_number_ends_the_run(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    training = settings({}, checkpoint_steps=1)
    wild = training.stages[0].model_copy(update={"learning_rate": 1e30})  # more than a file may say
    training = training.model_copy(update={"stages": [wild]})
    with pytest.raises(InputError, match="^stage 'words', step 2: the loss is nan; lower"):
        adapt(str(tiny_model), training, data=toy_corpora, output=tmp_path, progress=False)
    assert checkpoint(tmp_path)[0].step == 1
    assert not list((tmp_path / "run").glob(".*"))
    assert not (tmp_path / "model").exists()


def test_a_gradient_that_is_no_number_never_reaches_a_checkpoint(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    trainer = build(tiny_model, toy_corpora, tmp_path, settings({}, checkpoint_steps=1))
    bias = trainer.network.model.roberta.encoder.layer[0].output.dense.bias
    steps = iter([1.0, 1.0, math.inf])
    bias.register_hook(lambda gradient: gradient * next(steps))
    with pytest.raises(
        InputError, match="^stage 'words', step 3: the gradient is (nan|inf); lower"
    ):
        trainer.fit()
    place, state = checkpoint(tmp_path)
    assert place.step == 2
    assert all(bool(tensor.isfinite().all()) for tensor in state.values())


# --- TensorBoard


def test_the_log_is_also_written_for_tensorboard(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stages = {"name": "first"}, {"name": "second", "steps": 4}
    build(tiny_model, toy_corpora, tmp_path, settings(*stages, tensorboard=True)).fit()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    losses = events.Scalars("words")
    assert [event.step for event in losses] == [6, 10], "steps of all stages so far"
    logged = [line["words"] for line in log_of(tmp_path)]
    assert [event.value for event in losses] == pytest.approx(logged, abs=1e-5)


def test_without_tensorboard_one_sentence_says_how_to_get_it(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # imports as if missing
    with pytest.raises(InputError) as caught:
        build(tiny_model, toy_corpora, tmp_path, settings({}, tensorboard=True))
    assert str(caught.value) == (
        "tensorboard = true needs TensorBoard: pip install 'bitext[tensorboard]'"
    )
