"""Files of word alignments: one reader and one writer a format, found by name in ``FORMATS``.

A reader takes lines and yields one :class:`AlignedPair` a sentence pair; a writer turns one into
the whole lines it takes in a file. What a format cannot hold (scores in Pharaoh lines, words in all
but two) does not come back; links, and what is sure and what only possible where the format tells
these apart, always do. Reading is strict: the first thing that is not as it should be stops it with
the file and the line.

==========  ============================================================  ======================
name        a pair                                                        words count from
==========  ============================================================  ======================
pharaoh     ``0-0 1-2``                                                   0, or as told
scored      ``0-0/0.9134 1-2/0.8711``; read also ``0-0:0.9134``           0, or as told
talp        ``0-0 1p2``, ``p`` for possible (Och & Ney, 2003; Lilt)       0, or as told
naacl       a line a link: ``1 1 1 S 0.9134`` (Mihalcea & Pedersen,       1; 0 is the empty word
            2003): pair, source, target, S(ure) or P(ossible), score
a3          three lines (GIZA++; Och & Ney, 2003): numbers and lengths,   1
            target words, ``NULL ({ }) the ({ 1 }) house ({ 2 })``
jsonl       one JSON object, as ``bitext align --json`` prints            0
==========  ============================================================  ======================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.formats.a3 import read_a3, write_a3
from bitext.formats.jsonl import read_jsonl, write_jsonl
from bitext.formats.links import (
    read_pharaoh,
    read_scored,
    read_talp,
    write_pharaoh,
    write_scored,
    write_talp,
)
from bitext.formats.naacl import read_naacl, write_naacl
from bitext.formats.records import AlignedPair, Format, LineError, Numbering
from bitext.text import name_of, open_lines
from bitext.types import Alignment

FORMATS: dict[str, Format] = {
    "pharaoh": Format(read_pharaoh, write_pharaoh, free=True),
    "scored": Format(read_scored, write_scored, free=True),
    "talp": Format(read_talp, write_talp, free=True),
    "naacl": Format(read_naacl, write_naacl, first_word=1, skips_pairs=True),
    "a3": Format(read_a3, write_a3, first_word=1, needs_words=True),
    "jsonl": Format(read_jsonl, write_jsonl, needs_words=True),
}

_BEGINNINGS = {  # of the first line of each that is not empty
    "jsonl": re.compile(r"\s*\{"),
    "a3": re.compile(r"# Sentence pair \("),
    "naacl": re.compile(r"\s*[0-9]+\s+[0-9]+\s+[0-9]+(\s|$)"),
    "scored": re.compile(r"\s*[0-9]+-[0-9]+[/:]"),
    "talp": re.compile(r"\s*([0-9]+-[0-9]+\s+)*[0-9]+p[0-9]+(\s|$)"),
}


class AlignedFile:
    """A file of alignments, opened as far as its format needs to be seen."""

    def __init__(self, path: str | Path, format: str | None = None, *, gold: bool = False) -> None:
        """:param format: a name in ``FORMATS``; ``None`` to see it by the first filled line.
        :param gold: whether an unnamed format that might be ``talp`` is that, not ``pharaoh``.
        :raises InputError: if the file is empty.
        :raises UnknownNameError: if there is no such format.
        """
        if format is not None:
            find_format(format)
        self.name = name_of(path)
        lines = open_lines(path)
        seen = list(_until_filled(lines))
        if not seen:
            raise InputError(f"{self.name} is empty; expected alignments")
        guessed = guess_format(seen[-1])
        self.format = format or ("talp" if gold and guessed == "pharaoh" else guessed)
        self._lines = chain(seen, lines)

    def pairs(self, numbering: Numbering | None = None) -> Iterator[AlignedPair]:
        """Yield what the file tells of each sentence pair; once.

        :raises InputError: if a line is not what the format allows, or ``numbering`` asks of the
            format what it leaves no choice of.
        """
        asked = numbering or Numbering()
        check_first_word(self.format, asked.first_word)
        pairs = FORMATS[self.format].read(enumerate(self._lines, start=1), asked)
        return _placed(pairs, self.name)


def read_aligned(
    path: str | Path, format: str | None = None, numbering: Numbering | None = None
) -> Iterator[AlignedPair]:
    """The pairs of an :class:`AlignedFile`."""
    return AlignedFile(path, format).pairs(numbering)


def read_together(
    files: Sequence[AlignedFile], numberings: Sequence[Numbering]
) -> list[list[AlignedPair]]:
    """All pairs of several files of the same sentences.

    Where a format skips pairs without links, another file tells how many there are at the end; if
    all do, the one that goes furthest.
    """
    found: list[list[AlignedPair]] = [[] for _ in files]
    count = None
    for skipping in (False, True):
        for place, (file, numbering) in enumerate(zip(files, numberings, strict=True)):
            if FORMATS[file.format].skips_pairs is skipping:
                found[place] = list(file.pairs(numbering._replace(pairs=count)))
        if not skipping and any(found):
            count = max(map(len, found))
    if count is None:
        count = max(map(len, found))
        for pairs in found:
            pairs += [AlignedPair(Alignment())] * (count - len(pairs))
    return found


def find_format(name: str) -> Format:
    """:raises UnknownNameError: if there is no such format."""
    if name not in FORMATS:
        raise UnknownNameError(choose_from("format", name, FORMATS))
    return FORMATS[name]


def check_first_word(name: str, given: int | None) -> int:
    """The number of the first word in files of a format, as ``given`` or as the format has it.

    :raises InputError: if the format leaves no choice.
    """
    format = find_format(name)
    if given is not None and given != format.first_word and not format.free:
        raise InputError(f"the words of {name} count from {format.first_word}, never {given}")
    return format.first_word if given is None else given


def guess_format(line: str) -> str:
    """The format of which ``line`` is the first that is not empty.

    No line begins as two formats do, but for ``pharaoh`` and ``talp``: where the first possible
    link comes in a later line, ``talp`` must be said. What begins as none is called ``pharaoh``,
    whose reader refuses it and shows what it should be.
    """
    return next((name for name, form in _BEGINNINGS.items() if form.match(line)), "pharaoh")


def _until_filled(lines: Iterator[str]) -> Iterator[str]:
    """The first lines, the first that is not empty included."""
    for line in lines:
        yield line
        if line.strip():
            return


def _placed(pairs: Iterator[AlignedPair], name: str) -> Iterator[AlignedPair]:
    """Put the file and the line before what is wrong."""
    try:
        yield from pairs
    except LineError as error:
        raise InputError(f"{name}, line {error.number}: {error.reason}") from None
