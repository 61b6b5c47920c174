"""Noise that a model learns to undo: what denoising and unsupervised translation train on.

A sentence is an array of piece ids, or of words, shape (pieces,), without special ones. ``starts``
has the same shape and is true at the first piece of each word, which then stays in one; without it
each piece is a word. All is drawn from the generator that is given, so the same generator gives the
same noise.

- :class:`XlmNoise`: words shuffled a little, dropped and blanked (Lample et al., 2018,
  *Unsupervised machine translation using monolingual corpora only*, section 2.3; blanking by
  Conneau & Lample, 2019).
- :class:`MbartNoise`: spans of words replaced by one mask each, sentences in another order (Lewis
  et al., 2020, *BART*; Liu et al., 2020, *mBART*, section 2.2).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bitext.bounds import Count, Weight
from encoders.strict import Strict

Pieces = NDArray[Any]
"""Piece ids, or words as an array of objects; shape (pieces,)."""

Starts = NDArray[np.bool_]
Order = NDArray[np.int64]
"""Numbers of words, in the order they shall stand; -1 is a mask."""

MASK = -1


class XlmNoise(Strict):
    """The noise of unsupervised translation; the defaults are the papers'."""

    kind: Literal["xlm"] = "xlm"
    shuffle: Count = 3
    """How far a word may move."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """The share of words that are left out."""
    blank: float = Field(0.1, ge=0, lt=1)
    """The share of words whose pieces become masks."""

    def apply(
        self,
        pieces: Pieces,
        random: np.random.Generator,
        *,
        mask: Any,
        starts: Starts | None = None,
    ) -> Pieces:
        """Shuffle, then drop, then blank."""
        words = _Words(len(pieces), starts)
        order = shuffle_words(len(words), random, self.shuffle)
        order = order[kept_words(len(words), random, self.dropout)]
        places = words.places(order)
        blanked = random.random(len(order)) < self.blank
        places[np.repeat(blanked, words.lengths[order])] = MASK
        return _taken(pieces, places, mask)


class MbartNoise(Strict):
    """The noise of BART and mBART; the defaults are mBART's."""

    kind: Literal["mbart"] = "mbart"
    share: float = Field(0.35, ge=0, le=1)
    """Of the words, those that masks stand for."""
    span: Weight = 3.5
    """Mean number of words for which one mask stands, by Poisson."""
    permute: bool = True
    """Whether sentences change their order."""

    def apply(
        self,
        pieces: Pieces,
        random: np.random.Generator,
        *,
        mask: Any,
        starts: Starts | None = None,
        sentences: Starts | None = None,
    ) -> Pieces:
        """Permute the sentences, then mask.

        :param sentences: true at the first piece of each sentence; by default there is one.
        """
        if self.permute and sentences is not None:
            whole = _Words(len(pieces), sentences)
            places = whole.places(random.permutation(len(whole)))
            pieces = pieces[places]
            starts = None if starts is None else starts[places]
        words = _Words(len(pieces), starts)
        order = infilled(len(words), random, self.share, self.span)
        return _taken(pieces, words.places(order), mask)


Noise = XlmNoise | MbartNoise


# --- the order in which words stand afterwards


def shuffle_words(words: int, random: np.random.Generator, most: int = 3) -> Order:
    """An order in which no word is more than ``most`` places from where it was.

    Words are sorted by their place plus a number drawn from [0, most + 1), as the paper has it;
    XLM's own code draws from [0, most), so that words move by one place less.
    """
    return np.argsort(np.arange(words) + random.uniform(0, most + 1, words), kind="stable")


def kept_words(words: int, random: np.random.Generator, dropout: float = 0.1) -> NDArray[np.bool_]:
    """Which words stay, each left out by chance; one stays in any case."""
    kept = random.random(words) >= dropout
    if words and not kept.any():
        kept[random.integers(words)] = True
    return kept


def infilled(
    words: int, random: np.random.Generator, share: float = 0.35, span: float = 3.5
) -> Order:
    """An order in which runs of words, ``share`` of all of them together, are one mask each.

    The lengths of the runs are drawn from a Poisson distribution; the last is cut so that the share
    is met, rounded up. A run of no words is a mask put in between. Where the runs lie is uniform
    among all ways to place them; two may follow one another.
    """
    hidden = int(np.ceil(share * words))
    spans = random.permutation(_span_lengths(hidden, random, span))
    items = words - hidden + len(spans)
    is_span = np.zeros(items, bool)
    is_span[random.choice(items, len(spans), replace=False)] = True
    sizes = np.ones(items, np.int64)
    sizes[is_span] = spans
    order: Order = np.cumsum(sizes) - sizes
    order[is_span] = MASK
    return order


def _span_lengths(hidden: int, random: np.random.Generator, span: float) -> Order:
    """Lengths that are ``hidden`` together."""
    lengths = np.zeros(0, np.int64)
    while lengths.sum() < hidden:
        lengths = np.append(lengths, random.poisson(span, 1 + int(hidden / span)))
    ends = np.cumsum(lengths)
    last = int(np.searchsorted(ends, hidden))
    lengths = lengths[: last + 1] if hidden else lengths[:0]
    lengths[last:] -= ends[last : last + 1] - hidden
    return lengths


# --- words of several pieces


class _Words:
    """Where the words of a sentence lie."""

    def __init__(self, pieces: int, starts: Starts | None) -> None:
        if starts is None:
            self.first: Order = np.arange(pieces)
        else:
            assert starts.shape == (pieces,), "one start a piece"
            assert not pieces or starts[0], "the first piece starts a word"
            self.first = np.flatnonzero(starts)
        self.lengths: Order = np.diff(self.first, append=pieces)

    def __len__(self) -> int:
        return len(self.first)

    def places(self, order: Order) -> Order:
        """Where the pieces of words in this order lie; -1 for a mask."""
        if not len(order):
            return order
        masked = order == MASK
        lengths = np.where(masked, 1, self.lengths[order])
        ends = np.cumsum(lengths)
        shift = self.first[order] - (ends - lengths)
        places: Order = np.arange(ends[-1]) + np.repeat(shift, lengths)
        places[np.repeat(masked, lengths)] = MASK
        return places


def _taken(pieces: Pieces, places: Order, mask: Any) -> Pieces:
    """The pieces at these places, a new array."""
    # An array of strings would cut a mask that is longer than its longest word.
    found: Pieces = (pieces.astype(object) if pieces.dtype.kind == "U" else pieces)[places]
    found[places == MASK] = mask
    return found
