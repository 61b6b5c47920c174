"""Noticing that a client has hung up while it is waiting for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
from starlette.requests import Request

from encoders.gathering.callers import CALLER, Caller

REQUEST: ContextVar[Request | None] = ContextVar("REQUEST", default=None)
"""The request that the code of this context answers; its body has been read."""


async def body_size() -> int:
    """Bytes of the body of the request that is being answered."""
    request = REQUEST.get()
    return 0 if request is None else len(await request.body())


@asynccontextmanager
async def heeding_disconnect() -> AsyncIterator[Caller]:
    """A block that is left when the client of this context's request hangs up.

    What runs in a thread by then goes on until it asks a model for something: that raises.

    :raises HungUpError: when it has hung up.
    """
    caller = Caller()
    request = REQUEST.get()
    token = CALLER.set(caller)
    with anyio.CancelScope() as scope:
        watcher = None
        if request is not None:
            watcher = asyncio.create_task(_watch(request, caller, scope))
        try:
            yield caller
        finally:
            CALLER.reset(token)
            if watcher is not None:
                watcher.cancel()
    caller.check()


async def _watch(request: Request, caller: Caller, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # the end of a body that nobody wanted
    caller.hang_up()
    scope.cancel()
