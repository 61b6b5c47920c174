"""The commands ``pretrain``, ``adapt``, ``download`` and ``models``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.text import data_folder
from encoders.options import (
    AsJson,
    Device,
    Model,
    Revision,
    ShowProgress,
)
from encoders.preset import BUNDLED

if TYPE_CHECKING:
    pass


def pretrain(
    config: Annotated[Path, typer.Argument(help="A TOML recipe; see docs/pretrain.md.")],
    output: Annotated[Path, typer.Option(help="The folder to train in; a stopped run goes on.")],
    data: Annotated[
        Path | None, typer.Option(help="What the corpora are relative to; default: BITEXT_DATA.")
    ] = None,
    device: Device = "cpu",
    progress: ShowProgress = None,
) -> None:
    """Train a multilingual encoder from parallel text; a run that was stopped goes on."""
    from encoders.training.pretraining import pretrain as run
    from encoders.training.recipe import read_recipe

    recipe = read_recipe(config)
    folder = run(
        recipe, data=data or data_folder(), output=output, device=device, progress=progress
    )
    _print_once(folder)


def adapt(
    config: Annotated[Path, typer.Argument(help="A TOML file; see docs/adapt.md.")],
    output: Annotated[Path, typer.Option(help="The folder to train in; a stopped run goes on.")],
    model: Model = BUNDLED,
    revision: Revision = None,
    data: Annotated[
        Path | None, typer.Option(help="What names of text are relative to; default: BITEXT_DATA.")
    ] = None,
    device: Device = "cpu",
    progress: ShowProgress = None,
) -> None:
    """Train a model further on your text; a run that was stopped goes on."""
    from encoders.training.adaptation import adapt as run
    from encoders.training.adaptation import read_adaptation

    folder = run(
        model,
        read_adaptation(config),
        data=data or data_folder(),
        output=output,
        revision=revision,
        device=device,
        progress=progress,
    )
    _print_once(folder)


def _print_once(folder: Path) -> None:
    """Of the processes that a launcher started, the first one speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(folder)


def download(
    model: Annotated[str, typer.Argument(help="A hub name, such as FacebookAI/xlm-roberta-base.")],
    revision: Revision = None,
) -> None:
    """Fetch a model from the hub into the local cache; every other command works offline."""
    from encoders.hub import download as fetch

    print(fetch(model, revision))


def models(
    as_json: AsJson = False,
) -> None:
    """List the models that can be used without a network: the bundled one and cached ones."""
    from encoders.hub import local_models

    for model in local_models():
        if as_json:
            print(json.dumps(model._asdict(), default=str))
        else:
            print(model.name, model.revision or "-", f"{model.bytes / 1e6:.1f} MB", sep="\t")


# --- bitext inspect
