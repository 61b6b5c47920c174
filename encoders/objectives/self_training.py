"""Word-level objectives that need nothing but the model's own view of a pair (Dou & Neubig, 2021).

With ``S = cos(x_i, y_j) / temperature`` over the m and n words of a pair, ``P_st = softmax_j S``
and ``P_ts = softmax_i S``. ``so``, self-training (equation 5): the model's own links G of the
moment, those of words that are each other's nearest, shall become surer:

    loss = 1 - mean_pairs sum_ij G_ij (P_st_ij / m + P_ts_ij / n) / 2           (form probability)
    loss = - sum_ij G_ij (log P_st_ij + log P_ts_ij) / (2 sum_ij G_ij)          (form log)

the second as in ``words``. With ``guides = "softmax"`` G holds what either direction gives more
than ``threshold``, as in the paper. ``consistency``, its CO: the directions shall agree,

    loss = 1 - mean_pairs sum_ij P_st_ij P_ts_ij / min(m, n)

where the sum is the trace of ``P_st`` times the transpose of ``P_ts``. Unlike there, units are
words and not pieces, similarities are cosines and not dot products, and the links are taken from
the same pass (with its dropout) that the loss is computed on.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from bitext.bounds import Weight
from encoders.links import mutual_argmax
from encoders.objectives.alignment import both_directions, contrast_linked, cosines
from encoders.objectives.objective import LayerSettings, Objective, Reads, Share
from encoders.objectives.step import Step


class SelfTrainingSettings(LayerSettings):
    temperature: Weight = 0.1  # cosines are divided by it
    guides: Literal["mutual", "softmax"] = "mutual"
    threshold: Share = 0.1  # of both probabilities, for guides "softmax"
    form: Literal["log", "probability"] = "log"


class SelfTraining(Objective[SelfTrainingSettings]):
    """``so``: the loss above, on the links that the model has at this step."""

    Settings = SelfTrainingSettings
    reads: ClassVar[Reads] = "pairs"

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})

    def forward(self, step: Step) -> torch.Tensor:
        (source, target), masks = step.words(self.layer), step.word_masks()
        temperature = self.settings.temperature
        with torch.no_grad():
            similarity = cosines(source, target) / temperature
            if self.settings.guides == "mutual":
                links = mutual_argmax(similarity, *masks)
            else:
                links = confident(similarity, *masks, self.settings.threshold)
        if self.settings.form == "probability":
            return 1 - linked_probability(source, target, *masks, links, temperature)
        found = links.nonzero()
        weights = torch.ones(len(found), device=found.device)
        return contrast_linked(source, target, *masks, found, weights, temperature)


class ConsistencySettings(LayerSettings):
    temperature: Weight = 0.1  # cosines are divided by it


class Consistency(Objective[ConsistencySettings]):
    """``consistency``: the loss above."""

    Settings = ConsistencySettings
    reads: ClassVar[Reads] = "pairs"

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})

    def forward(self, step: Step) -> torch.Tensor:
        (source, target), masks = step.words(self.layer), step.word_masks()
        return 1 - agreement(source, target, *masks, self.settings.temperature)


def confident(
    similarity: torch.Tensor,
    source_mask: torch.Tensor,
    target_mask: torch.Tensor,
    threshold: float,
) -> torch.Tensor:
    """True where both directions give a link more than ``threshold``, shape (pairs, m, n)."""
    to_target, to_source = probabilities(similarity, source_mask, target_mask)
    return (to_target > threshold) & (to_source > threshold)


def probabilities(
    similarity: torch.Tensor, source_mask: torch.Tensor, target_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """``P_st`` and ``P_ts``, 0 at padding, both of the shape of ``similarity``, (pairs, m, n)."""
    there = source_mask[:, :, None] & target_mask[:, None, :]
    to_target, to_source = both_directions(similarity, source_mask, target_mask)
    return to_target.exp() * there, to_source.exp() * there


def linked_probability(
    source: torch.Tensor,
    target: torch.Tensor,
    source_mask: torch.Tensor,
    target_mask: torch.Tensor,
    links: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Mean over the pairs of ``sum_ij G_ij (P_st_ij / m + P_ts_ij / n) / 2``, from 0 to 1.

    :param source: shape (pairs, m, dim), ``source_mask`` true at its words; ``target`` likewise.
    :param links: G, true at links, shape (pairs, m, n).
    """
    similarity = cosines(source, target) / temperature
    to_target, to_source = probabilities(similarity, source_mask, target_mask)
    m, n = (mask.sum(1).clamp(min=1) for mask in (source_mask, target_mask))
    return ((to_target * links).sum((1, 2)) / m + (to_source * links).sum((1, 2)) / n).mean() / 2


def agreement(
    source: torch.Tensor,
    target: torch.Tensor,
    source_mask: torch.Tensor,
    target_mask: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Mean over the pairs of ``sum_ij P_st_ij P_ts_ij / min(m, n)``, from 0 to 1.

    :param source: shape (pairs, m, dim), ``source_mask`` true at its words; ``target`` likewise.
    """
    similarity = cosines(source, target) / temperature
    to_target, to_source = probabilities(similarity, source_mask, target_mask)
    shorter = torch.minimum(source_mask.sum(1), target_mask.sum(1)).clamp(min=1)
    return ((to_target * to_source).sum((1, 2)) / shorter).mean()
