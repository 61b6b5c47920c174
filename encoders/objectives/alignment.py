"""Word-level contrast: linked words shall find each other among those of the other sentence.

With ``S = cos(x_i, y_j) / temperature`` over one pair's words, guiding links ``G`` of weight ``w``

    loss = - sum_{(i,j) in G} w_ij (log softmax_j S_ij + log softmax_i S_ij) / (2 sum w_ij)

the log-likelihood form of the self-training objective of Dou & Neubig (2021, equation 5), which
sums probabilities. The guides of ``words`` come from the corpus's own statistics
(``encoders/statistics/lexicon.py``), those of ``gold`` from annotators.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch.nn import functional

from bitext.bounds import Weight
from encoders.objectives.objective import LayerSettings, Objective, Reads
from encoders.objectives.step import Step


class LinkedWordsSettings(LayerSettings):
    temperature: Weight = 0.1  # cosines are divided by it
    unit: Literal["word", "piece"] = "word"  # a word is the mean of its pieces


class LinkedWords(Objective[LinkedWordsSettings]):
    """The loss above, over all guiding links of the batch."""

    Settings = LinkedWordsSettings
    reads: ClassVar[Reads] = "links"

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})

    def forward(self, step: Step) -> torch.Tensor:
        links, weights = step.links()
        if self.settings.unit == "piece":
            links, weights = spread(step, links, weights)
            (source, target), masks = step.sides(self.layer), step.masks()
        else:
            (source, target), masks = step.words(self.layer), step.word_masks()
        return contrast_linked(source, target, *masks, links, weights, self.settings.temperature)


class GoldWords(LinkedWords):
    """The loss above, over links that people made."""

    reads: ClassVar[Reads] = "gold"


def spread(
    step: Step, links: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Links of words to links of all their pieces, each with its share of the weight."""
    batch = step.batch
    source = torch.from_numpy(batch.source_words).to(links.device)
    target = torch.from_numpy(batch.target_words).to(links.device)
    pair, i, j = links.unbind(1)
    both = (source[pair] == i[:, None])[:, :, None] & (target[pair] == j[:, None])[:, None, :]
    link, piece_i, piece_j = both.nonzero(as_tuple=True)
    share = weights / both.sum((1, 2)).clamp(min=1)
    return torch.stack([pair[link], piece_i, piece_j], 1), share[link]


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
    :param source_mask: true at words, shape (pairs, source length); ``target_mask`` likewise.
    :param links: rows of (pair, source word, target word).
    :param weights: one a link.
    """
    similarity = cosines(source, target) / temperature
    to_target, to_source = both_directions(similarity, source_mask, target_mask)
    pair, i, j = links.unbind(1)
    likelihood = to_target[pair, i, j] + to_source[pair, i, j]
    return -(weights * likelihood).sum() / (2 * weights.sum()).clamp(min=1e-6)


def cosines(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cosines of every two words of each pair, float32, shape (pairs, source, target length)."""
    return torch.bmm(
        functional.normalize(source.float(), dim=-1),
        functional.normalize(target.float(), dim=-1).transpose(1, 2),
    )


def both_directions(
    similarity: torch.Tensor, source_mask: torch.Tensor, target_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities of each target word given a source word, and the reverse.

    :param similarity: shape (pairs, source length, target length).
    :return: both of that shape; what is padding is very improbable.
    """
    # finite, so that a padded row does not turn into NaN
    lowest = torch.finfo(similarity.dtype).min
    return (
        similarity.masked_fill(~target_mask[:, None, :], lowest).log_softmax(2),
        similarity.masked_fill(~source_mask[:, :, None], lowest).log_softmax(1),
    )
