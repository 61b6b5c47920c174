"""create_app: puts the parts of the service together, and does nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

import anyio
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from bitext import __version__
from service import errors, middleware, openapi
from service.access.table import RouteTable
from service.observing.tracing import telemetry
from service.routes import TWICE, UNVERSIONED, VERSIONED
from service.routes.page import WEB
from service.settings import Settings
from service.state import State

if TYPE_CHECKING:
    from encoders.registry import ModelRegistry


def create_app(settings: Settings, registry: ModelRegistry | None = None) -> FastAPI:
    """The service as an ASGI application.

    :param registry: the models to share with others in this process; by default, the process's.
    """
    app = FastAPI(
        title="bitext",
        version=__version__,
        description="Align words, carry labels over, retrieve and translate, with shared models.",
        openapi_tags=[{"name": n, "description": text} for n, text in openapi.TAGS.items()],
        docs_url=None,  # FastAPI's page loads its parts from a CDN; ours is in routes/page.py
        redoc_url=None,
        redirect_slashes=False,  # one address for each thing
        lifespan=_lifespan,
        telemetry=telemetry(os.environ),  # nothing of it is on unless it is asked for
        generate_unique_id_function=openapi.operation_id,
    )
    state = app.state.service = State(settings, registry)
    table = RouteTable([(openapi.VERSION, VERSIONED), ("", TWICE), ("", UNVERSIONED)])
    middleware.install(app, state, table)
    openapi.describe_access(app, table, settings)
    errors.install(app)
    for router in VERSIONED:
        app.include_router(router, prefix=openapi.VERSION)
    for router in TWICE:
        app.include_router(router, generate_unique_id_function=openapi.other_operation_id)
    for router in UNVERSIONED:
        app.include_router(router)
    app.mount("/web", StaticFiles(directory=WEB), name="web")
    swagger = StaticFiles(directory=str(files("fastapi_offline") / "static"))
    app.mount("/swagger", swagger, name="swagger")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model behind the service's back, so that /health answers at once."""
    async with anyio.create_task_group() as background:
        background.start_soon(app.state.service.warm_up)
        yield
        await app.state.service.models.close()
        background.cancel_scope.cancel()
