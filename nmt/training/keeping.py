"""The weights that a run measures and keeps: the best of a stage, their mean, a moving average."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from encoders.training import processes
from encoders.training.run import Tensors
from nmt.training.config import Stage, ValidationSettings
from nmt.training.optimization import MovingAverage
from nmt.training.run import Kept, TrainingFolder

Measure = Callable[[Any], dict[str, float]]
"""Figures of a model on the dev data; the one called ``dev`` decides, larger is better."""


class Keeper:
    """Keeps the weights of ``model`` that do best, a few on the disk."""

    def __init__(
        self, model: Any, run: TrainingFolder, settings: ValidationSettings, measure: Measure | None
    ) -> None:
        self._model, self._run, self._settings, self._measure = model, run, settings, measure
        self._average = MovingAverage(model, settings.ema) if settings.ema else None

    @property
    def weights(self) -> Tensors:
        """What is measured and kept: the moving average, where there is one."""
        if self._average is not None:
            return self._average.weights
        return {name: one.detach() for name, one in self._model.named_parameters()}

    def update(self, step: int) -> None:
        """Let the moving average follow the weights."""
        if self._average is not None:
            self._average.update(self._model, step)

    def state(self) -> Tensors:
        """What a checkpoint holds of the moving average."""
        return {} if self._average is None else self._average.weights

    def restore(self, state: Tensors) -> None:
        """Go on from :meth:`state`."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block the model has the weights that are measured."""
        if self._average is None:
            yield
            return
        own = {name: one.detach().clone() for name, one in self._model.named_parameters()}
        put(self._model, self._average.weights)
        yield
        put(self._model, own)

    def keep(self, kept: Kept, figure: float, name: str) -> Kept:
        """Keep these weights if they are among the best so far.

        :param kept: what is kept, best first.
        :return: what is kept now.
        """
        best = sorted([*kept, (figure, name)], key=lambda one: -one[0])[: self._settings.keep]
        if any(one == name for _, one in best) and processes.rank() == 0:
            self._run.keep(name, self.weights)
        return best

    def take_best(self, stage: Stage, kept: Kept) -> dict[str, float]:
        """Put the best weights of a stage into the model: a kept checkpoint, or their mean.

        :return: what was measured of the mean.
        """
        if not stage.best or not kept or self._measure is None:
            put(self._model, self.weights)
            return {}
        every = [self._run.load_kept(name, self._model.device) for _, name in kept]
        figures: dict[str, float] = {}
        put(self._model, every[0])
        if self._settings.average and len(every) > 1:
            put(self._model, mean_of(every))
            figures = self._measure(self._model)
            if figures["dev"] < kept[0][0]:
                put(self._model, every[0])
        return figures


def put(model: nn.Module, weights: Tensors) -> None:
    """Copy weights into a model's parameters, by name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def mean_of(every: Sequence[Tensors]) -> Tensors:
    """The mean of several checkpoints' weights (Vaswani et al., 2017)."""
    return {name: torch.stack([one[name] for one in every]).mean(0) for name in every[0]}
