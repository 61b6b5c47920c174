"""Causal language modelling (CLM): each piece from those before it.

    loss = - mean_i log p(piece i | <s>, pieces 1 .. i - 1)

one of the three objectives of Conneau & Lample (2019, XLM). The model is the encoder itself, whose
pieces look only to their left. Simplified: sentences are read alone, without what came before them
in a document, and their end is not predicted.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field

from encoders.objectives.masked import prediction_loss
from encoders.objectives.network import Network, SpecialPieces
from encoders.objectives.objective import Objective, ObjectiveSettings, Reads
from encoders.objectives.probing import check_masks
from encoders.objectives.step import Step


class PredictedSettings(ObjectiveSettings):
    """Of objectives that could predict every piece."""

    share: Annotated[float, Field(gt=0, le=1)] = (
        1.0  # of the pieces predicted; fewer take less room
    )


class NextPieces(Objective[PredictedSettings]):
    """The loss above, on every sentence alone.

    :raises InputError: if pieces cannot be hidden from each other in this model.
    """

    Settings = PredictedSettings
    reads: ClassVar[Reads] = "text"

    def __init__(self, settings: PredictedSettings, network: Network) -> None:
        super().__init__(settings, network)
        check_masks(network)

    def forward(self, step: Step) -> torch.Tensor:
        ids = step.framed_text()
        wanted = next_pieces(ids, step.special.pad)
        chosen = choose(wanted, step.special, self.settings.share, step.generator)
        attention = look_left(ids, step.special.pad)
        return prediction_loss(step, ids, wanted, chosen, attention=attention)


def look_left(ids: torch.Tensor, pad: int) -> torch.Tensor:
    """True where piece i may look at piece j: at itself and to its left, never at padding.

    :param ids: shape (rows, length).
    :return: shape (rows, length, length).
    """
    length = ids.shape[1]
    return torch.ones(length, length, dtype=torch.bool).tril() & (ids != pad)[:, None, :]


def next_pieces(ids: torch.Tensor, pad: int) -> torch.Tensor:
    """The piece to the right of each, padding after the last; shape (rows, length)."""
    return torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], pad)], dim=1)


def choose(
    ids: torch.Tensor, special: SpecialPieces, share: float, generator: torch.Generator
) -> torch.Tensor:
    """True at about ``share`` of the pieces that are not special, shape of ``ids``."""
    own = ~special.are(ids)
    return own if share == 1 else own & (torch.rand(ids.shape, generator=generator) < share)
