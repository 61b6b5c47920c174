"""``examples/client.py`` against a live service, and against one that is too busy."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import listening

from encoders.encoder import Encoder
from encoders.registry import ModelRegistry
from service.settings import Settings

FILE = Path(__file__).parents[1] / "examples" / "client.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bitext_client", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bitext_client"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def service(
    tiny_model: Path,
    tiny_translator: Path,
    registry: ModelRegistry,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of a service that runs in a thread."""
    settings = Settings(
        model=str(tiny_model),
        translation_models={"en-de": str(tiny_translator)},
        data_dir=tmp_path_factory.mktemp("client"),
        sample=False,
    )
    with listening(settings, registry) as address:
        yield address


def test_every_method_is_answered(example: ModuleType, service: str, encoder: Encoder) -> None:
    client = example.BitextClient(service)
    aligned = client.align("the house", ["das", "haus"], method="argmax")
    assert aligned["source_words"] == ["the", "house"]
    assert all(0 <= link["score"] <= 1 for link in aligned["links"])
    assert len(client.align_pairs([("a", "b"), ("c", "d")])) == 2
    [carried] = client.project("cat", "katze", [{"start": 0, "end": 3, "label": "X"}])
    assert (carried["label"], carried["target"]["text"]) == ("X", "katze")
    assert len(client.translate(["the house", "a cat"], beam_size=1, max_length=5)) == 2
    [vector] = client.embed(["the house"])
    assert vector == pytest.approx(encoder.sentences(["the house"])[0].tolist(), abs=1e-6)
    assert client.mine(["the house"], ["the house"])[0][:2] == (0, 0)
    assert client.make_index("greetings")["name"] == "greetings"
    assert client.add("greetings", ["das haus", {"text": "die katze"}], language="de") == [0, 1]
    [[hit]] = client.retrieve("greetings", ["das haus"], k=1)
    assert (hit["text"], hit["language"]) == ("das haus", "de")
    client.delete_index("greetings")


def test_a_refusal_is_the_services_own_sentence(example: ModuleType, service: str) -> None:
    client = example.BitextClient(service)
    with pytest.raises(example.Refusal, match="^unknown method 'x'; choose one of") as refusal:
        client.align("a", "b", method="x")
    assert refusal.value.status == 422
    assert refusal.value.problem["type"] == "/problems/unknown-name"
    with pytest.raises(example.Refusal, match="there is no index 'nobody'"):
        client.retrieve("nobody", ["a"])


def test_the_tour_runs(
    example: ModuleType,
    service: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BITEXT_SERVICE", service)
    example.main()
    out = capsys.readouterr().out
    assert "BUILDING\t" in out
    assert len(out.splitlines()) >= 3


@contextmanager
def answering(answers: list[tuple[int, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """The address of a server that gives these answers in turn, and the requests it got."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"] or 0)
            self.rfile.read(length)
            got.append((self.path, self.headers.get("Authorization")))
            status, body = answers.pop(0)
            self.send_response(status)
            if status in (429, 503):
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_GET = do_POST

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


BUSY = (429, {"detail": "too many requests"})


def test_a_busy_service_is_asked_again(example: ModuleType) -> None:
    aligned = {"source_words": ["a"], "target_words": ["b"], "links": []}
    with answering([BUSY, BUSY, (200, {"alignments": [aligned]})]) as (address, got):
        client = example.BitextClient(f"{address}/", key="bt_secret")
        assert client.align("a", "b") == aligned
    assert got == [("/v1/align", "Bearer bt_secret")] * 3


def test_patience_ends(example: ModuleType) -> None:
    with answering([BUSY] * 3) as (address, got):
        client = example.BitextClient(address, tries=2)
        with pytest.raises(example.Refusal, match="too many requests"):
            client.align("a", "b")
    assert got == [("/v1/align", None)] * 2


def test_jobs_are_submitted_awaited_and_paged(example: ModuleType) -> None:
    """As the contract of /v1/jobs has them."""
    answers = [
        (201, {"id": "j1"}),
        (200, {"id": "j1", "state": "running"}),
        (200, {"id": "j1", "state": "done"}),
        (200, {"jobs": [{"id": "j1"}], "next": "j1"}),
        (200, {"jobs": [{"id": "j0"}], "next": None}),
        (200, {"id": "j1"}),
    ]
    with answering(answers) as (address, got):
        client = example.BitextClient(address)
        assert client.submit("mine", {"source": "input:a"}, name="first") == "j1"
        assert client.wait("j1", every=0)["state"] == "done"
        assert [job["id"] for job in client.jobs(state="done")] == ["j1", "j0"]
        client.cancel("j1")
    assert [path for path, _ in got] == [
        "/v1/jobs",
        "/v1/jobs/j1",
        "/v1/jobs/j1",
        "/v1/jobs?state=done",
        "/v1/jobs?state=done&after=j1",
        "/v1/jobs/j1/cancel",
    ]
