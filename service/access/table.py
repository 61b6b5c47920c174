"""Which route a request will reach, before anything of its body is read.

The middleware stands before FastAPI's router, and has to know the route: what it demands, and its
template, by which it is counted and logged (a path may hold the name of someone's index).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from service.access.scopes import Demand, Scope, demand_of

OPEN = Demand(Scope.OPEN)
FILES = ("/web", "/swagger")
"""Where the files of the page and of /docs are; they hold no one's data."""
DOCUMENT = "/openapi.json"
READING = frozenset({"GET", "HEAD"})


class Found(NamedTuple):
    """What is known of a request's route."""

    template: str | None
    """``/v1/indexes/{name}``; ``None`` where there is no such route."""
    demand: Demand | None
    """``None`` where no route declares one for this method."""
    allowed: frozenset[str] = frozenset()
    """Where there is none for this method, or it is a file, the methods for which there is one."""


class _Row(NamedTuple):
    pattern: re.Pattern[str]
    template: str
    methods: frozenset[str]
    demand: Demand | None


class RouteTable:
    """The routes of routers with their prefixes, in the order of their inclusion."""

    def __init__(self, included: Iterable[tuple[str, Sequence[APIRouter]]]) -> None:
        self._rows = [
            _row(prefix, route)
            for prefix, routers in included
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute)
        ]
        # Most requests go to an address without a variable part.
        self._fixed: dict[tuple[str, str], Found] = {}
        for row in reversed(self._rows):
            if "{" not in row.template:
                for method in row.methods:
                    self._fixed[method, row.template] = Found(row.template, row.demand)

    def find(self, method: str, path: str) -> Found:
        """The route that answers ``method`` at ``path``."""
        found = self._fixed.get((method, path))
        if found is not None:
            return found
        others = [row for row in self._rows if row.pattern.match(path)]
        for row in others:
            if method in row.methods:
                return Found(row.template, row.demand)
        if not others:
            return _file(path)
        allowed = frozenset(name for row in others for name in row.methods)
        return Found(others[0].template, None, allowed)


def _row(prefix: str, route: APIRoute) -> _Row:
    pattern, template, _ = compile_path(prefix + route.path)
    return _Row(pattern, template, frozenset(route.methods or ()), demand_of(route.endpoint))


def _file(path: str) -> Found:
    if path == DOCUMENT:
        return Found(DOCUMENT, OPEN, READING)
    for folder in FILES:
        if path.startswith(f"{folder}/"):
            return Found(folder, OPEN, READING)
    return Found(None, None)
