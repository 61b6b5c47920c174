"""One stage of a training run: its steps, measurements and checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from bitext.errors import InputError
from bitext.progress import report_progress
from encoders.training import processes
from encoders.training.loop import seed_of
from encoders.training.run import Tensors
from nmt.training.batches import Batch
from nmt.training.config import Stage
from nmt.training.dropout import QuickDropout
from nmt.training.keeping import put
from nmt.training.loss import loss_of
from nmt.training.optimization import WorkingCopy, build_optimizer, freeze, schedule, set_modes
from nmt.training.sharding import MOMENTS, Shares

if TYPE_CHECKING:
    from nmt.training.trainer import Trainer

logger = logging.getLogger(__name__)

LOG_STEPS = 20
MEAN = "mean of the kept"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class StageRun:
    """Runs one stage for ``trainer``, from its place on."""

    def __init__(self, trainer: Trainer, number: int, state: Tensors) -> None:
        self.trainer = trainer
        self.number = number
        self.seconds = 0.0  # of steps alone
        self.stage = trainer.config.stages[number]
        model = trainer.model
        if state:
            put(model, under("model.", state))
            trainer.keeper.restore(under("average.", state))
        choose_attention(model, self.stage)
        freeze(model, self.stage, trainer.place.step)
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
            trainer.batches.restore(under("batches.", state))
        self.copy = WorkingCopy(model, PRECISIONS[self.stage.precision])
        self.copy.freeze()

    def go(self) -> None:
        trainer, stage = self.trainer, self.stage
        place = trainer.place
        batches = self._micro_batches(place.step)
        before = place.pieces
        validation = trainer.config.validation
        # of a run that was stopped at its very end
        ended = stage.best and place.waited >= validation.patience
        with report_progress(
            stage.name, stage.steps, show=trainer.progress, unit="steps"
        ) as advance:
            advance(place.step)
            for step in range(place.step, place.step if ended else stage.steps):
                began = time.monotonic()
                self._step(step, batches)
                self.seconds += time.monotonic() - began
                advance(1)
                last = step + 1 == stage.steps
                if last or (step + 1) % LOG_STEPS == 0:
                    self._write_log((trainer.place.pieces - before) / self.seconds)
                measured = trainer.measure is not None and (
                    last or (step + 1) % validation.every == 0
                )
                ended = measured and self._validate()
                stop = processes.any_process(trainer.interruption.asked)
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
        torch._foreach_div_([parameter.grad for parameter in moving], predicted)
        self._check_finite("loss", loss, step)
        norm = torch.nn.utils.clip_grad_norm_(moving, stage.clip or float("inf"))
        self._check_finite("gradient", float(norm), step)
        self.optimizer.step()
        if self.shares is not None:
            self.shares.spread(moving)
        self.copy.renew()
        trainer.keeper.update(step)
        place = trainer.place
        trainer.place = replace(
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
        if not math.isfinite(value):
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
        trainer, place = self.trainer, self.trainer.place
        figures = {
            "loss": place.loss / max(1, place.predicted),
            "pieces/s": rate,
            "learning rate": float(self.optimizer.param_groups[0]["lr"]),
            "pieces": float(place.pieces),
        }
        trainer.write(self.stage, figures)
        trainer.place = replace(place, loss=0.0, predicted=0)

    def _validate(self) -> bool:
        """Measure on dev data; whether the stage has ended by that."""
        trainer = self.trainer
        assert trainer.measure is not None
        with trainer.keeper.shown():
            figures = trainer.measure(trainer.model)
        trainer.model.train()
        trainer.write(self.stage, figures)
        logger.info("step %d: %s", trainer.place.step, figures)
        place = trainer.place
        better = place.best is None or figures["dev"] > place.best
        waited = 0 if better else place.waited + 1
        best = figures["dev"] if better else place.best
        kept = trainer.keeper.keep(
            place.kept, figures["dev"], f"stage-{place.stage}-step-{place.step}"
        )
        trainer.place = replace(place, best=best, waited=waited, kept=kept)
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
        state |= {f"average.{name}": one for name, one in trainer.keeper.state().items()}
        state |= {f"batches.{name}": one for name, one in trainer.batches.state().items()}
        trainer.run.save(trainer.place, state)
        trainer.run.forget_kept({name for _, name in trainer.place.kept})

    def _end(self) -> None:
        """The stage ends with its best weights; so does a run that is resumed after it."""
        trainer = self.trainer
        with processes.one_after_the_other():  # the first process has written them by then
            figures = trainer.keeper.take_best(self.stage, trainer.place.kept)
        if figures:
            trainer.write(self.stage, {f"{MEAN}: {k}": v for k, v in figures.items()})
        trainer.place = replace(trainer.place, step=self.stage.steps)
        trainer.model.train()


def under(prefix: str, state: Tensors) -> Tensors:
    """The tensors of a checkpoint whose names begin so, without that."""
    return {k.removeprefix(prefix): one for k, one in state.items() if k.startswith(prefix)}


def choose_attention(model: Any, stage: Stage) -> None:
    """On a CPU, the backward pass of the fused attention is slow in reduced precision."""
    slow = model.device.type == "cpu" and stage.precision != "float32"
    model.set_attn_implementation("eager" if slow else "sdpa")
