"""What readers give and writers take, and what they have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bitext.errors import InputError
from bitext.types import Alignment, GoldAlignment, Link

Offsets = list[tuple[int, int]]


class AlignedPair(NamedTuple):
    """An alignment and what else a file tells of its pair."""

    alignment: Alignment
    words: tuple[Sequence[str], Sequence[str]] | None = None
    """Of the source and of the target."""
    possible: frozenset[Link] = frozenset()
    """Those of the links that annotators held possible only."""
    offsets: tuple[Offsets, Offsets] | None = None
    """Where in the raw text each word begins and ends, in code points."""

    @property
    def gold(self) -> GoldAlignment:
        links = frozenset(self.alignment.links)
        return GoldAlignment(links - self.possible, links)


class Numbering(NamedTuple):
    """What the numbers in a file mean, where the format leaves it open."""

    first_word: int | None = None
    """The number of a sentence's first word; ``None`` for what the format says."""
    first_pair: int = 1
    """The number of the file's first pair, in formats that number them."""
    pairs: int | None = None
    """How many pairs there are: a format that skips pairs without links cannot tell at its end."""


Line = tuple[int, str]
"""A line and its number."""

Reader = Callable[[Iterator[Line], Numbering], Iterator[AlignedPair]]
Writer = Callable[[AlignedPair, int, int], str]
"""From a pair, its number and the number of a sentence's first word to whole lines."""


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is read and written."""

    read: Reader
    write: Writer
    first_word: int = 0
    """What words count from."""
    free: bool = False
    """Whether files of this format are known that count otherwise."""
    needs_words: bool = False
    """Whether a pair can be written only with its words."""
    skips_pairs: bool = False
    """Whether pairs without links have no lines, so that those at the end of a file are missing."""


class LineError(Exception):
    """A fault in a line; the reading of the file says in which."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        self.reason = reason


Marked = tuple[Link, float, bool]
"""A link, its score, and whether it is sure."""


def pair_of(
    marked: Iterable[Marked],
    words: tuple[Sequence[str], Sequence[str]] | None = None,
    offsets: tuple[Offsets, Offsets] | None = None,
) -> AlignedPair:
    """Of a repeated link the best score is kept; it is sure if it is so once."""
    marks = list(marked)
    sure = {link for link, _, is_sure in marks if is_sure}
    possible = frozenset(link for link, _, _ in marks if link not in sure)
    alignment = Alignment.of((link, score) for link, score, _ in marks)
    return AlignedPair(alignment, words, possible, offsets)


def score_of(number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise LineError(number, f"expected a score from 0 to 1, got '{text}'")
    return score


def words_of(pair: AlignedPair, name: str) -> tuple[list[str], list[str]]:
    """The words of both sides, for a format that needs them.

    :raises InputError: if there are none, or a link points past them.
    """
    if pair.words is None:
        raise InputError(f"{name} holds the words of a pair, which are not known here")
    check_links(pair)
    source, target = pair.words
    return list(source), list(target)


def check_links(pair: AlignedPair) -> None:
    """:raises InputError: if the words are known and a link points past them."""
    if pair.words is None:
        return
    rows, columns = map(len, pair.words)
    for i, j in pair.alignment.links:
        if i >= rows or j >= columns:
            size = f"{rows} and {columns} words"
            raise InputError(f"link {i}-{j} of a pair of {size}; words count from 0")
