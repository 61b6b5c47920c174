"""The outermost middleware: every request gets an id, one line in the log, and is counted."""

from __future__ import annotations

import logging
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.table import RouteTable
from service.observing.logs import FIELDS
from service.observing.metrics import Metrics
from service.observing.record import METHODS, RequestRecord, begin, id_of
from service.settings import Settings

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
HUNG_UP = 499
"""The status of a request whose client went away before it was answered; nginx's number."""
SHOWN = 1_000
"""Bytes of a body that are logged where texts may be."""
PROBES = ("/health", "/ready", "/metrics")
"""Asked every few seconds; logged only in detail."""


class Observing:
    """ASGI middleware; stands before all others, so that their answers are counted, too."""

    def __init__(
        self, app: ASGIApp, table: RouteTable, metrics: Metrics, settings: Settings
    ) -> None:
        self._app = app
        self._table = table
        self._metrics = metrics
        self._texts = settings.log_texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = self._record(scope)
        begin(scope, record)
        status = HUNG_UP

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = record.id
            await send(message)

        started = perf_counter()
        self._metrics.began()
        try:
            await self._app(scope, _showing(receive, record), noting)
        finally:
            seconds = perf_counter() - started
            self._metrics.ended(record, status, seconds)
            _log(record, status, seconds)

    def _record(self, scope: Scope) -> RequestRecord:
        return RequestRecord(
            id_of(Headers(scope=scope).get(HEADER)),
            scope["method"] if scope["method"] in METHODS else "other",
            self._table.find(scope["method"], scope["path"]),
            body=bytearray() if self._texts else None,
        )


def _showing(receive: Receive, record: RequestRecord) -> Receive:
    """``receive``, noting the start of the body if it may be logged."""
    body = record.body
    if body is None:
        return receive

    async def showing() -> Message:
        message = await receive()
        body.extend(message.get("body", b"")[: SHOWN - len(body)])
        return message

    return showing


def _log(record: RequestRecord, status: int, seconds: float) -> None:
    """Without the path, the query or the client's address: they say who sought what."""
    level = logging.INFO
    if status >= 500 and status != 503:
        level = logging.ERROR
    elif record.route in PROBES:
        level = logging.DEBUG
    if not logger.isEnabledFor(level):
        return
    told = {
        "method": record.method,
        "status": status,
        "seconds": round(seconds, 6),
        "pieces": record.pieces or None,
    }
    if record.body:
        told["body"] = record.body.decode("utf-8", "replace")
    words = [f"{record.method} {record.route or '-'} {status} {seconds:.3f} s"]
    words += [f"{record.pieces} pieces"] if record.pieces else []
    words += [f"key {record.key}"] if record.key else []
    words += [f"request {record.id}"]
    words += [f"body {told['body']!r}"] if record.body else []
    logger.log(level, "%s", ", ".join(words), extra={FIELDS: told})
