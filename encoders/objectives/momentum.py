"""Cross-lingual contrast with a momentum encoder, ``xlco`` (Chi et al., 2021, InfoXLM).

A slow copy of the model encodes the translations (the keys); those of former steps wait in a queue
as negatives (He et al., 2020, MoCo). With unit vectors ``q`` of a sentence by the model, ``k`` of
its translation by the slow copy, and ``n`` in the queue

    loss = - log (exp(q . k / t) / (exp(q . k / t) + sum_n exp(q . n / t)))
    slow weights = momentum * slow weights + (1 - momentum) * weights

averaged over both sides of all pairs. Mixup contrast: each pair is joined with another one of the
batch, ``(x1 x2, y1 y2)``, either side in a random order, which makes the pair hard to tell from
its parts. Unlike in the paper, a sentence's vector is the mean of its pieces and not ``<s>``, there
is no projection on top, every pair is queried from both sides and not from a random one, and the
queue is not filled before training: until it is full there are fewer negatives, and none in the
first step. The paper's momentum is 0.9999 and its queue 131072, for 200,000 steps of 2048 pairs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from torch.nn import functional

from bitext.bounds import Positive, Weight
from encoders.objectives.contrastive import unit
from encoders.objectives.masked import stack
from encoders.objectives.memory import Collected, Queue, WeightCopy, follow, trainable
from encoders.objectives.network import Network
from encoders.objectives.objective import LayerSettings, Objective, Reads
from encoders.objectives.step import Step, frame
from encoders.pooling import pool_sentence
from encoders.training.batches import Batch

Side = NDArray[np.int64]


class MomentumContrastSettings(LayerSettings):
    temperature: Weight = 0.1  # cosines are divided by it
    momentum: float = Field(0.999, ge=0, lt=1)  # what the slow copy keeps of itself at a step
    queue: Positive = 4096  # keys, two a pair; a smaller corpus would be its own negatives
    mixup: bool = True


class MomentumContrast(Objective[MomentumContrastSettings]):
    """The loss above. The slow copy leaves frozen weights alone, which it shares."""

    Settings = MomentumContrastSettings
    reads: ClassVar[Reads] = "pairs"

    def __init__(self, settings: MomentumContrastSettings, network: Network) -> None:
        super().__init__(settings, network)
        self.network = network
        self.slow = WeightCopy(trainable(network.encoder))
        self.queue = Queue(settings.queue, network.dim, network.device)
        self.collected = Collected()

    def prepare(self, steps: Any) -> None:
        """The slow copy starts where the stage does, former stages have moved the model."""
        follow(self.slow.by_name(), trainable(self.network.encoder), momentum=0)

    def forward(self, step: Step) -> torch.Tensor:
        batch = step.batch
        sides = [batch.source, batch.target]
        if self.settings.mixup:
            sides = mix(batch, step.generator, longest(self.network))
        ids = frame(sides, step.special)
        queries = encode(step, ids, self.layer)
        with torch.no_grad():
            keys = encode_with(self.slow.by_name(), step, ids, self.layer)
        self.collected.add(keys)
        # the key of a source is its target's
        keys = keys.roll(len(batch.source), 0)
        return info_nce(queries, keys, self.queue.filled(), self.settings.temperature)

    def after_step(self) -> None:
        self.collected.move_to(self.queue)
        follow(self.slow.by_name(), trainable(self.network.encoder), self.settings.momentum)


def info_nce(
    queries: torch.Tensor, keys: torch.Tensor, negatives: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Mean loss of queries that shall find their keys among ``negatives``.

    :param queries: unit rows, shape (queries, dim); ``keys`` likewise, row by row.
    :param negatives: unit rows, shape (any number, dim).
    """
    own = (queries * keys).sum(1, keepdim=True)
    scores = torch.cat([own, queries @ negatives.transpose(0, 1)], 1) / temperature
    return functional.cross_entropy(scores, torch.zeros_like(scores[:, 0], dtype=torch.long))


def encode(step: Step, ids: torch.Tensor, layer: int) -> torch.Tensor:
    """Unit vectors of framed sentences, the means of their pieces, shape (rows, dim)."""
    states = step.encode(ids, frozenset({layer}))[layer]
    own = ~step.special.are(ids).to(states.device)
    return unit(pool_sentence(states.float(), own, "mean"))


def encode_with(
    weights: dict[str, torch.Tensor], step: Step, ids: torch.Tensor, layer: int
) -> torch.Tensor:
    """As :func:`encode`, with other weights in the place of the encoder's own."""
    inside = {f"encoder.{name}": tensor for name, tensor in weights.items()}
    vectors: torch.Tensor = torch.func.functional_call(_Encoding(step), inside, (ids, layer))
    return vectors


class _Encoding(nn.Module):
    """A module around the encoder, for ``functional_call`` to exchange its weights."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.encoder = step.network.encoder
        self._step = step

    def forward(self, ids: torch.Tensor, layer: int) -> torch.Tensor:
        return encode(self._step, ids, layer)


def mix(batch: Batch, generator: torch.Generator, longest: int | None) -> list[Side]:
    """Each pair joined with another one of the batch, on each side in a random order.

    :param longest: pairs that are joined to more pieces than this on a side stay alone.
    :return: padded sources and targets, -1 is padding, as many rows as the batch has.
    """
    pairs = len(batch.source)
    # on a circle in random order everybody's neighbour is somebody else
    circle = torch.randperm(pairs, generator=generator)
    other = torch.empty_like(circle)
    other[circle] = circle.roll(1)
    swapped = torch.rand(2, pairs, generator=generator) < 0.5
    sides: list[list[Side]] = [[], []]
    for number, partner in enumerate(other.tolist()):
        joined = []
        for side, swap in zip((batch.source, batch.target), swapped, strict=True):
            parts = [side[k][side[k] >= 0] for k in (number, partner)]
            joined.append(np.concatenate(parts[::-1] if swap[number] else parts))
        alone = pairs == 1 or (longest is not None and max(map(len, joined)) > longest)
        for rows, side, row in zip(sides, (batch.source, batch.target), joined, strict=True):
            rows.append(side[number][side[number] >= 0] if alone else row)
    return [stack(rows, -1).numpy() for rows in sides]


def longest(network: Network) -> int | None:
    """The most pieces of a sentence that the model takes; ``None`` if it does not say."""
    known = getattr(network.model.config, "max_position_embeddings", None)
    if not isinstance(known, int) or known <= 0:
        return None
    return known - (network.first_position or 0) - 2
