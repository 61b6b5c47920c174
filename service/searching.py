"""A search in an index of this service, as several routes offer it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.schemas.filters import where
from service.schemas.search import Hit, SearchResponse, SearchSettings

if TYPE_CHECKING:
    from service.state import State


def search(
    name: str, queries: Sequence[str], settings: SearchSettings, state: State
) -> SearchResponse:
    """The nearest sentences of index ``name``; for use in a thread.

    :raises UnknownIndexError: if there is no such index.
    :raises MismatchError: if it was built with another model.
    """
    with state.indexes.reading(name) as index:
        found = index.retrieve(
            queries,
            k=settings.k,
            encoder=state.encoder_of(index),
            language=settings.language,
            threshold=settings.threshold,
            where=where(settings.filter),
            too_long=settings.too_long,
        )
    return SearchResponse(
        results=[
            [
                Hit(
                    id=hit.id,
                    text=hit.text,
                    score=round(hit.score, 6),
                    language=hit.language,
                    metadata=hit.metadata or {},
                )
                for hit in hits
            ]
            for hits in found
        ]
    )
