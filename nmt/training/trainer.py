"""Runs the stages of a training run: steps, measuring, checkpoints, early stopping."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from bitext.errors import InputError
from bitext.progress import report_progress
from encoders.training import processes
from encoders.training.loop import Interruption, seed_of
from encoders.training.run import Log, Tensors
from nmt.training.batches import Batch, BatchSource
from nmt.training.config import Stage, TrainConfig
from nmt.training.dropout import QuickDropout
from nmt.training.loss import loss_of
from nmt.training.optimization import (
    MovingAverage,
    WorkingCopy,
    build_optimizer,
    freeze,
    schedule,
    set_modes,
)
from nmt.training.run import TrainingFolder
from nmt.training.sharding import MOMENTS, Shares

logger = logging.getLogger(__name__)

LOG_STEPS = 20
_MEAN = "mean of the kept"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Measure = Callable[[Any], dict[str, float]]
"""Figures of a model on the dev data; the one called ``dev`` decides, larger is better."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a run has come, and what early stopping has seen so far."""

    stage: int = 0
    step: int = 0  # steps of the stage that are done
    pieces: int = 0  # that the run has read
    best: float | None = None  # of this stage's measurements, larger is better
    waited: int = 0  # measurements since then
    kept: list[tuple[float, str]] = field(default_factory=list)  # figure and name, best first
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
        self._place = Place()
        self._interruption = Interruption()
        decay = config.validation.ema
        self._average = MovingAverage(model, decay) if decay else None

    def fit(self) -> None:
        """Train through all stages, from the last checkpoint if there is one; take the best.

        :raises KeyboardInterrupt: after Ctrl-C, once the step is done and a checkpoint is written.
        :raises InputError: if the loss or the gradient is no number any more.
        """
        found = self.run.load(self.model.device, Place)
        state: Tensors = {}
        if found is not None:
            place, state = found
            self._place = replace(place, kept=[(figure, name) for figure, name in place.kept])
            logger.info("going on from stage %d, step %d", place.stage, place.step)
        self._forget_later()
        self.model.train()
        with self._interruption.awaited():
            for number in range(self._place.stage, len(self.config.stages)):
                if number > self._place.stage:
                    self._place = Place(stage=number, pieces=self._place.pieces)
                _Run(self, number, state).go()
                state = {}
        self.model.eval()

    def _forget_later(self) -> None:
        """Forget what a killed run has logged and kept since the checkpoint, if it had one."""
        if processes.rank():
            return
        place, names = self._place, [stage.name for stage in self.config.stages]
        before = self._steps_before(place.stage)
        self.log.forget_after(place.stage, place.step, names, before, ending=_MEAN)
        self.run.forget_kept({name for _, name in place.kept})

    def write(self, stage: Stage, figures: dict[str, float]) -> None:
        """A line of the log."""
        if processes.rank() == 0:
            step = self._place.step
            at = self._steps_before(self._place.stage) + step
            self.log.write(stage.name, step, figures, at)

    def _steps_before(self, number: int) -> int:
        return sum(stage.steps for stage in self.config.stages[:number])

    # --- what is kept of a stage

    def weights(self) -> Tensors:
        """The weights that are measured and kept: the moving average, where there is one."""
        if self._average is not None:
            return self._average.weights
        return {name: one.detach() for name, one in self.model.named_parameters()}

    def keep(self, figure: float) -> None:
        """Keep these weights if they are among the best so far."""
        most = self.config.validation.keep
        name = f"stage-{self._place.stage}-step-{self._place.step}"
        kept = sorted([*self._place.kept, (figure, name)], key=lambda one: -one[0])[:most]
        if any(one == name for _, one in kept) and processes.rank() == 0:
            self.run.keep(name, self.weights())
        self._place = replace(self._place, kept=kept)

    def take_best(self, stage: Stage) -> dict[str, float]:
        """Put the best weights of the stage into the model: a kept checkpoint, or their mean.

        :return: what was measured of the mean.
        """
        if not stage.best or not self._place.kept or self.measure is None:
            put(self.model, self.weights())
            return {}
        place = self.model.device
        every = [self.run.load_kept(name, place) for _, name in self._place.kept]
        figures: dict[str, float] = {}
        put(self.model, every[0])
        if self.config.validation.average and len(every) > 1:
            put(self.model, mean_of(every))
            figures = self.measure(self.model)
            if figures["dev"] < self._place.kept[0][0]:
                put(self.model, every[0])
        return figures


class _Run:
    """One stage of a run."""

    def __init__(self, trainer: Trainer, number: int, state: Tensors) -> None:
        self.trainer = trainer
        self.number = number
        self.seconds = 0.0  # of steps alone
        self.stage = trainer.config.stages[number]
        model = trainer.model
        if state:
            put(model, {k.removeprefix("model."): v for k, v in state.items() if k[:6] == "model."})
            if trainer._average is not None:
                for name, tensor in trainer._average.weights.items():
                    tensor.copy_(state[f"average.{name}"])
        choose_attention(model, self.stage)
        freeze(model, self.stage, trainer._place.step)
        self.names = {parameter: name for name, parameter in model.named_parameters()}
        self.shares = Shares(list(self.names)) if trainer.config.sharded else None
        own = None if self.shares is None else self.shares.owns
        if not any(one.requires_grad for one in self.names):
            raise InputError(
                f"stage '{self.stage.name}': freeze leaves nothing that moves; name fewer parts"
            )
        self.optimizer = build_optimizer(model, self.stage, trainer.new, own=own)
        if state:
            for parameter, name in self.names.items():
                if (own is None or own(parameter)) and f"step.{name}" in state:
                    self.optimizer.state[parameter] = {m: state[f"{m}.{name}"] for m in MOMENTS}
            batches = {
                k.removeprefix("batches."): v for k, v in state.items() if k[:8] == "batches."
            }
            trainer.batches.restore(batches)
        self.copy = WorkingCopy(model, PRECISIONS[self.stage.precision])
        self.copy.freeze()

    def go(self) -> None:
        trainer, stage = self.trainer, self.stage
        place = trainer._place
        batches = self._micro_batches(place.step)
        before = place.pieces
        validation = trainer.config.validation
        # of a run that was stopped at its very end
        ended = stage.best and place.waited >= validation.patience
        with report_progress(stage.name, stage.steps, show=trainer.progress) as advance:
            advance(place.step)
            for step in range(place.step, place.step if ended else stage.steps):
                began = time.monotonic()
                self._step(step, batches)
                self.seconds += time.monotonic() - began
                advance(1)
                last = step + 1 == stage.steps
                if last or (step + 1) % LOG_STEPS == 0:
                    self._write_log((trainer._place.pieces - before) / self.seconds)
                measured = trainer.measure is not None and (
                    last or (step + 1) % validation.every == 0
                )
                ended = measured and self._validate()
                stop = processes.any_process(trainer._interruption.asked)
                if measured or stop or (step + 1) % trainer.config.checkpoint_steps == 0 or last:
                    self._save()
                if stop:
                    raise KeyboardInterrupt("the same command goes on from here")
                if ended:
                    break
        self._end()

    def _step(self, step: int, batches: Iterator[tuple[int, Batch]]) -> None:
        """One move of the weights."""
        trainer, stage = self.trainer, self.stage
        if stage.thaw_step and step == stage.thaw_step:
            freeze(trainer.model, stage, step)
            self.copy.freeze()
        figures = trainer.batches.prepare(self.copy.model, stage=self.number, step=step)
        set_modes(self.copy.model, stage, step)
        for group in self.optimizer.param_groups:
            group["lr"] = stage.learning_rate * group["rate"] * schedule(step, stage)
        for parameter in self.names:
            parameter.grad = None
        loss, predicted, pieces = 0.0, 0, 0
        for _ in range(stage.accumulate // processes.world()):
            seed, batch = next(batches)
            torch.manual_seed(seed)  # dropout of a resumed run is that of an uninterrupted one
            batch = batch.to(trainer.model.device)
            with QuickDropout():
                total, count = loss_of(self.copy.model, batch, smoothing=stage.label_smoothing)
            (batch.weight * total).backward()  # type: ignore[no-untyped-call]
            self.copy.collect()
            loss, predicted = loss + float(total.detach()), predicted + count
            pieces += batch.pieces
        loss, predicted, pieces = processes.add_up(loss, predicted, pieces)
        moving = [p for p in self.names if p.requires_grad]
        processes.add_gradients(moving)
        moving = [p for p in moving if p.grad is not None]
        for parameter in moving:
            parameter.grad /= predicted
        self._check_finite("loss", loss, step)
        norm = torch.nn.utils.clip_grad_norm_(moving, stage.clip or float("inf"))
        self._check_finite("gradient", float(norm), step)
        self.optimizer.step()
        if self.shares is not None:
            self.shares.spread(moving)
        self.copy.renew()
        if trainer._average is not None:
            trainer._average.update(trainer.model, step)
        place = trainer._place
        trainer._place = replace(
            place,
            step=step + 1,
            pieces=place.pieces + pieces,
            loss=place.loss + loss,
            predicted=place.predicted + predicted,
        )
        if figures:
            trainer.write(stage, figures)

    def _check_finite(self, what: str, value: float, step: int) -> None:
        """End the run before numbers that are none reach the weights, and with them checkpoints."""
        if value != value or value in (float("inf"), float("-inf")):
            raise InputError(
                f"stage '{self.stage.name}', step {step + 1}: the {what} is {value}; lower the "
                "learning rate or warm up for longer; the last checkpoint is whole"
            )

    def _micro_batches(self, done: int) -> Iterator[tuple[int, Batch]]:
        """This process's share of the batches of every step, from step ``done`` on."""
        stage, trainer = self.stage, self.trainer
        first = done * stage.accumulate
        own = stage.accumulate // processes.world()
        plans = trainer.batches.plans(tokens=stage.batch_tokens, stage=self.number, start=first)
        for number, plan in enumerate(plans, start=first):
            if number % stage.accumulate // own == processes.rank():
                seed = seed_of(trainer.config.seed, self.number, number)
                yield seed, trainer.batches.build(plan)

    def _write_log(self, rate: float) -> None:
        trainer, place = self.trainer, self.trainer._place
        figures = {
            "loss": place.loss / max(1, place.predicted),
            "pieces/s": rate,
            "learning rate": float(self.optimizer.param_groups[0]["lr"]),
            "pieces": float(place.pieces),
        }
        trainer.write(self.stage, figures)
        trainer._place = replace(place, loss=0.0, predicted=0)

    def _validate(self) -> bool:
        """Measure on dev data; whether the stage has ended by that."""
        trainer = self.trainer
        assert trainer.measure is not None
        model = trainer.model
        if trainer._average is None:
            figures = trainer.measure(model)
        else:
            own = {name: one.detach().clone() for name, one in model.named_parameters()}
            put(model, trainer._average.weights)
            figures = trainer.measure(model)
            put(model, own)
        model.train()
        trainer.write(self.stage, figures)
        logger.info("step %d: %s", trainer._place.step, figures)
        place = trainer._place
        better = place.best is None or figures["dev"] > place.best
        waited = 0 if better else place.waited + 1
        best = figures["dev"] if better else place.best
        trainer._place = replace(place, best=best, waited=waited)
        trainer.keep(figures["dev"])
        return self.stage.best and waited >= trainer.config.validation.patience

    def _save(self) -> None:
        trainer = self.trainer
        moments: Mapping[Any, Tensors] = self.optimizer.state
        if self.shares is not None:
            moments = self.shares.gather(moments)
        if processes.rank():
            return
        state = {f"model.{name}": p.detach() for p, name in self.names.items()}
        for parameter, name in self.names.items():
            for moment, tensor in moments.get(parameter, {}).items():
                state[f"{moment}.{name}"] = tensor
        if trainer._average is not None:
            state |= {f"average.{n}": t for n, t in trainer._average.weights.items()}
        state |= {f"batches.{name}": one for name, one in trainer.batches.state().items()}
        trainer.run.save(trainer._place, state)
        trainer.run.forget_kept({name for _, name in trainer._place.kept})

    def _end(self) -> None:
        """The stage ends with its best weights; so does a run that is resumed after it."""
        trainer = self.trainer
        with processes.one_after_the_other():  # the first process has written them by then
            figures = trainer.take_best(self.stage)
        if figures:
            trainer.write(self.stage, {f"{_MEAN}: {k}": v for k, v in figures.items()})
        trainer._place = replace(trainer._place, step=self.stage.steps)
        trainer.model.train()


def put(model: nn.Module, weights: Tensors) -> None:
    """Copy weights into a model's parameters, by name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def mean_of(every: Sequence[Tensors]) -> Tensors:
    """The mean of several checkpoints' weights (Vaswani et al., 2017)."""
    return {name: torch.stack([one[name] for one in every]).mean(0) for name in every[0]}


def check_processes(config: TrainConfig) -> None:
    """:raises InputError: if a stage's batches cannot be shared out equally."""
    for stage in config.stages:
        if stage.accumulate % processes.world():
            raise InputError(
                f"stage '{stage.name}': accumulate = {stage.accumulate} batches cannot be shared "
                f"by {processes.world()} processes; choose a multiple"
            )


def choose_attention(model: Any, stage: Stage) -> None:
    """On a CPU, the backward pass of the fused attention is slow in reduced precision."""
    slow = model.device.type == "cpu" and stage.precision != "float32"
    model.set_attn_implementation("eager" if slow else "sdpa")
