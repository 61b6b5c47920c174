"""A line a link, as in the shared tasks of 2003 and 2005 (Mihalcea & Pedersen, 2003)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from bitext.formats.records import (
    AlignedPair,
    Line,
    LineError,
    Marked,
    Numbering,
    pair_of,
    score_of,
)
from bitext.types import Alignment

_NAACL = "a link such as '1 3 4 S 0.9': pair, source word, target word, S or P, score"


def read_naacl(lines: Iterator[Line], numbering: Numbering) -> Iterator[AlignedPair]:
    """Pairs without links have no lines: a step in the numbers tells them."""
    filled = (item for item in lines if item[1].strip())
    expected = numbering.first_pair
    for found, group in groupby(map(_naacl_link, filled), key=lambda item: item[1]):
        links = list(group)
        _check_number(links[0][0], found, expected, numbering)
        yield from (AlignedPair(Alignment()) for _ in range(expected, found))
        yield pair_of(mark for _, _, mark in links if mark is not None)
        expected = found + 1
    if numbering.pairs is not None:
        end = numbering.first_pair + numbering.pairs
        yield from (AlignedPair(Alignment()) for _ in range(expected, end))


def _check_number(line: int, found: int, expected: int, numbering: Numbering) -> None:
    if found < expected:
        before = f"comes after pair {expected - 1}" if expected > numbering.first_pair else ""
        raise LineError(line, f"pair {found} {before or f'is not among those from {expected}'}")
    if numbering.pairs is not None:
        last = numbering.first_pair + numbering.pairs - 1
        if found > last:
            numbers = f"{numbering.first_pair} to {last}"
            raise LineError(line, f"pair {found}, but the sentence pairs are {numbers}")
    elif expected == numbering.first_pair < found:
        # Either the pairs before have no links, or they are not among the sentences at all.
        raise LineError(
            line,
            f"the first pair is {found}, not {expected}, and it is not known how many there are; "
            f"if the text begins there too, say --first-pair {found}",
        )


def _naacl_link(line: Line) -> tuple[int, int, Marked | None]:
    """The line, the pair, and the link, if it is not one to the empty word."""
    number, text = line
    fields = text.split()
    if not 3 <= len(fields) <= 5 or not all(re.fullmatch("[0-9]{1,9}", f) for f in fields[:3]):
        raise LineError(number, f"expected {_NAACL}; got '{text}'")
    kind, score = "S", 1.0
    for place, field in enumerate(fields[3:]):
        if field in ("S", "P") and place == 0:
            kind = field
        elif place == len(fields) - 4:
            score = score_of(number, field)
        else:
            raise LineError(number, f"expected {_NAACL}; got '{text}'")
    pair, i, j = map(int, fields[:3])
    if i == j == 0:
        raise LineError(number, "links the empty word to the empty word; words count from 1")
    if i == 0 or j == 0:
        return number, pair, None
    return number, pair, ((i - 1, j - 1), score, kind == "S")


def write_naacl(pair: AlignedPair, number: int, first: int) -> str:
    scored = zip(pair.alignment.links, pair.alignment.scores, strict=True)
    lines = (
        f"{number} {i + 1} {j + 1} {'P' if (i, j) in pair.possible else 'S'} {score:.4f}\n"
        for (i, j), score in scored
    )
    return "".join(lines)
