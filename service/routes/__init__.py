"""One file a resource; ``ROUTERS`` is all of them."""

from __future__ import annotations

from service.routes import align, health, indexes, methods, models, page, retrieve

ROUTERS = (
    align.router,
    methods.router,
    retrieve.router,
    indexes.router,
    models.router,
    health.router,
    page.router,
)
