"""What an objective sees of one training step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from encoders.objectives.network import Network, SpecialPieces
from encoders.training.batches import Batch


@dataclass(slots=True)
class Step:
    """One batch, the network, and the hidden states that the objectives of this step share."""

    batch: Batch
    network: Network
    generator: torch.Generator  # on the CPU, for everything random of this step
    layers: frozenset[int] = frozenset()  # those that objectives of this step read of the two sides
    precision: torch.dtype = torch.float32
    _states: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def special(self) -> SpecialPieces:
        return self.network.special

    @property
    def device(self) -> torch.device:
        return self.network.device

    def sides(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states of the batch's source and target pieces, special ones left out.

        :param layer: one of ``layers`` (:meth:`Objective.sides` asks for it).
        :return: shapes (pairs, source length, dim) and (pairs, target length, dim).
        """
        source, target = self.batch.source, self.batch.target
        if not self._states:
            ids = frame([source, target], self.special).to(self.device)
            self._states = self.encode(ids, self.layers)
        states = self._states[layer]
        pairs = len(source)
        return (
            states[:pairs, 1 : 1 + source.shape[1]],
            states[pairs:, 1 : 1 + target.shape[1]],
        )

    def words(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states of the words of both sides, each the mean of its pieces'.

        :return: float32, shapes (pairs, most source words, dim) and (pairs, most target words,
            dim); rows beyond a sentence's words are zeros (:meth:`word_masks`).
        """
        source, target = self.sides(layer)
        return (
            pool_by_word(source, self.batch.source_words),
            pool_by_word(target, self.batch.target_words),
        )

    def masks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """True at the pieces of either side, shapes (pairs, length)."""
        source = torch.from_numpy(self.batch.source >= 0).to(self.device)
        target = torch.from_numpy(self.batch.target >= 0).to(self.device)
        return source, target

    def word_masks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """True at the words of either side, shapes (pairs, most words)."""
        masks = []
        for words in (self.batch.source_words, self.batch.target_words):
            counts = torch.from_numpy(words.max(axis=1, initial=-1) + 1)
            masks.append((torch.arange(int(counts.max())) < counts[:, None]).to(self.device))
        return masks[0], masks[1]

    def links(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of (pair, source word, target word), and the weight of each."""
        links = torch.from_numpy(self.batch.links).to(self.device)
        return links, torch.from_numpy(self.batch.link_weights).to(self.device)

    def framed_text(self) -> torch.Tensor:
        """Every sentence of the batch alone, as ``<s> pieces </s>``, shape (sentences, length)."""
        sides = [self.batch.source]
        if self.batch.target.shape[1]:
            sides.append(self.batch.target)
        return frame(sides, self.special)

    def encode(
        self,
        ids: torch.Tensor,
        layers: frozenset[int] | None = None,
        *,
        positions: torch.Tensor | None = None,
        attention: torch.Tensor | None = None,
        embeddings: torch.Tensor | None = None,
    ) -> dict[int, torch.Tensor]:
        """Run the model, at the stage's precision.

        :param ids: padded model input, shape (rows, length).
        :param layers: whose hidden states are wanted; by default the top one's.
        :param positions: of each piece, counted from 0; for models that have learnt positions.
        :param attention: true where row piece i may look at piece j, shape (rows, length, length);
            by default every piece looks at all that are not padding.
        :param embeddings: word embeddings that take the place of those of ``ids``.
        :return: hidden states by layer, each of shape (rows, length, dim).
        """
        network = self.network
        ids = ids.to(self.device)
        inputs = {"input_ids": ids} if embeddings is None else {"inputs_embeds": embeddings}
        if attention is None:
            inputs["attention_mask"] = (ids != self.special.pad).long()
        else:
            inputs["attention_mask"] = additive_mask(attention.to(self.device))
        if network.first_position is not None:
            counted = torch.arange(ids.shape[1]).expand_as(ids) if positions is None else positions
            counted = counted.to(self.device) + network.first_position
            # RoBERTa's padding keeps the position before the first
            at_padding = max(network.first_position - 1, 0)
            inputs["position_ids"] = counted.masked_fill(ids == self.special.pad, at_padding)
        wanted = frozenset({network.layers}) if layers is None else layers
        with self.autocast():
            return network.tap(wanted, **inputs)

    def predict(self, states: torch.Tensor) -> torch.Tensor:
        """Scores of all pieces, float32, for top hidden states of shape (..., dim)."""
        with self.autocast():
            return self.network.head(states).float()

    def autocast(self) -> torch.autocast:
        """The stage's precision, for the network but not for the losses on top of it."""
        reduced = self.precision != torch.float32
        dtype = self.precision if reduced else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=reduced)


def additive_mask(allowed: torch.Tensor) -> torch.Tensor:
    """True/false to 0 and a number so low that its softmax is 0, shape (rows, 1, length, length).

    A row that may look at nothing looks at everything, as padding does: no softmax is undefined.
    """
    nothing = ~allowed.any(-1, keepdim=True)
    mask = torch.zeros(allowed.shape, device=allowed.device)
    return mask.masked_fill(~(allowed | nothing), torch.finfo(mask.dtype).min)[:, None]


def pool_by_word(states: torch.Tensor, words: NDArray[np.int64]) -> torch.Tensor:
    """Mean of each word's pieces.

    :param states: shape (rows, length, dim).
    :param words: the word of each piece, -1 at padding, shape (rows, length).
    :return: float32, shape (rows, most words, dim).
    """
    count = int(words.max(initial=-1)) + 1
    of = torch.from_numpy(words).to(states.device)
    hot = functional.one_hot(of.clamp(min=0), max(count, 1)).float() * (of >= 0)[..., None]
    sums = torch.bmm(hot.transpose(1, 2), states.float())
    return sums / hot.sum(1).clamp(min=1)[..., None]


def frame(sides: list[NDArray[np.int64]], special: SpecialPieces) -> torch.Tensor:
    """Sentences of several sides, one below the other, each as ``<s> pieces </s>`` and padded.

    :param sides: padded pieces, -1 is padding.
    :return: shape (sentences of all sides, longest + 2).
    """
    width = max(side.shape[1] for side in sides) + 2
    rows = []
    for side in sides:
        framed = np.full((len(side), width), special.pad, dtype=np.int64)
        framed[:, 0] = special.begin
        framed[:, 1 : 1 + side.shape[1]] = np.where(side >= 0, side, special.pad)
        framed[np.arange(len(side)), (side >= 0).sum(1) + 1] = special.end
        rows.append(framed)
    return torch.from_numpy(np.concatenate(rows))
