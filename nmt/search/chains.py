"""Hypotheses that are written piece by piece and never taken back: greedy search and sampling."""

from __future__ import annotations

from abc import abstractmethod
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmt.search.candidates import drawn
from nmt.search.frontier import Batch, Found, Frontier, Rules


class Chains(Frontier):
    """Each beam is a chain of its own."""

    kept = (*Frontier.kept, "ends", "over")

    def __init__(self, batch: Batch, rules: Rules, chains: int) -> None:
        super().__init__(batch, rules)
        shape = (len(batch.given), chains)
        if chains > 1:  # they begin from one
            self.parents = self.written.new_zeros(shape)
        self.written = self.written.expand(-1, chains, -1).clone()
        self.scores = self.scores.new_zeros(shape)
        self.over = torch.zeros(shape, dtype=torch.bool, device=self.scores.device)
        self.ends = self.written.new_zeros(shape)  # the lengths, of those that are over

    @abstractmethod
    def pick(self, logits: Tensor) -> Tensor:
        """The next piece of each chain, shape (sentences, chains)."""

    def choose(self, logits: Tensor, forced: Tensor | None) -> None:
        self.parents = None
        sums = logits.logsumexp(dim=2)
        self.forbid(logits)
        pieces = self.pick(logits)
        gained = logits.gather(2, pieces[..., None]).squeeze(2) - sums
        if forced is not None:
            own = forced[:, None]
            pieces = torch.where(own, self.given[:, None, self.length], pieces)
            gained = gained.masked_fill(own, 0)
        self.scores += gained.masked_fill(self.over, 0)
        self.written[:, :, self.length] = pieces
        ending = pieces == self.rules.end
        if forced is not None:
            ending &= ~forced[:, None]
        ending |= (self.length + 1 >= self.limit)[:, None]
        ending &= ~self.over
        self.ends[ending] = self.length + 1
        self.over |= ending
        self.open = ~self.over.all(dim=1)

    def results(self, row: int) -> list[Found]:
        penalty = self.rules.length_penalty
        prompt = int(self.prompt[row])
        found = []
        for chain, end in enumerate(self.ends[row].tolist()):
            score = float(self.scores[row, chain]) / (end - prompt) ** penalty
            found.append(self.cut(row, self.written[row, chain, :end].tolist(), score))
        return sorted(found, key=lambda own: -own.score)


class Greedy(Chains):
    """One chain of the likeliest pieces."""

    def __init__(self, batch: Batch, rules: Rules) -> None:
        super().__init__(batch, rules, 1)

    def pick(self, logits: Tensor) -> Tensor:
        return logits.argmax(dim=2)


class Draw(NamedTuple):
    """How pieces are drawn; see :func:`nmt.search.candidates.drawn`."""

    temperature: float
    top_k: int
    top_p: float
    seed: int


class Samples(Chains):
    """Chains of pieces drawn by their probability.

    Each sentence has random numbers of its own, made of the seed and its pieces, so that it gets
    the same samples whatever it is translated with.
    """

    kept = (*Chains.kept, "numbers_drawn")

    def __init__(self, batch: Batch, rules: Rules, chains: int, draw: Draw) -> None:
        super().__init__(batch, rules, chains)
        self.draw = draw
        room = self.written.shape[2]
        sources = [own[real].tolist() for own, real in zip(batch.source, batch.mask, strict=True)]
        numbers = np.stack([_numbers(draw.seed, own, chains, room) for own in sources])
        self.numbers_drawn = torch.from_numpy(numbers).to(self.written.device)

    def pick(self, logits: Tensor) -> Tensor:
        sentences, chains, size = logits.shape
        pieces = drawn(
            (logits / self.draw.temperature).view(-1, size),
            self.numbers_drawn[:, :, self.length].reshape(-1),
            top_k=self.draw.top_k,
            top_p=self.draw.top_p,
        )
        return pieces.view(sentences, chains)


def _numbers(seed: int, source: list[int], chains: int, room: int) -> NDArray[np.float64]:
    """Uniform in [0, 1), shape (chains, room); those of a longer room begin with these.

    A stream a chain, so that more samples begin with the same ones.
    """
    digest = blake2b(np.array(source, dtype=np.int64).tobytes(), digest_size=8).digest()
    own = int.from_bytes(digest, "little")
    return np.stack([np.random.default_rng([seed, own, n]).random(room) for n in range(chains)])
