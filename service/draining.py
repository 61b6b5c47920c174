"""Stopping in good order: what has been admitted is finished, and nothing more is taken."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import NotReadyError, answer_to

ALWAYS = frozenset({"/health", "/ready", "/metrics"})
"""Answered to the end: whoever watches the service wants to see it stop."""
EVENTS = "text/event-stream"
"""The type of answers that have no end of their own."""
STOPPING = "the service is being stopped"


class Draining:
    """How many requests are being answered, and whether no more are taken.

    Belongs to the event loop, but for :meth:`begin`, which may be called by a signal.
    """

    def __init__(self) -> None:
        self.begun = False
        self.active = 0
        self.streams: set[anyio.CancelScope] = set()

    def begin(self) -> None:
        """From now on, take nothing more."""
        self.begun = True

    def is_done(self) -> bool:
        """Whether all is answered. Ends the streams of events, which would go on for ever."""
        for stream in self.streams:
            stream.cancel()
        return self.active == 0

    def check(self) -> None:
        """:raises NotReadyError: once it has begun."""
        if self.begun:
            raise NotReadyError(STOPPING)


class Door:
    """ASGI middleware: counts who is inside; once draining has begun, lets nobody else in."""

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self._app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
        elif self._draining.begun:
            refusal = answer_to(NotReadyError(STOPPING), scope["path"])
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send)
        else:
            await self._let_in(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        draining = self._draining
        stay = anyio.CancelScope()

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                if Headers(raw=message["headers"]).get("content-type", "").startswith(EVENTS):
                    draining.streams.add(stay)
                if draining.begun:
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        draining.active += 1
        try:
            with stay:
                await self._app(scope, receive, send_on)
            if stay.cancelled_caught:  # a stream of events: let the client see that this is its end
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            draining.streams.discard(stay)
            draining.active -= 1
