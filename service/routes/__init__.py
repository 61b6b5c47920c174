"""One file a resource: ``VERSIONED`` is served under /v1, ``TWICE`` also without a version, and
``UNVERSIONED`` only so."""

from __future__ import annotations

from service.routes import (
    align,
    embeddings,
    health,
    indexes,
    info,
    jobs,
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
    uploads,
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
    jobs.router,
    uploads.router,
)
TWICE = (align.router, retrieve.router)
UNVERSIONED = (
    health.router,
    metrics.router,
    info.router,
    page.router,
)
