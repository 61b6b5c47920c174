"""Where a search stands: the unfinished hypotheses of a batch of sentences.

Tensors have the shape (sentences, beams), or begin with it. Sentences that are done are taken out
of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.search.candidates import forbid, forbid_repeats


class Found(NamedTuple):
    """One hypothesis."""

    ids: list[int]
    """Its pieces, without what the decoder was given, and without its end."""
    score: float
    truncated: bool
    """Whether it reached the limit before its end."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Sentences that are searched together."""

    source: Tensor
    """int64 pieces, shape (sentences, length)."""
    mask: Tensor
    """True where there is a piece, of the same shape."""
    given: Sequence[Sequence[int]]
    """What the decoder of each sentence is given: at least the piece that it starts from."""
    counted: int
    """How many of the given pieces count in the length of a hypothesis, each with probability 1.

    ``generate`` counts the tag that it forces (``forced_bos_token_id``), and nothing else."""
    limits: Sequence[int]
    """Most pieces of each hypothesis, with its end and what is counted."""


class Rules(NamedTuple):
    """What may be written."""

    end: int
    forbidden: Sequence[int] = ()
    no_repeat_ngram: int = 0
    length_penalty: float = 1.0


class Frontier(ABC):
    """What all kinds of search have in common."""

    def __init__(self, batch: Batch, rules: Rules) -> None:
        device = batch.source.device
        given = [torch.tensor(own) for own in batch.given]
        lengths = torch.tensor([len(own) for own in given], device=device)
        self.rules = rules
        self.found: list[list[Found]] = [[] for _ in given]
        self.length = 1
        self.given = torch.nn.utils.rnn.pad_sequence(given, batch_first=True).to(device)
        self.lengths = lengths
        self.prompt = lengths - batch.counted
        self.limit = self.prompt + torch.tensor(batch.limits, device=device)
        self.numbers = torch.arange(len(given), device=device)
        room = int(self.limit.max())
        self.written = torch.zeros((len(given), 1, room), dtype=torch.int64, device=device)
        self.written[:, 0, 0] = self.given[:, 0]
        self.scores = torch.zeros((len(given), 1), device=device)
        self.parents: Tensor | None = None
        self.open = torch.ones(len(given), dtype=torch.bool, device=device)

    kept: tuple[str, ...] = (
        "given",
        "lengths",
        "prompt",
        "limit",
        "numbers",
        "written",
        "scores",
        "open",
    )
    """The tensors that have a row a sentence."""

    @property
    def pieces(self) -> Tensor:
        """The last piece of each beam."""
        return self.written[:, :, self.length - 1]

    def extend(self, logits: Tensor) -> None:
        """Go on by one piece.

        :param logits: float32, shape (sentences, beams, vocabulary); may be changed.
        """
        forced = self._forced()
        if forced is not None and bool(forced.all()):
            self.parents = None
            self.written[:, :, self.length] = self.given[:, None, self.length]
        else:
            self.choose(logits, forced)
        self.length += 1

    @abstractmethod
    def choose(self, logits: Tensor, forced: Tensor | None) -> None:
        """Write the next piece, keep the score, say the parents and close sentences.

        :param forced: whose next piece is given, shape (sentences,); None if nobody's is.
        """

    @abstractmethod
    def results(self, row: int) -> list[Found]:
        """What the sentence of a row has found."""

    def leave(self) -> Tensor | None:
        """Note what closed sentences have found, and drop them, if they are many enough.

        :return: the rows that stay; None if none leaves.
        """
        staying = self.open.nonzero().squeeze(1)
        # what is kept is copied; so a few that are done stay until there are more
        if len(staying) and 4 * len(staying) > 3 * len(self.open):
            return None
        closed = (~self.open).nonzero().squeeze(1)
        for row, number in zip(closed.tolist(), self.numbers[closed].tolist(), strict=True):
            self.found[number] = self.results(row)
        for name in self.kept:
            setattr(self, name, getattr(self, name)[staying])
        if self.parents is not None:
            self.parents = self.parents[staying]
        return staying

    def _forced(self) -> Tensor | None:
        if self.length >= self.given.shape[1]:
            return None
        forced = self.lengths > self.length
        return forced if bool(forced.any()) else None

    def forbid(self, logits: Tensor) -> None:
        """Set to minus infinity, in place, what must not come next."""
        forbid(logits, self.rules.forbidden)
        if self.rules.no_repeat_ngram:
            written = self.written[:, :, : self.length]
            forbid_repeats(logits, written, self.rules.no_repeat_ngram)

    def divisor(self) -> Tensor:
        """Of the scores of hypotheses with one piece more than now; shape (sentences, 1)."""
        length = (self.length + 1 - self.prompt).clamp(min=1).double()
        return (length**self.rules.length_penalty).float()[:, None]

    def cut(self, row: int, ids: Sequence[int], score: float) -> Found:
        """A hypothesis of all that was written, up to its end."""
        own = list(ids[int(self.lengths[row]) :])
        truncated = not own or own[-1] != self.rules.end
        return Found(own if truncated else own[:-1], score, truncated)
