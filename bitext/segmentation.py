"""Raw text -> words with their places in it, by Unicode's rules for word boundaries (UAX 29).

ICU finds the boundaries; Chinese, Japanese, Thai, Lao, Khmer and Burmese, which set no spaces, are
segmented by ICU's dictionaries. Punctuation marks and symbols are words of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from bitext.errors import InputError

_SURROGATE = re.compile("[\ud800-\udfff]")


class Word(NamedTuple):
    """A word and where it stands: ``raw[start:end] == text``, counted in code points."""

    text: str
    start: int
    end: int


def segment(text: str) -> list[Word]:
    """Split ``text`` into words, in order; spaces and control characters are no words.

    Example: ``segment("Don't, 3.5!")`` -> ``[Word("Don't", 0, 5), Word(",", 5, 6),
    Word("3.5", 7, 10), Word("!", 10, 11)]``

    :raises InputError: if ``text`` holds half of a surrogate pair, which JSON can smuggle in.
    """
    from icu4py.breakers import WordBreaker

    if half := _SURROGATE.search(text):
        place = f"at character {half.start() + 1}"
        raise InputError(f"U+{ord(half[0]):04X} {place} is half of a surrogate pair, not text")
    # The root locale: boundaries must not depend on the machine's language.
    segments = WordBreaker(text, "root").segments()
    trimmed = (_trim(text, start, end) for start, end in _code_points(text, segments))
    return [word for word in trimmed if any(map(_is_visible, word.text))]


def _code_points(text: str, segments: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Turn ICU's offsets, in UTF-16 units, into those of Python's string."""
    if not text or max(text) <= "\uffff":
        yield from segments
        return
    start = 0
    for first_unit, end_unit in segments:
        end, units = start, end_unit - first_unit
        while units > 0:
            units -= 1 if text[end] <= "\uffff" else 2
            end += 1
        yield start, end
        start = end


def _trim(text: str, start: int, end: int) -> Word:
    """Take off spaces, which UAX 29 leaves before a combining mark that has no other base."""
    while start < end and _is_space(text[start]):
        start += 1
    while start < end and _is_space(text[end - 1]):
        end -= 1
    return Word(text[start:end], start, end)


def _is_space(character: str) -> bool:
    category = unicodedata.category(character)
    return category == "Cc" or category.startswith("Z")


def _is_visible(character: str) -> bool:
    """Whether a word may consist of it: no space, no control, no joiner or direction mark."""
    return unicodedata.category(character) != "Cf" and not _is_space(character)


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of ``text`` begin and end, in code points, by Unicode's rules (UAX 29).

    Together they cover the text; spaces belong to the sentence before them. A line end ends a
    sentence.

    Example: ``sentences("Hi! You?")`` -> ``[(0, 4), (4, 8)]``
    """
    from icu4py.breakers import SentenceBreaker

    return list(_code_points(text, SentenceBreaker(text, "root").segments()))
