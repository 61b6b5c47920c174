"""Jobs and uploads over HTTP: what is answered, and what is refused."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import socket
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
import zstandard
from conftest import Serve
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, SessionTransaction
from starlette.testclient import TestClient
from test_service_errors import problem

import bitext
from bitext.errors import TooLargeError
from encoders.registry import ModelRegistry
from service.app import create_app
from service.database.engine import Database, url_of
from service.errors import DatabaseError
from service.jobs.following import Place, follow
from service.jobs.kinds import plan
from service.jobs.queueing import Claim, Queue
from service.jobs.tables import UploadRow
from service.jobs.work import Work
from service.settings import Settings
from service.uploads import Uploads

MOST = 100_000
MINE: dict[str, Any] = {
    "kind": "mine",
    "settings": {"source": "input:en.txt", "target": "input:de.txt"},
}


@pytest.fixture
def settings(tmp_path: Path, tiny_model: Path) -> Settings:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for name in ("en.txt", "de.txt"):
        (inputs / name).write_text("a\nb\n")
    return Settings(
        model=str(tiny_model), data_dir=tmp_path / "data", input_dir=inputs, sample=False,
        max_upload_bytes=MOST, max_uploads_bytes=2 * MOST, max_jobs=5, max_body_bytes=2000,
    )  # fmt: skip


@pytest.fixture
def client(settings: Settings, registry: ModelRegistry) -> Iterator[TestClient]:
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def queue(settings: Settings) -> Queue:
    """As a worker sees it."""
    return Queue(Database(url_of(settings)))


def submit(client: TestClient, **more: Any) -> dict[str, Any]:
    response = client.post("/v1/jobs", json={**MINE, **more})
    assert response.status_code == 201, response.text
    job: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    return job


def work(queue: Queue, settings: Settings, state: str, error: str | None = None) -> str:
    """Be a worker who ends the next job at once, with a line in its log; its id."""
    row = queue.claim("w", gpu=True, others=True)
    assert row is not None
    folder = settings.jobs / row.id
    (folder / "out").mkdir(parents=True)
    (folder / "log.txt").write_text("one\ntwo\n")
    claim = Claim(row.id, "w", row.attempts)
    queue.renew(claim, {"done": 1, "total": 2, "unit": "sentences", "stage": "x", "rate": 0.5,
                        "eta_seconds": 2.0})  # fmt: skip
    queue.end(claim, state, error)
    return row.id


def test_a_job_is_kept_and_shown(client: TestClient) -> None:
    job = submit(client, name="Ours")
    created = job.pop("created")
    assert created.endswith("+00:00")
    assert job == {
        "id": job["id"], "kind": "mine", "name": "Ours", "state": "queued", "started": None,
        "finished": None, "attempts": 0, "progress": None, "error": None,
        "settings": MINE["settings"], "artefacts": [],
    }  # fmt: skip
    assert client.get(f"/v1/jobs/{job['id']}").json() == {**job, "created": created}


def test_a_job_that_was_done_shows_what_it_left(
    client: TestClient, queue: Queue, settings: Settings
) -> None:
    submit(client)
    id = work(queue, settings, "done")
    (settings.jobs / id / "out/mined.tsv").write_text("1.0\ta\tb\n")
    job = client.get(f"/v1/jobs/{id}").json()
    assert (job["state"], job["attempts"], job["error"]) == ("done", 1, None)
    assert job["progress"] == {
        "done": 1, "total": 2, "unit": "sentences", "rate": 0.5, "eta_seconds": 2.0, "stage": "x",
    }  # fmt: skip
    assert job["artefacts"] == [{"name": "mined.tsv", "bytes": 8}, {"name": "log.txt", "bytes": 8}]
    got = client.get(f"/v1/jobs/{id}/artefacts/mined.tsv")
    assert got.text == "1.0\ta\tb\n"
    assert got.headers["content-disposition"] == f'attachment; filename="{id}-mined.tsv"'
    assert client.get(f"/v1/jobs/{id}/log").json() == {"lines": ["one", "two"], "next": 8}
    assert client.get(f"/v1/jobs/{id}/log?after=4").json() == {"lines": ["two"], "next": 8}
    assert client.get(f"/v1/jobs/{id}/measurements").json() == {"series": []}


def test_a_model_is_downloaded_as_an_archive(
    client: TestClient, queue: Queue, settings: Settings
) -> None:
    data = {"source_lang": "en", "target_lang": "de", "corpora": [{"source": "input:en.txt",
            "target": "input:de.txt"}]}  # fmt: skip
    submit(client, kind="train", settings={"data": data, "stages": [{"steps": 1}]})
    id = work(queue, settings, "done")
    model = settings.jobs / id / "out/model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "initialization.json").write_text(f'{{"model": "{settings.jobs}/0/out/model"}}')
    (model / "model.safetensors").write_bytes(b"\xff" * 10)
    got = client.get(f"/v1/jobs/{id}/artefacts/model")
    assert got.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
        assert archive.testzip() is None
        assert archive.read("model/config.json") == b"{}"
        assert archive.read("model/initialization.json") == b'{"model": "job:0/out/model"}'
        assert archive.read("model/model.safetensors") == b"\xff" * 10
    run = settings.jobs / id / "out/run"
    run.mkdir()
    (run / "log.jsonl").write_text('{"stage": "train", "step": 1, "loss": 2.5}\n')
    series = client.get(f"/v1/jobs/{id}/measurements").json()["series"]
    assert series == [{"stage": "train", "step": 1, "loss": 2.5}]
    # another job can go on from it
    submit(client, settings={**MINE["settings"], "model": f"job:{id}"})


def test_what_a_job_says_has_no_paths_of_the_server(
    client: TestClient, queue: Queue, settings: Settings
) -> None:
    upload = client.post("/v1/uploads?name=my%20file.txt", content=b"a\nb\n").json()["id"]
    submit(client, settings={"source": f"upload:{upload}", "target": "input:de.txt"})
    id = work(queue, settings, "failed", f"{settings.jobs}/0/x is no model")
    folder = settings.jobs / id
    plan("mine", client.get(f"/v1/jobs/{id}").json()["settings"],
         Work(settings, lambda _: UploadRow(name="my file.txt"), folder))  # fmt: skip
    said = {
        f"bitext mine --output={folder}/out -- {folder}/inputs/1/my_file.txt": (
            f"bitext mine --output=job:{id}/out -- upload:{upload}"
        ),
        f"cannot read '{folder}/inputs/2/de.txt', line 1": "cannot read 'input:de.txt', line 1",
        f"cannot write {settings.data_dir}: full": "cannot write data: full",
        f"{settings.model}/x and {settings.data_dir}2": f"{settings.model}/x and ",
        f'  File "{torch.__file__}", line 5': '  File "torch/__init__.py", line 5',
        f'  File "{json.__file__}", line 5': '  File "json/__init__.py", line 5',
        f'  File "{bitext.__file__}", line 5': '  File "bitext/__init__.py", line 5',
        '  File "/opt/venv/lib/python3.12/site-packages/a/b.py"': '  File "a/b.py"',
        "1/2 of /v1/jobs and https://a.example/tmp": "1/2 of /v1/jobs and https://a.example/tmp",
    }
    (folder / "log.txt").write_text("".join(f"{line}\n" for line in said))
    (folder / "config.json").write_text(f'{{"model": "{settings.jobs}/0/out/model"}}')
    told = client.get(f"/v1/jobs/{id}/log").json()["lines"]
    for line, expected in zip(told, said.values(), strict=True):
        assert line.startswith(expected)
    assert client.get(f"/v1/jobs/{id}/artefacts/log.txt").text.splitlines() == told
    streamed = events(client, id)
    assert [data["lines"] for name, data, _ in streamed if name == "log"] == [told]
    assert client.get(f"/v1/jobs/{id}").json()["error"] == "job:0/x is no model"
    assert str(settings.data_dir) in (folder / "log.txt").read_text()  # which is the operator's


def test_jobs_are_listed_page_by_page(client: TestClient, queue: Queue, settings: Settings) -> None:
    ids = [submit(client)["id"] for _ in range(3)]
    work(queue, settings, "failed", "de.txt is empty")
    page = client.get("/v1/jobs?limit=2").json()
    assert [job["id"] for job in page["jobs"]] == [ids[2], ids[1]]
    page = client.get(f"/v1/jobs?limit=2&after={page['next']}").json()
    assert [(job["id"], job["error"]) for job in page["jobs"]] == [(ids[0], "de.txt is empty")]
    assert page["next"] is None
    assert len(client.get("/v1/jobs?state=failed&kind=mine").json()["jobs"]) == 1
    assert client.get("/v1/jobs?kind=train").json() == {"jobs": [], "next": None}


def test_cancel_retry_and_remove(client: TestClient, queue: Queue, settings: Settings) -> None:
    id = submit(client)["id"]
    assert "cancel it first" in problem(client.delete(f"/v1/jobs/{id}"), 409)["detail"]
    assert client.post(f"/v1/jobs/{id}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{id}/retry").json()["state"] == "queued"
    assert "is queued" in problem(client.post(f"/v1/jobs/{id}/retry"), 409)["detail"]
    work(queue, settings, "done")
    assert "is done" in problem(client.post(f"/v1/jobs/{id}/cancel"), 409)["detail"]
    assert client.delete(f"/v1/jobs/{id}").status_code == 204
    assert list(settings.jobs.iterdir()) == []
    problem(client.get(f"/v1/jobs/{id}"), 404)


def test_a_job_is_not_retried_without_its_files(
    client: TestClient, queue: Queue, settings: Settings
) -> None:
    submit(client)
    id = work(queue, settings, "failed", "x")
    assert settings.input_dir is not None
    (settings.input_dir / "de.txt").unlink()
    assert "no file 'input:de.txt'" in problem(client.post(f"/v1/jobs/{id}/retry"), 422)["detail"]


@pytest.mark.parametrize("path", ["", "/log", "/measurements", "/events", "/artefacts/log.txt"])
@pytest.mark.parametrize("id", ["0123456789abcdef", "..%2f..", "a.b", "%00"])
def test_an_unknown_job_is_a_404(client: TestClient, id: str, path: str) -> None:
    assert client.get(f"/v1/jobs/{id}{path}").status_code == 404


def test_an_unknown_artefact_is_a_404(client: TestClient, queue: Queue, settings: Settings) -> None:
    submit(client)
    id = work(queue, settings, "done")
    for name in ("model", "..%2flog.txt", "lock", "%2e%2e"):
        assert client.get(f"/v1/jobs/{id}/artefacts/{name}").status_code == 404
    new = submit(client)["id"]
    answer = client.get(f"/v1/jobs/{new}/artefacts/log.txt")
    assert "left nothing yet" in problem(answer, 404)["detail"]


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ({"kind": "os"}, 422, "field 'kind': unknown kind 'os'; choose one of: adapt, index"),
        ({"kind": 3}, 422, "field 'kind'"),
        ({"settings": []}, 422, "field 'settings'"),
        ({"settings": {}}, 422, "field 'settings.source' is missing"),
        ({"name": ""}, 422, "field 'name'"),
        ({"name": "\0"}, 422, "is a NUL, not text"),
        ({"user": "me"}, 422, "unknown field 'user'"),
        ({"settings": {**MINE["settings"], "source": "input:../x"}}, 422, "no path below"),
        ({"settings": {**MINE["settings"], "source": f"input:{'x' * 900}"}}, 422, "no file"),
        ({"settings": {**MINE["settings"], "source": "upload:0"}}, 404, "no upload '0'"),
        ({"settings": {**MINE["settings"], "model": "job:../x"}}, 404, "has left no model"),
        ({"settings": {**MINE["settings"], "k": 2**63}}, 422, "field 'settings.k'"),
        ({"kind": "index", "settings": {"index": "x", "mode": "add", "file": "input:de.txt"}}, 404,
         "there is no index 'x'"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_job_is_refused(
    client: TestClient, change: dict[str, Any], status: int, detail: str
) -> None:
    response = client.post("/v1/jobs", json={**MINE, **change})
    assert detail in problem(response, status)["detail"]
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_numbers_without_an_end_and_deep_settings_are_refused(client: TestClient) -> None:
    deep = '{"a": ' * 220 + "1" + "}" * 220
    for value, detail in (("1e999", "finite"), ("NaN", "finite"), (deep, "field 'settings")):
        body = f'{{"kind": "train", "settings": {{"stages": [{value}]}}}}'
        response = client.post(
            "/v1/jobs", content=body, headers={"content-type": "application/json"}
        )
        assert detail in problem(response, 422)["detail"]


def test_there_are_only_so_many_jobs(client: TestClient) -> None:
    for _ in range(5):
        submit(client)
    assert "BITEXT_MAX_JOBS" in problem(client.post("/v1/jobs", json=MINE), 413)["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=9999", "limit=x", "state=x", "kind=x"])
def test_a_wrong_page_is_refused(client: TestClient, query: str) -> None:
    problem(client.get(f"/v1/jobs?{query}"), 422)


# --- following


def test_who_may_no_longer_follow_is_let_go(client: TestClient, settings: Settings) -> None:
    id = submit(client)["id"]  # which no worker takes, so that the stream has no end
    jobs = client.app.state.service.jobs  # type: ignore[attr-defined]

    async def follow_it(answers: Iterator[bool]) -> list[bytes]:
        async def may_stay() -> bool:
            for answer in answers:
                return answer
            raise DatabaseError("it does not answer")

        return [piece async for piece in follow(jobs, id, Place(), may_stay)]

    for answers in (iter([True, False]), iter([True])):
        first, second = asyncio.run(follow_it(answers))
        assert first == b"retry: 2000\n\n"
        assert b"event: job" in second


def events(client: TestClient, id: str, last: str | None = None) -> list[tuple[str, Any, str]]:
    """Name, data and id of every event until the stream ends."""
    headers = {} if last is None else {"Last-Event-ID": last}
    response = client.get(f"/v1/jobs/{id}/events", headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]), lines["id"]))
    return found


def test_a_job_is_followed_to_its_end(client: TestClient, queue: Queue, settings: Settings) -> None:
    submit(client)
    id = work(queue, settings, "done")
    run = settings.jobs / id / "out/run"
    run.mkdir()
    (run / "log.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    found = events(client, id)
    assert [name for name, _, _ in found] == ["log", "measurement", "job"]
    assert found[0][1] == {"lines": ["one", "two"], "next": 8}
    assert found[1][1] == {"step": 1, "loss": 2.5}
    assert found[2][1] == client.get(f"/v1/jobs/{id}").json()
    # whoever was cut off after the first goes on with the second
    assert events(client, id, found[0][2]) == found[1:]
    after = client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": found[2][2]})
    assert (after.status_code, after.content) == (204, b"")


def test_a_stream_goes_on_while_the_job_does(
    client: TestClient, queue: Queue, settings: Settings
) -> None:
    id = submit(client)["id"]
    claimed = threading.Timer(0.2, work, (queue, settings, "done"))
    claimed.start()
    found = events(client, id)
    claimed.join()
    states = [data["state"] for name, data, _ in found if name == "job"]
    assert states[0] == "queued"
    assert states[-1] == "done"
    assert [data["lines"] for name, data, _ in found if name == "log"] == [["one", "two"]]


@pytest.mark.parametrize(
    ("id", "place"),
    [("3.20.1", Place(3, 20, 1)), (None, Place()), ("", Place()), ("3.20", Place()),
     ("-1.0.0", Place()), ("x", Place()), ("9" * 30 + ".0.0", Place())],
)  # fmt: skip
def test_a_place_is_read_or_the_beginning(id: str | None, place: Place) -> None:
    assert Place.parse(id) == place
    assert Place.parse(str(place)) == place


# --- uploads


def upload(client: TestClient, data: bytes = b"a\nb\n", name: str = "x.txt") -> dict[str, Any]:
    response = client.post(f"/v1/uploads?name={name}", content=data)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def test_an_upload_is_kept_whole(client: TestClient, settings: Settings) -> None:
    data = bytes(range(256)) * 300  # more than a body of JSON may have
    made = upload(client, data, "corpus.tsv")
    assert made == {
        "id": made["id"], "name": "corpus.tsv", "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(), "created": made["created"],
    }  # fmt: skip
    assert (settings.uploads / made["id"]).read_bytes() == data
    assert client.get(f"/v1/uploads/{made['id']}").json() == made
    assert client.get("/v1/uploads").json() == {"uploads": [made]}
    assert client.delete(f"/v1/uploads/{made['id']}").status_code == 204
    assert list(settings.uploads.iterdir()) == []
    problem(client.get(f"/v1/uploads/{made['id']}"), 404)
    problem(client.delete(f"/v1/uploads/{made['id']}"), 404)


def test_an_upload_that_is_too_large_is_refused(client: TestClient, settings: Settings) -> None:
    for content in (bytes(MOST + 1), iter([bytes(MOST), b"x"])):  # its length said, and not
        response = client.post("/v1/uploads", content=content)
        assert "BITEXT_MAX_UPLOAD_BYTES" in problem(response, 413)["detail"]
    assert "empty" in problem(client.post("/v1/uploads", content=b""), 422)["detail"]
    assert list(settings.uploads.iterdir()) == []


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_a_packed_upload_counts_as_what_it_holds(
    client: TestClient, settings: Settings, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    made = upload(client, pack(bytes(MOST)), f"x.txt.{ending}")
    assert made["bytes"] < MOST / 10
    for content, status, detail in (
        (pack(bytes(MOST + 1)), 413, "holds more, unpacked, than the 100000 bytes"),
        (pack(b"a") + pack(bytes(MOST)), 413, "holds more, unpacked"),
        (pack(b"a\n" * 99)[:-3], 422, "cannot be unpacked"),
        (b"a\n", 422, "cannot be unpacked as its name says"),
    ):
        response = client.post(f"/v1/uploads?name=..%2F.{ending}", content=content)
        assert detail in problem(response, status)["detail"]
    assert [path.name for path in settings.uploads.iterdir()] == [made["id"]]


def test_all_uploads_together_have_a_limit(client: TestClient, settings: Settings) -> None:
    first = upload(client, bytes(MOST))
    upload(client, bytes(MOST))
    response = client.post("/v1/uploads", content=b"x")
    assert "BITEXT_MAX_UPLOADS_BYTES" in problem(response, 413)["detail"]
    client.delete(f"/v1/uploads/{first['id']}")
    upload(client, bytes(MOST))
    assert len(list(settings.uploads.iterdir())) == 2


def test_an_upload_that_a_job_reads_stays(
    client: TestClient, queue: Queue, settings: Settings
) -> None:
    id = upload(client)["id"]
    job = submit(client, settings={**MINE["settings"], "source": f"upload:{id}"})
    assert f"job {job['id']} reads" in problem(client.delete(f"/v1/uploads/{id}"), 409)["detail"]
    work(queue, settings, "failed", "x")
    assert client.delete(f"/v1/uploads/{id}").status_code == 204
    assert f"no upload '{id}'" in problem(client.post(f"/v1/jobs/{job['id']}/retry"), 404)["detail"]


@pytest.mark.parametrize("name", ["", "x" * 201, "%00"])
def test_an_upload_has_a_name_for_people(client: TestClient, name: str) -> None:
    problem(client.post(f"/v1/uploads?name={name}", content=b"x"), 422)


@pytest.mark.parametrize(
    ("origin", "kind", "status"),
    [
        (None, "application/x-www-form-urlencoded", 201),  # curl --data-binary
        ("http://localhost", "text/plain", 201),  # our own page
        ("http://evil.example", "text/plain", 403),
        ("null", "", 403),
    ],
)
def test_no_foreign_page_uploads(
    client: TestClient, origin: str | None, kind: str, status: int
) -> None:
    headers = {"Content-Type": kind, **({} if origin is None else {"Origin": origin})}
    assert client.post("/v1/uploads", content=b"x", headers=headers).status_code == status


def test_an_upload_that_cannot_be_kept_leaves_nothing(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("INSERT", {}, ValueError("locked"))

    assert client.post("/v1/uploads", content=b"x").status_code == 201
    with monkeypatch.context() as there:
        there.setattr(Session, "commit", fail)
        there.setattr(SessionTransaction, "commit", fail)
        problem(client.post("/v1/uploads", content=b"y"), 503)
    assert len(list(settings.uploads.iterdir())) == 1
    assert len(client.get("/v1/uploads").json()["uploads"]) == 1


def test_uploads_that_come_at_the_same_time_keep_to_the_limit(settings: Settings) -> None:
    uploads = Uploads(settings, Database(url_of(settings)))

    async def piecewise(going: asyncio.Event) -> AsyncIterator[bytes]:
        yield b"x"
        await going.wait()
        yield b"x" * (MOST - 1)

    async def together() -> list[Any]:
        going = [asyncio.Event() for _ in range(4)]
        coming = [asyncio.create_task(uploads.receive(piecewise(one), "x")) for one in going]
        await asyncio.sleep(0.1)
        found: list[Any] = []
        for one, task in zip(going, coming, strict=True):  # one after the other
            one.set()
            found += await asyncio.gather(task, return_exceptions=True)
        return found

    found = asyncio.run(together())
    assert [type(one) for one in found] == [UploadRow, UploadRow, TooLargeError, TooLargeError]
    assert len(list(settings.uploads.iterdir())) == 2


def test_an_upload_that_is_cut_off_leaves_nothing(
    settings: Settings, registry: ModelRegistry
) -> None:
    """Over a socket: half of what was announced comes, then the client is gone."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings, registry), log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with socket.create_connection(listener.getsockname()) as client:
            host = "Host: localhost\r\nContent-Length: 1000\r\n\r\n"
            client.sendall(f"POST /v1/uploads HTTP/1.1\r\n{host}".encode() + b"x" * 500)
            wait_for(lambda: settings.uploads.is_dir())
        wait_for(lambda: not list(settings.uploads.iterdir()))
        with Database(url_of(settings)).read() as session:
            from service.jobs.tables import UploadRow

            assert session.query(UploadRow).count() == 0
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def wait_for(condition: Any) -> None:
    done = threading.Event()
    for _ in range(1200):
        if condition():
            return
        done.wait(0.05)
    raise AssertionError("it never came")


def test_what_was_left_long_ago_is_removed(settings: Settings, serve: Serve) -> None:
    import os

    settings.uploads.mkdir(parents=True)
    for name, old in (("aa", True), (".bb.part", True), (".cc.part", False)):
        path = settings.uploads / name
        path.touch()
        if old:
            os.utime(path, (0, 0))
    with serve(data_dir=settings.data_dir) as client:
        wait_for(lambda: client.get("/ready").status_code == 200)
    assert [path.name for path in settings.uploads.iterdir()] == [".cc.part"]


def test_the_document_tells_what_an_event_is(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    told = paths["/v1/jobs/{id}/events"]["get"]["responses"]["200"]["content"]
    assert told["text/event-stream"]["itemSchema"]["required"] == ["event", "data", "id"]
