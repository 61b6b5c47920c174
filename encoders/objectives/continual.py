"""Continual learning: what the model knew shall not be lost while it learns something else.

``l2sp`` (Li et al., 2018): weights w shall stay near those they started from,

    loss = 1/2 sum_i (w_i - start_i) ** 2

``ewc`` (Kirkpatrick et al., 2017, equation 3): the more so, the more the model depends on them,

    loss = 1/2 sum_i F_i (w_i - start_i) ** 2

F is the diagonal of the Fisher information: how strongly the prediction of masked pieces (MLM), as
the model is before the stage, changes with each weight. It is estimated as the mean over some
batches of the squared gradient. That is the empirical Fisher, from the pieces of the text and not
from pieces drawn by the model, and of whole batches: a Fisher of single sentences is larger by
about the number of pieces that a batch predicts, which ``weight`` has to make up for.

Only weights that are trained count, of the model and not of objectives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import nn

from bitext.bounds import Positive
from encoders.objectives.masked import choose_and_mask, prediction_loss
from encoders.objectives.memory import WeightCopy, follow, trainable
from encoders.objectives.network import Network
from encoders.objectives.objective import Objective, ObjectiveSettings, Reads, Share
from encoders.objectives.step import Step
from encoders.training.processes import gather_rows, world


class StartingPointSettings(ObjectiveSettings):
    pass


class StartingPoint(Objective[StartingPointSettings]):
    """``l2sp``. The start is where the whole training began; no checkpoint needs to hold it."""

    Settings = StartingPointSettings
    reads: ClassVar[Reads] = "weights"

    def __init__(self, settings: StartingPointSettings, network: Network) -> None:
        super().__init__(settings, network)
        self.network = network
        self.start = WeightCopy(trainable(network.model), persistent=False)

    def forward(self, step: Step) -> torch.Tensor:
        return squared_distance(trainable(self.network.model), self.start.by_name())


class ElasticWeightsSettings(ObjectiveSettings):
    batches: Positive = 48  # over which the Fisher information is estimated
    probability: Share = 0.15  # of a piece to be masked there


class ElasticWeights(Objective[ElasticWeightsSettings]):
    """``ewc``. The start is where the stage began."""

    Settings = ElasticWeightsSettings
    reads: ClassVar[Reads] = "weights"

    def __init__(self, settings: ElasticWeightsSettings, network: Network) -> None:
        super().__init__(settings, network)
        self.network = network
        weights = trainable(network.model)
        self.start = WeightCopy(weights)
        self.fisher = WeightCopy({name: torch.zeros_like(one) for name, one in weights.items()})

    def prepare(self, steps: Any) -> None:
        """Estimate F on the first batches, which all processes share out among themselves."""
        own = -(-self.settings.batches // world())
        weights = trainable(self.network.model)
        follow(self.start.by_name(), weights, momentum=0)
        fisher = self.fisher.by_name()
        with without_dropout(self.network.model):
            for step in islice(steps, own):
                step.precision = torch.float32  # squares of small gradients would be lost
                add_squares(fisher, weights, self._loss(step))
        for information in fisher.values():
            mean = gather_rows(information[None] / own).mean(0)
            information.copy_(mean)

    def _loss(self, step: Step) -> torch.Tensor:
        ids = step.framed_text()
        masked, chosen = choose_and_mask(
            ids, step.special, self.settings.probability, step.generator
        )
        return prediction_loss(step, masked, ids, chosen)

    def forward(self, step: Step) -> torch.Tensor:
        return squared_distance(
            trainable(self.network.model), self.start.by_name(), self.fisher.by_name()
        )


def squared_distance(
    weights: dict[str, torch.nn.Parameter],
    start: dict[str, torch.Tensor],
    importance: dict[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """``1/2 sum importance * (weights - start) ** 2``, importance 1 if not given."""
    total = torch.zeros(())
    for name, begun in start.items():
        squares = (weights[name] - begun) ** 2
        term = (squares if importance is None else importance[name] * squares).sum()
        total = total.to(term.device) + term
    return total / 2


def add_squares(
    sums: dict[str, torch.Tensor], weights: dict[str, torch.nn.Parameter], loss: torch.Tensor
) -> None:
    """Add to ``sums`` the squared gradient of ``loss`` by each weight."""
    gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    for name, gradient in zip(weights, gradients, strict=True):
        if gradient is not None:  # a weight that the loss does not depend on
            sums[name] += gradient**2


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """The model as it is at inference; afterwards every part is in its former mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
