"""Masked prediction: of one sentence (MLM) and of a sentence pair read together (TLM).

    loss = - mean over chosen pieces of log p(piece | the sentence, or the pair, with those masked)

Of the chosen pieces 80 % are masked, 10 % replaced by any piece and 10 % left (Devlin et al.,
2019). In TLM a piece may be predicted from the other language (Conneau & Lample, 2019); both
sentences count their positions from the start, as there.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from encoders.objectives.step import SpecialPieces, Step, frame
from encoders.recipe import ObjectiveSettings


def masked_pieces(step: Step, settings: ObjectiveSettings, layer: int) -> torch.Tensor:
    """MLM on both sides of the batch, each sentence alone."""
    ids = frame([step.batch.source, step.batch.target], step.special)
    return _predict(step, ids, None, settings.probability)


def masked_pieces_of_pairs(step: Step, settings: ObjectiveSettings, layer: int) -> torch.Tensor:
    """TLM on ``<s> source </s> </s> target </s>``."""
    ids, positions = join_pairs(step)
    return _predict(step, ids, positions, settings.probability)


def join_pairs(step: Step) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch's pairs as single inputs and their positions, shapes (pairs, length)."""
    special, batch = step.special, step.batch
    rows, positions = [], []
    for source, target in zip(batch.source, batch.target, strict=True):
        left = [special.begin, *source[source >= 0], special.end]
        right = [special.end, *target[target >= 0], special.end]
        rows.append(np.array(left + right))
        # RoBERTa's positions start after the padding id
        positions.append(
            np.concatenate([np.arange(len(left)), np.arange(len(right))]) + special.pad + 1
        )
    width = max(map(len, rows))
    return _stack(rows, width, special.pad), _stack(positions, width, special.pad)


def _stack(rows: list[NDArray[np.int64]], width: int, pad: int) -> torch.Tensor:
    stacked = np.full((len(rows), width), pad, dtype=np.int64)
    for number, row in enumerate(rows):
        stacked[number, : len(row)] = row
    return torch.from_numpy(stacked)


def choose_and_mask(
    ids: torch.Tensor, special: SpecialPieces, probability: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The input with chosen pieces masked, replaced or left, and where the chosen ones are."""
    own = (ids != special.begin) & (ids != special.end) & (ids != special.pad)
    chosen = own & (torch.rand(ids.shape, generator=generator) < probability)
    fate = torch.rand(ids.shape, generator=generator)
    any_piece = torch.randint(special.mask + 1, special.vocabulary, ids.shape, generator=generator)
    masked = torch.where(chosen & (fate < 0.8), special.mask, ids)
    return torch.where(chosen & (fate >= 0.9), any_piece, masked), chosen


def _predict(
    step: Step, ids: torch.Tensor, positions: torch.Tensor | None, probability: float
) -> torch.Tensor:
    masked, chosen = choose_and_mask(ids, step.special, probability, step.generator)
    inputs = {"input_ids": masked, "attention_mask": (ids != step.special.pad).long()}
    if positions is not None:
        inputs["position_ids"] = positions
    chosen = chosen.to(step.device)
    with step.autocast():
        encoder = step.model.base_model
        states = encoder(**{k: v.to(step.device) for k, v in inputs.items()}).last_hidden_state
        scores = step.model.lm_head(states[chosen])
    wanted = ids.to(step.device)[chosen]
    # a batch of a few short sentences may have no chosen piece at all
    return functional.cross_entropy(scores.float(), wanted, reduction="sum") / max(1, len(wanted))
