"""Translation training over two processes gives what one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nmt.training.config import read_config
from nmt.training.sharding import Shares, share_out
from nmt.training.train import train

CONFIG = """
seed = 3
checkpoint_steps = 2
sharded = {sharded}
data.source_lang = "en"
data.target_lang = "de"
data.corpora = [{{file = "pairs.tsv"}}]
data.dev = [{{file = "pairs.tsv"}}]
vocabulary.source = "corpus"
vocabulary.size = 330
model = {{dim = 16, heads = 2, feed_forward = 32, encoder_layers = 1, decoder_layers = 1}}
validation = {{every = 3, measure = "loss"}}

[[stages]]
steps = 6
batch_tokens = 60
accumulate = 2
learning_rate = 0.01
warmup_steps = 0
"""
PAIRS = """the house is small\tdas haus ist klein
the garden is big\tder garten ist groß
a cat sleeps in the old house\teine katze schläft im alten haus
a big cat\teine große katze
"""
# ends all processes by force before the sixth step
KILLED = """
import os, signal, sys
from nmt.training.stage import StageRun
real = StageRun._step
def step(run, number, batches):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    real(run, number, batches)
StageRun._step = step
from bitext.cli import main
main(sys.argv[1:])
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """With configs, and the run of one process, whose vocabulary the others take."""
    made = tmp_path_factory.mktemp("processes")
    (made / "pairs.tsv").write_text(PAIRS)
    (made / "killed.py").write_text(KILLED)
    for name, sharded in (("whole", "false"), ("sharded", "true")):
        start = f'initialize.model = "{tiny_model}"\n'
        (made / f"{name}.toml").write_text(start + CONFIG.format(sharded=sharded))
    one = read_config(made / "whole.toml")
    train(one, data=made, output=made / "one", progress=False)
    return made


def launch(
    folder: Path, config: str, output: str, what: list[str]
) -> subprocess.CompletedProcess[str]:
    (folder / output / "run").mkdir(parents=True)
    (folder / output / "run" / "vocabulary").symlink_to(folder / "one" / "run" / "vocabulary")
    command = [sys.executable, *TORCHRUN, *what, "train", str(folder / f"{config}.toml")]
    command += ["--data", str(folder), "--output", str(folder / output)]
    root = Path(__file__).parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def log_of(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "run" / "log.jsonl").read_text().splitlines()]


def check_equal(one: Path, other: Path) -> None:
    logs = [[line for line in log_of(run) if "dev loss" in line] for run in (one, other)]
    assert len(logs[0]) == len(logs[1]) == 2
    for own, theirs in zip(*logs, strict=True):
        assert theirs["dev loss"] == pytest.approx(own["dev loss"], abs=1e-3)
    first, second = (load_file(run / "model" / "model.safetensors") for run in (one, other))
    for name, tensor in first.items():
        if name.endswith("k_proj.bias"):  # softmax undoes it: its gradient is rounding alone
            continue
        torch.testing.assert_close(second[name], tensor, atol=1e-4, rtol=1e-3)


def test_two_processes_do_what_one_does(folder: Path) -> None:
    done = launch(folder, "whole", "two", ["-m", "bitext"])
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder / 'two' / 'model'}\n", "one process speaks"
    check_equal(folder / "one", folder / "two")


def test_a_sharded_run_of_two_goes_on_as_one(folder: Path) -> None:
    """Two processes that are killed leave a whole checkpoint, which one process takes up."""
    done = launch(folder, "sharded", "killed", [str(folder / "killed.py")])
    assert done.returncode != 0
    run = folder / "killed" / "run" / "checkpoint"
    assert json.loads((run / "place.json").read_text())["step"] == 4
    state = load_file(run / "state.safetensors")
    moments = {name.removeprefix("exp_avg.") for name in state if name.startswith("exp_avg.")}
    assert moments == {name.removeprefix("model.") for name in state if name.startswith("model.")}
    config = read_config(folder / "sharded.toml")
    train(config, data=folder, output=folder / "killed", progress=False)
    check_equal(folder / "one", folder / "killed")


def test_shares_are_of_about_one_size() -> None:
    """The largest goes to the first, the next two to the second, and so on."""
    assert share_out([5, 9, 4, 1], 2) == [1, 0, 1, 0]
    assert share_out([3, 2], 1) == [0, 0]


def test_one_process_owns_everything() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.ones(3))]
    shares = Shares(weights)
    assert all(shares.owns(one) for one in weights)
    state = {weights[1]: {"step": torch.tensor(1.0)}}
    assert shares.gather(state) == state
