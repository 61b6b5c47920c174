"""One file a resource; ``ROUTERS`` is all of them."""

from __future__ import annotations

from service.routes import (
    align,
    embeddings,
    health,
    indexes,
    methods,
    mine,
    models,
    page,
    retrieve,
    search,
    sentences,
    snapshots,
)

ROUTERS = (
    align.router,
    methods.router,
    retrieve.router,
    embeddings.router,
    mine.router,
    indexes.router,
    sentences.router,
    search.router,
    snapshots.router,
    models.router,
    health.router,
    page.router,
)
