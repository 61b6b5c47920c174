"""From a batch of source sentences to their hypotheses: greedy, beam search, sampling.

A hypothesis scores the sum of its pieces' log-probabilities, divided by its length to the power of
``length_penalty``; its end counts as a piece. With equal settings, what is found is what
``generate`` of transformers finds. Three things differ, none of them in the result: the source is
encoded once, not once a beam; the first step has one beam, as all would be the same; and sentences
that are done leave the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from typing_extensions import Self

from encoders.strict import Strict
from nmt.search.beams import Beams
from nmt.search.chains import Draw, Greedy, Samples
from nmt.search.frontier import Batch, Found, Frontier, Rules
from nmt.search.steps import steps_of


class SearchSettings(Strict):
    """How hypotheses are searched for."""

    beam_size: PositiveInt = 5
    """Of one beam, the search is greedy."""
    length_penalty: FiniteFloat = 1.0
    """0 prefers short hypotheses; the larger, the longer."""
    no_repeat_ngram: NonNegativeInt = 0
    """No run of so many pieces comes twice; 0 allows it."""
    n_best: PositiveInt = 1
    early_stopping: bool = False
    """Stop when as many hypotheses have ended as there are beams, without a look at the others."""
    max_length: PositiveInt | None = None
    """Pieces a hypothesis may have, its end included; at most, and by default, the model's."""
    max_length_ratio: PositiveFloat | None = None
    """The same, for each piece of the source."""
    sample: bool = False
    """Draw pieces by their probability instead of searching for the best; beam_size has no say."""
    temperature: PositiveFloat = 1.0
    top_k: NonNegativeInt = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: NonNegativeInt = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.no_repeat_ngram == 1:
            raise ValueError("no_repeat_ngram 1 would forbid every second comma; 0 or at least 2")
        if not self.sample and self.n_best > self.beam_size:
            raise ValueError(f"n_best {self.n_best} is more than the beam_size of {self.beam_size}")
        drawing = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
        for name, default in drawing.items():
            if not self.sample and getattr(self, name) != default:
                raise ValueError(f"{name} is for sampling, which was not asked for")
        return self

    @property
    def width(self) -> int:
        """Beams, or samples, of each sentence."""
        return self.n_best if self.sample else self.beam_size

    def limit(self, source_pieces: int, room: int) -> int:
        """Most pieces of a hypothesis, its end included.

        :param room: how many the model can write.
        """
        limits = [room]
        if self.max_length is not None:
            limits.append(self.max_length)
        if self.max_length_ratio is not None:
            limits.append(math.ceil(self.max_length_ratio * source_pieces))
        return max(1, min(limits))


@torch.inference_mode()
def search(
    model: Any, batch: Batch, how: SearchSettings, *, end: int, forbidden: Sequence[int] = ()
) -> list[list[Found]]:
    """The ``n_best`` hypotheses of each sentence, best first.

    :param model: a seq2seq model of transformers in eval mode; threads may share it.
    :param end: the piece that ends a hypothesis.
    :param forbidden: pieces that are never written.
    """
    steps = steps_of(model, batch.source, batch.mask)
    frontier = _begin(batch, how, end, forbidden)
    while True:
        frontier.extend(steps(frontier.pieces, frontier.parents))
        staying = frontier.leave()
        if staying is not None:
            if not len(staying):
                return frontier.found
            steps.keep(staying)


def _begin(batch: Batch, how: SearchSettings, end: int, forbidden: Sequence[int]) -> Frontier:
    rules = Rules(end, forbidden, how.no_repeat_ngram, how.length_penalty)
    if how.sample:
        draw = Draw(how.temperature, how.top_k, how.top_p, how.seed)
        return Samples(batch, rules, how.n_best, draw)
    if how.beam_size == 1:
        return Greedy(batch, rules)
    early = how.early_stopping
    return Beams(batch, rules, how.beam_size, n_best=how.n_best, early_stopping=early)
