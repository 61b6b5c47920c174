"""What turns pieces of sentences into those of translations: torch here, others in interop/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch

from encoders.batching import BatchCost, batch_sizes
from nmt.search.frontier import Batch, Found
from nmt.search.search import SearchSettings, search
from nmt.search.steps import share_attention

COSTS = {
    "cpu": BatchCost(most=4096, start=128),
    "cuda": BatchCost(most=65536, start=2048),  # a guess: not measured
}
"""Pieces of the source times beams that are searched together."""


class Item(NamedTuple):
    """One sentence to translate."""

    source: list[int]
    given: list[int]
    """What the decoder is given: see :class:`nmt.search.frontier.Batch`."""
    limit: int
    """Most pieces of a hypothesis, with its end and what is counted of the given ones."""


class Engine(Protocol):
    """A model that searches; threads may share it."""

    name: str
    device: str
    dtype: str
    bytes: int
    """Memory its weights take."""

    def find(
        self, items: Sequence[Item], how: SearchSettings, *, counted: int
    ) -> list[list[Found]]:
        """The hypotheses of each sentence, best first, in the order given.

        :param counted: as in :class:`nmt.search.frontier.Batch`.
        """
        ...


class TorchEngine:
    """A seq2seq model of transformers.

    :param model: in eval mode; its attention becomes one that beams share.
    """

    name = "torch"

    def __init__(self, model: Any, *, end: int, pad: int) -> None:
        share_attention(model)
        self._model = model
        self._end = end
        self._pad = pad
        self._forbidden = forbidden_pieces(model)
        self.device = str(model.device)
        self.dtype = str(model.dtype).removeprefix("torch.")
        tensors = {one.data_ptr(): one for one in [*model.parameters(), *model.buffers()]}
        self.bytes = sum(one.numel() * one.element_size() for one in tensors.values())

    def find(
        self, items: Sequence[Item], how: SearchSettings, *, counted: int
    ) -> list[list[Found]]:
        cost = COSTS.get(self._model.device.type, COSTS["cuda"])
        found: list[list[Found]] = [[] for _ in items]
        for places in batches([len(item.source) for item in items], how.width, cost):
            batch = self._batch([items[place] for place in places], counted)
            own = search(self._model, batch, how, end=self._end, forbidden=self._forbidden)
            for place, hypotheses in zip(places, own, strict=True):
                found[place] = hypotheses
        return found

    def _batch(self, items: Sequence[Item], counted: int) -> Batch:
        rows = [torch.tensor(item.source) for item in items]
        source = torch.nn.utils.rnn.pad_sequence(rows, True, self._pad)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(source.shape[1]) < lengths[:, None]
        device = self._model.device
        given = [item.given for item in items]
        limits = [item.limit for item in items]
        return Batch(source.to(device), mask.to(device), given, counted, limits)


def batches(lengths: Sequence[int], beams: int, cost: BatchCost) -> list[list[int]]:
    """Places of sentences that are searched together, the longest first.

    :param lengths: of the sentences, in pieces.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    sizes = batch_sizes([lengths[place] * beams for place in order], cost)
    cut: list[list[int]] = []
    start = 0
    for size in sizes:
        cut.append(order[start : start + size])
        start += size
    return cut


def forbidden_pieces(model: Any) -> list[int]:
    """What the checkpoint says is never to be written: Marian's padding, say."""
    config = model.generation_config
    single = [ids[0] for ids in config.bad_words_ids or [] if len(ids) == 1]
    return sorted({*single, *(config.suppress_tokens or [])})
