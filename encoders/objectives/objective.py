"""What every training objective is: settings from a recipe, perhaps weights of its own, a loss."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import Field
from torch import nn

from bitext.bounds import Layer, Positive, Weight
from encoders.objectives.network import Network
from encoders.objectives.step import Step
from encoders.strict import Strict

Share = Annotated[float, Field(gt=0, lt=1)]
Reads = Literal["text", "pairs", "links", "gold", "weights"]
"""What an objective learns from: sentences of one language, sentence pairs, pairs with guiding
links, pairs with gold links, or no batch at all."""


class ObjectiveSettings(Strict):
    """What the recipe may say of every objective."""

    weight: Weight = 1.0  # of its loss
    every: Positive = 1  # steps from one batch of it to the next


class LayerSettings(ObjectiveSettings):
    """Of objectives that read the hidden states of one layer."""

    layer: Layer | None = None  # the top one, if not named


Said = TypeVar("Said", bound=ObjectiveSettings)


class Objective(nn.Module, Generic[Said]):
    """A loss over one step; lower is better.

    Weights that only the objective needs (a classifier, a projection) are its parameters: they are
    trained and kept in checkpoints of the run, and are no part of the finished model. What it
    remembers between steps (a queue, a slow copy of the model) are its buffers.
    """

    Settings: ClassVar[type[ObjectiveSettings]]
    reads: ClassVar[Reads]

    def __init__(self, settings: Said, network: Network) -> None:
        super().__init__()
        self.settings = settings
        layer = getattr(settings, "layer", None)
        self.layer: int = network.layers if layer is None else layer

    def sides(self) -> frozenset[int]:
        """The layers at which it reads the two sides, encoded apart and unmasked.

        They are computed once for all objectives of a step: see :meth:`Step.sides`.
        """
        return frozenset()

    def prepare(self, steps: Any) -> None:
        """Called once, before the first step of a new run.

        :param steps: an iterator over steps of the stage, without end.
        """

    def forward(self, step: Step) -> torch.Tensor:
        """The loss, a scalar that gradients flow through."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called once the optimizer has moved the weights."""
