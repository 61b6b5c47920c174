"""Spans as one tag a word: IOB2, BILOU and BIOES, in columns as CoNLL's files have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aligners.projection import Span
from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.text import name_of, open_lines, words

OUTSIDE = "O"


class Scheme(NamedTuple):
    """The letters for a word at the begin of a span, inside, at its end, and alone."""

    begin: str
    inside: str
    last: str
    single: str


SCHEMES = {
    "iob2": Scheme("B", "I", "I", "B"),
    "bilou": Scheme("B", "I", "L", "U"),
    "bioes": Scheme("B", "I", "E", "S"),
}


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words, the spans that their tags say, and the line of the file where it begins (from 1)."""

    words: tuple[str, ...]
    spans: tuple[Span, ...]
    line: int


def spans_of(tags: Sequence[str], scheme: str = "iob2") -> list[Span]:
    """The spans that ``tags`` say.

    Example: ``spans_of(["B-PER", "I-PER", "O"])`` -> ``[Span(0, 2, "PER")]``

    :raises UnknownNameError: if there is no such scheme.
    :raises TagError: if a tag has another form, or continues what did not begin.
    """
    letters = _scheme(scheme)
    must_end = letters.last != letters.inside
    spans: list[Span] = []
    open_label: str | None = None  # of the span before, if it may go on
    for place, tag in enumerate(tags):
        letter, label = _split(tag, place, letters, scheme)
        goes_on = letter in (letters.inside, letters.last)
        if goes_on and label != open_label:
            before = f"'{tags[place - 1]}'" if place else "the start of the sentence"
            raise TagError(f"tag '{tag}' continues a span, but stands after {before}", place)
        if open_label is not None and must_end and not goes_on:
            raise TagError(f"tag '{tag}' stands where '{tags[place - 1]}' must go on", place)
        if goes_on:
            spans[-1] = Span(spans[-1].start, place + 1, label)
        elif letter != OUTSIDE:
            spans.append(Span(place, place + 1, label))
        open_label = label if _may_go_on(letter, letters) else None
    if open_label is not None and must_end:
        raise TagError(f"tag '{tags[-1]}' must go on, but the sentence ends", len(tags) - 1)
    return spans


def tags_of(spans: Iterable[Span], length: int, scheme: str = "iob2") -> list[str]:
    """The tags of a sentence of ``length`` words with ``spans``, which must not overlap.

    :raises UnknownNameError: if there is no such scheme.
    """
    letters = _scheme(scheme)
    tags = [OUTSIDE] * length
    for span in spans:
        inner = [letters.inside] * (span.end - span.start - 2)
        several = [letters.begin, *inner, letters.last]
        for place, letter in enumerate(several if span.end - span.start > 1 else [letters.single]):
            assert tags[span.start + place] == OUTSIDE, "spans of tags do not overlap"
            tags[span.start + place] = f"{letter}-{span.label}"
    return tags


class TagError(InputError):
    """A tag that cannot be; ``place`` is its word, from 0."""

    def __init__(self, reason: str, place: int) -> None:
        self.place = place
        super().__init__(reason)


def read_tagged(
    path: str | Path, *, scheme: str = "iob2", word_column: int = 1, tag_column: int | None = None
) -> Iterator[TaggedSentence]:
    """Yield the sentences of a file with a word a line and blank lines between sentences.

    The columns of a line are separated by tabs, where it has one, or else by spaces.

    :param word_column: which column holds the word, from 1.
    :param tag_column: which holds the tag; ``None`` is the last.
    :raises InputError: if the file is empty, a line has too few columns, or a tag is not of
        ``scheme`` or does not follow from the one before; the message names line and column.
    """
    _scheme(scheme)
    rows: list[_Row] = []
    any_sentence = False
    for number, line in enumerate(open_lines(path), start=1):
        if words(line):
            rows.append(_row(line, f"{name_of(path)}, line {number}", word_column, tag_column))
        elif rows:
            yield _sentence(rows, number - len(rows), scheme, path)
            rows, any_sentence = [], True
    if rows:
        yield _sentence(rows, number - len(rows) + 1, scheme, path)
    elif not any_sentence:
        raise InputError(f"{name_of(path)} has no sentence; expected lines of 'word TAB tag'")


class _Row(NamedTuple):
    word: str
    tag: str
    column: int  # where in the line the tag stands, in characters from 1


def _row(line: str, where: str, word_column: int, tag_column: int | None) -> _Row:
    cells = line.split("\t") if "\t" in line else words(line)
    needed = max(2, word_column, tag_column or 0)
    if len(cells) < needed:
        raise InputError(f"{where}: {len(cells)} column(s), expected at least {needed}")
    tag_cell = len(cells) if tag_column is None else tag_column
    word, tag = cells[word_column - 1], cells[tag_cell - 1]
    if not word or not tag:
        raise InputError(f"{where}: column {word_column if not word else tag_cell} is empty")
    return _Row(word, tag, _offset(line, cells, tag_cell - 1) + 1)


def _offset(line: str, cells: Sequence[str], which: int) -> int:
    """Where in ``line`` the cell number ``which`` begins."""
    place = 0
    for cell in cells[:which]:
        place = line.index(cell, place) + len(cell)
    return line.index(cells[which], place)


def _sentence(rows: Sequence[_Row], first: int, scheme: str, path: str | Path) -> TaggedSentence:
    try:
        spans = spans_of([row.tag for row in rows], scheme)
    except TagError as error:
        row = rows[error.place]
        where = f"{name_of(path)}, line {first + error.place}, column {row.column}"
        raise InputError(f"{where}: {error}") from None
    return TaggedSentence(tuple(row.word for row in rows), tuple(spans), first)


def _scheme(name: str) -> Scheme:
    if name not in SCHEMES:
        raise UnknownNameError(choose_from("scheme", name, SCHEMES))
    return SCHEMES[name]


def _split(tag: str, place: int, letters: Scheme, scheme: str) -> tuple[str, str]:
    """The letter and the label of a tag."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    letter, hyphen, label = tag.partition("-")
    if letter not in letters or not hyphen or not label:
        forms = ", ".join(f"{each}-TYPE" for each in dict.fromkeys(letters))
        raise TagError(f"tag '{tag}' is not of {scheme}: expected {OUTSIDE}, {forms}", place)
    return letter, label


def _may_go_on(letter: str, letters: Scheme) -> bool:
    """Whether a word tagged so may have, or must have, another of its span after it."""
    if letters.last == letters.inside:
        return letter != OUTSIDE
    return letter in (letters.begin, letters.inside)
