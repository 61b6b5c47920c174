"""A training run that is killed at any moment and resumed ends as an unbroken one, bit for bit."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import encoders.training.run
from bitext.errors import InputError
from encoders.training.run import Log, Tensors
from nmt.training.config import TrainConfig
from nmt.training.train import train

CONFIG = """
seed = 3
checkpoint_steps = 3
data.source_lang = "en"
data.target_lang = "de"
data.corpora = [{file = "pairs.tsv"}]
data.dev = [{file = "pairs.tsv"}]
vocabulary.size = 330
vocabulary.sampling_alpha = 0.4
model = {dim = 16, heads = 2, feed_forward = 32, encoder_layers = 1, decoder_layers = 1}
validation = {every = 4, measure = "loss", keep = 2, patience = 3, ema = 0.5}

[[stages]]
name = "part"
steps = 8
batch_tokens = 60
learning_rate = 0.01
warmup_steps = 2
freeze = ["encoder"]
thaw_step = 5

[[stages]]
name = "all"
steps = 10
batch_tokens = 60
accumulate = 2
learning_rate = 0.003
warmup_steps = 0
precision = "bfloat16"
"""
PAIRS = """the house is small\tdas haus ist klein
the garden is big\tder garten ist groß
a cat sleeps in the old house\teine katze schläft im alten haus
a big cat\teine große katze
the old garden\tder alte garten
the cat is small\tdie katze ist klein
"""
# each forks, so that what is killed costs no new start of Python
DRIVER = """
import os, signal, sys
from pathlib import Path
import torch
import nmt.training.train, nmt.training.trainer
from nmt.training.config import TrainConfig
from nmt.training.run import TrainingFolder
from nmt.training.stage import StageRun
from nmt.training.keeping import Keeper

torch.set_num_threads(1)
folder = Path(sys.argv[1])
config = TrainConfig.model_validate_json((folder / "config.json").read_text())

def kill_at(owner, method, call, after):
    real, calls = getattr(owner, method), [0]
    def patched(*args, **named):
        calls[0] += 1
        if calls[0] == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*args, **named)
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    setattr(owner, method, patched)

def run(output, *kill):
    child = os.fork()
    if child == 0:
        if kill:
            kill_at(*kill)
        nmt.training.train.train(config, data=folder, output=folder / output, progress=False)
        os._exit(0)
    return os.waitpid(child, 0)[1]

MOMENTS = {
    "before-the-first-checkpoint": (StageRun, "_step", 2, True),
    "at-the-thaw": (StageRun, "_step", 6, True),
    "kept-not-saved": (TrainingFolder, "save", 2, False),
    "stage-not-ended": (Keeper, "take_best", 1, False),
    "stage-ended": (StageRun, "_end", 1, True),
    "in-the-next-stage": (StageRun, "_step", 15, True),
    "run-not-ended": (Keeper, "take_best", 2, True),
    "model-not-written": (nmt.training.train, "save_translation_checkpoint", 2, False),
}
# in this process, which thereby has imported everything before it forks
nmt.training.train.train(config, data=folder, output=folder / "unbroken", progress=False)
for name, moment in MOMENTS.items():
    assert run(name, *moment) == signal.SIGKILL, name
    assert run(name) == 0, name
    print(name, flush=True)
"""


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    import tomllib

    written = tomllib.loads(CONFIG)
    written["initialize"] = {"model": None}
    return TrainConfig.model_validate(written)


@pytest.fixture(scope="module")
def killed(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: one unbroken, the others killed and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "pairs.tsv").write_text(PAIRS)
    (folder / "config.json").write_text(config.model_dump_json())
    root = Path(__file__).parents[1]
    # of equally likely pieces, two trainings of a vocabulary may have either order: all get one
    for name in MOMENTS:
        (folder / name / "run").mkdir(parents=True)
        (folder / name / "run" / "vocabulary").symlink_to(
            folder / "unbroken" / "run" / "vocabulary"
        )
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder)],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
             "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.split() == list(MOMENTS)
    return folder


MOMENTS = [
    "before-the-first-checkpoint",
    "at-the-thaw",
    "kept-not-saved",
    "stage-not-ended",
    "stage-ended",
    "in-the-next-stage",
    "run-not-ended",
    "model-not-written",
]


def log_of(output: Path) -> list[dict[str, Any]]:
    """The run's figures, but for its speed."""
    lines = (output / "run" / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "pieces/s"} for line in lines]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_is_as_unbroken(killed: Path, moment: str) -> None:
    assert log_of(killed / moment) == log_of(killed / "unbroken")
    own, other = (
        load_file(killed / n / "model" / "model.safetensors") for n in (moment, "unbroken")
    )
    assert own.keys() == other.keys()
    for name, tensor in other.items():
        assert torch.equal(own[name], tensor), name


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_is_left_behind(killed: Path, moment: str) -> None:
    assert not [path.name for path in (killed / moment).rglob("*.tmp")]
    kept = [path.name for path in (killed / moment / "run" / "kept").iterdir()]
    assert sorted(kept) == sorted(p.name for p in (killed / "unbroken" / "run" / "kept").iterdir())


def test_a_full_disk_leaves_the_last_checkpoint(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS)
    real, calls = save_file, []

    def fill(tensors: Tensors, path: Path) -> None:
        calls.append(path)
        real(tensors, path)
        if len(calls) == 4:  # a checkpoint, kept weights and a checkpoint came before
            with path.open("r+b") as file:
                file.truncate(100)
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encoders.training.run, "save_file", fill)
    with pytest.raises(InputError, match=r"cannot write .*run.*: No space left on device"):
        train(config, data=tmp_path, output=tmp_path / "out", progress=False)
    checkpoint = tmp_path / "out" / "run" / "checkpoint"
    place = json.loads((checkpoint / "place.json").read_text())
    assert (place["stage"], place["step"]) == (0, 4)
    assert load_file(checkpoint / "state.safetensors")
    monkeypatch.setattr(encoders.training.run, "save_file", real)
    assert train(config, data=tmp_path, output=tmp_path / "out", progress=False).is_dir()
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_a_line_of_the_log_that_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    log = Log(tmp_path, tensorboard=False)
    log.write("part", 1, {"loss": 1.0}, 1)
    with log.path.open("a") as file:
        file.write('{"stage": "part", "st')
    log.forget_after(0, 4, ["part"], 0)
    assert log.path.read_text() == '{"stage": "part", "step": 1, "loss": 1.0}\n'
