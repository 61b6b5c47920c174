"""Who is let in, who is told to come again, and what becomes of those who hang up."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient
from starlette.types import Send
from test_gathering import PATIENCE, Gate

from encoders.encoder import Encoder
from encoders.gathering.events import DONE, FAILED, GONE, BatchDone
from encoders.registry import ModelRegistry
from service.access.scopes import demand_of
from service.access.table import OPEN
from service.app import create_app
from service.batching.admission import FEW, Admission
from service.batching.cores import available_cores, limit_libraries
from service.batching.events import Admitted, Done, Event, Events, Refused
from service.errors import OverloadedError
from service.pacing import Pace
from service.routes import TWICE, UNVERSIONED, VERSIONED
from service.settings import Settings

PAIR = {"source": "the house", "target": "das haus"}
JSON = {"Content-Type": "application/json"}


class Clock:
    """Seconds, as a test sets them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class GatedRegistry(ModelRegistry):
    """Gives an encoder that computes nothing while its gate is closed."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def encoder(self, *args: Any, **kwargs: Any) -> Encoder:
        return self._gate.encoder


class Service:
    """A service whose model waits at a gate, once it is warm."""

    def __init__(self, encoder: Encoder, folder: Path, **settings: Any) -> None:
        self.gate = Gate(encoder)
        self.gate.open.set()
        given = {"model": encoder.name, "data_dir": folder, "sample": False, "cores": 1}
        self.app = create_app(Settings(**{**given, **settings}), GatedRegistry(self.gate))
        self.heard: list[Event] = []
        self.state = self.app.state.service
        self.state.events.listeners.append(self.heard.append)

    def close_gate(self, client: TestClient) -> None:
        """Let the model wait from now on, once it is warm: the first to wait is a request's."""
        _until(lambda: self.state.ready)
        assert client.post("/align", json=PAIR).status_code == 200
        self.heard.clear()
        self.gate.open.clear()
        self.gate.reached.clear()

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


Serve = Callable[..., tuple[Service, TestClient]]


@pytest.fixture
def serve_gated(encoder: Encoder, tmp_path: Path) -> Iterator[Serve]:
    opened: list[tuple[Service, TestClient]] = []

    def serve(**settings: Any) -> tuple[Service, TestClient]:
        service = Service(encoder, tmp_path, **settings)
        client = TestClient(service.app, base_url="http://localhost")
        client.__enter__()
        opened.append((service, client))
        service.close_gate(client)
        return service, client

    yield serve
    for service, client in opened:
        service.gate.open.set()
        client.__exit__(None, None, None)


def admission(events: list[Event], clock: Clock, requests: int = 3, most: int = 1000) -> Admission:
    return Admission(requests=requests, most=most, told=events.append, clock=clock)


def test_a_house_is_full_by_requests_or_by_bytes() -> None:
    heard: list[Event] = []
    house = admission(heard, Clock(), requests=FEW + 1)
    visits = [house.enter(10) for _ in range(FEW + 1)]
    with pytest.raises(OverloadedError, match=r"9 requests \(90 bytes\) .* in 1 seconds"):
        house.enter(10)
    house.leave(visits.pop(), DONE)
    house.leave(visits.pop(), DONE)
    visits.append(house.enter(5000))  # what it holds itself does not count
    with pytest.raises(OverloadedError, match="8 requests"):
        house.enter(1)
    house.leave(visits.pop(0), DONE)
    house.enter(1)  # a few may be there whatever they weigh
    assert [type(event) for event in heard] == [
        *[Admitted] * 9, Refused, Done, Done, Admitted, Refused, Done, Admitted
    ]  # fmt: skip
    assert heard[-3] == Refused(size=1, requests=8, bytes=5070, retry_after=1)
    assert heard[-1] == Admitted(size=1, requests=8, bytes=5061)


@pytest.mark.parametrize("size", [1, 999])
def test_small_and_large_are_let_in_by_the_same_rule(size: int) -> None:
    house = admission([], Clock(), requests=100, most=100)
    for _ in range(FEW):
        house.enter(12)
    house.enter(size)
    while size == 1 and len(house) < FEW + 4:  # until there are 100 bytes
        house.enter(size)
    with pytest.raises(OverloadedError):
        house.enter(size)


def test_who_is_refused_hears_when_the_house_will_be_empty() -> None:
    clock = Clock()
    house = admission([], clock, requests=FEW + 1)
    for _ in range(20):  # 100 bytes in 2 seconds, 50 a second
        visit = house.enter(100)
        house.start(visit)
        clock.now += 2
        house.leave(visit, DONE)
        clock.now += 7  # nobody is there: that does not count
    house.enter(1012)
    for _ in range(FEW - 1):
        house.enter(1)
    with pytest.raises(OverloadedError) as refused:
        house.enter(1)
    assert refused.value.retry_after == 21  # 1019 / 50, a whole number above
    slow = admission([], clock, requests=1)
    visit = slow.enter(1)
    slow.start(visit)
    clock.now += 1000
    slow.leave(visit, DONE)
    slow.enter(10)
    with pytest.raises(OverloadedError) as refused:
        slow.enter(1)
    assert refused.value.retry_after == 60  # no longer than that


def test_times_are_told() -> None:
    heard: list[Event] = []
    clock = Clock()
    house = admission(heard, clock)
    visit = house.enter(7)
    clock.now += 1
    house.start(visit)
    clock.now += 2
    house.leave(visit, FAILED)
    assert heard[-1] == Done(7, requests=0, bytes=0, waited=1.0, total=3.0, outcome=FAILED)


def test_who_comes_to_a_full_house_is_told_to_come_again(serve_gated: Serve) -> None:
    service, client = serve_gated(max_queue=2)
    with ThreadPoolExecutor(2) as pool:
        admitted = [pool.submit(client.post, "/align", json=PAIR)]
        assert service.gate.reached.wait(PATIENCE)
        many = {"pairs": [PAIR] * 20}
        admitted.append(pool.submit(client.post, "/align", json=many))
        _until(lambda: len(service.of(Admitted)) == 2)
        for path, body in (
            ("/align", PAIR),
            ("/align", many),
            ("/v1/embeddings", {"input": ["a"]}),
            ("/v1/mine", {"source": ["a"], "target": ["a"]}),
        ):
            refused = client.post(path, json=body)
            assert refused.status_code == 429
            assert refused.headers["content-type"] == "application/problem+json"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            problem = refused.json()
            assert problem["type"] == "/problems/overloaded"
            assert problem["detail"].startswith("2 requests (")
        assert client.get("/health").status_code == 200
        service.gate.open.set()
        assert [one.result(PATIENCE).status_code for one in admitted] == [200, 200]
    assert len(service.of(Refused)) == 4
    assert client.post("/align", json=PAIR).status_code == 200
    assert [done.outcome for done in service.of(Done)] == [DONE] * 3


def test_who_is_refused_is_so_before_the_body_is_read(serve_gated: Serve) -> None:
    service, client = serve_gated(max_queue=1)

    async def read() -> Any:
        raise AssertionError("the body was asked for")

    with ThreadPoolExecutor(1) as pool:
        admitted = pool.submit(client.post, "/align", json=PAIR)
        assert service.gate.reached.wait(PATIENCE)
        sent: list[Any] = []
        headers = [(b"content-length", b"70")]
        asyncio.run(service.app(scope_of("/align", headers), read, collect(sent)))
        assert sent[0]["status"] == 429
        assert service.of(Refused) == [Refused(70, 1, service.of(Admitted)[0].size, 1)]
        # What computes nothing is answered as ever, and what is wrong without a body is told so.
        assert client.get("/v1/indexes").status_code == 200
        assert client.post("/align", content="x").status_code == 415
        assert client.put("/align", json=PAIR).status_code == 405
        service.gate.open.set()
        assert admitted.result(PATIENCE).status_code == 200
    assert client.post("/align", content="[", headers=JSON).status_code == 400


def test_every_route_that_runs_a_model_says_so() -> None:
    functions = [
        route.endpoint
        for router in (*VERSIONED, *TWICE, *UNVERSIONED)
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    computing = {one for one in functions if "models.run(" in inspect.getsource(one)}
    assert len(computing) > 9
    assert computing == {one for one in functions if (demand_of(one) or OPEN).computes}


def test_refusals_have_a_pace() -> None:
    clock = Clock()
    pace = Pace(rate=4, longest=1, clock=clock)
    assert [pace.wait() for _ in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    clock.now += 0.5
    assert pace.wait() == 0.75  # a step after the last one
    clock.now += 5
    assert [pace.wait(), pace.wait()] == [0, 0.25]  # what was not used is not kept


def test_a_failed_request_leaves_the_house(serve_gated: Serve) -> None:
    service, client = serve_gated(max_queue=1)
    for _ in range(3):
        refused = client.post("/align", json={**PAIR, "layer": 99})
        assert refused.status_code == 422
    assert [done.outcome for done in service.of(Done)] == [FAILED] * 3


def scope_of(path: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> dict[str, Any]:
    """A POST of JSON, as a server hands it to an application."""
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "headers": headers, "server": ("localhost", 80), "client": ("::1", 1),
    }  # fmt: skip


def collect(sent: list[Any]) -> Send:
    """A ``send`` that keeps in ``sent`` what it is given."""

    async def send(message: Any) -> None:
        sent.append(message)

    return send


async def hang_up(service: Service, body: dict[str, Any], when: Callable[[], bool]) -> list[Any]:
    """Send a request and hang up as soon as ``when`` says; what was answered."""
    sent: list[Any] = []
    gone = asyncio.Event()
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    answering = asyncio.create_task(service.app(scope_of("/align"), receive, collect(sent)))
    await asyncio.to_thread(_until, when)
    gone.set()
    await asyncio.wait_for(answering, PATIENCE)
    return sent


def test_who_hangs_up_in_the_queue_frees_the_place(serve_gated: Serve) -> None:
    service, client = serve_gated(max_queue=2)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/align", json=PAIR)
        assert service.gate.reached.wait(PATIENCE)
        gatherer = next(iter(service.state.models._shared.values())).gatherer
        body = {"source": "a cat sleeps", "target": "eine katze"}
        sent = asyncio.run(hang_up(service, body, lambda: gatherer.waiting() == 2))
        assert sent[0]["status"] == 499
        assert [done.outcome for done in service.of(Done)] == [GONE]
        service.gate.open.set()
        assert first.result(PATIENCE).status_code == 200
    assert [batch.rows for batch in service.of(BatchDone)] == [2]


def test_who_hangs_up_before_having_a_thread_is_not_begun(serve_gated: Serve) -> None:
    service, client = serve_gated(threads=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/align", json=PAIR)
        assert service.gate.reached.wait(PATIENCE)
        sent = asyncio.run(hang_up(service, PAIR, lambda: len(service.of(Admitted)) == 2))
        assert sent[0]["status"] == 499
        (left,) = service.of(Done)
        assert (left.outcome, left.requests) == (GONE, 1)
        assert left.waited == left.total
        service.gate.open.set()
        assert first.result(PATIENCE).status_code == 200


def test_closing_waits_for_who_was_admitted(serve_gated: Serve) -> None:
    service, client = serve_gated()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/align", json=PAIR)
        assert service.gate.reached.wait(PATIENCE)
        assert client.portal is not None
        closing = client.portal.start_task_soon(service.state.models.close)
        assert not closing.done()
        service.gate.open.set()
        assert first.result(PATIENCE).status_code == 200
        closing.result(PATIENCE)


def test_a_listener_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    heard: list[Event] = []

    def fail(event: Event) -> None:
        raise ValueError("deaf")

    events.listeners += [fail, heard.append]
    events.emit(Admitted(1, 1, 1))
    assert heard == [Admitted(1, 1, 1)]
    assert "a listener failed at Admitted" in caplog.text


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({}, None),
    ],
)
def test_cores_are_those_that_the_control_group_grants(
    tmp_path: Path, files: dict[str, str], cores: int | None
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    unlimited = available_cores(tmp_path / "nothing")
    assert unlimited >= 1
    assert available_cores(tmp_path) == (unlimited if cores is None else cores)


def test_libraries_are_told_how_many_threads_unless_the_operator_has() -> None:
    environ = {"OMP_NUM_THREADS": "7"}
    limit_libraries(3, environ)
    assert environ == {
        "OMP_NUM_THREADS": "7",
        "MKL_NUM_THREADS": "3",
        "RAYON_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "1",
    }


def test_the_batch_must_hold_the_longest_sentence_before_the_service_is_ready(
    encoder: Encoder, tmp_path: Path
) -> None:
    service = Service(encoder, tmp_path, batch_pieces=63)
    with TestClient(service.app, base_url="http://localhost") as client:
        _until(lambda: service.state.failure is not None)
        refused = client.get("/ready")
        assert refused.status_code == 503
        assert "a batch of 63 pieces does not hold" in refused.json()["detail"]


def _until(is_so: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(PATIENCE * 100):
        if is_so():
            return
        tick.wait(0.01)
    raise AssertionError("it never came to that")
