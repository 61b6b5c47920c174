"""What is noted of a request while it is answered.

Whoever has something to note takes the record of the request at hand, in the event loop or in a
thread that works for it::

    record = current()
    if record is not None:
        record.pieces += 17
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from starlette.types import Scope

from service.access.table import Found

KEY = "bitext.record"
"""Where the ASGI scope of a request keeps its record."""
SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
"""What a request id of the client's may look like: it gets into headers and logs."""


_numbers = random.Random()  # an id need not be secret, and asking the system gives up the GIL

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(slots=True)
class RequestRecord:
    """One request; filled in while it is answered."""

    id: str
    method: str
    """One of METHODS, or ``other``: what came may be anything."""
    found: Found
    key: str | None = None
    """The id of its key, which is no secret."""
    may_stay: Callable[[], Awaitable[bool]] | None = None
    """Whether that key is still good, for answers that go on for long."""
    pieces: int = 0
    """Subwords that went through a model for it."""
    body: bytearray | None = None
    """The start of its body, if texts may be logged."""

    @property
    def route(self) -> str | None:
        return self.found.template


_current: ContextVar[RequestRecord | None] = ContextVar("bitext_request", default=None)


def current() -> RequestRecord | None:
    """The record of the request at hand; ``None`` outside of requests."""
    return _current.get()


def begin(scope: Scope, record: RequestRecord) -> None:
    """Make ``record`` that of the request at hand, which has a task of its own."""
    scope[KEY] = record
    _current.set(record)


def record_of(scope: Scope) -> RequestRecord:
    """The record of the request with this ASGI scope."""
    record: RequestRecord = scope[KEY]
    return record


def id_of(given: str | None) -> str:
    """The client's request id if it is a sane one, and else a new one."""
    if given is not None and SANE_ID.fullmatch(given):
        return given
    return f"{_numbers.getrandbits(64):016x}"


def fields(record: RequestRecord) -> dict[str, Any]:
    """What a log line says of the request that it was written in."""
    return {"request_id": record.id, "route": record.route, "key": record.key}
