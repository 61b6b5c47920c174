"""Hierarchical contrast, ``hictl`` (Wei et al., 2021, On Learning Universal Representations Across
Languages).

Sentence level: a sentence q shall find its translation k among all sentences z of the batch, which
are drawn nearer to q where they are farther off than k, with ``d+ = |q - k|`` and ``d- = |q - z|``:

    z' = q + lambda (z - q),    lambda = (d+ / d-) ** (slack * p)    if d- > d+, else 1

``p`` is the mean of ``exp(-loss)`` over the last 100 steps: the better the model, the harder the
negatives. With unit vectors ``q . z' = 1 - lambda (1 - q . z)``.

    sentence loss = - log (exp(q . k / t) / (exp(q . k / t) + sum_z exp(q . z' / t)))

Word level: a sentence shall tell the words w of its pair from words v sampled from the vocabulary:

    word loss = - mean_w log (exp(q . w / t) / (exp(q . w / t) + sum_v exp(q . v / t)))

Simplified: sentence vectors are means of pieces of both sides, encoded apart, and not ``<s>`` of
the joined pair; words are pieces, their vectors the model's embeddings; all vectors have length 1;
the vocabulary is sampled evenly and its words are not drawn nearer; lambda is a constant to the
gradient.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from bitext.bounds import Positive, Rate, Weight
from encoders.objectives.contrastive import pooled_sides, shared, unit
from encoders.objectives.memory import Collected, Queue
from encoders.objectives.network import Network
from encoders.objectives.objective import LayerSettings, Objective, Reads
from encoders.objectives.step import Step

STEPS = 100
"""Over which p is averaged."""


class HierarchicalContrastSettings(LayerSettings):
    temperature: Weight = 0.1  # cosines are divided by it
    slack: float = Field(0.9, ge=0, le=1)  # how near negatives are drawn; 0 leaves them alone
    sentence: Rate = 1.0  # weight of the sentence loss
    word: Rate = 1.0  # weight of the word loss
    negatives: Positive = 512  # pieces of the vocabulary that are sampled for a batch


class HierarchicalContrast(Objective[HierarchicalContrastSettings]):
    """The two losses above, added up by their weights."""

    Settings = HierarchicalContrastSettings
    reads: ClassVar[Reads] = "pairs"

    def __init__(self, settings: HierarchicalContrastSettings, network: Network) -> None:
        super().__init__(settings, network)
        self.likelihoods = Queue(STEPS, 1, network.device)
        self.collected = Collected()

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})

    def forward(self, step: Step) -> torch.Tensor:
        source, target = pooled_sides(step, self.layer)
        settings = self.settings
        loss = contrast_hardened(
            source, target, shared(step), settings.slack * self.likelihood(), settings.temperature
        )
        self.collected.add((-loss.detach()).exp().view(1, 1))
        return settings.sentence * loss + settings.word * self._words(step, source, target)

    def likelihood(self) -> float:
        """p above; 0 in the first step, which leaves the negatives where they are."""
        so_far = self.likelihoods.filled()
        return float(so_far.mean()) if len(so_far) else 0.0

    def _words(self, step: Step, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        pieces = torch.from_numpy(np.concatenate([step.batch.source, step.batch.target], 1))
        pieces = pieces.to(step.device)
        sampled = torch.randint(
            step.special.vocabulary, (self.settings.negatives,), generator=step.generator
        ).to(step.device)
        words, negatives = (step.network.embed(ids) for ids in (pieces.clamp(min=0), sampled))
        # no piece of the pair, nor a special one, is a negative
        excluded = (pieces[:, :, None] == sampled).any(1) | step.special.are(sampled)
        losses = [
            contrast_vocabulary(
                query, words, pieces >= 0, negatives, excluded, self.settings.temperature
            )
            for query in (source, target)
        ]
        return (losses[0] + losses[1]) / 2

    def after_step(self) -> None:
        self.collected.move_to(self.likelihoods)


def harden(positive: torch.Tensor, negatives: torch.Tensor, power: float) -> torch.Tensor:
    """Cosines with negatives that have been drawn nearer.

    :param positive: cosine of each query with its translation, shape (queries, 1).
    :param negatives: its cosines with other sentences, shape (queries, others).
    :param power: of ``d+ / d-``; ``slack * p`` above.
    """
    # |q - z| ** 2 = 2 (1 - q . z), so the distances' ratio is the root of this one
    near = (1 - positive.detach()).clamp(min=0)
    far = (1 - negatives.detach()).clamp(min=1e-6)
    drawn = (near / far).clamp(max=1) ** (power / 2)
    return 1 - drawn * (1 - negatives)


def contrast_hardened(
    source: torch.Tensor,
    target: torch.Tensor,
    same: torch.Tensor,
    power: float,
    temperature: float,
) -> torch.Tensor:
    """The sentence loss of pooled pairs, from both sides.

    :param source: shape (pairs, dim); ``target`` likewise.
    :param same: true where two pairs share a sentence, shape (pairs, pairs).
    :param power: see :func:`harden`.
    """
    pairs = len(source)
    sentences = unit(torch.cat([source, target]))
    cosines = sentences @ sentences.transpose(0, 1)
    own = torch.arange(2 * pairs, device=source.device).roll(pairs)
    positive = cosines.gather(1, own[:, None])
    hard = harden(positive, cosines, power).masked_fill(same.repeat(2, 2), -torch.inf)
    scores = torch.cat([positive, hard], 1) / temperature
    return functional.cross_entropy(scores, torch.zeros_like(own))


def contrast_vocabulary(
    queries: torch.Tensor,
    words: torch.Tensor,
    mask: torch.Tensor,
    negatives: torch.Tensor,
    excluded: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """The word loss of one side.

    :param queries: sentence vectors, shape (pairs, dim).
    :param words: of each pair, shape (pairs, length, dim), and ``mask`` where they are.
    :param negatives: words of the vocabulary, shape (sampled, dim).
    :param excluded: true where one of them is no negative of a pair, shape (pairs, sampled).
    """
    queries = unit(queries)
    positive = torch.bmm(unit(words), queries[:, :, None])[:, :, 0] / temperature
    others = queries @ unit(negatives).transpose(0, 1) / temperature
    # finite: where all are excluded the gradient of minus infinity would be NaN
    others = others.masked_fill(excluded, torch.finfo(others.dtype).min)
    loss = torch.logaddexp(positive, others.logsumexp(1, keepdim=True)) - positive
    return (loss * mask).sum() / mask.sum().clamp(min=1)
