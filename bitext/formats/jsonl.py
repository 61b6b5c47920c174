"""A JSON object a pair, as ``bitext align --json`` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bitext.formats.records import (
    AlignedPair,
    Line,
    LineError,
    Numbering,
    Offsets,
    pair_of,
    score_of,
    words_of,
)


def read_jsonl(lines: Iterator[Line], numbering: Numbering) -> Iterator[AlignedPair]:
    """Fields that are not known here tell of other things than the links, and are let be."""
    for number, line in lines:
        try:
            record = json.loads(line)
        except ValueError as error:
            raise LineError(number, f"not a JSON object: {error}") from None
        try:
            yield _from_record(number, record)
        except (KeyError, TypeError):
            wanted = (
                "'source_words', 'target_words' and 'links' with 'source', 'target' and 'score'"
            )
            raise LineError(number, f"expected an object with {wanted}") from None


def _from_record(number: int, record: dict[str, Any]) -> AlignedPair:
    source, target = _strings(record["source_words"]), _strings(record["target_words"])
    marked = []
    for link in record["links"]:
        i, j, score = link["source"], link["target"], link.get("score", 1.0)
        if type(i) is not int or type(j) is not int or type(score) not in (int, float):
            raise TypeError
        if not (0 <= i < len(source) and 0 <= j < len(target)):
            size = f"{len(source)} and {len(target)} words"
            raise LineError(number, f"link {i}-{j} of a pair of {size}; words count from 0")
        marked.append(((i, j), score_of(number, str(score)), link.get("sure", True) is True))
    offsets = None
    if "source_offsets" in record and "target_offsets" in record:
        offsets = _spans(record["source_offsets"]), _spans(record["target_offsets"])
    return pair_of(marked, (source, target), offsets)


def _strings(given: object) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise TypeError
    return given


def _spans(given: object) -> Offsets:
    if not isinstance(given, list):
        raise TypeError
    spans = []
    for start, end in given:
        if type(start) is not int or type(end) is not int:
            raise TypeError
        spans.append((start, end))
    return spans


def write_jsonl(pair: AlignedPair, number: int, first: int) -> str:
    return json.dumps(record_of(pair), ensure_ascii=False) + "\n"


def record_of(pair: AlignedPair) -> dict[str, Any]:
    """The object of a pair.

    :raises InputError: if its words are not known.
    """
    source, target = words_of(pair, "jsonl")
    links = []
    for (i, j), score in zip(pair.alignment.links, pair.alignment.scores, strict=True):
        sure = {"sure": False} if (i, j) in pair.possible else {}
        links.append({"source": i, "target": j, "score": round(score, 6), **sure})
    record: dict[str, Any] = {"source_words": source, "target_words": target, "links": links}
    if pair.offsets is not None:
        record["source_offsets"], record["target_offsets"] = pair.offsets
    return record
