"""The sentences of a batch put together in other ways than the corpus has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.objectives.masked import join_pairs
from encoders.objectives.step import Step
from encoders.training.batches import Batch


def join_rows(
    step: Step, left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Other rows than the batch's pairs as ``<s> left </s> </s> right </s>``.

    :param left: pieces, -1 is padding, shape (rows, left length); ``right`` likewise.
    :return: ids, positions and sides, as those of :func:`join_pairs`.
    """
    batch = replace(step.batch, source=left, target=right)
    return join_pairs(Step(batch, step.network, step.generator))


def sentences_alone(batch: Batch) -> NDArray[np.int64]:
    """Sentences of both sides, one below the other, -1 is padding; shape (sentences, length)."""
    width = max(batch.source.shape[1], batch.target.shape[1])
    sides = [batch.source, batch.target] if batch.target.shape[1] else [batch.source]
    return np.concatenate([widen(side, width) for side in sides])


def widen(ids: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Padded pieces with more padding, shape (rows, width)."""
    return np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=-1)
