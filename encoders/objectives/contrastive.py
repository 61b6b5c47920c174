"""Sentence-level contrast: a sentence shall find its translation among those of the batch.

``sentences``: with ``S = cos(x_a, y_b) / temperature`` over a batch of pairs

    loss = - mean_a (log softmax_b S_aa + log softmax_a S_aa) / 2

in-batch contrast in both directions. ``ranking`` is the bidirectional additive-margin softmax of
LaBSE (Feng et al., 2022): the same loss with

    S_ab = scale * (cos(x_a, y_b) - margin * [a = b])

The paper takes ``<s>`` for the sentence and adds the directions up; here it is the mean of the
pieces, and the mean of the directions. ``clsa`` is the sentence alignment of AMBER (Hu et al.,
2021): with dot products of mean vectors ``c``, over all sentences z of the batch but x itself,

    loss = - mean_(x, y) log (exp(c_x . c_y / temperature) / sum_z exp(c_x . c_z / temperature))

in both directions, temperature 1 in the paper. In all three, pairs that share a sentence with pair
``a`` are no negatives of it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from bitext.bounds import Rate, Weight
from encoders.objectives.objective import LayerSettings, Objective, Reads
from encoders.objectives.step import Step, pool_by_word


class ParallelSentencesSettings(LayerSettings):
    temperature: Weight = 0.1  # cosines are divided by it


class ParallelSentences(Objective[ParallelSentencesSettings]):
    """``sentences``, on mean-pooled pieces."""

    Settings = ParallelSentencesSettings
    reads: ClassVar[Reads] = "pairs"

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})

    def forward(self, step: Step) -> torch.Tensor:
        source, target = pooled_sides(step, self.layer)
        return contrast_sentences(source, target, shared(step), self.settings.temperature)


class TranslationRankingSettings(LayerSettings):
    margin: Rate = 0.3  # taken from the cosine of a pair
    scale: Weight = 20.0  # of the cosines


class TranslationRanking(Objective[TranslationRankingSettings]):
    """``ranking``, on mean-pooled pieces."""

    Settings = TranslationRankingSettings
    reads: ClassVar[Reads] = "pairs"

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})

    def forward(self, step: Step) -> torch.Tensor:
        source, target = pooled_sides(step, self.layer)
        settings = self.settings
        return rank_translations(source, target, shared(step), settings.margin, settings.scale)


class SentenceAlignmentSettings(LayerSettings):
    temperature: Weight = 1.0  # dot products are divided by it


class SentenceAlignment(Objective[SentenceAlignmentSettings]):
    """``clsa``, on mean-pooled pieces."""

    Settings = SentenceAlignmentSettings
    reads: ClassVar[Reads] = "pairs"

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})

    def forward(self, step: Step) -> torch.Tensor:
        source, target = pooled_sides(step, self.layer)
        return align_sentences(source, target, shared(step), self.settings.temperature)


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


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, float32; a row of zeros stays zero."""
    return functional.normalize(vectors.float(), dim=-1)


def contrast_sentences(
    source: torch.Tensor, target: torch.Tensor, same: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The loss ``sentences`` of pooled pairs.

    :param source: shape (pairs, dim); ``target`` likewise.
    :param same: true where two pairs share a sentence, shape (pairs, pairs).
    """
    return rank_both_ways(unit(source) @ unit(target).transpose(0, 1) / temperature, same)


def rank_translations(
    source: torch.Tensor, target: torch.Tensor, same: torch.Tensor, margin: float, scale: float
) -> torch.Tensor:
    """The loss ``ranking`` of pooled pairs, shapes as in :func:`contrast_sentences`."""
    cosines = unit(source) @ unit(target).transpose(0, 1)
    own = torch.eye(len(source), device=source.device)
    return rank_both_ways(scale * (cosines - margin * own), same)


def align_sentences(
    source: torch.Tensor, target: torch.Tensor, same: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The loss ``clsa`` of pooled pairs, shapes as in :func:`contrast_sentences`."""
    source, target = source.float(), target.float()
    across = source @ target.transpose(0, 1) / temperature
    own = torch.eye(len(source), dtype=torch.bool, device=source.device)
    wanted = torch.arange(len(source), device=source.device)
    losses = []
    for there, side in ((across, source), (across.transpose(0, 1), target)):
        within = side @ side.transpose(0, 1) / temperature
        scores = torch.cat(
            [there.masked_fill(same & ~own, -torch.inf), within.masked_fill(same, -torch.inf)], 1
        )
        losses.append(functional.cross_entropy(scores, wanted))
    return (losses[0] + losses[1]) / 2


def rank_both_ways(scores: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the diagonal among its row and among its column, their mean.

    :param scores: of sources with targets, shape (pairs, pairs).
    :param same: true where two pairs share a sentence, which are no negatives of one another.
    """
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(same & ~own, -torch.inf)
    wanted = torch.arange(len(scores), device=scores.device)
    there = functional.cross_entropy(scores, wanted)
    back = functional.cross_entropy(scores.transpose(0, 1), wanted)
    return (there + back) / 2
