"""Refusing early, when as much is computed or waits as may.

Whether there is room is asked again once the body is there (``models.py``), but to refuse before it
is read costs half as much.
"""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.batching.admission import Admission
from service.errors import OverloadedError, answer_to
from service.observing.record import record_of
from service.pacing import Pace


class Refusing:
    """ASGI middleware: 429 for who wants to compute while there is no room."""

    def __init__(self, app: ASGIApp, admission: Admission, pace: Pace) -> None:
        self._app = app
        self._admission = admission
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _computes(scope):
            length = Headers(scope=scope).get("content-length", "")
            try:
                self._admission.check(int(length) if length.isdecimal() else 0)
            except OverloadedError as error:
                await anyio.sleep(self._pace.wait())
                await answer_to(error, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _computes(scope: Scope) -> bool:
    demand = record_of(scope).found.demand
    return demand is not None and demand.computes
