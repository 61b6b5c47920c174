"""Three lines a pair, as GIZA++ writes them in ``*.A3.final`` (Och & Ney, 2003)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import starmap

from bitext.errors import InputError
from bitext.formats.records import (
    AlignedPair,
    Line,
    LineError,
    Marked,
    Numbering,
    pair_of,
    words_of,
)
from bitext.text import words

_WITHIN_LINE = re.compile(r"[^\r\n]*")
_A3_HEAD = re.compile(
    r"# Sentence pair \(([0-9]{1,9})\) source length ([0-9]{1,9}) target length ([0-9]{1,9}) "
    r"alignment score : \S+\s*"
)


def read_a3(lines: Iterator[Line], numbering: Numbering) -> Iterator[AlignedPair]:
    expected = numbering.first_pair
    for number, line in lines:
        head = _A3_HEAD.fullmatch(line)
        if head is None:
            wanted = "'# Sentence pair (1) source length 2 target length 3 alignment score : 0.1'"
            raise LineError(number, f"expected {wanted}, got '{line}'")
        if int(head[1]) != expected:
            raise LineError(number, f"expected pair {expected}, got pair {head[1]}")
        target = words(next(lines, (0, ""))[1])
        place, links = next(lines, (number, None))
        if links is None:
            raise LineError(number, "the file ends before the three lines of this pair do")
        source, marked = _a3_links(place, links, len(target))
        for side, given, found in (("source", head[2], source), ("target", head[3], target)):
            if int(given) != len(found):
                raise LineError(number, f"{side} length {given}, but {len(found)} words follow")
        yield pair_of(marked, (source, target))
        expected += 1


def _a3_links(number: int, line: str, targets: int) -> tuple[list[str], list[Marked]]:
    """The source words of a line ``NULL ({ 2 }) the ({ 1 }) ...`` and their links.

    The parts go by their places: a word may well be ``({``.
    """
    source: list[str] = []
    marked: list[Marked] = []
    items = iter(words(line))
    for word in items:
        source.append(word)
        if next(items, None) != "({":
            raise LineError(number, f"expected '({{' after '{word}'")
        for item in items:
            if item == "})":
                break
            if not re.fullmatch("[0-9]{1,9}", item) or not 1 <= int(item) <= targets:
                allowed = f"the number of one of the {targets} target words"
                raise LineError(number, f"expected {allowed} after '{word} ({{', got '{item}'")
            marked.append(((len(source) - 2, int(item) - 1), 1.0, True))
        else:
            raise LineError(number, f"expected '}})' at the end, after the links of '{word}'")
    if source[:1] != ["NULL"]:
        raise LineError(number, "expected 'NULL ({ }) word ({ 1 }) ...'")
    return source[1:], [mark for mark in marked if mark[0][0] >= 0]


def write_a3(pair: AlignedPair, number: int, first: int) -> str:
    """GIZA++ links a target word once at most; more are written in the same way.

    The score is the mean of the links', where GIZA++ has the probability of its own model.
    """
    source, target = words_of(pair, "a3")
    for word in (*source, *target):
        if words(word) != [word] or not _WITHIN_LINE.fullmatch(word):
            raise InputError(f"a3 cannot hold the word {word!r}: spaces separate its words")
    linked = {j for _, j in pair.alignment.links}
    of_null = [j for j in range(len(target)) if j not in linked]
    of_word: list[list[int]] = [[] for _ in source]
    for i, j in pair.alignment.links:
        of_word[i].append(j)
    groups = zip(["NULL", *source], [of_null, *of_word], strict=True)
    scores = pair.alignment.scores
    score = math.fsum(scores) / len(scores) if scores else 0.0
    head = (
        f"# Sentence pair ({number}) source length {len(source)} target length {len(target)} "
        f"alignment score : {score:.6g}"
    )
    return "\n".join([head, " ".join(target), " ".join(starmap(_group, groups)), ""])


def _group(word: str, links: list[int]) -> str:
    """Example: ``("house", [1, 2])`` -> ``house ({ 2 3 })``."""
    return " ".join([word, "({", *(str(j + 1) for j in links), "})"])
