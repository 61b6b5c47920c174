"""Beam search, step by step as in ``generate`` of transformers.

A sentence has finished when as many hypotheses have ended as there are beams, and the best beam
would, if it ended now, score no better than the worst of those. For a length penalty above 0 that
is a guess: a longer hypothesis might still. With ``early_stopping`` the number alone decides, as in
CTranslate2 and fairseq.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nmt.search.candidates import best
from nmt.search.frontier import Batch, Found, Frontier, Rules

_NEVER = -1.0e9
"""The score of what is not there; as in ``generate``, so that the arithmetic is the same."""


class Beams(Frontier):
    """The beams of each sentence, and its hypotheses that have ended."""

    kept = (*Frontier.kept, "ended_scores", "ended_written", "ended_lengths", "ended")

    def __init__(
        self, batch: Batch, rules: Rules, beams: int, *, n_best: int, early_stopping: bool
    ) -> None:
        super().__init__(batch, rules)
        self.beams = beams
        self.n_best = n_best
        self.early_stopping = early_stopping
        shape = (len(batch.given), beams)
        self.ended_scores = self.scores.new_full(shape, _NEVER)
        self.ended_written = self.written.expand(-1, beams, -1).clone()
        self.ended_lengths = self.written.new_zeros(shape)
        self.ended = torch.zeros(shape, dtype=torch.bool, device=self.scores.device)

    def choose(self, logits: Tensor, forced: Tensor | None) -> None:
        scores, parents, pieces = self._candidates(logits)
        over = pieces == self.rules.end
        over |= (self.length + 1 >= self.limit)[:, None]
        if forced is not None:
            over &= ~forced[:, None]
        divisor = self.divisor()
        self._end(scores / divisor, parents, pieces, over)
        # candidates that go on, best first; as many as beams, since each beam ends but once
        running = scores + over.float() * _NEVER
        before = self.scores
        order = running.topk(self.beams, dim=1).indices
        self.scores = running.gather(1, order)
        parents, pieces = parents.gather(1, order), pieces.gather(1, order)
        if forced is not None:
            parents, pieces = self._force(forced, before, parents, pieces)
        self.parents = parents
        self.written = _rows(self.written, parents)
        self.written[:, :, self.length] = pieces
        self._close(divisor)

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best continuations of each sentence, best first: scores, parents, pieces.

        They are twice as many as beams, so that as many as beams go on, even if each beam ends.
        """
        size = logits.shape[2]
        log_probs = logits.log_softmax(dim=2)
        self.forbid(log_probs)
        log_probs += self.scores[:, :, None]
        scores, places = best(log_probs.flatten(1), 2 * self.beams)
        return scores, places // size, places % size

    def _end(self, scores: Tensor, parents: Tensor, pieces: Tensor, over: Tensor) -> None:
        """Keep the best of what has ended: at most as many as beams.

        :param scores: of the candidates, divided by their lengths.
        """
        own = over[:, : self.beams] & self.open[:, None]
        if not bool(own.any()):
            return
        beams = self.beams
        written = _rows(self.written, parents[:, :beams])
        written[:, :, self.length] = pieces[:, :beams]
        scores = torch.where(own, scores[:, :beams], _NEVER)
        merged, order = torch.cat([self.ended_scores, scores], dim=1).topk(beams, dim=1)
        self.ended_scores = merged
        self.ended_written = _rows(torch.cat([self.ended_written, written], dim=1), order)
        lengths = torch.full_like(self.ended_lengths, self.length + 1)
        self.ended_lengths = torch.cat([self.ended_lengths, lengths], dim=1).gather(1, order)
        self.ended = torch.cat([self.ended, own], dim=1).gather(1, order)

    def _force(
        self, forced: Tensor, before: Tensor, parents: Tensor, pieces: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let the beams of sentences whose next piece is given go on as they are.

        :param before: their scores.
        """
        own = forced[:, None]
        beams = before.shape[1]
        more = before.new_full((len(before), self.beams - beams), _NEVER)
        self.scores = torch.where(own, torch.cat([before, more], dim=1), self.scores)
        same = torch.arange(self.beams, device=before.device).clamp(max=beams - 1)
        given = self.given[:, None, self.length]
        return torch.where(own, same, parents), torch.where(own, given, pieces)

    def _close(self, divisor: Tensor) -> None:
        """Close the sentences whose beams have no more to give."""
        possible = self.scores[:, :1] / divisor
        worst = self.ended_scores.min(dim=1, keepdim=True).values
        better = (possible > torch.where(self.ended, worst, _NEVER)).any(dim=1)
        if self.early_stopping:
            better &= ~self.ended.all(dim=1)
        self.open &= better & (self.length + 1 < self.limit)

    def results(self, row: int) -> list[Found]:
        found = []
        for rank in range(self.n_best):
            length = int(self.ended_lengths[row, rank])
            ids = self.ended_written[row, rank, :length].tolist()
            found.append(self.cut(row, ids, float(self.ended_scores[row, rank])))
        return found


def _rows(written: Tensor, order: Tensor) -> Tensor:
    """Of each sentence the rows in that order: shape (sentences, rows, length)."""
    return written.gather(1, order[..., None].expand(-1, -1, written.shape[2]))
