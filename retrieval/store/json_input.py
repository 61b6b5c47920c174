"""Sentences that come as JSON lines, with ids and metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bitext.errors import InputError
from bitext.text import name_of
from retrieval.command_input import numbered
from retrieval.vectors.language_names import check_language

if TYPE_CHECKING:
    from retrieval.store.addition import Entry

FIELDS = ("text", "language", "id", "metadata")


def read_entries(file: str, language: str | None, skip_empty: bool) -> Iterator[Entry]:
    """The sentence of each line ``{"text", "language", "id", "metadata"}``; the text must be there.

    :param language: of those that do not say theirs.
    :raises InputError: if a line is no such object, naming it.
    """
    from retrieval.store.addition import Entry
    from retrieval.store.metadata import dump_metadata

    for line in numbered(file, skip_empty):
        try:
            record = _object(line.text)
            entry = Entry(
                _language(record.get("language", language)), record["text"], record.get("id"),
                record.get("metadata"),
            )  # fmt: skip
            _check_id(entry.id)
            dump_metadata(entry.metadata)
        except InputError as error:
            raise InputError(f"{name_of(file)}, line {line.number}: {error}") from None
        yield entry


def _object(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected a JSON object, got {text[:40]!r} ({error})") from None
    if not isinstance(record, dict):
        raise InputError(f"expected a JSON object, got {text[:40]!r}")
    for field in record:
        if field not in FIELDS:
            raise InputError(f"there is no field '{field}'; there are {', '.join(FIELDS)}")
    if not isinstance(record.get("text"), str) or not record["text"].strip():
        raise InputError("field 'text' must be a sentence")
    return record


def _language(given: object) -> str:
    if given is None:
        raise InputError("say the language, here as 'language' or for all lines with --language")
    if not isinstance(given, str):
        raise InputError(f"field 'language' must be a string, got {given!r}")
    check_language(given)
    return given


def _check_id(given: object) -> None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
        raise InputError(f"field 'id' must be a whole number, got {given!r}")
