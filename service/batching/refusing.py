"""Refusing early, and at a pace, when as much is computed or waits as may.

Whether there is room is asked again once the body is there (``models.py``), but to refuse before it
is read costs half as much. And a client that asks again as soon as it is refused takes as much of
the event loop as it likes, for which those who were let in wait with every step. So refusals have a
pace: the first is said at once, those of a crowd wait for their turn, though no longer than
``LONGEST``, which who is told to come again in whole seconds hardly notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.batching.admission import Admission
from service.errors import OverloadedError, answer_to
from service.observing.record import record_of

REFUSALS = 100
"""That are said in a second, unless so many come that they would wait too long."""
LONGEST = 1.0
"""Seconds that one waits at most."""


class Pace:
    """Turns, ``1 / rate`` seconds after one another."""

    def __init__(
        self,
        rate: float = REFUSALS,
        longest: float = LONGEST,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._step = 1 / rate
        self._longest = longest
        self._clock = clock
        self._next = 0.0

    def wait(self) -> float:
        """Take the next turn; seconds until it comes, ``longest`` at most."""
        now = self._clock()
        turn = min(max(self._next, now), now + self._longest)
        self._next = turn + self._step
        return turn - now


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
