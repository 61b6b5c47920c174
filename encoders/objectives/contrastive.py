"""Sentence-level contrast: a sentence shall find its translation among those of the batch.

With ``S = cos(x_a, y_b) / temperature`` over a batch of pairs

    loss = - mean_a (log softmax_b S_aa + log softmax_a S_aa) / 2

in-batch translation ranking in both directions (Feng et al., 2022, LaBSE, without its margin).
Pairs that share a sentence with pair ``a`` are no negatives of it.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from encoders.objectives.step import Step
from encoders.pooling import pool_sentence
from encoders.recipe import ObjectiveSettings


def parallel_sentences(step: Step, settings: ObjectiveSettings, layer: int) -> torch.Tensor:
    """The loss above, on mean-pooled pieces."""
    source, target = step.sides(layer)
    source_mask, target_mask = step.masks()
    source_keys = torch.from_numpy(step.batch.source_keys)
    target_keys = torch.from_numpy(step.batch.target_keys)
    same = (source_keys[:, None] == source_keys) | (target_keys[:, None] == target_keys)
    return contrast_sentences(
        pool_sentence(source, source_mask, "mean"),
        pool_sentence(target, target_mask, "mean"),
        same.to(step.device),
        settings.temperature,
    )


def contrast_sentences(
    source: torch.Tensor, target: torch.Tensor, same: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The loss of pooled pairs.

    :param source: shape (pairs, dim); ``target`` likewise.
    :param same: true where two pairs share a sentence, shape (pairs, pairs).
    """
    similarity = functional.normalize(source.float(), dim=-1) @ functional.normalize(
        target.float(), dim=-1
    ).transpose(0, 1)
    own = torch.eye(len(source), dtype=torch.bool, device=source.device)
    similarity = (similarity / temperature).masked_fill(same & ~own, -torch.inf)
    wanted = torch.arange(len(source), device=source.device)
    there = functional.cross_entropy(similarity, wanted)
    back = functional.cross_entropy(similarity.transpose(0, 1), wanted)
    return (there + back) / 2
