"""Batches of training text. They are a function of the seed and the step alone, so that a resumed
run goes on with the very batch that an uninterrupted one would have taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.statistics.lexicon import UnitLinks
from encoders.training.corpus import ParallelSentences, Sentences

_ROUND = 100_000
"""Pairs that are drawn, sorted by length and cut into batches together."""
_RUN = 16
"""Consecutive pairs that are drawn together where documents are wanted."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Sentence pairs of similar lengths, as padded pieces without special ones; padding is -1.

    A row may be several pairs of a corpus, one behind the other: its words count on through all of
    them, and the segments tell the pairs apart. Monolingual text has targets of length 0.
    """

    source: NDArray[np.int64]  # (pairs, source length)
    target: NDArray[np.int64]  # (pairs, target length)
    source_words: NDArray[np.int64]  # the word of each piece, (pairs, source length)
    target_words: NDArray[np.int64]
    source_segments: NDArray[np.int64]  # which of the row's pairs each piece is of
    target_segments: NDArray[np.int64]
    links: NDArray[np.int64]  # rows of (pair, source word, target word), (links, 3)
    link_weights: NDArray[np.float32]  # (links,)
    source_keys: NDArray[np.int64]  # equal where two sentences are the same, row after row
    target_keys: NDArray[np.int64]


class BatchSource(Protocol):
    """What a training run draws batches from."""

    def plans(
        self, *, alpha: float, tokens: int, join: int, stage: int, start: int, order: str
    ) -> Iterator[Any]:
        """What is in each batch, without end, from number ``start`` on."""
        ...

    def build(self, plan: Any) -> Batch:
        """The batch of a plan."""
        ...


class TrainingCorpus:
    """Language pairs with their guiding links, drawn from in batches.

    A language's probability is proportional to ``pairs ** alpha`` (Conneau & Lample, 2019).
    """

    def __init__(
        self, parts: Mapping[str, tuple[ParallelSentences, UnitLinks | None]], seed: int
    ) -> None:
        self.languages = sorted(parts)
        self._parts = [parts[language] for language in self.languages]
        self._seed = seed

    def __len__(self) -> int:
        return sum(len(pairs) for pairs, _ in self._parts)

    def sentence_pairs(self) -> list[ParallelSentences]:
        """The pairs of every language, in a fixed order."""
        return [pairs for pairs, _ in self._parts]

    def batches(
        self,
        *,
        alpha: float,
        tokens: int,
        join: int,
        stage: int,
        start: int,
        order: str = "random",
    ) -> Iterator[Batch]:
        """Batches of at most ``tokens`` padded pieces, without end, from number ``start`` on.

        :param join: pairs of a language are joined, one behind the other, to pairs of up to this
            many pieces a side; 0 leaves them alone. Most open parallel text is short; joined, it
            teaches positions and distinctions that longer sentences need.
        :param order: ``random`` pairs are joined, or those that follow each other in the corpus, as
            in a ``document``.
        """
        plans = self.plans(
            alpha=alpha, tokens=tokens, join=join, stage=stage, start=start, order=order
        )
        return map(self.build, plans)

    def plans(
        self, *, alpha: float, tokens: int, join: int, stage: int, start: int, order: str
    ) -> Iterator[Plan]:
        """What is in each batch of :meth:`batches`, for :meth:`build` to make those one needs."""
        number, taken = 0, 0
        while True:
            rng = np.random.default_rng((self._seed, stage, number))
            plans = self._plan(rng, alpha, tokens, join, order)
            yield from plans[max(0, start - taken) :]
            taken += len(plans)
            number += 1

    def _plan(
        self, rng: np.random.Generator, alpha: float, tokens: int, join: int, order: str
    ) -> list[Plan]:
        """One round of batches."""
        shares = np.array([len(pairs) for pairs, _ in self._parts], dtype=np.float64) ** alpha
        counts = rng.multinomial(min(_ROUND, 8 * len(self)), shares / shares.sum())
        drawn: list[_Drawn] = []
        for language, ((pairs, _), number) in enumerate(zip(self._parts, counts, strict=True)):
            chosen = _draw(rng, len(pairs), number, _RUN if order == "document" else 1)
            drawn.extend(_join(rng, language, pairs, chosen, join))
        ties = rng.random(len(drawn))
        by_width = sorted(range(len(drawn)), key=lambda k: (drawn[k].width, ties[k]))
        plan: list[Plan] = [[]]
        for one in (drawn[k] for k in by_width):
            # widths grow, so the newest of a batch decides how wide all its rows are
            if plan[-1] and (len(plan[-1]) + 1) * 2 * one.width > tokens:
                plan.append([])
            plan[-1].append(one)
        return [plan[k] for k in rng.permutation(len(plan))]

    def build(self, plan: Plan) -> Batch:
        """The batch of a plan."""
        sources, targets = _Rows(), _Rows()
        links, weights = [np.zeros((0, 3), dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
        for row, (language, numbers, _) in enumerate(plan):
            pairs, linked = self._parts[language]
            first = np.stack(
                [sources.add(pairs.source, numbers), targets.add(pairs.target, numbers)]
            )
            if linked is None:
                continue
            for place, number in enumerate(numbers):
                span = slice(linked.offsets[number], linked.offsets[number + 1])
                ends = np.stack([linked.source[span], linked.target[span]], axis=1)
                links.append(np.insert(ends + first[:, place], 0, row, axis=1))
                weights.append(linked.weight[span].astype(np.float32))
        return Batch(
            _pad(sources.pieces),
            _pad(targets.pieces),
            _pad(sources.words),
            _pad(targets.words),
            _pad(sources.segments),
            _pad(targets.segments),
            np.concatenate(links),
            np.concatenate(weights),
            np.array(sources.keys),
            np.array(targets.keys),
        )


class _Drawn(NamedTuple):
    """Pairs of one language that make one row of a batch."""

    language: int
    pairs: list[int]
    width: int  # pieces of the longer side, and the two special ones


Plan = list[_Drawn]
"""The rows of one batch."""


class _Rows:
    """One side of a batch as it grows."""

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.pieces: list[NDArray[np.int32]] = []
        self.words: list[NDArray[np.int64]] = []
        self.segments: list[NDArray[np.int64]] = []

    def add(self, side: Sentences, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Add a row of joined sentences; the number of each one's first word."""
        spans = [slice(side.offsets[k], side.offsets[k + 1]) for k in numbers]
        words = [side.word_of[span].astype(np.int64) for span in spans]
        counts = [int(one.max(initial=-1)) + 1 for one in words]
        first = np.cumsum([0, *counts[:-1]])
        pieces = [side.pieces[span] for span in spans]
        self.keys.extend(hash(one.tobytes()) for one in pieces)
        self.pieces.append(np.concatenate(pieces))
        self.words.append(np.concatenate([w + f for w, f in zip(words, first, strict=True)]))
        self.segments.append(np.repeat(np.arange(len(spans)), [len(one) for one in words]))
        return first


def _join(
    rng: np.random.Generator,
    language: int,
    corpus: ParallelSentences,
    pairs: NDArray[np.int64],
    longest: int,
) -> Iterator[_Drawn]:
    """Join ``pairs`` in their order to rows of random widths up to ``longest`` pieces."""
    lengths = np.stack([corpus.source.lengths()[pairs], corpus.target.lengths()[pairs]], axis=1)
    row: list[int] = []
    sides = np.zeros(2, dtype=np.int64)
    room = rng.integers(longest + 1, size=len(pairs))
    for number, pair in enumerate(pairs):
        if row and (sides + lengths[number]).max() > room[number - len(row)]:
            yield _Drawn(language, row, int(sides.max()) + 2)
            row, sides = [], np.zeros(2, dtype=np.int64)
        row.append(int(pair))
        sides = sides + lengths[number]
    if row:
        yield _Drawn(language, row, int(sides.max()) + 2)


def _draw(rng: np.random.Generator, pairs: int, count: int, run: int) -> NDArray[np.int64]:
    """``count`` of ``pairs`` numbers, each once before any comes twice, in runs of ``run``."""
    runs = -(-pairs // run)
    drawn: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    left = count
    while left > 0:
        numbers = (rng.permutation(runs)[:, None] * run + np.arange(run)).ravel()
        drawn.append(numbers[numbers < pairs])
        left -= pairs
    return np.concatenate(drawn)[:count]


def _pad(sentences: Sequence[NDArray[np.int32] | NDArray[np.int64]]) -> NDArray[np.int64]:
    padded = np.full((len(sentences), max(map(len, sentences))), -1, dtype=np.int64)
    for row, ids in enumerate(sentences):
        padded[row, : len(ids)] = ids
    return padded


class ReplayedCorpus:
    """A corpus of which some batches are, at random, those of another one.

    Old text among the new keeps a model from forgetting what it knew (rehearsal: Robins, 1995).

    :param share: the probability that a batch is one of ``old``.
    """

    def __init__(self, new: TrainingCorpus, old: TrainingCorpus, share: float, seed: int) -> None:
        self._new, self._old = new, old
        self._share, self._seed = share, seed

    def plans(self, *, stage: int, start: int, **how: Any) -> Iterator[tuple[bool, Plan]]:
        """As :meth:`TrainingCorpus.plans`; each plan says whether it is of the old text."""
        replayed = 0
        for number in range(start):
            replayed += self._is_old(stage, number)
        old = self._old.plans(stage=stage, start=replayed, **how)
        new = self._new.plans(stage=stage, start=start - replayed, **how)
        for number in count(start):
            is_old = self._is_old(stage, number)
            yield is_old, next(old if is_old else new)

    def _is_old(self, stage: int, number: int) -> bool:
        return bool(np.random.default_rng((self._seed, stage, number)).random() < self._share)

    def build(self, plan: tuple[bool, Plan]) -> Batch:
        """The batch of a plan."""
        is_old, rows = plan
        return (self._old if is_old else self._new).build(rows)
