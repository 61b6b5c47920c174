"""All links of a pair on one line: ``pharaoh``, ``scored`` and ``talp``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bitext.formats.records import AlignedPair, Line, LineError, Numbering, pair_of, score_of
from bitext.types import Link

# At most nine digits: no line has more words, and Python refuses to read numbers without end.
_PHARAOH = re.compile(r"([0-9]{1,9})(-)([0-9]{1,9})()")
_SCORED = re.compile(r"([0-9]{1,9})(-)([0-9]{1,9})[/:]([0-9.eE+-]+)")
_TALP = re.compile(r"([0-9]{1,9})([-p])([0-9]{1,9})()")


def read_pharaoh(lines: Iterator[Line], numbering: Numbering) -> Iterator[AlignedPair]:
    return _read_items(lines, numbering, _PHARAOH, "links such as '0-0 1-2'")


def read_scored(lines: Iterator[Line], numbering: Numbering) -> Iterator[AlignedPair]:
    return _read_items(lines, numbering, _SCORED, "links such as '0-0/0.9134 1-2/0.8711'")


def read_talp(lines: Iterator[Line], numbering: Numbering) -> Iterator[AlignedPair]:
    return _read_items(lines, numbering, _TALP, "gold links such as '0-0 1p2'")


def _read_items(
    lines: Iterator[Line], numbering: Numbering, form: re.Pattern[str], expected: str
) -> Iterator[AlignedPair]:
    first = numbering.first_word or 0
    for number, line in lines:
        marked = []
        for item in line.split():
            match = form.fullmatch(item)
            if match is None:
                raise LineError(number, f"expected {expected}, got '{item}'")
            link = _link(number, match[1], match[3], first)
            score = score_of(number, match[4]) if match[4] else 1.0
            marked.append((link, score, match[2] == "-"))
        yield pair_of(marked)


def write_pharaoh(pair: AlignedPair, number: int, first: int) -> str:
    return " ".join(f"{i + first}-{j + first}" for i, j in pair.alignment.links) + "\n"


def write_scored(pair: AlignedPair, number: int, first: int) -> str:
    scored = zip(pair.alignment.links, pair.alignment.scores, strict=True)
    return " ".join(f"{i + first}-{j + first}/{score:.4f}" for (i, j), score in scored) + "\n"


def write_talp(pair: AlignedPair, number: int, first: int) -> str:
    marks = {link: "p" if link in pair.possible else "-" for link in pair.alignment.links}
    return " ".join(f"{i + first}{mark}{j + first}" for (i, j), mark in marks.items()) + "\n"


def _link(number: int, i: str, j: str, first: int) -> Link:
    link = int(i) - first, int(j) - first
    if min(link) < 0:
        raise LineError(number, f"link {i}-{j} has a word 0, but words count from {first}")
    return link
