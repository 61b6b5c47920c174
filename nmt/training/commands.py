"""The command ``bitext train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bitext.memory import keep_freed_memory
from bitext.text import data_folder
from encoders.options import Device, ShowProgress


def train(
    config: Annotated[Path, typer.Argument(help="A TOML file; see docs/train.md.")],
    output: Annotated[Path, typer.Option(help="The folder to train in; a stopped run goes on.")],
    data: Annotated[
        Path | None, typer.Option(help="What the files are relative to; default: BITEXT_DATA.")
    ] = None,
    device: Device = "cpu",
    progress: ShowProgress = None,
) -> None:
    """Train a translation model that starts from the multilingual one."""
    from nmt.training.config import read_config
    from nmt.training.train import train as run

    keep_freed_memory()
    folder = run(
        read_config(config),
        data=data or data_folder(),
        output=output,
        device=device,
        progress=progress,
    )
    if os.environ.get("RANK", "0") == "0":  # of several processes, the first one speaks
        print(folder)
