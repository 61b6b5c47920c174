"""``GET /metrics``: the figures, for Prometheus."""

from __future__ import annotations

import anyio.to_thread
from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.access.scopes import Scope, needs
from service.observing.metrics import Metrics
from service.reading import Router

router = Router(tags=["health"])


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "In the text format."}},
)
@needs(Scope.METRICS)
async def metrics(request: Request) -> Response:
    """Counts and durations since the start, without texts or names of indexes."""
    figures: Metrics = request.app.state.metrics
    return Response(
        await anyio.to_thread.run_sync(figures.text, limiter=figures.thread),
        media_type=CONTENT_TYPE_LATEST,
    )
