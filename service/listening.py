"""The socket that the service listens at."""

from __future__ import annotations

import errno
import socket

from bitext.errors import InputError


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


def address_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
