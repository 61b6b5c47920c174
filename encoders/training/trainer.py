"""Runs the stages of a recipe: steps, several processes, checkpoints, early stopping."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import nn

from bitext.errors import InputError
from bitext.progress import report_progress
from encoders.objectives import OBJECTIVES, Objective
from encoders.objectives.network import Network
from encoders.objectives.step import Step
from encoders.training import processes
from encoders.training.batches import Batch, BatchSource
from encoders.training.loop import Interruption, seed_of
from encoders.training.preparation import Streams
from encoders.training.recipe import Stage, Training
from encoders.training.run import Log, Place, RunFolder, Tensors

logger = logging.getLogger(__name__)

CLIP = 1.0
LOG_STEPS = 20
PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
Measure = Callable[[], dict[str, float]]
"""Figures of the model on development data; the one called ``dev`` decides, larger is better."""


@dataclass(slots=True)
class _Running:
    """What belongs to the stage that is running."""

    number: int
    stage: Stage
    objectives: nn.ModuleDict
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # does nothing but in float16


class Trainer:
    """Trains ``network`` on ``streams`` through all stages of ``training``.

    A run that was stopped, however it was, goes on from its last checkpoint, with the batches and
    the randomness it would have had: both are functions of the seed and the number of the batch.

    :param measure: measures the model on the dev data that ``training`` names.
    :param progress: draw a bar for each stage on stderr; by default only in a terminal.
    """

    def __init__(
        self,
        network: Network,
        streams: Streams,
        training: Training,
        run: RunFolder,
        *,
        measure: Measure | None = None,
        progress: bool | None = None,
    ) -> None:
        self.network = network
        self.streams = streams
        self.training = training
        self.run = run
        self.measure = measure
        self.progress = progress if processes.rank() == 0 else False
        self.log = Log(run.path, tensorboard=training.tensorboard and processes.rank() == 0)
        self._place = Place()
        self._interruption = Interruption()
        self._losses: dict[str, list[float]] = {}
        check_processes(training)
        # all are built before any weight moves: some remember where the model started
        self._objectives = [self._build(number) for number in range(len(training.stages))]

    def _build(self, number: int) -> nn.ModuleDict:
        torch.manual_seed(seed_of(self.training.seed, number))
        stage = self.training.stages[number]
        return nn.ModuleDict(
            {
                name: OBJECTIVES[name](settings, self.network)
                for name, settings in stage.objectives.items()
            }
        ).to(self.network.device)

    def fit(self) -> None:
        """Train through all stages, from the last checkpoint if there is one.

        :raises KeyboardInterrupt: after Ctrl-C, once the step is done and a checkpoint is written.
        """
        found = self.run.load(self.network.device, Place)
        state: Tensors = {}
        if found is not None:
            self._place, state = found
            self._losses = {name: list(values) for name, values in self._place.losses.items()}
            if processes.rank() == 0:
                names = [stage.name for stage in self.training.stages]
                before = self._steps_before(self._place.stage)
                self.log.forget_after(self._place.stage, self._place.step, names, before)
            logger.info("going on from stage %d, step %d", self._place.stage, self._place.step)
        self.network.model.train()
        with self._interruption.awaited():
            for number in range(self._place.stage, len(self.training.stages)):
                if number > self._place.stage:
                    self._place = Place(stage=number)
                self._run(self._start(number, state))
                state = {}

    def _start(self, number: int, state: Tensors) -> _Running:
        stage, objectives = self.training.stages[number], self._objectives[number]
        model = self.network.model
        choose_attention(self.network, stage)
        if state:
            _load(model, "model.", state)
            _load(objectives, "objectives.", state)
            _load(self.network.additions, "additions.", state)
        optimizer = build_optimizer(self.network, objectives, stage)
        scaler = torch.amp.GradScaler(
            self.network.device.type, enabled=stage.precision == "float16"
        )
        running = _Running(number, stage, objectives, optimizer, scaler)
        if state:
            for name, parameter in _named(running, self.network):
                if f"step.{name}" in state:
                    moments = ("step", "exp_avg", "exp_avg_sq")
                    optimizer.state[parameter] = {m: state[f"{m}.{name}"] for m in moments}
            if scaler.is_enabled():
                since = {"scale": self._place.scale, "_growth_tracker": self._place.unscaled}
                scaler.load_state_dict({**scaler.state_dict(), **since})
        if self._place.step == 0:
            for objective in _all(objectives):
                objective.prepare(self._steps(running, 0))
        return running

    def _run(self, running: _Running) -> None:
        stage, done = running.stage, self._place.step
        batches = self._batches(running, done)
        began, pieces = time.monotonic(), 0
        with report_progress(stage.name, stage.steps, show=self.progress, unit="steps") as advance:
            advance(done)
            for step in range(done, stage.steps):
                pieces += self._step(running, step, batches)
                self._place = replace(self._place, step=step + 1)
                advance(1)
                last = step + 1 == stage.steps
                if last or (step + 1) % LOG_STEPS == 0:
                    rate = processes.world() * pieces / (time.monotonic() - began)
                    self._write_log(running, {"pieces/s": rate, "learning rate": _rate(running)})
                ended = self._measure(running, last)
                stop = processes.any_process(self._interruption.asked)
                if last or ended or stop or (step + 1) % self.training.checkpoint_steps == 0:
                    self._save(running)
                if stop:
                    raise KeyboardInterrupt
                if ended:
                    break

    def _step(self, running: _Running, step: int, batches: Iterator[_Micro]) -> int:
        """One move of the weights; the pieces that were read for it."""
        stage, active = running.stage, _active(running, step)
        for group in running.optimizer.param_groups:
            group["lr"] = stage.learning_rate * group["rate"] * schedule(step, stage)
        running.optimizer.zero_grad(set_to_none=True)
        pieces = 0
        for micro in islice(batches, share_of(stage.accumulate)):
            pieces += self._backward(running, active, micro)
        if not active:
            return pieces
        parameters = [p for group in running.optimizer.param_groups for p in group["params"]]
        processes.add_gradients(parameters)
        running.scaler.unscale_(running.optimizer)
        moving = [p for p in parameters if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(moving, CLIP)
        if not running.scaler.is_enabled():  # which leaves such a step out
            self._check_finite(running, "gradient", norm, step)
        running.scaler.step(running.optimizer)
        running.scaler.update()
        for name in active:
            _one(running.objectives, name).after_step()
        return pieces

    def _backward(self, running: _Running, active: list[str], micro: _Micro) -> int:
        stage = running.stage
        torch.manual_seed(micro.seed)  # dropout of a resumed run is that of an uninterrupted one
        objectives = {name: _one(running.objectives, name) for name in active}
        views: dict[str, Step] = {}
        total = torch.zeros((), device=self.network.device)
        for name, objective in objectives.items():
            stream = self._stream_of(objective)
            if stream not in views:
                sharing = (o for o in objectives.values() if self._stream_of(o) == stream)
                layers = frozenset().union(*(o.sides() for o in sharing))
                views[stream] = self._view(micro, stream, stage, layers)
            loss = objective(views[stream])
            total = total + stage.objectives[name].weight * loss
            self._losses.setdefault(name, []).append(float(loss.detach()))
        self._check_finite(running, "loss", total.detach(), micro.step)
        if total.requires_grad:
            scaled: Any = running.scaler.scale(total / stage.accumulate)
            scaled.backward()
        return sum(_pieces_in(view.batch) for view in views.values())

    def _check_finite(self, running: _Running, what: str, value: torch.Tensor, step: int) -> None:
        """End the run before numbers that are none reach the weights, and with them checkpoints."""
        if processes.any_process(not bool(torch.isfinite(value))):  # or the others would wait
            raise InputError(
                f"stage '{running.stage.name}', step {step + 1}: the {what} is {float(value)}; "
                "lower the learning rate or warm up for longer"
            )

    def _view(self, micro: _Micro, stream: str, stage: Stage, layers: frozenset[int]) -> Step:
        return Step(
            batch=micro.build(stream),
            network=self.network,
            generator=torch.Generator().manual_seed(micro.seed),
            layers=layers,
            precision=PRECISIONS[stage.precision],
        )

    def _stream_of(self, objective: Objective[Any]) -> str:
        """The stream that an objective's batches come from."""
        if objective.reads == "gold":
            return "gold"
        if objective.reads == "text" and self.streams.text is not None:
            return "text"
        if objective.reads == "weights" or self.streams.pairs is not None:
            return next(name for name, _ in self._all_streams())
        return "text"

    def _all_streams(self) -> Iterator[tuple[str, BatchSource]]:
        for name in ("pairs", "text", "gold"):
            stream = getattr(self.streams, name)
            if stream is not None:
                yield name, stream

    def _batches(self, running: _Running, done: int) -> Iterator[_Micro]:
        """This process's share of the batches of every step, from step ``done`` on."""
        stage = running.stage
        first = done * stage.accumulate
        plans = {
            name: stream.plans(
                alpha=stage.alpha,
                tokens=stage.batch_tokens,
                join=stage.join_pieces,
                stage=running.number,
                start=first,
                order=stage.order,
            )
            for name, stream in self._all_streams()
        }
        own = share_of(stage.accumulate)
        number = first
        while True:
            drawn = {name: next(each) for name, each in plans.items()}
            if number % stage.accumulate // own == processes.rank():
                seed = seed_of(self.training.seed, running.number, number)
                yield _Micro(self.streams, drawn, seed, number // stage.accumulate)
            number += 1

    def _steps(self, running: _Running, done: int) -> Iterator[Step]:
        """Steps for objectives that look at some text before training starts."""
        for micro in self._batches(running, done):
            name = "text" if self.streams.text is not None else next(self._all_streams())[0]
            yield self._view(micro, name, running.stage, frozenset())

    def _measure(self, running: _Running, last: bool) -> bool:
        """Measure on dev data where it is time to; whether the stage has ended by that."""
        dev = self.training.dev
        if dev is None or self.measure is None:
            return False
        if not last and self._place.step % dev.every:
            return False
        self.network.model.eval()
        figures = self.measure()
        self.network.model.train()
        self._write_log(running, figures)
        best = self._place.best
        if best is None or figures["dev"] > best:
            self._place = replace(self._place, best=figures["dev"], waited=0)
            if processes.rank() == 0:
                self.run.save_best(self._weights())
        else:
            self._place = replace(self._place, waited=self._place.waited + 1)
        ended = self._place.waited >= dev.patience
        if last or ended:
            with processes.one_after_the_other():  # the first process has written it by then
                best_weights = self.run.load_best(self.network.device)
                _load(self.network.model, "model.", best_weights)
                _load(self.network.additions, "additions.", best_weights)
        if ended:
            logger.info("stage '%s' ends at step %d", running.stage.name, self._place.step)
            self._place = replace(self._place, step=running.stage.steps)
        return ended

    def _write_log(self, running: _Running, figures: dict[str, float]) -> None:
        means = {name: sum(values) / len(values) for name, values in self._losses.items()}
        self._losses.clear()
        if processes.rank() == 0:
            step = self._place.step
            at = self._steps_before(running.number) + step
            self.log.write(running.stage.name, step, {**means, **figures}, at)

    def _steps_before(self, number: int) -> int:
        """Steps of all stages before that one: where it begins on TensorBoard's axis."""
        return sum(stage.steps for stage in self.training.stages[:number])

    def _save(self, running: _Running) -> None:
        if processes.rank():
            return
        state = self._weights()
        state |= {f"objectives.{k}": v for k, v in running.objectives.state_dict().items()}
        for name, parameter in _named(running, self.network):
            for moment, tensor in running.optimizer.state.get(parameter, {}).items():
                state[f"{moment}.{name}"] = tensor
        scaler = running.scaler.state_dict()  # empty but in float16
        self._place = replace(
            self._place,
            losses=self._losses,
            scale=scaler.get("scale", 0.0),
            unscaled=scaler.get("_growth_tracker", 0),
        )
        self.run.save(self._place, state)

    def _weights(self) -> Tensors:
        """What the finished model is made of."""
        state = {f"model.{k}": v for k, v in self.network.model.state_dict().items()}
        return state | {f"additions.{k}": v for k, v in self.network.additions.state_dict().items()}


@dataclass(frozen=True, slots=True)
class _Micro:
    """One batch of every stream, made when it is needed."""

    streams: Streams
    plans: dict[str, Any]
    seed: int
    step: int

    def build(self, stream: str) -> Batch:
        batch: Batch = getattr(self.streams, stream).build(self.plans[stream])
        return batch


def check_processes(training: Training) -> None:
    """:raises InputError: if a stage's batches cannot be shared out equally."""
    for stage in training.stages:
        if stage.accumulate % processes.world():
            raise InputError(
                f"stage '{stage.name}': accumulate = {stage.accumulate} batches cannot be shared "
                f"by {processes.world()} processes; choose a multiple"
            )


def choose_attention(network: Network, stage: Stage) -> None:
    """On a CPU, the backward pass of the fused attention is slow in reduced precision.

    Written out as matrix products, it makes training faster there (``benchmarks/bench_train.py``).
    An attention that an objective has put in to look at it (``clwa``) stays.
    """
    if network.model.config._attn_implementation not in (network.attention, "eager"):
        return
    slow = network.device.type == "cpu" and stage.precision != "float32"
    network.model.set_attn_implementation("eager" if slow else network.attention)


def share_of(accumulate: int) -> int:
    """How many of a step's batches this process computes."""
    return accumulate // processes.world()


def build_optimizer(
    network: Network, objectives: nn.ModuleDict, stage: Stage
) -> torch.optim.Optimizer:
    """AdamW over everything that may move; word embeddings have a rate of their own."""
    embeddings = set(network.encoder.get_input_embeddings().parameters())
    every = [
        *network.model.parameters(),
        *objectives.parameters(),
        *network.additions.parameters(),
    ]
    groups = [
        {"params": [p for p in every if p.requires_grad and p not in embeddings], "rate": 1.0},
        {
            "params": [p for p in embeddings if p.requires_grad],
            "rate": stage.embedding_rate,
        },
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=stage.learning_rate,
        weight_decay=stage.weight_decay,
        fused=True,
    )


def schedule(step: int, stage: Stage) -> float:
    """Linear warm-up, then linear decay to nothing; a factor of the learning rate."""
    if step < stage.warmup_steps:
        return (step + 1) / stage.warmup_steps
    return max(0.0, (stage.steps - step) / max(1, stage.steps - stage.warmup_steps))


def _active(running: _Running, step: int) -> list[str]:
    settings = running.stage.objectives
    return [name for name in settings if step % settings[name].every == 0]


def _one(objectives: nn.ModuleDict, name: str) -> Objective[Any]:
    objective = objectives[name]
    assert isinstance(objective, Objective)
    return objective


def _all(objectives: nn.ModuleDict) -> Iterable[Objective[Any]]:
    return [_one(objectives, name) for name in objectives]


def _named(running: _Running, network: Network) -> Iterator[tuple[str, nn.Parameter]]:
    modules = {
        "model": network.model,
        "objectives": running.objectives,
        "additions": network.additions,
    }
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                yield f"{prefix}.{name}", parameter


def _load(module: nn.Module, prefix: str, state: Tensors) -> None:
    own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    module.load_state_dict(own)


def _rate(running: _Running) -> float:
    return float(running.optimizer.param_groups[0]["lr"])


def _pieces_in(batch: Batch) -> int:
    return int((batch.source >= 0).sum() + (batch.target >= 0).sum())
