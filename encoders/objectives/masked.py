"""Masked prediction: of one sentence (MLM) and of a sentence pair read together (TLM).

    loss = - mean over chosen pieces of log p(piece | the sentence, or the pair, with those masked)

Of the chosen pieces 80 % are masked, 10 % replaced by any piece and 10 % left (Devlin et al.,
2019). In TLM a piece may be predicted from the other language (Conneau & Lample, 2019); both
sentences count their positions from the start, as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from encoders.objectives.network import SpecialPieces
from encoders.objectives.objective import Objective, ObjectiveSettings, Reads, Share
from encoders.objectives.step import Step


class MaskedSettings(ObjectiveSettings):
    probability: Share = 0.15  # of a piece to be chosen


class MaskedPieces(Objective[MaskedSettings]):
    """MLM on every sentence alone."""

    Settings = MaskedSettings
    reads: ClassVar[Reads] = "text"

    def forward(self, step: Step) -> torch.Tensor:
        ids = step.framed_text()
        masked, chosen = choose_and_mask(
            ids, step.special, self.settings.probability, step.generator
        )
        return prediction_loss(step, masked, ids, chosen)


class MaskedPairs(Objective[MaskedSettings]):
    """TLM on ``<s> source </s> </s> target </s>``."""

    Settings = MaskedSettings
    reads: ClassVar[Reads] = "pairs"

    def forward(self, step: Step) -> torch.Tensor:
        ids, positions, _ = join_pairs(step)
        masked, chosen = choose_and_mask(
            ids, step.special, self.settings.probability, step.generator
        )
        return prediction_loss(step, masked, ids, chosen, positions=positions)


def join_pairs(step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The batch's pairs as single inputs ``<s> source </s> </s> target </s>``.

    :return: ids, positions (which count from 0 in either sentence), and the side of each piece: 0
        source, 1 target, -1 padding; special pieces belong to the sentence they frame. All of shape
        (pairs, length).
    """
    special, batch = step.special, step.batch
    rows, positions, sides = [], [], []
    for source, target in zip(batch.source, batch.target, strict=True):
        left = [special.begin, *source[source >= 0], special.end]
        right = [special.end, *target[target >= 0], special.end]
        rows.append(np.array(left + right))
        positions.append(np.concatenate([np.arange(len(left)), np.arange(len(right))]))
        sides.append(np.repeat([0, 1], [len(left), len(right)]))
    return stack(rows, special.pad), stack(positions, 0), stack(sides, -1)


def stack(rows: Sequence[NDArray[np.int64]], padding: int) -> torch.Tensor:
    """Rows of unlike lengths as one tensor, shape (rows, longest)."""
    stacked = np.full((len(rows), max(map(len, rows))), padding, dtype=np.int64)
    for number, row in enumerate(rows):
        stacked[number, : len(row)] = row
    return torch.from_numpy(stacked)


def choose_and_mask(
    ids: torch.Tensor, special: SpecialPieces, probability: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The input with chosen pieces masked, replaced or left, and where the chosen ones are."""
    own = ~special.are(ids)
    chosen = own & (torch.rand(ids.shape, generator=generator) < probability)
    return mask_chosen(ids, chosen, special, generator), chosen


def mask_chosen(
    ids: torch.Tensor, chosen: torch.Tensor, special: SpecialPieces, generator: torch.Generator
) -> torch.Tensor:
    """Of the chosen pieces 80 % become the mask, 10 % any piece; 10 % stay."""
    fate = torch.rand(ids.shape, generator=generator)
    any_piece = torch.randint(special.vocabulary, ids.shape, generator=generator)
    any_piece = torch.where(special.are(any_piece), special.mask, any_piece)
    masked = torch.where(chosen & (fate < 0.8), special.mask, ids)
    return torch.where(chosen & (fate >= 0.9), any_piece, masked)


def prediction_loss(
    step: Step,
    inputs: torch.Tensor,
    wanted: torch.Tensor,
    chosen: torch.Tensor,
    *,
    positions: torch.Tensor | None = None,
    attention: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean cross-entropy of the pieces at ``chosen``, all of shape (rows, length).

    :param positions: and ``attention``: see :meth:`Step.encode`.
    """
    top = step.network.layers
    states = step.encode(inputs, positions=positions, attention=attention)[top]
    chosen = chosen.to(step.device)
    scores = step.predict(states[chosen])
    pieces = wanted.to(step.device)[chosen]
    # a batch of a few short sentences may have no chosen piece at all
    return functional.cross_entropy(scores, pieces, reduction="sum") / max(1, len(pieces))
