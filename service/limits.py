"""The operator's limits on what one request may hold."""

from __future__ import annotations

from collections.abc import Sequence

from bitext.errors import InputError, TooLargeError
from service.errors import SHOWN
from service.schemas.align import Pair
from service.schemas.mining import MineRequest
from service.schemas.search import SearchRequest
from service.schemas.sentences import NewSentence
from service.settings import Settings
from service.sources import PREFIX

LISTS = (
    "max_pairs", "max_words", "max_spans", "max_queries", "max_texts", "max_inputs",
    "max_mine_sentences", "max_sentences", "max_page",
)  # fmt: skip
"""Settings that say how long a list may be."""
PAGE = 100
"""Sentences on a page whose size was not asked for."""


def check_lists(body: object, settings: Settings) -> None:
    """Before the fields of a body are read one by one, which of very many would take seconds.

    How many are right, whoever reads the field knows.

    :raises TooLargeError: if a list is longer than any may be.
    """
    if not isinstance(body, dict):
        return
    most = max(getattr(settings, name) for name in LISTS)
    for name, value in body.items():
        if isinstance(value, list) and len(value) > most:
            raise TooLargeError(
                f"field '{name[:SHOWN]}': {len(value)} items, more than the {most} that any list "
                "may have here"
            )


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


def check_cells(cells: int, methods: int, settings: Settings, *, detail: bool) -> None:
    """:raises TooLargeError: if there would be too many cells, words by words, of all pairs.

    A method may link every two words of a pair.

    :param detail: whether the answer has matrices of them too.
    """
    if detail:
        what = f"field 'detail': {cells} cells, words by words,"
        _check(what, cells, "max_detail_cells", settings)
    of = f" of {methods} methods" if methods > 1 else ""
    _check(f"{cells * methods} cells, words by words{of},", cells * methods, "max_cells", settings)


def check_spans(count: int, settings: Settings) -> None:
    """:raises TooLargeError: if there are too many spans, answers, tags or elements to carry."""
    _check(f"{count} spans to carry over", count, "max_spans", settings)


def check_queries(queries: Sequence[str], settings: Settings) -> None:
    """:raises TooLargeError: if there are too many queries, or one is too long."""
    _check_texts("queries", "query", queries, "max_queries", settings)


def check_search(search: SearchRequest, settings: Settings) -> None:
    """The same for the queries of a search, and for how much it finds."""
    check_k(search.k, settings)
    check_queries(search.each(), settings)


def check_searches(searches: Sequence[SearchRequest], settings: Settings) -> None:
    """The same for several, whose queries are counted together."""
    if not searches:
        raise InputError("field 'searches': expected at least one search, got none")
    queries = [query for search in searches for query in search.each()]
    for number, search in enumerate(searches):
        check_k(search.k, settings, f"searches.{number}.k")
        if not search.each():
            raise InputError(
                f"field 'searches.{number}.queries': expected at least one query, got none"
            )
    check_queries(queries, settings)


def check_sentences(sentences: Sequence[NewSentence], settings: Settings) -> None:
    """:raises TooLargeError: if there are too many sentences to add at once, or one is too long."""
    texts = [sentence.text for sentence in sentences]
    _check_texts("sentences", "sentence", texts, "max_sentences", settings)


def check_inputs(texts: Sequence[str], settings: Settings) -> None:
    """:raises TooLargeError: if there are too many texts to embed at once, or one is too long."""
    _check_texts("input", "text", texts, "max_inputs", settings, some="texts")


def check_translated(texts: Sequence[str], beams: int, settings: Settings) -> None:
    """:raises TooLargeError: if there are too many texts to translate at once, or one is too long.

    :param beams: hypotheses that are looked at at once, for each text.
    """
    _check_texts("texts", "text", texts, "max_texts", settings)
    _check(f"{beams} beams", beams, "max_beams", settings)


def check_mined(request: MineRequest, settings: Settings) -> None:
    """:raises TooLargeError: if there are too many sentences to mine, or one is too long."""
    check_k(request.k, settings)
    for side, texts in (("source", request.source), ("target", request.target)):
        limit = settings.max_mine_sentences
        if len(texts) > limit:
            raise TooLargeError(
                f"{len(texts)} {side} sentences are more than the {limit} that are taken "
                f"({PREFIX}MAX_MINE_SENTENCES); the command 'bitext mine' takes any number"
            )
        some = f"{side} sentences"
        _check_texts(side, f"{side} sentence", texts, "max_mine_sentences", settings, some=some)


def check_ids(ids: Sequence[int], field: str, settings: Settings) -> None:
    """:param field: the limit.
    :raises TooLargeError: if there are too many.
    """
    if not ids:
        raise InputError("field 'ids': expected at least one id, got none")
    _check(f"{len(ids)} ids", len(ids), field, settings)


def page_of(limit: int | None, settings: Settings) -> int:
    """How many sentences to show of those that were asked for.

    :raises InputError: if ``limit`` is larger than it may be.
    """
    if limit is None:
        return min(PAGE, settings.max_page)
    if limit > settings.max_page:
        raise InputError(
            f"field 'limit': at most {settings.max_page} ({PREFIX}MAX_PAGE), got {limit}"
        )
    return limit


def check_k(k: int, settings: Settings, field: str = "k") -> None:
    """:raises InputError: if ``k`` is larger than it may be."""
    if k > settings.max_k:
        raise InputError(f"field '{field}': at most {settings.max_k} ({PREFIX}MAX_K), got {k}")


def _check_texts(
    field: str,
    one: str,
    texts: Sequence[str],
    limit: str,
    settings: Settings,
    *,
    some: str | None = None,
) -> None:
    if not texts:
        raise InputError(f"field '{field}': expected at least one {one}, got none")
    _check(f"{len(texts)} {some or field}", len(texts), limit, settings)
    for number, text in enumerate(texts, 1):
        characters = f"{one} {number}: {len(text)} characters"
        _check(characters, len(text), "max_characters", settings)


def _check(what: str, count: int, field: str, settings: Settings) -> None:
    limit = getattr(settings, field)
    if count > limit:
        raise TooLargeError(
            f"{what} are more than the {limit} that are taken ({PREFIX}{field.upper()})"
        )
