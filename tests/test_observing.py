"""Request ids, log lines without texts or keys, figures."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Serve
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from encoders.registry import ModelRegistry
from service.access import scopes
from service.access.spelling import new_key
from service.access.storing import make_key
from service.app import create_app
from service.batching.events import Admitted, BatchDone, CallDone, Done, Refused, Tokenised
from service.database.engine import database_of
from service.observing.logs import formatter
from service.observing.metrics import Metrics
from service.settings import Settings

SECRET = "Geheimnis"
PAIR = {"source": f"{SECRET} one", "target": f"two {SECRET}"}


# --- request ids


@pytest.mark.parametrize("given", ["abc-123", "4bf92f35", "a" * 128, "x:y/z=1@h.example"])
def test_a_sane_request_id_is_kept(serve: Serve, given: str) -> None:
    with serve() as client:
        answer = client.get("/health", headers={"x-request-id": given})
        assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, "a\tb", '"}', "é", None])
def test_another_one_is_made(serve: Serve, given: str | None) -> None:
    headers = {} if given is None else {b"x-request-id": given.encode("latin-1")}
    with serve() as client:
        made = {client.get("/health", headers=headers).headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in made)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/align", 405), ("POST", "/align", 415), ("GET", "/", 200)],
)
def test_every_answer_has_one(serve: Serve, method: str, path: str, status: int) -> None:
    with serve() as client:
        answer = client.request(
            method, path, content=b"x" if method == "POST" else None, headers={"x-request-id": "a"}
        )
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, "a")


# --- log lines


class Log(NamedTuple):
    written: StringIO

    @property
    def text(self) -> str:
        return self.written.getvalue()

    def lines(self, name: str = "service.observing.requests") -> list[dict[str, Any]]:
        """Those of one logger, of a log in JSON."""
        found = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in found if line["logger"] == name]


@pytest.fixture
def log_to() -> Iterator[Callable[..., Log]]:
    """What the whole process logs, as ``bitext serve`` would write it."""
    root = logging.getLogger()
    handlers: list[logging.Handler] = []
    before = root.level

    def log_to(style: str, *, texts: bool = False, level: int = logging.INFO) -> Log:
        written = StringIO()
        handler = logging.StreamHandler(written)
        handler.setFormatter(formatter(style, texts=texts))
        handler.addFilter(lambda record: not record.name.startswith("httpx"))  # the client's own
        handlers.append(handler)
        root.addHandler(handler)
        root.setLevel(level)
        return Log(written)

    yield log_to
    for handler in handlers:
        root.removeHandler(handler)
    root.setLevel(before)


def test_a_request_is_one_line_of_json(serve: Serve, log_to: Callable[..., Log]) -> None:
    with serve() as client:
        log = log_to("json")
        client.post("/v1/align", json=PAIR, headers={"x-request-id": "r1"})
    (line,) = log.lines()
    assert datetime.fromisoformat(line.pop("time").replace("Z", "+00:00")).tzinfo is not None
    seconds = line.pop("seconds")
    assert 0 < seconds < 60
    line.pop("pieces", None)  # once batching counts them
    assert line.pop("message").startswith("POST /v1/align 200 ")
    assert line == {
        "level": "info",
        "logger": "service.observing.requests",
        "request_id": "r1",
        "method": "POST",
        "route": "/v1/align",
        "status": 200,
    }


def test_a_request_is_one_line_of_text(serve: Serve, log_to: Callable[..., Log]) -> None:
    with serve() as client:
        log = log_to("text")
        client.get("/v1/indexes/nobody", headers={"x-request-id": "r2"})
    (line,) = [line for line in log.text.splitlines() if "observing" in line]
    assert re.fullmatch(
        r"\S+ \S+ INFO service.observing.requests: "
        r"GET /v1/indexes/\{name\} 404 \d+\.\d{3} s, request r2",
        line,
    )


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_line_has_a_text_a_name_or_a_key(
    serve: Serve, log_to: Callable[..., Log], style: str, tmp_path: Path
) -> None:
    key = make_key(database_of(Settings(data_dir=tmp_path)), "Ann", scopes.Scope.TRAIN)
    headers = {"authorization": f"Bearer {key}"}
    with serve(data_dir=tmp_path, keys="required") as client:
        log = log_to(style, level=logging.DEBUG)
        for body in (PAIR, {**PAIR, "method": SECRET}, {SECRET: 1}, [SECRET], {"source": SECRET}):
            client.post("/v1/align", json=body, headers=headers)
        client.post("/v1/align", content=f'{{"{SECRET}'.encode(), headers=headers)
        client.get(f"/v1/indexes/{SECRET}?x={SECRET}", headers=headers)
        client.get(f"/{SECRET}", headers=headers)
        client.request(SECRET, "/health")
        client.post("/v1/align", json=PAIR, headers={"authorization": f"Bearer {new_key()}"})
    assert log.text.count("observing.requests") == 10
    assert SECRET not in log.text
    assert key not in log.text
    assert "Bearer" not in log.text
    assert key.split("_")[1] in log.text  # its id is no secret


def test_texts_are_logged_if_asked_for(serve: Serve, log_to: Callable[..., Log]) -> None:
    with serve(log_texts=True) as client:
        log = log_to("json", texts=True)
        client.post("/v1/align", json=PAIR)
        client.post("/v1/align", json={"source": "x" * 5_000, "target": "b"})
    first, second = log.lines()
    assert json.loads(first["body"]) == PAIR
    assert len(second["body"]) == 1_000


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("texts", [False, True])
def test_a_fault_is_logged_with_its_frames_but_not_its_message(
    tiny_model: Path,
    registry: ModelRegistry,
    log_to: Callable[..., Log],
    style: str,
    texts: bool,
) -> None:
    app = create_app(Settings(model=str(tiny_model), sample=False), registry)

    @app.get("/broken")
    def broken() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"about {SECRET}") from error

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        """As uvicorn logs what comes out of an application."""
        try:
            await app(scope, receive, send)
        except Exception:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
            raise

    client = TestClient(server, base_url="http://localhost", raise_server_exceptions=False)
    log = log_to(style, texts=texts)
    answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"] in log.text
    for frame in ("Traceback", "in broken", "KeyError", "ValueError"):
        assert frame in log.text
    assert (SECRET in log.text) is texts


def test_a_group_of_faults_is_logged_without_messages() -> None:
    from service.observing.logs import _frames

    error: BaseException = ValueError(SECRET)
    error.__context__ = KeyError(SECRET)
    error.exceptions = [OSError(SECRET)]  # type: ignore[attr-defined]
    told = "".join(_frames(error))
    assert SECRET not in told
    assert all(name in told for name in ("ValueError", "KeyError", "OSError"))


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_key_is_struck_out_wherever_it_stands(log_to: Callable[..., Log], style: str) -> None:
    log = log_to(style)
    key = new_key()
    logging.getLogger("somewhere").warning("got '%s'", key)
    assert key not in log.text
    assert f"bt_{key.split('_')[1]}_…" in log.text


def test_probes_are_logged_in_detail_only(serve: Serve, log_to: Callable[..., Log]) -> None:
    with serve() as client:
        log = log_to("json")
        for path in ("/health", "/ready", "/metrics"):
            client.get(path)
    assert log.lines() == []


# --- figures


def figures(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return figures(text)[name, tuple(sorted(labels.items()))]


def test_requests_are_counted_by_route_and_status(serve: Serve) -> None:
    with serve() as client:
        for _ in range(3):
            client.post("/v1/align", json=PAIR)
        client.post("/v1/align", json={})
        client.get("/v1/indexes/a")
        client.get("/v1/indexes/b")
        client.get("/some/where")
        client.request("BREW", "/some/where/else")
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    text = answer.text

    def counted(method: str, route: str, status: int) -> float:
        return value(text, "bitext_requests_total", method=method, route=route, status=str(status))

    assert counted("POST", "/v1/align", 200) == 3
    assert counted("POST", "/v1/align", 422) == 1
    assert counted("GET", "/v1/indexes/{name}", 404) == 2
    assert counted("GET", "none", 404) == 1
    assert counted("other", "none", 404) == 1
    taken = {"method": "POST", "route": "/v1/align"}
    assert value(text, "bitext_request_duration_seconds_count", **taken) == 4
    assert value(text, "bitext_request_duration_seconds_bucket", le="+Inf", **taken) == 4
    assert value(text, "bitext_requests_in_progress") == 1  # the one that asks


def test_models_and_readiness_are_looked_up(
    tiny_model: Path, registry: ModelRegistry, serve: Serve
) -> None:
    encoder = registry.encoder(str(tiny_model))
    with serve() as client:
        client.post("/v1/align", json=PAIR)
        text = client.get("/metrics").text
    labels = {"model": encoder.name, "dtype": "float32", "device": "cpu"}
    (loaded,) = [one for one in registry.loaded() if one.name == encoder.name]
    assert value(text, "bitext_model_memory_bytes", **labels) == loaded.bytes > 0
    assert value(text, "bitext_ready") in (0, 1)
    assert value(text, "process_resident_memory_bytes") > 0
    assert value(text, "bitext_requests_refused_total", reason="queue") == 0


def test_what_batching_tells_is_counted() -> None:
    metrics = Metrics("1")
    for event in (
        Admitted(size=10, requests=1, bytes=10),
        Admitted(size=20, requests=2, bytes=30),
        Refused(size=5, requests=2, bytes=30, retry_after=3),
        Tokenised(model="m", texts=2, pieces=40, seconds=0.002),
        BatchDone(model="m", rows=3, pieces=40, padded=48, calls=2, seconds=0.02, waiting=7),
        BatchDone(model="m", rows=1, pieces=9, padded=9, calls=1, seconds=0.01, waiting=0),
        BatchDone(model="t", rows=5, pieces=30, padded=None, calls=1, seconds=0.5, waiting=0),
        CallDone(model="m", windows=2, pieces=40, waited=0.5, total=0.6, outcome="done"),
        Done(size=10, requests=1, bytes=20, waited=0.1, total=0.7, outcome="done"),
        Done(size=10, requests=0, bytes=0, waited=0.3, total=0.7, outcome="gone"),
    ):
        metrics.heard(event)
    text = metrics.text().decode()
    assert value(text, "bitext_requests_refused_total", reason="queue") == 1
    assert value(text, "bitext_queue_requests") == 0
    assert value(text, "bitext_queue_bytes") == 0
    assert value(text, "bitext_admitted_requests_total", outcome="gone") == 1
    assert value(text, "bitext_admission_duration_seconds_sum") == pytest.approx(0.4)
    assert value(text, "bitext_tokenise_duration_seconds_sum", model="m") == 0.002
    assert value(text, "bitext_forward_duration_seconds_count", model="m") == 2
    assert value(text, "bitext_queue_duration_seconds_sum", model="m") == 0.5
    assert value(text, "bitext_batch_windows_sum", model="m") == 4
    assert value(text, "bitext_batch_pieces_bucket", model="m", le="16.0") == 1
    assert value(text, "bitext_pieces_total", model="m") == 49
    assert value(text, "bitext_padding_pieces_total", model="m") == 8
    assert value(text, "bitext_queue_windows", model="m") == 0
    assert value(text, "bitext_pieces_total", model="t") == 30
    assert ("bitext_padding_pieces_total", (("model", "t"),)) not in figures(text)  # not known


def test_jobs_are_counted_and_a_database_that_is_away_is_a_figure() -> None:
    def broken() -> dict[str, int]:
        raise OSError("away")

    for counts, up in ((lambda: {"running": 1, "done": 3}, 1), (broken, 0)):
        metrics = Metrics("1")
        metrics.watch(models=list, ready=lambda: True, jobs=counts)
        text = metrics.text().decode()
        assert value(text, "bitext_database_up") == up
        assert ("bitext_jobs", (("state", "done"),)) in figures(text) or not up
    assert value(text, "bitext_ready") == 1


def test_names_follow_the_conventions() -> None:
    metrics = Metrics("1")
    metrics.watch(models=list, ready=lambda: True, jobs=dict)
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.documentation, family.name
        if not family.name.startswith("bitext_"):
            continue
        assert re.fullmatch("[a-z_]+", family.name)
        assert family.documentation.endswith("."), family.name
        for unit in ("_ms", "_milliseconds", "_kb", "_mb", "_percent"):
            assert not family.name.endswith(unit)
        if "duration" in family.name:
            assert family.name.endswith("_seconds")
            assert family.type == "histogram"
        for sample in family.samples:
            assert math.isfinite(sample.value)
            if family.type == "counter":
                assert sample.name.endswith("_total")
