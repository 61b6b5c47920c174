"""What an objective sees of one training step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.corpus import Batch
from encoders.layers import LayerTap
from encoders.recipe import ObjectiveSettings


@dataclass(frozen=True, slots=True)
class SpecialPieces:
    """Ids of the pieces that frame, pad and mask, and how many pieces there are in all."""

    begin: int
    pad: int
    end: int
    mask: int
    vocabulary: int


@dataclass(slots=True)
class Step:
    """One batch, the model, and the hidden states that the objectives of this step share."""

    batch: Batch
    model: Any  # transformers.XLMRobertaForMaskedLM
    tap: LayerTap
    special: SpecialPieces
    generator: torch.Generator
    layers: frozenset[int]  # those that the objectives of this step read of the two sides
    device: torch.device
    precision: torch.dtype
    _states: dict[int, torch.Tensor] = field(default_factory=dict)

    def sides(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states of the batch's source and target pieces, special ones left out.

        :return: shapes (pairs, source length, dim) and (pairs, target length, dim).
        """
        source, target = self.batch.source, self.batch.target
        if not self._states:
            ids = frame([source, target], self.special).to(self.device)
            attention = (ids != self.special.pad).long()
            with self.autocast():
                self._states = self.tap(self.layers, input_ids=ids, attention_mask=attention)
        states = self._states[layer]
        pairs = len(source)
        return (
            states[:pairs, 1 : 1 + source.shape[1]],
            states[pairs:, 1 : 1 + target.shape[1]],
        )

    def autocast(self) -> torch.autocast:
        """The stage's precision, for the network but not for the losses on top of it."""
        reduced = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision, enabled=reduced)

    def masks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """True at the pieces of either side, shapes (pairs, length)."""
        source = torch.from_numpy(self.batch.source >= 0).to(self.device)
        target = torch.from_numpy(self.batch.target >= 0).to(self.device)
        return source, target


class Objective(Protocol):
    """A loss over one step; lower is better, a scalar tensor that gradients flow through."""

    def __call__(self, step: Step, settings: ObjectiveSettings, layer: int) -> torch.Tensor: ...


def frame(sides: list[NDArray[np.int64]], special: SpecialPieces) -> torch.Tensor:
    """Sentences of several sides, one below the other, each as ``<s> pieces </s>`` and padded.

    :param sides: padded pieces, -1 is padding.
    :return: shape (sentences of all sides, longest + 2).
    """
    width = max(side.shape[1] for side in sides) + 2
    rows = []
    for side in sides:
        framed = np.full((len(side), width), special.pad, dtype=np.int64)
        framed[:, 0] = special.begin
        framed[:, 1 : 1 + side.shape[1]] = np.where(side >= 0, side, special.pad)
        framed[np.arange(len(side)), (side >= 0).sum(1) + 1] = special.end
        rows.append(framed)
    return torch.from_numpy(np.concatenate(rows))
