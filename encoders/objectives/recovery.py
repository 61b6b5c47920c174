"""Cross-lingual word recovery (CLWR; Unicoder, Huang et al., 2019): words back from translations.

The word embeddings ``x_i`` of a sentence are replaced by mixtures of those of its translation,

    A_ij = w [x_i ; y_j ; x_i * y_j]
    x'_i = sum_j softmax_j(A_ij) y_j

and the model, reading ``x'``, predicts the pieces that were there:

    loss = - mean_i log p(x_i | x')      and likewise with the sides exchanged

``w`` is the objective's own, one for both directions. The part of it that weighs ``x_i`` alone is
left out: it adds the same to all ``j``, so the softmax does not see it. It begins as a scaled dot
product.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from encoders.objectives.causal import PredictedSettings, choose
from encoders.objectives.network import Network
from encoders.objectives.objective import Objective, Reads
from encoders.objectives.step import Step, frame


class RecoveredWords(Objective[PredictedSettings]):
    """The loss above, in both directions."""

    Settings = PredictedSettings
    reads: ClassVar[Reads] = "pairs"

    def __init__(self, settings: PredictedSettings, network: Network) -> None:
        super().__init__(settings, network)
        dim = network.embed(torch.tensor(network.special.mask, device=network.device)).shape[-1]
        self.other = nn.Parameter(torch.zeros(dim))  # of y_j
        self.both = nn.Parameter(torch.full((dim,), dim**-0.5))  # of x_i * y_j

    def forward(self, step: Step) -> torch.Tensor:
        batch = step.batch
        ids = frame([batch.source, batch.target], step.special)
        chosen = choose(ids, step.special, self.settings.share, step.generator).to(step.device)
        states = step.encode(ids, embeddings=self.translated(step, ids.to(step.device)))
        scores = step.predict(states[step.network.layers][chosen])
        pieces = ids.to(step.device)[chosen]
        return functional.cross_entropy(scores, pieces, reduction="sum") / max(1, len(pieces))

    def translated(self, step: Step, ids: torch.Tensor) -> torch.Tensor:
        """Word embeddings of both sides, each piece's own mixed from the other side.

        :param ids: framed sources, then targets, shape (2 * pairs, length).
        :return: shape (2 * pairs, length, dim); special pieces keep their own.
        """
        pairs = len(step.batch.source)
        embedded, own = step.network.embed(ids), ~step.special.are(ids)
        crossed, there = embedded.roll(pairs, 0), own.roll(pairs, 0)
        mixed = mix_embeddings(embedded, crossed, there, self.other, self.both)
        return torch.where(own[..., None], mixed, embedded)


def mix_embeddings(
    words: torch.Tensor,
    others: torch.Tensor,
    mask: torch.Tensor,
    other: torch.Tensor,
    both: torch.Tensor,
) -> torch.Tensor:
    """``x'`` of the equation.

    :param words: ``x``, shape (rows, length, dim).
    :param others: ``y``, shape (rows, other length, dim); ``mask``: true at its own pieces.
    :param other: weights of ``y``, shape (dim,); ``both``: of ``x * y``.
    :return: shape (rows, length, dim).
    """
    scores = torch.bmm(words * both, others.transpose(1, 2)) + (others @ other)[:, None, :]
    # finite, so that a row without pieces does not turn into NaN
    scores = scores.masked_fill(~mask[:, None, :], torch.finfo(scores.dtype).min)
    return torch.bmm(scores.softmax(-1), others)
