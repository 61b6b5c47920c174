"""Connections that are slow, silent or too many, over real sockets."""

from __future__ import annotations

import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import uvicorn

from service.access import connections
from service.access.connections import SPARE, possible, protocol
from service.app import create_app
from service.settings import Settings

SOON = 0.3
"""Seconds that heads and bodies may take here."""
PATIENCE = 30.0
"""Seconds after which a test fails that waits for the service."""

Start = Callable[..., socket.socket]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.began = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.began.set()


@contextmanager
def running(most: int = 100, seconds: float = SOON, **settings: Any) -> Iterator[tuple[str, int]]:
    """The address of a service that loads no model."""
    app = create_app(Settings(sample=False, body_seconds=SOON, **settings))
    config = uvicorn.Config(
        app,
        http=protocol(seconds, most, app.state.metrics.connection_refused),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert server.began.wait(PATIENCE)
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with running() as address:
        yield address


@contextmanager
def connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    with closing(socket.create_connection(address, timeout=PATIENCE)) as client:
        yield client


def everything(client: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    try:
        while piece := client.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


HEAD = b"POST /align HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "],
    ids=["nothing", "a letter", "a line", "half a head"],
)
def test_a_head_that_does_not_come_closes_the_connection(
    address: tuple[str, int], sent: bytes
) -> None:
    with connected(address) as client:
        client.sendall(sent)
        assert everything(client) == b""


def test_a_second_head_that_does_not_come_does_so_too(address: tuple[str, int]) -> None:
    with connected(address) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(b"GET /he")
        assert b"HTTP/1.1" not in everything(client)


@pytest.mark.parametrize("sent", [b"", b'{"source": '], ids=["nothing", "a part"])
@pytest.mark.parametrize("framing", [b"Content-Length: 90\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_that_does_not_come_is_a_408(
    address: tuple[str, int], framing: bytes, sent: bytes
) -> None:
    with connected(address) as client:
        piece = b"%x\r\n%b\r\n" % (len(sent), sent) if b"chunked" in framing and sent else sent
        client.sendall(HEAD + framing + b"\r\n" + piece)
        head, _, body = everything(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["detail"] == (
        "the body did not come within the 0.3 seconds (BITEXT_BODY_SECONDS) that it may take"
    )


def test_a_body_of_many_slow_pieces_is_a_408(address: tuple[str, int]) -> None:
    """The time is that of the whole body: a byte now and then does not keep it open."""
    with connected(address) as client:
        client.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        client.settimeout(SOON / 10)
        found = b""
        for _ in range(1_000):
            try:
                client.sendall(b" ")
                found = client.recv(100)
                break
            except TimeoutError:
                continue
    assert found.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_of_100_mb_is_refused_early(address: tuple[str, int], framing: str) -> None:
    piece = b" " * 2**16
    size = 100 * 2**20
    sent = 0
    with connected(address) as client:
        if framing == "length":
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        else:
            client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        try:
            while sent < size:
                client.sendall(piece)
                sent += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # as it should be: the service has closed the connection
    # The limit is 4 MiB; the rest of what was sent waited in the system's buffers.
    assert sent < 32 * 2**20


def test_what_comes_after_the_answer_is_not_read_for_ever(address: tuple[str, int]) -> None:
    with connected(address) as client:
        client.sendall(HEAD + b"Content-Length: 100000000\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
        client.settimeout(SOON / 10)
        for _ in range(1_000):
            try:
                client.sendall(b" ")
                if not client.recv(65536):
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        else:
            pytest.fail("the connection is still open")


def test_what_comes_late_is_counted_anew_for_each_answer(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LINGERING", 1000)
    with connected(address) as client:
        for _ in range(4):  # of a body of 600 bytes each
            client.sendall(HEAD.replace(b"json", b"x") + b"Content-Length: 600\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 415 ")
            client.sendall(b" " * 600)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS, where none is spoken
        b"GET /health\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"POST /align HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /align HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
        b"Content-Length: 4\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(address: tuple[str, int], sent: bytes) -> None:
    with connected(address) as client:
        client.sendall(sent)
        found = everything(client)
    assert found == b"" or found.startswith(b"HTTP/1.1 4")


def test_connections_over_the_limit_are_turned_away() -> None:
    with running(most=3, seconds=PATIENCE) as address:
        held = [socket.create_connection(address, timeout=PATIENCE) for _ in range(3)]
        try:
            for client in held:
                client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            with connected(address) as late:
                assert everything(late).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            held.pop().close()
            found = b""
            while not found.startswith(b"HTTP/1.1 200"):  # once the service has seen it close
                with connected(address) as later:
                    try:
                        later.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    except OSError:
                        continue
                    found = everything(later)
        finally:
            for client in held:
                client.close()


def test_silent_connections_make_room_for_others() -> None:
    with running(most=3, seconds=PATIENCE) as address:
        held = [socket.create_connection(address, timeout=PATIENCE) for _ in range(3)]
        try:
            with connected(address) as late:
                late.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert late.recv(65536).startswith(b"HTTP/1.1 200 ")
                assert everything(held[0]) == b""  # the oldest
        finally:
            for client in held:
                client.close()


def test_as_many_connections_as_open_files_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.update(now=new))
    assert possible(500) == 500
    assert limits["now"] == (1024, 4096)
    assert possible(2_000) == 2_000
    assert limits["now"] == (2_000 + SPARE, 4096)
    assert possible(100_000) == 4096 - SPARE
    assert limits["now"] == (4096, 4096)
