"""One file a resource: ``VERSIONED`` is served under /v1, ``TWICE`` also without a version, and
``UNVERSIONED`` only so."""

from __future__ import annotations

from service.routes import (
    align,
    embeddings,
    health,
    indexes,
    info,
    methods,
    metrics,
    mine,
    models,
    page,
    project,
    retrieve,
    search,
    sentences,
    snapshots,
    translate,
)

VERSIONED = (
    align.router,
    methods.router,
    project.router,
    translate.router,
    retrieve.router,
    embeddings.router,
    mine.router,
    indexes.router,
    sentences.router,
    search.router,
    snapshots.router,
    models.router,
)
TWICE = (align.router, retrieve.router)
UNVERSIONED = (
    health.router,
    info.router,
    metrics.router,
    page.router,
)
