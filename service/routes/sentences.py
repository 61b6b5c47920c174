"""``/v1/indexes/{name}/sentences``: put sentences into an index, look at them, take them away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import Query

from bitext.errors import InputError
from service.access.scopes import Scope, needs
from service.errors import UnknownSentenceError
from service.limits import check_ids, check_sentences, page_of
from service.openapi import BODY, MODEL, problems
from service.reading import Router
from service.routes.paths import NUMBER
from service.schemas.fields import SentenceId
from service.schemas.filters import SentenceFilter, where
from service.schemas.sentences import (
    AddRequest,
    AddResponse,
    CountRequest,
    CountResponse,
    DeleteRequest,
    DeleteResponse,
    GetRequest,
    GetResponse,
    KnownSentence,
    NewSentence,
    PageQuery,
    ScrollRequest,
    ScrollResponse,
    Sentence,
    UpsertRequest,
)
from service.state import State, StateOf

if TYPE_CHECKING:
    from retrieval.store.addition import Entry
    from retrieval.store.tables import Sentence as Kept

router = Router(prefix="/indexes/{name}", tags=["indexes"])


@router.post(
    "/sentences",
    status_code=201,
    summary="Add sentences",
    responses=problems(*BODY, 403, 404, 409, *MODEL),
)
@needs(Scope.WRITE, computes=True)
async def add_sentences(name: str, request: AddRequest, state: StateOf) -> AddResponse:
    """Add sentences to an index, which counts their ids on: all of them, or on an error none.

    A centred index takes a language's mean from the first sentences of it, of which there must then
    be at least ten.
    """
    sentences = request.each()
    check_sentences(sentences, state.settings)
    entries = _entries(sentences, request.language)
    return await state.models.run(_write, name, entries, request.too_long, state)


@router.put(
    "/sentences",
    summary="Add or replace sentences",
    responses=problems(*BODY, 403, 404, 409, *MODEL),
)
@needs(Scope.WRITE, computes=True)
async def upsert_sentences(name: str, request: UpsertRequest, state: StateOf) -> AddResponse:
    """Put sentences under ids of your choice: all of them, or on an error none.

    One that is there with such an id is replaced, metadata and all. To do it twice is to do it
    once, so that a request whose answer was lost can be sent again.
    """
    check_sentences(request.sentences, state.settings)
    entries = _entries(request.sentences, request.language)
    return await state.models.run(_write, name, entries, request.too_long, state, replace=True)


@router.get(
    "/sentences", summary="List the sentences of an index", responses=problems(404, 409, 422)
)
@needs(Scope.READ)
def list_sentences(
    name: str, page: Annotated[PageQuery, Query()], state: StateOf
) -> ScrollResponse:
    """A page of them, in order of id."""
    return _scroll(name, page, page.filter(), state)


@router.get(
    f"/sentences/{{id:{NUMBER}}}",
    summary="Look at a sentence",
    responses=problems(404, 409, 422),
)
@needs(Scope.READ)
def get_sentence(name: str, id: SentenceId, state: StateOf) -> Sentence:
    """The sentence with this id."""
    with state.indexes.reading(name) as index:
        found = index.get([id])
    if not found:
        raise UnknownSentenceError(f"index '{name}' has no sentence {id}")
    return _answer(found[0])


@router.post(
    "/sentences/get", summary="Look at some sentences", responses=problems(*BODY, 404, 409)
)
@needs(Scope.READ)
def get_sentences(name: str, request: GetRequest, state: StateOf) -> GetResponse:
    """The sentences with these ids; those that are not there are named."""
    check_ids(request.ids, "max_page", state.settings)
    ids = list(dict.fromkeys(request.ids))
    with state.indexes.reading(name) as index:
        found = index.get(ids)
    there = {sentence.id for sentence in found}
    return GetResponse(
        sentences=[_answer(sentence) for sentence in found],
        missing=[number for number in ids if number not in there],
    )


@router.post(
    "/sentences/delete",
    summary="Take sentences away",
    responses=problems(*BODY, 403, 404, 409, 503),
)
@needs(Scope.WRITE)
def delete_sentences(name: str, request: DeleteRequest, state: StateOf) -> DeleteResponse:
    """Take away the sentences with these ids, or those that a filter means. To do it twice is to
    do it once."""
    if request.ids is not None:
        check_ids(request.ids, "max_sentences", state.settings)
    with state.indexes.changing(name) as index:
        deleted = index.delete(ids=request.ids, where=where(request.filter))
        return DeleteResponse(deleted=deleted, count=index.count())


@router.post(
    "/sentences/scroll",
    summary="List the sentences that a filter means",
    responses=problems(*BODY, 404, 409),
)
@needs(Scope.READ)
def scroll_sentences(name: str, request: ScrollRequest, state: StateOf) -> ScrollResponse:
    """A page of them, in order of id. What is written meanwhile does not shift the next page."""
    return _scroll(name, request, request.filter, state)


@router.post("/count", summary="Count sentences", responses=problems(*BODY, 404, 409))
@needs(Scope.READ)
def count_sentences(name: str, request: CountRequest, state: StateOf) -> CountResponse:
    """How many sentences there are, or how many a filter means."""
    with state.indexes.reading(name) as index:
        return CountResponse(count=index.count(where(request.filter)))


def _entries(sentences: Sequence[NewSentence], language: str | None) -> list[Entry]:
    """:raises InputError: if a sentence has no language, or the id of another one."""
    from retrieval.store.addition import Entry

    entries = []
    ids: set[int] = set()
    for number, sentence in enumerate(sentences):
        own = sentence.language or language
        if own is None:
            raise InputError(
                f"field 'sentences.{number}.language' is missing, and there is no 'language' for "
                "all of them"
            )
        known = sentence.id if isinstance(sentence, KnownSentence) else None
        if known is not None:
            if known in ids:
                raise InputError(f"field 'sentences.{number}.id': {known} is given twice")
            ids.add(known)
        entries.append(Entry(own, sentence.text, known, sentence.metadata))
    return entries


def _write(
    name: str, entries: Sequence[Entry], too_long: str, state: State, *, replace: bool = False
) -> AddResponse:
    with state.indexes.changing(name) as index:
        ids = state.indexes.write(
            name,
            entries,
            encoder=state.encoder_of(index),
            too_long=too_long,
            replace=replace,
        )
        return AddResponse(ids=ids, count=index.count())


def _scroll(
    name: str, page: PageQuery | ScrollRequest, filter: SentenceFilter | None, state: State
) -> ScrollResponse:
    limit = page_of(page.limit, state.settings)
    with state.indexes.reading(name) as index:
        # One more tells whether there is a next page.
        found = index.scroll(after=page.after, limit=limit + 1, where=where(filter))
    shown = [_answer(sentence) for sentence in found[:limit]]
    return ScrollResponse(sentences=shown, next=shown[-1].id if len(found) > limit else None)


def _answer(sentence: Kept) -> Sentence:
    return Sentence(
        id=sentence.id,
        text=sentence.text,
        language=sentence.language,
        metadata=sentence.metadata or {},
    )
