"""The command ``bitext serve``."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import BitextError, InputError, UnknownNameError, choose_from

if TYPE_CHECKING:
    from service.settings import Settings

LOG_LEVELS = ("critical", "error", "warning", "info", "debug")
GRACE = 5
"""Seconds that requests may still take after Ctrl-C."""


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen at. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen at; 0: a free one. [default: 8000]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or hub name. [default: bundled]")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:0, ... [default: cpu]")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or bfloat16. [default: float32]")
    ] = None,
    index_dir: Annotated[
        Path | None, typer.Option(help="Where indexes lie. [default: indexes/ in the data folder]")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="The data folder. [default: ~/.local/share/bitext]")
    ] = None,
    sample: Annotated[
        bool | None, typer.Option(help="Keep an index of the sample corpus. [default: sample]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings. [default: none]")
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="critical, error, warning, info or debug.")
    ] = "info",
) -> None:
    """Answer over HTTP, with a page to try it at the address that is printed.

    Every option, and all limits, can also be set by a variable, --port by BITEXT_PORT, and in a
    file, by port = 8000. Options come before variables, and these before the file. Ctrl-C stops the
    service.
    """
    from service.batching.cores import available_cores, limit_libraries
    from service.settings import Settings

    _set_log_level(log_level)
    settings = Settings.load(
        os.environ,
        config,
        host=host,
        port=port,
        model=model,
        device=device,
        dtype=dtype,
        index_dir=index_dir,
        data_dir=data_dir,
        sample=sample,
    )
    limit_libraries(settings.cores or available_cores())
    with listen(settings.host, settings.port) as listener:
        _run(settings, listener)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port in use shows before anything is loaded.

    :raises InputError: if nobody can listen there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise InputError(f"host '{host}' is neither an address nor a known name") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        reasons = {
            errno.EADDRINUSE: f"port {port} of {host} is in use; choose another one with --port",
            errno.EADDRNOTAVAIL: f"host '{host}' is not an address of this machine",
            errno.EACCES: f"port {port} may not be used by this user; choose one from 1024 on",
        }
        known = reasons.get(error.errno or 0)
        raise InputError(
            known or f"cannot listen at {host}, port {port}: {error.strerror}"
        ) from None
    return listener


def _run(settings: Settings, listener: socket.socket) -> None:
    """Serve until Ctrl-C; raise what kept the model from being loaded."""
    import uvicorn

    from service.access.connections import careful
    from service.access.guard import warn_if_open
    from service.app import create_app
    from service.observing import logs

    logs.begin(settings)
    warn_if_open(settings)
    app = create_app(settings)
    state = app.state.service

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"bitext is at {address_of(listener)} (Ctrl-C stops it)", flush=True)

        async def on_tick(self, counter: int) -> bool:
            return await super().on_tick(counter) or state.failure is not None

    config = uvicorn.Config(
        app,
        log_config=None,  # bitext.cli has configured logging
        log_level=logging.getLogger("service").level,
        timeout_graceful_shutdown=GRACE,
        **careful(settings, app.state.metrics.connection_refused),
    )
    # Stopped in good order, uvicorn sends itself once more the signal that it was stopped by.
    with suppress(KeyboardInterrupt):
        Server(config).run([listener])
    if state.is_loading:
        # Python would wait for the thread that loads; what it writes is all or nothing.
        sys.stdout.flush()
        os._exit(0)
    if isinstance(state.failure, BitextError):
        raise state.failure
    if state.failure is not None:
        raise SystemExit(1)  # a bug; its traceback is in the log


def address_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _set_log_level(name: str) -> None:
    if name not in LOG_LEVELS:
        raise UnknownNameError(choose_from("log level", name, LOG_LEVELS))
    for logger in ("service", "uvicorn"):
        logging.getLogger(logger).setLevel(name.upper())
