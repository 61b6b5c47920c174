"""Spans by character offsets, and answers to questions, as JSON lines.

Spans: ``{"source": str, "target": str, "spans": [{"start": 0, "end": 5, "label": "PER"}, ...]}``.
Answers, after SQuAD: ``{"source": str, "target": str, "qas": [{"id": str, "answers": [{"text": str,
"answer_start": 0}]}]}``. Offsets count code points. Keys besides these are handed on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bitext.errors import InputError
from bitext.text import name_of, read_sentences

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TextSpan:
    """Characters ``start`` to ``end`` of the source, and the object that said so."""

    start: int
    end: int
    given: Object
    place: str  # where the object stands in its line, such as spans[0]

    @property
    def label(self) -> str:
        return str(self.given.get("label", self.given.get("id", "")))


@dataclass(frozen=True, slots=True)
class Record:
    """One line: two texts and the spans of the first."""

    line: int
    given: Object
    source: str
    target: str
    spans: tuple[TextSpan, ...]


class Found(NamedTuple):
    """The characters of the target that a span became, or nothing and the reason."""

    place: tuple[int, int] | None
    confidence: float
    notes: tuple[str, ...]


def read_spans(path: str | Path) -> Iterator[Record]:
    """Yield the lines of a file of spans.

    :raises InputError: if a line is not such an object, or a span is empty, beyond the text or
        across a line end; the message names file, line, and the span or the column.
    """
    return _records(path, _spans)


def read_answers(path: str | Path) -> Iterator[Record]:
    """Yield the lines of a file of answers.

    :raises InputError: as :func:`read_spans`, and if an answer is not the text at its place.
    """
    return _records(path, _answers)


def with_spans(record: Record, found: Sequence[Found], strategy: str) -> Object:
    """The record with its spans in the target, and the lost ones apart, each with the reason."""
    spans, lost = [], []
    for span, each in zip(record.spans, found, strict=True):
        if each.place is None:
            text = record.source[span.start : span.end]
            lost.append({**span.given, "text": text, "reason": " ".join(each.notes)})
        else:
            spans.append({**span.given, **_placed(record, each)})
    return {**record.given, "spans": spans, "lost": lost, "strategy": strategy}


def with_answers(record: Record, found: Sequence[Found], strategy: str) -> Object:
    """The record with its answers in the target, and the lost ones apart."""
    by_place = {span.place: (span, each) for span, each in zip(record.spans, found, strict=True)}
    questions, lost = [], []
    for q, question in enumerate(record.given["qas"]):
        kept = []
        for a, answer in enumerate(question["answers"]):
            _, each = by_place[f"qas[{q}].answers[{a}]"]
            if each.place is None:
                lost.append({"id": question["id"], **answer, "reason": " ".join(each.notes)})
            else:
                placed = _placed(record, each)
                placed["answer_start"] = placed.pop("start")
                del placed["end"]
                kept.append({**answer, **placed})
        questions.append({**question, "answers": kept})
    return {**record.given, "qas": questions, "lost": lost, "strategy": strategy}


def _placed(record: Record, found: Found) -> Object:
    assert found.place is not None, "only spans that were found have a place"
    start, end = found.place
    return {
        "start": start,
        "end": end,
        "text": record.target[start:end],
        "confidence": round(found.confidence, 4),
        "notes": list(found.notes),
    }


# --- reading


def _records(path: str | Path, spans: Any) -> Iterator[Record]:
    for number, line in enumerate(read_sentences(path), start=1):
        where = f"{name_of(path)}, line {number}"
        try:
            given = _object(line)
            source, target = _string(given, "source"), _string(given, "target")
            located = tuple(spans(given, source))
            for span in located:
                check_span(span, source)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        yield Record(number, given, source, target, located)


def _object(line: str) -> Object:
    try:
        given = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"column {error.colno}: not JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"not JSON that can be read: {error}") from None
    if not isinstance(given, dict):
        raise InputError("expected an object with the keys source and target")
    return given


def _string(given: Object, key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str):
        raise InputError(f"'{key}' must be a string, got {json.dumps(value)[:40]}")
    return value


def _list(given: Object, key: str, place: str = "") -> list[Object]:
    value = given.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError(f"{place}'{key}' must be a list of objects")
    return value


def _number(given: Object, key: str, place: str) -> int:
    value = given.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{place}: '{key}' must be a whole number, got {json.dumps(value)[:40]}")
    return value


def _spans(given: Object, source: str) -> Iterator[TextSpan]:
    for number, item in enumerate(_list(given, "spans")):
        place = f"spans[{number}]"
        yield TextSpan(_number(item, "start", place), _number(item, "end", place), item, place)


def _answers(given: Object, source: str) -> Iterator[TextSpan]:
    for q, question in enumerate(_list(given, "qas")):
        if not isinstance(question.get("id"), str):
            raise InputError(f"qas[{q}]: 'id' must be a string")
        for a, answer in enumerate(_list(question, "answers", f"qas[{q}]: ")):
            place = f"qas[{q}].answers[{a}]"
            start, text = _number(answer, "answer_start", place), answer.get("text")
            if not isinstance(text, str):
                raise InputError(f"{place}: 'text' must be a string")
            span = TextSpan(start, start + len(text), {**answer, "id": question["id"]}, place)
            check_span(span, source)
            if source[span.start : span.end] != text:
                shown = source[span.start : span.end]
                raise InputError(f"{place}: the source has '{shown}' there, not '{text}'")
            yield span


def check_span(span: TextSpan, source: str) -> None:
    """:raises InputError: if the span is no stretch of one line of ``source``."""
    start, end = span.start, span.end
    if not 0 <= start < end:
        raise InputError(f"{span.place}: start {start} and end {end} must be 0 <= start < end")
    if end > len(source):
        raise InputError(f"{span.place}: end {end} is beyond the {len(source)} characters")
    for place, character in enumerate(source[start:end], start):
        if character in "\n\r\x0b\x0c\x85\u2028\u2029":
            raise InputError(f"{span.place}: {start} to {end} crosses the line end at {place}")
