"""What ``bitext project`` reads: one :class:`Item` a sentence pair, whatever the format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

from aligners.labels import TaggedSentence, read_tagged, tags_of
from aligners.markup import Markup, MarkupError, Text, parse_markup, parse_plain
from aligners.passages import Passage
from aligners.placement import Placed, place_markup
from aligners.projection import Projection, Rules, Span, project
from aligners.records import Found, Object, Record
from bitext.errors import InputError
from bitext.segmentation import Word
from bitext.text import name_of, open_lines, read_bitext, read_parallel, words
from bitext.types import Alignment

_Parsed = TypeVar("_Parsed")


class Entry(NamedTuple):
    """One line of the report: what became of one span."""

    line: int  # of the source, from 1
    label: str
    source: str
    target: str | None
    confidence: float
    notes: tuple[str, ...]

    def as_dict(self) -> Object:
        lost = self.target is None
        return {
            "line": self.line,
            "label": self.label,
            "source": self.source,
            "target": self.target,
            "outcome": "lost" if lost else "projected",
            "confidence": round(self.confidence, 4),
            "notes": list(self.notes),
        }


class Output(NamedTuple):
    """What an item became: the lines to print, and the report."""

    text: str
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Item:
    """One sentence pair and what it wants carried over.

    ``passages`` are the two sides where they were raw text, to be aligned sentence by sentence;
    words that came split are aligned as they are.
    """

    line: int
    source: Sequence[str]
    target: Sequence[str]
    carry: Callable[[Alignment, Rules], Output]
    passages: tuple[Passage, Passage] | None = None


# --- tags


def tagged_items(
    source: str, target: str, *, scheme: str, word_column: int, tag_column: int | None
) -> Iterator[Item]:
    """The sentences of a file of tags, each with the line that translates it in ``target``.

    :raises InputError: if the files have different numbers of sentences, or a target has no word.
    """
    sentences = read_tagged(source, scheme=scheme, word_column=word_column, tag_column=tag_column)
    lines = open_lines(target)
    count = 0
    for count, sentence in enumerate(sentences, start=1):
        line = next(lines, None)
        if line is None:
            raise InputError(
                f"{name_of(target)} has {count - 1} line(s), {name_of(source)} more sentences:"
                f" number {count} begins at line {sentence.line}"
            )
        if not words(line):
            raise InputError(f"{name_of(target)}, line {count}: has no words to tag")
        yield _tagged_item(sentence, words(line), scheme)
    if more := sum(1 for _ in lines):
        raise InputError(
            f"{name_of(target)} has {count + more} lines, {name_of(source)} {count} sentence(s)"
        )


def _tagged_item(sentence: TaggedSentence, target: list[str], scheme: str) -> Item:
    def carry(alignment: Alignment, rules: Rules) -> Output:
        found = project(sentence.spans, alignment, sentence.words, target, rules)
        kept = [each.target for each in found if each.target is not None]
        tags = tags_of(kept, len(target), scheme)
        lines = [f"{word}\t{tag}\n" for word, tag in zip(target, tags, strict=True)]
        entries = [_tagged_entry(each, sentence, target) for each in found]
        return Output("".join([*lines, "\n"]), entries)

    return Item(sentence.line, sentence.words, target, carry)


def _tagged_entry(found: Projection, sentence: TaggedSentence, target: Sequence[str]) -> Entry:
    span = found.source
    return Entry(
        sentence.line + span.start,
        span.label,
        " ".join(sentence.words[span.start : span.end]),
        " ".join(target[found.target.start : found.target.end]) if found.target else None,
        found.confidence,
        found.notes,
    )


# --- spans and answers


def record_items(
    records: Iterator[Record], render: Callable[[Record, Sequence[Found], str], Object]
) -> Iterator[Item]:
    """The records of a file of JSON lines, to be written as ``render`` says."""
    for record in records:
        yield _record_item(record, render)


def _record_item(record: Record, render: Callable[[Record, Sequence[Found], str], Object]) -> Item:
    source, target = Passage.of(record.source), Passage.of(record.target)

    def carry(alignment: Alignment, rules: Rules) -> Output:
        spans = [covering(source.words, span.start, span.end) for span in record.spans]
        sides = ([w.text for w in source.words], [w.text for w in target.words])
        found = [
            in_characters(each, target.words) for each in project(spans, alignment, *sides, rules)
        ]
        line = json.dumps(render(record, found, rules.strategy), ensure_ascii=False)
        return Output(f"{line}\n", _record_entries(record, found))

    return _raw_item(record.line, source, target, carry)


def _raw_item(
    line: int, source: Passage, target: Passage, carry: Callable[[Alignment, Rules], Output]
) -> Item:
    sides = ([w.text for w in source.words], [w.text for w in target.words])
    return Item(line, *sides, carry, (source, target))


def covering(words: Sequence[Word], start: int, end: int) -> Span:
    """The words that share characters with ``[start, end)``."""
    inside = [n for n, word in enumerate(words) if word.start < end and word.end > start]
    return Span(inside[0], inside[-1] + 1) if inside else Span(0, 0)


def in_characters(found: Projection, words: Sequence[Word]) -> Found:
    if found.target is None:
        return Found(None, 0.0, found.notes)
    place = (words[found.target.start].start, words[found.target.end - 1].end)
    return Found(place, found.confidence, found.notes)


def _record_entries(record: Record, found: Sequence[Found]) -> list[Entry]:
    return [
        Entry(
            record.line,
            span.label,
            record.source[span.start : span.end],
            record.target[slice(*each.place)] if each.place else None,
            each.confidence,
            each.notes,
        )
        for span, each in zip(record.spans, found, strict=True)
    ]


# --- markup


def markup_items(source: str, target: str | None, *, html: bool) -> Iterator[Item]:
    """The pairs of a marked-up source and a plain target.

    :raises InputError: if the markup of a source is malformed, or a target has some; the message
        names file, line and column.
    """
    pairs = read_bitext(source) if target is None else read_parallel(source, target)
    for number, pair in enumerate(pairs, start=1):
        left, right = str(pair.source), str(pair.target)
        # In a file of both, the target stands behind the source and a tab.
        moved = len(left) + 1 if target is None else 0
        markup = _placing(
            partial(parse_markup, left, html=html), f"{name_of(source)}, line {number}", 0
        )
        plain = _placing(
            partial(parse_plain, right), f"{name_of(target or source)}, line {number}", moved
        )
        yield _markup_item(number, markup, plain)


def _placing(parse: Callable[[], _Parsed], where: str, moved: int) -> _Parsed:
    try:
        return parse()
    except MarkupError as error:
        raise InputError(f"{where}, column {error.column + moved}: {error.reason}") from None


def _markup_item(line: int, markup: Markup, target: Text) -> Item:
    source, translation = Passage.of(markup.text.plain), Passage.of(target.plain)

    def carry(alignment: Alignment, rules: Rules) -> Output:
        sides = (source.words, translation.words)
        text, placed = place_markup(markup, target, sides, alignment, rules)
        return Output(f"{text}\n", [_tag_entry(line, each, markup, target) for each in placed])

    return _raw_item(line, source, translation, carry)


def _tag_entry(line: int, placed: Placed, markup: Markup, target: Text) -> Entry:
    node = placed.node
    inside = "" if node.is_point else markup.text.plain[node.start : node.end]
    found = None if placed.characters is None else target.plain[slice(*placed.characters)]
    return Entry(line, node.opening, inside, found, placed.confidence, placed.notes)
