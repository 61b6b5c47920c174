"""A service that is told to stop answers all it has admitted, and admits nothing more."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from pathlib import Path
from subprocess import Popen
from time import sleep
from typing import NamedTuple

import anyio
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.types import Message
from test_serve_command import bitext_serve

from service.draining import Door, Draining

BODY = json.dumps({"source": "a cat sleeps", "target": "eine katze"}).encode()
HEAD = (
    "POST /align HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n"
).encode()


@contextmanager
def running(model: Path, folder: Path, *options: str) -> Iterator[tuple[Popen[str], int]]:
    """A service that is ready, and its port."""
    options = ("--port=0", f"--model={model}", "--no-sample", "--log-level=error", *options)
    with bitext_serve(*options, folder=folder) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(":")[2].partition("/")[0])
        wait_until(port, 200)
        yield process, port


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes


def ask(port: int, method: str, path: str) -> Answer:
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, BODY, {"Content-Type": "application/json"})
        return read(connection.getresponse())


def read(response: HTTPResponse) -> Answer:
    with response:
        return Answer(response.status, response.headers, response.read())


def wait_until(port: int, status: int) -> None:
    for _ in range(1200):
        if ask(port, "GET", "/ready").status == status:
            return
        sleep(0.05)
    raise AssertionError(f"/ready never answered {status}")


def admitted(port: int) -> socket.socket:
    """A request that the service waits for the body of, as its interim answer shows."""
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(HEAD)
    assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"[:25]
    return client


def finish(client: socket.socket) -> Answer:
    with client:
        client.sendall(BODY)
        response = HTTPResponse(client)
        response.begin()
        return read(response)


def test_what_is_admitted_is_answered_and_the_rest_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    with running(tiny_model, tmp_path) as (process, port):
        clients = [admitted(port) for _ in range(12)]
        process.send_signal(signal.SIGTERM)
        wait_until(port, 503)
        refused = ask(port, "POST", "/align")
        assert (refused.status, refused.headers["Connection"]) == (503, "close")
        assert json.loads(refused.body)["detail"] == "the service is being stopped"
        assert refused.headers["Retry-After"] == "1"
        assert ask(port, "GET", "/health").status == 200
        for client in clients:
            answer = finish(client)
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
            assert json.loads(answer.body)["alignments"][0]["source_words"] == [
                "a",
                "cat",
                "sleeps",
            ]
        _, log = process.communicate(timeout=60)
    assert (process.returncode, log) == (0, "")


def test_a_second_signal_stops_at_once(tiny_model: Path, tmp_path: Path) -> None:
    with running(tiny_model, tmp_path) as (process, port), admitted(port):
        process.send_signal(signal.SIGTERM)
        wait_until(port, 503)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 128 + signal.SIGINT


def test_who_is_not_done_in_time_is_left_behind(tiny_model: Path, tmp_path: Path) -> None:
    config = tmp_path / "bitext.toml"
    config.write_text("grace_seconds = 1\n")
    with (
        running(tiny_model, tmp_path, f"--config={config}") as (process, port),
        admitted(port),
    ):
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped after 1 s with 1 requests not answered" in log


def test_a_stream_of_events_ends_when_draining_begins() -> None:
    app, draining, sent = FastAPI(), Draining(), list[Message]()

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def forever() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await anyio.sleep_forever()

        return StreamingResponse(forever(), media_type="text/event-stream")

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("body"):
            assert draining.active == 1
            draining.begin()
            assert not draining.is_done()

    scope = {"type": "http", "method": "GET", "path": "/events", "headers": [], "query_string": b""}
    anyio.run(Door(app, draining), scope, receive, send)
    assert [message.get("body") for message in sent] == [None, b"data: 1\n\n", b""]
    assert sent[-1]["more_body"] is False
    assert draining.is_done()
