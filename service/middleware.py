"""What stands before the routes, in the order in which a request passes it.

1. observing: an id, a log line, figures (observing/requests.py)
2. proxies: the client's own address, where a proxy that is trusted tells it
3. guard: our name, kind, size and time of the body, security headers (access/guard.py)
4. CORS: pages of other sites, where the operator allows some
5. gate: keys, scopes and rates (access/gate.py)
6. door: nobody more once the service is being stopped (draining.py)
7. refusing: nobody who wants to compute while too many do (batching/refusing.py)
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from bitext import __version__
from service.access.gate import Gate
from service.access.guard import Guard
from service.access.keys import KeyRing
from service.access.rates import Rates
from service.access.storing import all_keys
from service.access.table import RouteTable
from service.batching.refusing import Refusing
from service.draining import Door
from service.observing.jobs import count_jobs
from service.observing.metrics import Metrics
from service.observing.requests import HEADER, Observing
from service.pacing import Pace
from service.state import State

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ASKED = ("Authorization", "Content-Type", "Last-Event-ID", HEADER)
TOLD = (HEADER, "Location", "RateLimit", "RateLimit-Policy", "Retry-After")
"""Headers that pages of allowed sites may send, and read."""
PREFLIGHT = 600
"""Seconds that a browser may remember what they are allowed."""


def install(app: FastAPI, state: State, table: RouteTable) -> None:
    """Put all of it before the routes of ``app``."""
    settings = state.settings
    metrics = app.state.metrics = _metrics(state)
    keys = KeyRing(lambda: all_keys(state.database)) if settings.keys == "required" else None
    rates = Rates(settings.requests_per_minute, settings.characters_per_minute)
    pace = Pace()
    # The last one added is the first one passed.
    app.add_middleware(Refusing, admission=state.models.admission, pace=pace)
    app.add_middleware(Door, draining=state.draining)
    app.add_middleware(Gate, keys=keys, rates=rates, metrics=metrics, pace=pace)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=METHODS,
            allow_headers=ASKED,
            expose_headers=TOLD,
            max_age=PREFLIGHT,
        )
    app.add_middleware(Guard, settings=settings)
    if settings.trusted_proxies:
        trusted = list(settings.trusted_proxies)
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)
    app.add_middleware(Observing, table=table, metrics=metrics, settings=settings)


def _metrics(state: State) -> Metrics:
    metrics = Metrics(__version__)
    metrics.watch(
        models=state.models.loaded,
        ready=lambda: state.ready,
        jobs=lambda: count_jobs(state.database),
    )
    state.events.listeners.append(metrics.heard)
    return metrics
