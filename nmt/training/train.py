"""From a config to a trained translation model."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bitext.errors import InputError
from bitext.text import atomic_write
from encoders.checkpoint import find_device
from encoders.training import processes
from encoders.training.run import forgotten_unless_begun
from nmt.network.model import save_translation_checkpoint
from nmt.training.config import TrainConfig
from nmt.training.mixture import Mixture
from nmt.training.preparation import prepare
from nmt.training.run import TrainingFolder
from nmt.training.tasks import read_learned, sources_of
from nmt.training.trainer import Trainer, check_processes
from nmt.training.validation import dev_measure

logger = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    *,
    data: Path,
    output: Path,
    device: str = "cpu",
    progress: bool | None = None,
) -> Path:
    """Train a translation model and save it as an ordinary checkpoint folder.

    Work in progress lies in ``output/run``: a run that was stopped, however it was, goes on from
    its last checkpoint, with the batches and the randomness it would have had. The model it began
    with is kept in ``output/start``, with its report of where each tensor came from.

    :param data: the folder that the config's files are relative to.
    :param output: where the checkpoint folder ``model`` and the ``run`` folder are made.
    :return: the checkpoint folder.
    :raises InputError: if text cannot be read, sizes do not fit, or the disk is full.
    :raises MismatchError: if ``output`` holds a run of another config.
    """
    place = find_device(device)
    check_files(config, data)
    with forgotten_unless_begun(output), processes.together(place):
        check_processes(config)  # before the folder is claimed
        with processes.one_after_the_other():
            run = TrainingFolder(output, config)
            model, codec, report = prepare(config, data, run.path)
            if not (output / "start" / "config.json").is_file():
                save_translation_checkpoint(output / "start", model, codec, beside=report.write)
        learned = read_learned(config, codec, data)
        run.claim_text(learned.fingerprint())
        if processes.rank() == 0:
            for said in learned.cleaning:
                logger.info("%s", said.sentence())
            _write_json(run.path / "cleaning.json", [asdict(said) for said in learned.cleaning])
        batches = Mixture(
            config.stages, [sources_of(one, learned, config) for one in config.stages]
        )
        model.to(place)
        Trainer(
            model,
            batches,
            config,
            run,
            measure=dev_measure(config, codec, data),
            new=[one.tensor for one in report.origins if one.kind == "new"],
            progress=progress,
        ).fit()
        if processes.rank() == 0:
            save_translation_checkpoint(output / "model", model, codec, beside=report.write)
    return output / "model"


def check_files(config: TrainConfig, data: Path) -> None:
    """:raises InputError: if a file that the config names is not there."""
    bitext = [*config.data.corpora, *config.data.dev]
    named = [name for one in bitext for name in (one.file, one.source, one.target)]
    named += [one.file for one in [*config.data.monolingual, *config.data.dev_monolingual]]
    for name in [*named, *config.vocabulary.text]:
        if name is not None and not (data / name).is_file():
            raise InputError(f"no such file: {data / name}")


def _write_json(path: Path, what: Any) -> None:
    with atomic_write(path) as file:
        json.dump(what, file, indent=1)
