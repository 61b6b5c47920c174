"""Training over two processes gives what one process gives that computes all batches itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ADAPTATION = """
corpora = ["toy.en-*.tsv"]
max_sentence_pieces = 40

[[stages]]
name = "words"
steps = 4
batch_tokens = 300
accumulate = 2
warmup_steps = 0
learning_rate = 0.01
objectives.words = {}
objectives.mlm = {}
"""


def adapt(model: Path, data: Path, output: Path, launcher: list[str]) -> None:
    (data / "adapt.toml").write_text(ADAPTATION)
    command = [sys.executable, *launcher, "-m", "bitext", "adapt", str(data / "adapt.toml")]
    command += ["--model", str(model), "--data", str(data), "--output", str(output)]
    root = Path(__file__).parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output / 'model'}\n", "one process speaks"


@pytest.mark.parametrize(
    "launcher",
    [
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
        # "multi_gpu" is its name for one process a device; the devices are what bitext is told
        [
            "-m",
            "accelerate.commands.launch",
            "--multi_gpu",
            "--num_processes",
            "2",
            "--num_machines",
            "1",
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
        ],
    ],
    ids=["torchrun", "accelerate"],
)
def test_two_processes_do_what_one_does(
    tiny_model: Path, toy_corpora: Path, tmp_path: Path, launcher: list[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(toy_corpora, data)
    adapt(tiny_model, data, tmp_path / "one", [])
    adapt(tiny_model, data, tmp_path / "two", launcher)
    one, two = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-4)
    # both did read: the second logs only its own half of the batches' losses
    logs = [
        json.loads((tmp_path / n / "run" / "log.jsonl").read_text().splitlines()[-1])
        for n in ("one", "two")
    ]
    assert logs[0]["step"] == logs[1]["step"] == 4
    assert logs[0]["words"] != pytest.approx(logs[1]["words"], abs=1e-9), "one process ran alone"
