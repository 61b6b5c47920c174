"""What mining is scored by: two corpora, gold pairs of their ids, and mined pairs from anywhere.

A corpus has ``id TAB sentence`` a line, as BUCC's, or plain sentences whose ids are their line
numbers from 0; its first line tells which. Gold has ``source id TAB target id`` a line. Mined pairs
are what ``bitext mine`` or LASER wrote: ``score TAB source TAB target``, or with ``--json`` objects
with ``score``, ``source_id`` and ``target_id``, which are line numbers from 0 in both forms of
corpus.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from bitext.errors import InputError
from bitext.text import name_of, open_lines, read_sentences
from bitext.types import Match


@dataclass(frozen=True)
class CorpusWithIds:
    """One side: sentences in the order of the file, and their ids."""

    path: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]

    @cached_property
    def row_of_id(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.ids)}

    @cached_property
    def row_of_text(self) -> dict[str, int]:
        """Of sentences that are there once; which of several was mined, nobody can tell."""
        stripped = [text.strip() for text in self.texts]
        once = {text for text, count in Counter(stripped).items() if count == 1}
        return {text: row for row, text in enumerate(stripped) if text in once}


class Mined(NamedTuple):
    matches: list[Match]
    left_out: int
    """Lines with a sentence that is not in its corpus, or more than once."""


def read_corpus(path: str) -> CorpusWithIds:
    """:raises InputError: if a file is empty or of both forms, or has an id twice."""
    ids, texts = [], []
    with_ids = False
    for number, line in enumerate(read_sentences(path)):
        key, tab, text = line.partition("\t")
        if number == 0:
            with_ids = bool(tab)
        if bool(tab) != with_ids or (tab and not key):
            first = "'id TAB sentence'" if with_ids else "a sentence alone"
            raise InputError(
                f"{name_of(path)}, line {number + 1}: expected {first} as in line 1, got '{line}'"
            )
        ids.append(key if with_ids else str(number))
        texts.append(text if with_ids else line)
    corpus = CorpusWithIds(path, tuple(ids), tuple(texts))
    if len(corpus.row_of_id) < len(ids):
        twice, _ = Counter(ids).most_common(1)[0]
        raise InputError(f"{name_of(path)} has the id '{twice}' more than once")
    return corpus


def read_gold_pairs(
    path: str, source: CorpusWithIds, target: CorpusWithIds
) -> list[tuple[int, int]]:
    """The rows of each pair of ids.

    :raises InputError: if a line has not two ids, or a corpus has no such id.
    """
    pairs = []
    for number, line in enumerate(read_sentences(path), start=1):
        where = f"{name_of(path)}, line {number}"
        keys = line.strip().split("\t")
        if len(keys) != 2:
            raise InputError(f"{where}: expected 'source id TAB target id', got '{line}'")
        rows = []
        for key, corpus in zip(keys, (source, target), strict=True):
            if key not in corpus.row_of_id:
                raise InputError(f"{where}: {name_of(corpus.path)} has no id '{key}'")
            rows.append(corpus.row_of_id[key])
        pairs.append((rows[0], rows[1]))
    return pairs


def read_mined(path: str, source: CorpusWithIds, target: CorpusWithIds) -> Mined:
    """The pairs that somebody mined; an empty file is nothing mined.

    :raises InputError: if a line is neither of the forms, or an id is no line of its corpus.
    """
    matches, left_out = [], 0
    for where, line in _numbered(path):
        if line.startswith("{"):
            matches.append(_of_ids(line, where, source, target))
            continue
        score, left, right = _columns(line, where)
        row, column = source.row_of_text.get(left), target.row_of_text.get(right)
        if row is None or column is None:
            left_out += 1
        else:
            matches.append(Match(row, column, score))
    return Mined(matches, left_out)


def _numbered(path: str | Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(open_lines(path), start=1):
        yield f"{name_of(path)}, line {number}", line


def _columns(line: str, where: str) -> tuple[float, str, str]:
    parts = line.split("\t")
    try:
        score, source, target = parts
        return float(score), source.strip(), target.strip()
    except ValueError:
        raise InputError(
            f"{where}: expected 'score TAB source TAB target' or an object, got '{line}'"
        ) from None


def _of_ids(line: str, where: str, source: CorpusWithIds, target: CorpusWithIds) -> Match:
    try:
        record = json.loads(line)
        score = float(record["score"])
        rows = [record["source_id"], record["target_id"]]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{where}: expected an object with score, source_id and target_id, got '{line}'"
        ) from None
    for row, corpus in zip(rows, (source, target), strict=True):
        if type(row) is not int or not 0 <= row < len(corpus.ids):
            raise InputError(
                f"{where}: {name_of(corpus.path)} has lines 0 to {len(corpus.ids) - 1}, got {row!r}"
            )
    return Match(rows[0], rows[1], score)
