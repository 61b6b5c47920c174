"""Masked prediction in text that changes its language: between sentences or between phrases.

    loss = - mean over chosen pieces of log p(piece | the mixed text, with those masked)

CLMLM, the cross-lingual masked language model of Unicoder (Huang et al., 2019): of consecutive
sentences every second one is taken from the translation. It needs rows of several pairs that
follow each other in the corpus (``join_pieces`` and ``order = "document"`` of the stage); a row of
one pair is only a sentence. Which language comes first is drawn at random (there: always the
document's own).

ALM, alternating language modelling (Yang et al., 2020): phrases of a sentence are replaced by
their translations. Phrase pairs are those that the links between words allow (Koehn et al., 2003):
runs of words on both sides, linked to each other and to nothing else. Simplified: every such pair
may be taken, where they keep those of a phrase table; the links are the guiding ones of the
corpus, where they use GIZA++'s.

Mixed text that would be longer than either side of the batch is mixed less.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bitext.bounds import Positive
from encoders.objectives.masked import (
    MaskedSettings,
    choose_and_mask,
    prediction_loss,
    stack,
)
from encoders.objectives.objective import Objective, Reads, Share
from encoders.objectives.step import Step, frame


class MixedDocuments(Objective[MaskedSettings]):
    """CLMLM."""

    Settings = MaskedSettings
    reads: ClassVar[Reads] = "pairs"

    def forward(self, step: Step) -> torch.Tensor:
        return masked_loss(step, mix_documents(step), self.settings.probability)


class MixedPhrasesSettings(MaskedSettings):
    replaced: Share = 0.3  # of a sentence's words, rounded up: at most so many
    longest: Positive = 4  # words of a phrase, on the side that is replaced


class MixedPhrases(Objective[MixedPhrasesSettings]):
    """ALM; one in two sentences is the target's, with phrases of the source."""

    Settings = MixedPhrasesSettings
    reads: ClassVar[Reads] = "links"

    def forward(self, step: Step) -> torch.Tensor:
        rows = mix_phrases(step, self.settings.replaced, self.settings.longest)
        return masked_loss(step, rows, self.settings.probability)


def masked_loss(step: Step, rows: list[NDArray[np.int64]], probability: float) -> torch.Tensor:
    """Masked prediction in texts without special pieces."""
    ids = frame([stack(rows, -1).numpy()], step.special)
    masked, chosen = choose_and_mask(ids, step.special, probability, step.generator)
    return prediction_loss(step, masked, ids, chosen)


def mix_documents(step: Step) -> list[NDArray[np.int64]]:
    """Each row of the batch with its sentences from both sides by turns."""
    batch = step.batch
    longest = max(batch.source.shape[1], batch.target.shape[1])
    rows = []
    for row, first in enumerate(coins(len(batch.source), step.generator)):
        both = [
            alternate(
                (batch.source[row], batch.target[row]),
                (batch.source_segments[row], batch.target_segments[row]),
                start,
            )
            for start in (0, 1)
        ]
        # together they are as long as both sides, so one of them always fits
        rows.append(both[first] if len(both[first]) <= longest else both[1 - first])
    return rows


def alternate(
    sides: tuple[NDArray[np.int64], NDArray[np.int64]],
    segments: tuple[NDArray[np.int64], NDArray[np.int64]],
    first: int,
) -> NDArray[np.int64]:
    """Sentences 0, 2, 4 ... from side ``first`` and the others from the other side.

    :param sides: pieces of source and target; ``segments``: the sentence of each, -1 at padding.
    """
    count = max(int(one.max(initial=-1)) for one in segments) + 1
    turns = [(first + sentence) % 2 for sentence in range(count)]
    parts = [sides[turn][segments[turn] == sentence] for sentence, turn in enumerate(turns)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


class Phrase(NamedTuple):
    """Words ``start`` up to ``end`` (exclusive) of one side and what translates them."""

    start: int
    end: int
    other_start: int
    other_end: int


def mix_phrases(step: Step, share: float, longest: int) -> list[NDArray[np.int64]]:
    """Each pair of the batch as one sentence with phrases from the other side."""
    batch = step.batch
    width = max(batch.source.shape[1], batch.target.shape[1])
    sides = (batch.source, batch.target)
    words = (batch.source_words, batch.target_words)
    rows = []
    for row, base in enumerate(coins(len(batch.source), step.generator)):
        links = batch.links[batch.links[:, 0] == row][:, 1:]
        phrases = find_phrases(links if base == 0 else links[:, ::-1], longest)
        kept, other = split_words(sides, words, row, base), split_words(sides, words, row, 1 - base)
        chosen = choose_phrases(phrases, kept, other, share, width, step.generator)
        rows.append(replace_phrases(kept, other, chosen))
    return rows


def find_phrases(links: NDArray[np.int64], longest: int) -> list[Phrase]:
    """All consistent phrase pairs whose first and last word are linked.

    :param links: rows of (word, word of the other side).
    :param longest: most words of a phrase of the first side.
    """
    there: dict[int, list[int]] = {}
    back: dict[int, list[int]] = {}
    for word, other in links.tolist():
        there.setdefault(word, []).append(other)
        back.setdefault(other, []).append(word)
    found = []
    for start in sorted(there):
        others: list[int] = []
        for last in range(start, start + longest):
            if last not in there:
                continue
            others += there[last]
            low, high = min(others), max(others)
            reached = [word for other in range(low, high + 1) for word in back.get(other, ())]
            if min(reached) >= start and max(reached) <= last:
                found.append(Phrase(start, last + 1, low, high + 1))
    return found


def choose_phrases(
    phrases: list[Phrase],
    kept: list[NDArray[np.int64]],
    other: list[NDArray[np.int64]],
    share: float,
    width: int,
    generator: torch.Generator,
) -> list[Phrase]:
    """Phrases to replace, drawn at random, in the order of the sentence.

    :param kept: the pieces of each word of the sentence; ``other``: of its translation.
    :param share: of the words that may be replaced, rounded up.
    :param width: most pieces of the mixed sentence.
    """
    left = int(np.ceil(share * len(kept)))
    room = width - sum(map(len, kept))
    chosen: list[Phrase] = []
    for number in torch.randperm(len(phrases), generator=generator).tolist():
        phrase = phrases[number]
        old, new = kept[phrase.start : phrase.end], other[phrase.other_start : phrase.other_end]
        longer = sum(map(len, new)) - sum(map(len, old))
        free = all(phrase.end <= one.start or one.end <= phrase.start for one in chosen)
        if free and len(old) <= left and longer <= room:
            chosen.append(phrase)
            left, room = left - len(old), room - longer
    return sorted(chosen)


def replace_phrases(
    kept: list[NDArray[np.int64]], other: list[NDArray[np.int64]], chosen: list[Phrase]
) -> NDArray[np.int64]:
    """The pieces of the sentence with the ``chosen`` phrases, in its order, replaced."""
    mixed: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    done = 0
    for phrase in chosen:
        mixed += [*kept[done : phrase.start], *other[phrase.other_start : phrase.other_end]]
        done = phrase.end
    return np.concatenate([*mixed, *kept[done:]])


def split_words(
    sides: tuple[NDArray[np.int64], NDArray[np.int64]],
    words: tuple[NDArray[np.int64], NDArray[np.int64]],
    row: int,
    side: int,
) -> list[NDArray[np.int64]]:
    """The pieces of each word of one sentence."""
    of = words[side][row]
    return [sides[side][row][of == word] for word in range(int(of.max(initial=-1)) + 1)]


def coins(count: int, generator: torch.Generator) -> list[int]:
    """So many times 0 or 1."""
    tossed: list[int] = torch.randint(2, (count,), generator=generator).tolist()
    return tossed
