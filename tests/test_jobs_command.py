"""``bitext jobs ...`` against a service that listens: what is printed, what each mistake says."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from conftest import listening
from test_client_example import answering
from test_service_jobs import work

from encoders.registry import ModelRegistry
from service.access.scopes import Scope
from service.access.storing import make_key
from service.database.engine import Database, database_of, url_of
from service.jobs import commands
from service.jobs.queueing import Claim, Queue
from service.settings import Settings

Call = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]

MOST = 100_000


class Service(NamedTuple):
    """A service that requires keys, as its operator sees it."""

    address: str
    settings: Settings
    train: str
    """A key to everything."""
    read: str
    """One that jobs do not open."""


@pytest.fixture(scope="module")
def service(
    tiny_model: Path, registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    settings = Settings(
        model=str(tiny_model), data_dir=tmp_path_factory.mktemp("jobs"), sample=False,
        keys="required", max_upload_bytes=MOST,
    )  # fmt: skip
    database = database_of(settings)
    train, read = (make_key(database, scope.value, scope) for scope in (Scope.TRAIN, Scope.READ))
    with listening(settings, registry) as address:
        yield Service(address, settings, train, read)


@pytest.fixture(autouse=True)
def environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commands find the service, and a key to it."""
    monkeypatch.setenv("BITEXT_SERVICE", service.address)
    monkeypatch.setenv("BITEXT_KEY", service.train)


@pytest.fixture
def queue(service: Service) -> Queue:
    """As a worker sees it."""
    return Queue(Database(url_of(service.settings)))


@pytest.fixture
def mine(write: Write) -> Path:
    """Settings of a job, whose files lie here."""
    source, target = write("en.txt", "a cat", "a dog"), write("de.txt", "eine katze", "ein hund")
    return write("mine.toml", f'source = "file:{source}"', f'target = "file:{target}"', "top = 5")


def submitted(call: Call, mine: Path, *more: object) -> str:
    code, out, err = call("jobs", "submit", "mine", mine, *more)
    assert (code, err) == (0, "")
    return out.strip()


def ended(call: Call, queue: Queue, service: Service, id: str, state: str) -> None:
    """Have a worker take the jobs that wait, up to ``id``, and end them."""
    while work(queue, service.settings, state, "no" if state == "failed" else None) != id:
        pass


def test_files_are_uploaded_and_the_job_is_there(call: Call, service: Service, mine: Path) -> None:
    id = submitted(call, mine, "--name", "Ours")
    code, out, err = call("jobs", "show", id)
    assert (code, err) == (0, "")
    job = json.loads(out)
    assert (job["id"], job["kind"], job["name"], job["state"]) == (id, "mine", "Ours", "queued")
    assert job["settings"]["top"] == 5
    uploaded = job["settings"]["source"].removeprefix("upload:")
    [kept] = [
        path for path in service.settings.uploads.rglob("*") if path.name.startswith(uploaded)
    ]
    assert kept.read_text() == "a cat\na dog\n"


def test_the_list_says_how_far_jobs_are(
    call: Call, queue: Queue, service: Service, mine: Path
) -> None:
    first = submitted(call, mine)
    ended(call, queue, service, first, "done")
    second = submitted(call, mine, "--name", "Ours")
    code, out, err = call("jobs", "list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [
        f"{second}\tmine\tqueued\t-\tOurs",
        f"{first}\tmine\tdone\t1/2 sentences\t-",
    ]
    _, out, _ = call("jobs", "list", "--state", "queued", "--kind", "mine", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [second]
    assert call("jobs", "list", "--kind", "train") == (0, "", "")


def test_the_list_has_all_pages(call: Call) -> None:
    job = {"kind": "train", "state": "done", "progress": None, "name": None}
    pages = [
        {"jobs": [{"id": "j2", **job}], "next": "j2"},
        {"jobs": [{"id": "j1", **job}], "next": None},
    ]
    with answering([(200, page) for page in pages]) as (address, got):
        code, out, _ = call(
            "jobs", "list", "--service", f"{address}/", "--key", "bt_x", "--kind", "train"
        )
    assert (code, [line.split("\t")[0] for line in out.splitlines()]) == (0, ["j2", "j1"])
    assert got == [
        ("/v1/jobs?kind=train", "Bearer bt_x"),
        ("/v1/jobs?kind=train&after=j2", "Bearer bt_x"),
    ]


def test_a_log_is_printed(call: Call, queue: Queue, service: Service, mine: Path) -> None:
    id = submitted(call, mine)
    assert call("jobs", "log", id) == (0, "", "")
    ended(call, queue, service, id, "done")
    assert call("jobs", "log", id, "--follow") == (0, "one\ntwo\n", "")


def test_a_log_is_followed_until_the_job_has_ended(
    call: Call, queue: Queue, service: Service, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = submitted(call, mine)
    row = queue.claim("w", gpu=True, others=True)
    while row is not None and row.id != id:
        row = queue.claim("w", gpu=True, others=True)
    assert row is not None
    folder = service.settings.jobs / id
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("one\nha")

    def go_on(seconds: float) -> None:
        """What happens while the command sleeps."""
        assert seconds == commands.LOOK
        (folder / "log.txt").write_text("one\nhalf\nlast")
        queue.end(Claim(id, "w", row.attempts), "done", None)

    monkeypatch.setattr(commands, "time", SimpleNamespace(sleep=go_on))
    assert call("jobs", "log", id, "--follow") == (0, "one\nhalf\nlast\n", "")


def test_a_job_is_cancelled_and_goes_on(call: Call, mine: Path) -> None:
    id = submitted(call, mine)
    assert call("jobs", "cancel", id) == (0, "cancelled\n", "")
    assert call("jobs", "retry", id) == (0, "queued\n", "")


# --- mistakes


def mistake(call: Call, *arguments: object) -> str:
    """The one sentence that a mistake is answered with."""
    code, out, err = call("jobs", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    name, colon, sentence = err.rstrip("\n").partition(": ")
    assert (name, colon) == (f"bitext jobs {arguments[0]}", ": ")
    return sentence


def test_a_key_that_is_wrong_is_told_with_where_to_give_it(call: Call) -> None:
    assert mistake(call, "list", "--key", "bt_x").endswith("(--key, or BITEXT_KEY)")


def test_a_job_that_is_refused_leaves_no_uploads(call: Call, service: Service, mine: Path) -> None:
    mine.write_text(mine.read_text().replace("top = 5", 'top = "x"'))
    before = set(service.settings.uploads.glob("*"))
    assert "field 'settings.top'" in mistake(call, "submit", "mine", mine)
    assert set(service.settings.uploads.glob("*")) == before


def test_no_service_there(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    told = mistake(call, "list", "--service", address)
    assert told == f"no service at {address}/v1: [Errno 111] Connection refused"
    told = mistake(call, "list", "--service", "localhost:8000")
    assert told == "--service 'localhost:8000' is no address such as http://127.0.0.1:8000"


def test_something_else_there(call: Call) -> None:
    with answering([(200, "hello"), (404, "hello")]) as (address, _):
        told = mistake(call, "show", "x", "--service", address)
        assert told == f"{address}/v1 did not answer as bitext does: it sent no JSON object"
        told = mistake(call, "show", "x", "--service", address)
        assert told == "the service answered 404 Not Found"


def test_no_key_a_wrong_one_and_one_of_too_small_a_scope(
    call: Call, service: Service, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "scope" in mistake(call, "submit", "mine", mine, "--key", service.read)
    assert call("jobs", "list", "--kind", "train", "--key", service.read) == (0, "", "")
    wrong = mistake(call, "list", "--key", "bt_wrong")
    monkeypatch.delenv("BITEXT_KEY")
    none = mistake(call, "list")
    assert "key" in wrong
    assert "Authorization: Bearer" in none


@pytest.mark.parametrize("what", ["show", "log", "cancel", "retry"])
def test_an_unknown_job(call: Call, what: str) -> None:
    assert "there is no job 'nobody'" in mistake(call, what, "nobody")
    assert "nothing at /v1/jobs/../uploads" in mistake(call, what, "../uploads")  # nor elsewhere


def test_files_that_are_not_there_or_are_none(call: Call, write: Write, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert mistake(call, "submit", "mine", nowhere) == f"{nowhere}: No such file or directory"
    torn = write("torn.toml", "source = ")
    assert mistake(call, "submit", "mine", torn).startswith(f"{torn}: neither TOML nor, as .json, ")
    for file, reason in ((nowhere, "No such file or directory"), (tmp_path, "Is a directory")):
        settings = write("mine.toml", f'source = "file:{file}"', 'target = "upload:x"')
        told = mistake(call, "submit", "mine", settings)
        assert told == f"cannot read {file}: {reason}"


def test_what_the_service_refuses_is_its_own_sentence(call: Call, write: Write, mine: Path) -> None:
    assert "'dig'" in mistake(call, "submit", "dig", mine)
    assert "'queued', 'running'" in mistake(call, "list", "--state", "asleep")
    told = mistake(call, "submit", "mine", write("other.json", '{"source": "upload:x"}'))
    assert "target" in told


def test_a_file_that_is_too_large(call: Call, write: Write) -> None:
    for size in (MOST + 1, 50 * MOST):
        file = write("large.txt", "x" * size)
        settings = write("mine.toml", f'source = "file:{file}"', f'target = "file:{file}"')
        told = mistake(call, "submit", "mine", settings)
        assert "BITEXT_MAX_UPLOAD_BYTES" in told
