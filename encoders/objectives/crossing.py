"""Prediction across languages (ERNIE-M; Ouyang et al., 2021): CAMLM on pairs, BTMLM on text.

CAMLM, cross-attention masked language modelling: a masked piece is predicted from the other
sentence alone, so that nothing but the translation can help,

    loss = - mean (log p(x_masked | y_unmasked) and log p(y_masked | x_unmasked))

In one input ``<s> x </s> </s> y </s>`` a masked piece looks at the unmasked ones of the other
sentence and at itself; every other piece looks at the unmasked ones of its own sentence. No piece
looks at a masked one, so neither sentence leaks into its own predictions by way of the other. All
chosen pieces are masked: one that was left as it is would see itself.

BTMLM, back-translation masked language modelling: the model first writes pieces of a translation
``y'`` to a sentence of one language, as CAMLM would fill masks, without gradient; then

    loss = - mean log p(x_masked | x_unmasked, y')

It is of use once CAMLM has been learnt. The languages of our models have no embeddings that could
ask for one, so the model chooses which to write in; and the masks stand at places drawn at random
along the translation, not side by side at its beginning: both are ours.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.objectives.arrange import join_rows, sentences_alone
from encoders.objectives.causal import choose
from encoders.objectives.masked import (
    MaskedSettings,
    join_pairs,
    mask_chosen,
    prediction_loss,
    stack,
)
from encoders.objectives.network import Network
from encoders.objectives.objective import Objective, Reads, Share
from encoders.objectives.probing import check_masks, without_dropout
from encoders.objectives.step import Step


class CrossMaskedPieces(Objective[MaskedSettings]):
    """CAMLM, in both directions at once.

    :raises InputError: if pieces cannot be hidden from each other in this model.
    """

    Settings = MaskedSettings
    reads: ClassVar[Reads] = "pairs"

    def __init__(self, settings: MaskedSettings, network: Network) -> None:
        super().__init__(settings, network)
        check_masks(network)

    def forward(self, step: Step) -> torch.Tensor:
        ids, positions, sides = join_pairs(step)
        chosen = choose(ids, step.special, self.settings.probability, step.generator)
        masked = ids.masked_fill(chosen, step.special.mask)
        attention = look_across(sides, chosen)
        return prediction_loss(step, masked, ids, chosen, positions=positions, attention=attention)


class BackTranslatedSettings(MaskedSettings):
    written: Share = 0.15  # pieces of the translation for each of the sentence; at least one


class BackTranslatedPieces(Objective[BackTranslatedSettings]):
    """BTMLM on every sentence alone.

    :raises InputError: if pieces cannot be hidden from each other in this model.
    """

    Settings = BackTranslatedSettings
    reads: ClassVar[Reads] = "text"

    def __init__(self, settings: BackTranslatedSettings, network: Network) -> None:
        super().__init__(settings, network)
        check_masks(network)

    def forward(self, step: Step) -> torch.Tensor:
        sentences = sentences_alone(step.batch)
        places = draw_places(sentences, self.settings.written, step.generator)
        blank = np.where(places >= 0, step.special.mask, -1)
        ids, positions, sides = join_rows(step, sentences, blank)
        written = (ids == step.special.mask) & (sides == 1)
        positions[written] = torch.from_numpy(places[places >= 0])
        ids = write(step, ids, positions, sides, written)
        chosen = choose(ids, step.special, self.settings.probability, step.generator) & (sides == 0)
        masked = mask_chosen(ids, chosen, step.special, step.generator)
        return prediction_loss(step, masked, ids, chosen, positions=positions)


def look_across(sides: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """True where piece i may look at piece j, as the file says; shape (rows, length, length).

    :param sides: the sentence of each piece, 0 or 1, -1 at padding, shape (rows, length).
    :param masked: true at masked pieces, shape (rows, length).
    """
    same = sides[:, :, None] == sides[:, None, :]
    seen = (sides >= 0) & ~masked
    itself = torch.eye(sides.shape[1], dtype=torch.bool) & (sides >= 0)[:, None, :]
    return ((same != masked[:, :, None]) & (sides >= 0)[:, :, None] & seen[:, None, :]) | itself


def draw_places(
    sentences: NDArray[np.int64], share: float, generator: torch.Generator
) -> NDArray[np.int64]:
    """Where along its translation a sentence's pieces are written: some of its own positions.

    :param sentences: padded pieces, -1 is padding, shape (sentences, length).
    :return: rising positions from 1 (0 is the frame's), -1 is padding, shape (sentences, most).
    """
    rows = []
    for length in (sentences >= 0).sum(1).tolist():
        count = min(length, max(1, round(share * length)))
        drawn = torch.randperm(length, generator=generator)[:count].sort().values + 1
        rows.append(drawn.numpy())
    return stack(rows, -1).numpy()


def write(
    step: Step,
    ids: torch.Tensor,
    positions: torch.Tensor,
    sides: torch.Tensor,
    blank: torch.Tensor,
) -> torch.Tensor:
    """Fill the blanks as CAMLM would, with the likeliest piece that is not special.

    :param ids: joined rows, masks where ``blank`` is true; all of shape (rows, length).
    """
    special = step.special
    with torch.no_grad(), without_dropout(step.network.model):
        states = step.encode(ids, positions=positions, attention=look_across(sides, blank))
        scores = step.predict(states[step.network.layers][blank.to(step.device)])
        scores[:, special.are(torch.arange(scores.shape[1])).to(step.device)] = -torch.inf
    return ids.masked_scatter(blank, scores.argmax(-1).cpu())
