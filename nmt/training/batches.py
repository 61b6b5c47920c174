"""Batches of at most so many pieces. They are a function of the seed and the number alone, so that
a resumed run goes on with the very batch that an uninterrupted one would have taken.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nmt.training.data import EncodedBitext

IGNORED = -100
"""The label of a position that is not learned from."""
_ROUND = 100_000
"""Pairs that are drawn, sorted by length and cut into batches together, of several corpora."""
_BUCKET = 2
"""Pieces by which targets of one batch may differ before sources are looked at."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of similar lengths."""

    source: torch.Tensor  # ids, (pairs, source length), int64
    source_mask: torch.Tensor  # 1 for pieces, 0 for padding, same shape
    decoder_input: torch.Tensor  # ids, (pairs, target length)
    labels: torch.Tensor  # what is to be predicted, IGNORED elsewhere, (pairs, target length)
    pieces: int  # of both sides, padding left out
    weight: float = 1.0  # times the loss

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        names = ("source", "source_mask", "decoder_input", "labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class BatchSource(Protocol):
    """What a training run draws batches from."""

    def plans(self, *, tokens: int, stage: int, start: int) -> Iterator[Any]:
        """What is in each batch, without end, from number ``start`` on."""
        ...

    def build(self, plan: Any) -> Batch:
        """The batch of a plan."""
        ...

    def prepare(self, model: Any, *, stage: int, step: int) -> dict[str, float]:
        """Called before each step, for sources whose batches the model makes.

        :param model: as it will compute the step; in training mode.
        :return: figures for the log.
        """
        return {}

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint has to keep, beside the place of the run."""
        return {}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        return None


class Row(NamedTuple):
    """One pair of one corpus."""

    corpus: int
    pair: int


Plan = list[Row]


class BitextBatches(BatchSource):
    """Corpora, drawn from in batches of at most so many padded pieces.

    One corpus is gone through again and again, each pair once before any comes twice. Of several,
    a corpus's share is proportional to ``weight * pairs ** (1 / temperature)``.
    """

    def __init__(
        self, corpora: Sequence[EncodedBitext], *, pad: int, seed: int, temperature: float = 1.0
    ) -> None:
        self.corpora = list(corpora)
        self.pad = pad
        self._seed = seed
        sizes = np.array([len(one) for one in corpora], dtype=np.float64)
        weights = np.array([one.weight for one in corpora]) * sizes ** (1 / temperature)
        self._shares = weights / weights.sum()

    def __len__(self) -> int:
        return sum(len(one) for one in self.corpora)

    def with_corpora(self, corpora: Sequence[EncodedBitext]) -> BitextBatches:
        """The same rounds of other segmentations of the same pairs."""
        other = copy.copy(self)
        other.corpora = list(corpora)
        return other

    def plans(self, *, tokens: int, stage: int, start: int) -> Iterator[Plan]:
        number, taken = 0, 0
        while True:
            plans = self.plan(tokens, stage, number)
            yield from plans[max(0, start - taken) :]
            taken += len(plans)
            number += 1

    def once(self, tokens: int) -> Iterator[Batch]:
        """Batches that go through every pair once."""
        rows = [Row(c, k) for c, corpus in enumerate(self.corpora) for k in range(len(corpus))]
        lengths = np.array([self._lengths(row) for row in rows])
        for plan in cut(lengths, tokens, np.random.default_rng(self._seed)):
            yield self.build([rows[k] for k in plan])

    def plan(self, tokens: int, stage: int, number: int) -> list[Plan]:
        """One round of batches."""
        rng = np.random.default_rng((self._seed, stage, number))
        rows = [
            Row(corpus, int(pair))
            for corpus, pairs in enumerate(self.drawn(stage, number))
            for pair in pairs
        ]
        lengths = np.array([self._lengths(row) for row in rows])
        plans = cut(lengths, tokens, rng)
        return [[rows[k] for k in plan] for plan in plans]

    def drawn(self, stage: int, number: int) -> Iterator[NDArray[np.int64]]:
        """The pairs of each corpus in a round: the next ones of its endless shuffling."""
        if len(self.corpora) == 1:
            counts = [len(self.corpora[0])]
        else:
            size = min(_ROUND, len(self))
            counts = [max(1, round(size * share)) for share in self._shares]
        for corpus, count in enumerate(counts):
            if self.corpora[corpus].weight > 0:
                yield _window(
                    len(self.corpora[corpus]), number * count, count, (self._seed, stage, corpus)
                )
            else:
                yield np.zeros(0, dtype=np.int64)

    def _lengths(self, row: Row) -> tuple[int, int]:
        corpus = self.corpora[row.corpus]
        return len(corpus.source[row.pair]), len(corpus.target[row.pair]) - 1

    def build(self, plan: Plan) -> Batch:
        corpora = [self.corpora[row.corpus] for row in plan]
        return make_batch(
            [one.source[row.pair] for one, row in zip(corpora, plan, strict=True)],
            [one.target[row.pair] for one, row in zip(corpora, plan, strict=True)],
            [one.prefix for one in corpora],
            pad=self.pad,
        )


def _window(of: int, first: int, count: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """``count`` numbers below ``of`` from place ``first`` of an endless row of permutations."""
    epochs = range(first // of, (first + count - 1) // of + 1)
    row = np.concatenate([np.random.default_rng((*seed, e)).permutation(of) for e in epochs])
    skipped = first - epochs[0] * of
    return row[skipped : skipped + count]


def cut(
    lengths: NDArray[np.int64], tokens: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Sort pairs by length and cut them into batches of at most ``tokens`` padded pieces.

    Targets of nearly one length are sorted by their sources, so that little of either side is
    padding. A pair longer than ``tokens`` is a batch of its own.

    :param lengths: of source and target, (pairs, 2).
    :return: the numbers of each batch's pairs; the batches in random order.
    """
    target = lengths[:, 1] // _BUCKET
    # up and down by turns, so that neighbours stay alike where a bucket ends
    source = np.where(target % 2 == 0, lengths[:, 0], -lengths[:, 0])
    order = np.lexsort((rng.random(len(lengths)), source, target))
    batches: list[list[int]] = [[]]
    longest = np.zeros(2, dtype=np.int64)
    for number in order:
        wider = np.maximum(longest, lengths[number])
        if batches[-1] and (len(batches[-1]) + 1) * wider.sum() > tokens:
            batches.append([])
            wider = lengths[number]
        batches[-1].append(int(number))
        longest = wider
    made = [np.array(batch, dtype=np.int64) for batch in batches if batch]
    return [made[k] for k in rng.permutation(len(made))]


def make_batch(
    sources: Sequence[NDArray[np.int32]],
    targets: Sequence[NDArray[np.int32]],
    prefixes: Sequence[int],
    *,
    pad: int,
) -> Batch:
    """Pad pairs to one batch.

    :param sources: whole encoder inputs.
    :param targets: prefix, pieces and end of each.
    :param prefixes: how many of its pieces each decoder is given.
    """
    width, length = max(map(len, sources)), max(map(len, targets)) - 1
    source = np.full((len(sources), width), pad, dtype=np.int64)
    mask = np.zeros((len(sources), width), dtype=np.int64)
    given = np.full((len(targets), length), pad, dtype=np.int64)
    labels = np.full((len(targets), length), IGNORED, dtype=np.int64)
    for row, (ids, pieces, prefix) in enumerate(zip(sources, targets, prefixes, strict=True)):
        source[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
        given[row, : len(pieces) - 1] = pieces[:-1]
        labels[row, prefix - 1 : len(pieces) - 1] = pieces[prefix:]
    return Batch(
        torch.from_numpy(source),
        torch.from_numpy(mask),
        torch.from_numpy(given),
        torch.from_numpy(labels),
        sum(map(len, sources)) + sum(len(one) - 1 for one in targets),
    )
