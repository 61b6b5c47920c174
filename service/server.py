"""The HTTP server: uvicorn, told apart only by how it starts and stops."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from time import monotonic
from types import FrameType

import uvicorn
from fastapi import FastAPI

from bitext.errors import BitextError
from service.access.connections import careful
from service.listening import address_of
from service.state import State

logger = logging.getLogger(__name__)

TOLD_TWICE = 128
"""The exit code of who is told to stop twice is this and the signal, as a shell counts."""
CLOSING = 2
"""Seconds that closing may take once there is nothing more to wait for."""


class Server(uvicorn.Server):
    """Stops by a signal once all is answered that was admitted, and by a second one at once."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        state: State = app.state.service
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,  # bitext.cli has configured logging
                log_level=logging.getLogger("service").level,
                timeout_graceful_shutdown=CLOSING,
                **careful(state.settings, app.state.metrics.connection_refused),
            )
        )
        self._state = state
        self._listener = listener
        self._deadline = 0.0
        self.is_late = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"bitext is at {address_of(self._listener)} (Ctrl-C stops it)", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal calls: whatever it reads must be whole at any moment."""
        if self._state.draining.begun:
            os._exit(TOLD_TWICE + sig)
        self._deadline = monotonic() + self._state.settings.grace_seconds
        self._state.draining.begin()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop now; asked every tenth of a second."""
        if await super().on_tick(counter) or self._state.failure is not None:
            return True
        draining = self._state.draining
        if not draining.begun or (not draining.is_done() and monotonic() < self._deadline):
            return False
        if draining.active:
            self._leave_behind(draining.active)
        return True

    def _leave_behind(self, count: int) -> None:
        """Stop although requests are not answered; threads that compute cannot be stopped."""
        self.is_late = True
        seconds = self._state.settings.grace_seconds
        logger.error("stopped after %d s with %d requests not answered", seconds, count)
        end = threading.Timer(CLOSING, os._exit, [1])
        end.daemon = True
        end.start()


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve until told to stop; raise what kept the model from being loaded."""
    state: State = app.state.service
    server = Server(app, listener)
    server.run([listener])
    if state.is_loading:
        # Python would wait for the thread that loads; what it writes is all or nothing.
        sys.stdout.flush()
        os._exit(0)
    if isinstance(state.failure, BitextError):
        raise state.failure
    if state.failure is not None or server.is_late:
        raise SystemExit(1)  # the log says why
