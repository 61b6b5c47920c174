"""Sentence-level contrast: a sentence shall find its translation among those of the batch.

With ``S = cos(x_a, y_b) / temperature`` over a batch of pairs

    loss = - mean_a (log softmax_b S_aa + log softmax_a S_aa) / 2

in-batch contrast in both directions (Feng et al., 2022, LaBSE, without its margin). Pairs that
share a sentence with pair ``a`` are no negatives of it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from encoders.objectives.objective import LayerSettings, Objective, Reads, Weight
from encoders.objectives.step import Step, pool_by_word


class ParallelSentencesSettings(LayerSettings):
    temperature: Weight = 0.1  # cosines are divided by it


class ParallelSentences(Objective[ParallelSentencesSettings]):
    """The loss above, on mean-pooled pieces."""

    Settings = ParallelSentencesSettings
    reads: ClassVar[Reads] = "pairs"

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})

    def forward(self, step: Step) -> torch.Tensor:
        source, target = pooled_sides(step, self.layer)
        return contrast_sentences(source, target, shared(step), self.settings.temperature)


def pooled_sides(step: Step, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of the batch's sentences, the means of their pieces, shapes (sentences, dim).

    The sentences of a joined row are pooled each for itself: neighbours are hard negatives.
    """
    batch = step.batch
    counts = torch.from_numpy(batch.source_segments.max(axis=1) + 1)
    there = (torch.arange(int(counts.max())) < counts[:, None]).to(step.device)
    source, target = step.sides(layer)
    return (
        pool_by_word(source, batch.source_segments)[there],
        pool_by_word(target, batch.target_segments)[there],
    )


def shared(step: Step) -> torch.Tensor:
    """True where two pairs have a sentence in common, shape (sentences, sentences)."""
    source = torch.from_numpy(step.batch.source_keys)
    target = torch.from_numpy(step.batch.target_keys)
    same = (source[:, None] == source) | (target[:, None] == target)
    return same.to(step.device)


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
