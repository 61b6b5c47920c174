"""The operator's limits on what one request may hold."""

from __future__ import annotations

from collections.abc import Sequence

from bitext.errors import InputError, TooLargeError
from service.schemas import Pair
from service.settings import PREFIX, Settings


def check_pairs(pairs: Sequence[Pair], settings: Settings) -> None:
    """:raises TooLargeError: if there are too many pairs, or a side is too long."""
    _check(f"{len(pairs)} pairs", len(pairs), "max_pairs", settings)
    for number, pair in enumerate(pairs, 1):
        for side, value in (("source", pair.source), ("target", pair.target)):
            where = f"pair {number}, {side}"
            characters = len(value) if isinstance(value, str) else sum(map(len, value))
            _check(f"{where}: {characters} characters", characters, "max_characters", settings)
            if not isinstance(value, str):
                check_words(where, len(value), settings)


def check_words(where: str, count: int, settings: Settings) -> None:
    """The same for words, which of raw text are known only once it is segmented."""
    _check(f"{where}: {count} words", count, "max_words", settings)


def check_cells(cells: int, settings: Settings) -> None:
    """:raises TooLargeError: if the matrices of ``detail`` have too many cells, words by words."""
    _check(f"field 'detail': {cells} cells, words by words,", cells, "max_cells", settings)


def check_queries(queries: Sequence[str], settings: Settings) -> None:
    """:raises TooLargeError: if there are too many queries, or one is too long."""
    _check_texts("queries", "query", queries, "max_queries", settings)


def check_sentences(sentences: Sequence[str], settings: Settings) -> None:
    """:raises TooLargeError: if there are too many sentences to add at once, or one is too long."""
    _check_texts("sentences", "sentence", sentences, "max_sentences", settings)


def check_k(k: int, settings: Settings) -> None:
    """:raises InputError: if ``k`` is larger than it may be."""
    if k > settings.max_k:
        raise InputError(f"field 'k': at most {settings.max_k} ({PREFIX}MAX_K), got {k}")


def _check_texts(
    field: str, one: str, texts: Sequence[str], limit: str, settings: Settings
) -> None:
    if not texts:
        raise InputError(f"field '{field}': expected at least one {one}, got none")
    _check(f"{len(texts)} {field}", len(texts), limit, settings)
    for number, text in enumerate(texts, 1):
        characters = f"{one} {number}: {len(text)} characters"
        _check(characters, len(text), "max_characters", settings)


def _check(what: str, count: int, field: str, settings: Settings) -> None:
    limit = getattr(settings, field)
    if count > limit:
        raise TooLargeError(
            f"{what} are more than the {limit} that are taken ({PREFIX}{field.upper()})"
        )
