"""Runs the stages of a training run, one after the other, from wherever it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bitext.errors import InputError
from encoders.training import processes
from encoders.training.loop import Interruption
from encoders.training.run import Log, Tensors
from nmt.training.batches import BatchSource
from nmt.training.config import Stage, TrainConfig
from nmt.training.keeping import Keeper, Measure
from nmt.training.run import Kept, TrainingFolder
from nmt.training.stage import MEAN, StageRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a run has come, and what early stopping has seen so far."""

    stage: int = 0
    step: int = 0  # steps of the stage that are done
    pieces: int = 0  # that the run has read
    best: float | None = None  # of this stage's measurements, larger is better
    waited: int = 0  # measurements since then
    kept: Kept = field(default_factory=list)  # figure and name, best first
    loss: float = 0.0  # since the last line of the log: summed,
    predicted: int = 0  # over so many pieces


class Trainer:
    """Trains ``model`` on ``batches`` through all stages of ``config``.

    A run that was stopped, however it was, goes on from its last checkpoint, with the batches and
    the randomness it would have had: both are functions of the seed and the number of the batch.

    :param measure: measures a model on the dev data; without it there is no early stopping.
    :param new: names of the parameters that were not pretrained.
    :param progress: draw a bar for each stage on stderr; by default only in a terminal.
    """

    def __init__(
        self,
        model: Any,
        batches: BatchSource,
        config: TrainConfig,
        run: TrainingFolder,
        *,
        measure: Measure | None = None,
        new: Sequence[str] = (),
        progress: bool | None = None,
    ) -> None:
        self.model, self.batches, self.config, self.run = model, batches, config, run
        self.measure, self.new = measure, new
        self.progress = progress if processes.rank() == 0 else False
        self.log = Log(run.path, tensorboard=config.tensorboard and processes.rank() == 0)
        self.place = Place()
        self.interruption = Interruption()
        self.keeper = Keeper(model, run, config.validation, measure)

    def fit(self) -> None:
        """Train through all stages, from the last checkpoint if there is one; take the best.

        :raises KeyboardInterrupt: after Ctrl-C, once the step is done and a checkpoint is written.
        :raises InputError: if the loss or the gradient is no number any more.
        """
        found = self.run.load(self.model.device, Place)
        state: Tensors = {}
        if found is not None:
            place, state = found
            self.place = replace(place, kept=[(figure, name) for figure, name in place.kept])
            logger.info("going on from stage %d, step %d", place.stage, place.step)
        self._forget_later()
        self.model.train()
        with self.interruption.awaited():
            for number in range(self.place.stage, len(self.config.stages)):
                if number > self.place.stage:
                    self.place = Place(stage=number, pieces=self.place.pieces)
                StageRun(self, number, state).go()
                state = {}
        self.model.eval()

    def _forget_later(self) -> None:
        """Forget what a killed run has logged and kept since the checkpoint, if it had one."""
        if processes.rank():
            return
        place, names = self.place, [stage.name for stage in self.config.stages]
        before = self._steps_before(place.stage)
        self.log.forget_after(place.stage, place.step, names, before, ending=MEAN)
        self.run.forget_kept({name for _, name in place.kept})

    def write(self, stage: Stage, figures: dict[str, float]) -> None:
        """A line of the log."""
        if processes.rank() == 0:
            step = self.place.step
            at = self._steps_before(self.place.stage) + step
            self.log.write(stage.name, step, figures, at)

    def _steps_before(self, number: int) -> int:
        return sum(stage.steps for stage in self.config.stages[:number])


def check_processes(config: TrainConfig) -> None:
    """:raises InputError: if a stage's batches cannot be shared out equally."""
    for stage in config.stages:
        if stage.accumulate % processes.world():
            raise InputError(
                f"stage '{stage.name}': accumulate = {stage.accumulate} batches cannot be shared "
                f"by {processes.world()} processes; choose a multiple"
            )
