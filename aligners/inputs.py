"""The pairs of one or two files, as they are aligned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from aligners.chunks import chunked
from bitext.formats.records import Offsets
from bitext.resumable import Mark, Watched
from bitext.text import read_bitext, read_parallel, words
from bitext.types import SentencePair, Side


class Input(NamedTuple):
    """One pair as it is aligned and, of raw text, where its words stand."""

    pair: SentencePair
    offsets: tuple[Offsets, Offsets] | None = None


class Chunk(NamedTuple):
    """Pairs that are aligned together, and how far the input has been read with them."""

    inputs: list[Input]
    mark: Mark

    @property
    def first(self) -> int:
        """The number of the first pair, from 1."""
        return self.mark.items - len(self.inputs) + 1


Prepare = Callable[[SentencePair], Input]
"""From raw text to words."""


def read_pairs(file: str, target: str | None) -> Iterator[SentencePair]:
    """The pairs of one or two files; the first is read at once, so that bad input shows early."""
    pairs = read_bitext(file) if target is None else read_parallel(file, target)
    return chain([next(pairs)], pairs)


def watched(pairs: Iterable[SentencePair]) -> Watched[SentencePair]:
    """Raw pairs, hashed; no line holds the NUL that parts the sides."""
    return Watched(pairs, "{0.source}\0{0.target}".format)


def chunks(pairs: Watched[SentencePair], size: int, prepare: Prepare) -> Iterator[Chunk]:
    for inputs in chunked(map(prepare, pairs), size, lambda item: item.pair):
        yield Chunk(inputs, pairs.mark)


def split(pair: SentencePair) -> Input:
    """Words are what spaces and tabs separate."""
    return Input(SentencePair(words(_text(pair.source)), words(_text(pair.target))))


def segmented(pair: SentencePair) -> Input:
    """Words are found by Unicode's rules."""
    from bitext.segmentation import segment

    source, target = segment(_text(pair.source)), segment(_text(pair.target))
    offsets = ([(w.start, w.end) for w in source], [(w.start, w.end) for w in target])
    return Input(SentencePair([w.text for w in source], [w.text for w in target]), offsets)


def _text(side: Side) -> str:
    assert isinstance(side, str), "files hold raw text"
    return side
