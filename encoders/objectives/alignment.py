"""Word-level contrast: linked pieces shall find each other among those of the other sentence.

With ``S = cos(x_i, y_j) / temperature`` over one pair's pieces, guiding links ``G`` of weight ``w``

    loss = - sum_{(i,j) in G} w_ij (log softmax_j S_ij + log softmax_i S_ij) / (2 sum w_ij)

the log-likelihood form of the self-training objective of Dou & Neubig (2021, equation 5), which
sums probabilities. The guides come from the corpus's own statistics (``encoders/lexicon.py``).
"""

from __future__ import annotations

import torch
from torch.nn import functional

from encoders.objectives.step import Step
from encoders.recipe import ObjectiveSettings


def linked_words(step: Step, settings: ObjectiveSettings, layer: int) -> torch.Tensor:
    """The loss above, over all links of the batch."""
    source, target = step.sides(layer)
    source_mask, target_mask = step.masks()
    links = torch.from_numpy(step.batch.links).to(step.device)
    weights = torch.from_numpy(step.batch.link_weights).to(step.device)
    return contrast_linked(
        source, target, source_mask, target_mask, links, weights, settings.temperature
    )


def contrast_linked(
    source: torch.Tensor,
    target: torch.Tensor,
    source_mask: torch.Tensor,
    target_mask: torch.Tensor,
    links: torch.Tensor,
    weights: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """The loss of padded pairs.

    :param source: shape (pairs, source length, dim); ``target`` likewise.
    :param source_mask: true at pieces, shape (pairs, source length); ``target_mask`` likewise.
    :param links: rows of (pair, source piece, target piece).
    :param weights: one a link.
    """
    similarity = torch.bmm(
        functional.normalize(source.float(), dim=-1),
        functional.normalize(target.float(), dim=-1).transpose(1, 2),
    )
    similarity = similarity / temperature
    # finite, so that a padded row does not turn into NaN
    lowest = torch.finfo(similarity.dtype).min
    to_target = similarity.masked_fill(~target_mask[:, None, :], lowest).log_softmax(2)
    to_source = similarity.masked_fill(~source_mask[:, :, None], lowest).log_softmax(1)
    pair, i, j = links.unbind(1)
    likelihood = to_target[pair, i, j] + to_source[pair, i, j]
    return -(weights * likelihood).sum() / (2 * weights.sum()).clamp(min=1e-6)
