"""Denoising: a batch's source is a noisy copy of its target, other noise every time it comes.

As pretraining it makes a model that writes fluently from what it understood (Liu et al., 2020,
*mBART*); in unsupervised translation it keeps the decoder fluent (Lample et al., 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.training.loop import seed_of
from nmt.training.batches import Batch, BitextBatches, Plan, Row, cut, make_batch
from nmt.training.monolingual import EncodedText
from nmt.training.noise import MbartNoise, Noise


class NoisyPlan(NamedTuple):
    """Which texts, and the seed of their noise."""

    seed: int
    rows: Plan


class DenoisingBatches(BitextBatches):
    """Texts, drawn from as :class:`nmt.training.batches.BitextBatches` does from bitext.

    :param starts: which pieces begin a word, by their ids.
    :param mask: the piece that stands for what is hidden.
    """

    def __init__(
        self,
        texts: Sequence[EncodedText],
        noise: Noise,
        *,
        starts: NDArray[np.bool_],
        mask: int,
        pad: int,
        seed: int,
        temperature: float = 1.0,
    ) -> None:
        copies = [text.copies for text in texts]
        super().__init__(copies, pad=pad, seed=seed, temperature=temperature)
        self._texts = list(texts)
        self._noise = noise
        self._starts = starts
        self._mask = mask

    def plans(self, *, tokens: int, stage: int, start: int) -> Iterator[NoisyPlan]:  # type: ignore[override]
        plans = super().plans(tokens=tokens, stage=stage, start=start)
        for number, rows in enumerate(plans, start=start):
            yield NoisyPlan(seed_of(self._seed, stage, number), rows)

    def build(self, plan: NoisyPlan) -> Batch:  # type: ignore[override]
        random = np.random.default_rng(plan.seed)
        copies = [self.corpora[row.corpus] for row in plan.rows]
        return make_batch(
            [self._noisy(row, random) for row in plan.rows],
            [one.target[row.pair] for one, row in zip(copies, plan.rows, strict=True)],
            [one.prefix for one in copies],
            pad=self.pad,
        )

    def once(self, tokens: int) -> Iterator[Batch]:
        """Batches that go through every text once, with the same noise each time."""
        rows = [Row(c, k) for c, corpus in enumerate(self.corpora) for k in range(len(corpus))]
        lengths = np.array([self._lengths(row) for row in rows])
        for number, plan in enumerate(cut(lengths, tokens, np.random.default_rng(self._seed))):
            yield self.build(NoisyPlan(seed_of(self._seed, number), [rows[k] for k in plan]))

    def _noisy(self, row: Row, random: np.random.Generator) -> NDArray[np.int32]:
        """A whole encoder input."""
        text = self._texts[row.corpus]
        pieces = text.pieces(row.pair)
        starts = self._starts[pieces]
        starts[:1] = True
        if isinstance(self._noise, MbartNoise):
            sentences = np.zeros(len(pieces), bool)
            sentences[text.sentences[row.pair][: len(pieces)]] = True
            starts |= sentences
            noisy = self._noise.apply(
                pieces, random, mask=self._mask, starts=starts, sentences=sentences
            )
        else:
            noisy = self._noise.apply(pieces, random, mask=self._mask, starts=starts)
        return np.array(text.around.put(noisy.tolist()), dtype=np.int32)
