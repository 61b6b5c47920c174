"""Is the second sentence a translation of the first? Asked of the first piece of joined pairs.

    loss = - mean (log p(yes | x, y) + log p(no | x, y')) / 2

over the pairs ``(x, y)`` of the batch, where ``y'`` is the target of another pair: one for each
pair, of other sentences than its own. A pair for which the batch has none is left out.

CLPC, cross-lingual paraphrase classification (Unicoder, Huang et al., 2019): a linear classifier on
the top layer, and ``y'`` is hard, the nearest to ``x``. They find it in the corpus by a small model
trained for that (a deep averaging network); here it is the nearest of the batch by the cosine of
mean word embeddings, which need no model besides.

PSI, parallel sentence identification (awesome-align, Dou & Neubig, 2021): a layer with tanh before
the classifier, ``y'`` is drawn at random, and so is the order of the two sentences, pair by pair.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from encoders.objectives.arrange import join_rows, widen
from encoders.objectives.contrastive import shared
from encoders.objectives.network import Network
from encoders.objectives.objective import LayerSettings, Objective, ObjectiveSettings, Reads
from encoders.objectives.step import Step


class ParaphrasedSentences(Objective[ObjectiveSettings]):
    """CLPC."""

    Settings = ObjectiveSettings
    reads: ClassVar[Reads] = "pairs"

    def __init__(self, settings: ObjectiveSettings, network: Network) -> None:
        super().__init__(settings, network)
        self.classifier = nn.Linear(network.dim, 1)

    def forward(self, step: Step) -> torch.Tensor:
        rows, others = choose_negatives(nearness(step), shared(step).cpu())
        source, target = step.batch.source, step.batch.target
        left = np.concatenate([source[rows], source[rows]])
        right = np.concatenate([target[rows], target[others]])
        return classify(step, left, right, self.classifier, self.layer)


class IdentifiedPairs(Objective[LayerSettings]):
    """PSI."""

    Settings = LayerSettings
    reads: ClassVar[Reads] = "pairs"

    def __init__(self, settings: LayerSettings, network: Network) -> None:
        super().__init__(settings, network)
        self.classifier = nn.Sequential(
            nn.Linear(network.dim, network.dim), nn.Tanh(), nn.Linear(network.dim, 1)
        )

    def forward(self, step: Step) -> torch.Tensor:
        batch = step.batch
        chance = torch.rand(len(batch.source), len(batch.source), generator=step.generator)
        rows, others = choose_negatives(chance, shared(step).cpu())
        width = max(batch.source.shape[1], batch.target.shape[1])
        source, target = widen(batch.source, width), widen(batch.target, width)
        left = np.concatenate([source[rows], source[rows]])
        right = np.concatenate([target[rows], target[others]])
        turn = torch.rand(len(left), generator=step.generator).numpy()[:, None] < 0.5
        left, right = np.where(turn, right, left), np.where(turn, left, right)
        return classify(step, left, right, self.classifier, self.layer)


def choose_negatives(
    preference: torch.Tensor, barred: torch.Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs that have a negative in the batch, and the pair that its target is of.

    :param preference: of each source for each target, shape (pairs, pairs).
    :param barred: true where the target is a translation of the source, or may be.
    """
    rows = (~barred).any(1).nonzero()[:, 0]
    others = preference.masked_fill(barred, -torch.inf)[rows]
    # argmax refuses to choose among nothing
    chosen = others.argmax(1) if len(rows) else rows
    return rows.numpy(), chosen.numpy()


@torch.no_grad()
def nearness(step: Step) -> torch.Tensor:
    """Cosines of the mean word embeddings of sources and targets, shape (pairs, pairs)."""
    means = []
    for side in (step.batch.source, step.batch.target):
        ids = torch.from_numpy(side).to(step.device)
        own = (ids >= 0)[..., None]
        total = (step.network.embed(ids.clamp(min=0)) * own).sum(1)
        means.append(functional.normalize(total, dim=-1))  # a mean's direction is its sum's
    return (means[0] @ means[1].T).cpu()


def classify(
    step: Step,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    classifier: nn.Module,
    layer: int,
) -> torch.Tensor:
    """Mean binary cross-entropy of joined pairs, the first half of which are translations.

    :param left: first sentences, -1 is padding, shape (2 * pairs, length); ``right``: second ones.
    """
    if not len(left):
        return sum((weights.sum() * 0 for weights in classifier.parameters()), torch.zeros(()))
    ids, positions, _ = join_rows(step, left, right)
    first = step.encode(ids, frozenset({layer}), positions=positions)[layer][:, 0]
    answers = classifier(first.float())[:, 0]
    wanted = torch.zeros_like(answers)
    wanted[: len(left) // 2] = 1
    return functional.binary_cross_entropy_with_logits(answers, wanted)
