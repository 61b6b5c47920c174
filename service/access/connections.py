"""Connections that send nothing, or too slowly, or are too many.

uvicorn waits without end for the first line of a request, and reads without end what a client sends
after it was answered, such as the rest of a body that was too large. Its protocol class can be
replaced, and this one sets a limit to both, as other servers do.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.settings import Settings

logger = logging.getLogger(__name__)

SPARE = 256
"""Files that are left for indexes, the database and the log."""
LINGERING = 8 * 2**20
"""Bytes that are read, and thrown away, after the answer, so that the client comes to read it."""
ANSWERED = (h11.DONE, h11.MUST_CLOSE)
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def careful(settings: Settings, refused: Callable[[], None]) -> dict[str, Any]:
    """What ``uvicorn.Config`` is told beside the application.

    :param refused: called for each connection over the limit: a silent one is closed instead, or it
        is answered 503.
    """
    most = possible(settings.max_connections)
    return {
        "http": protocol(settings.header_seconds, most, refused),
        "ws": "none",
        "server_header": False,
        "proxy_headers": False,  # middleware.py reads them, of proxies that are trusted
        "access_log": False,  # observing/requests.py writes one
    }


def protocol(seconds: float, most: int, refused: Callable[[], None]) -> type[H11Protocol]:
    """A protocol that gives each head ``seconds`` to come, and takes ``most`` connections.

    :param refused: called for each connection over the limit.
    """

    silent: dict[H11Protocol, None] = {}  # in the order in which they came

    class Careful(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _lingering = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) <= most or self._make_room():
                self._wait()
            else:
                transport.write(FULL)
                transport.close()

        def _make_room(self) -> bool:
            """Close the connection that has sent nothing whole for longest, if there is one.

            Who holds connections open without a word thus takes only from those who do the same.
            """
            refused()
            oldest = next(iter(silent), None)
            if oldest is not None:
                oldest.transport.abort()
            return oldest is not None

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_lingering():
                self._lingering += len(data)
                if self._lingering > LINGERING:
                    self.transport.abort()
                return
            self._lingering = 0
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self._wait()
            else:
                self._stop_waiting()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._is_lingering():
                self._wait()

        def _is_lingering(self) -> bool:
            """Whether it was answered while its body still comes."""
            return self.conn.our_state in ANSWERED and self.conn.their_state is h11.SEND_BODY

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait(self) -> None:
            if self._timer is None:
                silent[self] = None
                self._timer = self.loop.call_later(seconds, self._too_late)

        def _stop_waiting(self) -> None:
            silent.pop(self, None)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_late(self) -> None:
            logger.debug("a connection was closed: no request came whole in %g s", seconds)
            self.transport.abort()

    return Careful


def possible(wanted: int) -> int:
    """Connections that can be taken of those ``wanted``, as the system counts open files.

    The limit that this process may raise is raised.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            logger.warning(
                "the system allows %d open files, so that at most %d connections are taken",
                soft,
                max(1, soft - SPARE),
            )
            return max(1, soft - SPARE)
    return wanted
