"""All that a service keeps, in one file and back."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import make_url, text
from test_database import fresh_postgres
from test_text_index import HALVES, LETTERS, OTHER_HALVES

from bitext import __version__
from bitext.errors import BusyError
from retrieval.store.text_index import TextIndex
from service.access.tables import KeyRow
from service.backup.occupancy import shared
from service.backup.restoring import at_work
from service.backup.tables import dump
from service.database.engine import database_of, make_engine, url_of
from service.database.tables import now
from service.jobs.tables import InputRow, JobRow, UploadRow
from service.settings import Settings

Call = Callable[..., tuple[int, str, str]]


def job(id: str, state: str) -> JobRow:
    settings = {"text": "Grüße \u2028", "none": None}
    return JobRow(id=id, kind="mine", settings=settings, gpu=False, state=state, created=now())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with something of everything."""
    folder = tmp_path / "data"
    settings = Settings(data_dir=folder)
    (folder / "indexes").mkdir(parents=True)
    (folder / "snapshots" / "mine").mkdir(parents=True)
    index = TextIndex.create(folder / "indexes" / "mine", LETTERS)
    index.add(HALVES, language="de", encoder=LETTERS)
    index.snapshot(folder / "snapshots" / "mine" / "20261126T000000Z-00000000")
    index.add(OTHER_HALVES, language="fr", encoder=LETTERS)
    files = {
        "uploads/aa": "text",
        "jobs/1/out/pairs.tsv": "a\tb\n",
        "jobs/2/out/half": "is being written",
        "translation-models/en-de/model.bin": "weights",
        "uploads/.bb.tmp": "half of an upload",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "jobs/1/inputs").mkdir()
    (folder / "jobs/1/inputs/text").symlink_to(folder / "uploads/aa")
    database = database_of(settings)
    with database.write() as session:
        session.add(UploadRow(id="aa", name="x", bytes=4, sha256="0" * 64, created=now()))
        session.add_all([job("1", "done"), job("2", "running")])
        session.flush()
        session.add(InputRow(job="1", upload="aa"))
    database.close()
    return folder


def sentences(folder: Path) -> list[str]:
    return [found.text for found in TextIndex.load(folder / "indexes" / "mine").sentences()]


def rows(folder: Path) -> list[object]:
    database = database_of(Settings(data_dir=folder))
    with database.read() as session:
        found: list[object] = [
            (row.id, row.state, row.settings, row.created, row.progress)
            for row in session.query(JobRow).order_by(JobRow.id)
        ]
        found += [(row.job, row.upload) for row in session.query(InputRow)]
    database.close()
    return found


def visible(folder: Path) -> set[str]:
    """The files of a data folder that are not inside an index or the database."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(("indexes", "bitext.db"))}


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of an empty database of PostgreSQL; without a server the test is skipped."""
    for url in fresh_postgres():
        yield url.render_as_string(hide_password=False)


def tables(settings: Settings, folder: Path) -> dict[str, list[str]]:
    """All rows of all tables, as a backup has them."""
    folder.mkdir()
    dump(url_of(settings), folder)
    return {path.name: sorted(path.read_text().splitlines()) for path in folder.iterdir()}


@pytest.fixture
def backup(data: Path, call: Call, tmp_path: Path) -> Path:
    file = tmp_path / "b.tar.zst"
    code, out, err = call("backup", "create", file, "--data-dir", data)
    assert (code, out.split("\t")[2]) == (0, f"{file}\n")
    assert err == "bitext backup create: job 2 is not done: without files\n"
    return file


def test_what_was_kept_comes_back(backup: Path, data: Path, call: Call, tmp_path: Path) -> None:
    code, out, _ = call("backup", "check", backup)
    assert (code, out.split("\t")[2]) == (0, __version__)
    other = tmp_path / "other"
    code, out, err = call("backup", "restore", backup, "--data-dir", other)
    assert (code, err) == (0, "")
    assert sentences(other) == sentences(data) == [*HALVES, *OTHER_HALVES]
    assert rows(other) == rows(data)
    gone = {"jobs/2/out/half", "uploads/.bb.tmp", "jobs/1/inputs/text"}
    assert visible(other) == visible(data) - gone
    assert (other / "translation-models/en-de/model.bin").read_text() == "weights"
    TextIndex.restore(
        other / "snapshots/mine/20261126T000000Z-00000000", tmp_path / "then"
    )  # all of it
    left = {path.name for folder in (data, other) for path in folder.iterdir()}
    assert not any(name.startswith(".") for name in left)


def test_a_backup_is_not_put_over_data_unless_told(backup: Path, data: Path, call: Call) -> None:
    (data / "uploads/new").write_text("since")
    index = TextIndex.load(data / "indexes/mine")
    index.delete(ids=[0, 1])
    code, _, err = call("backup", "restore", backup, "--data-dir", data)
    assert code == 2
    assert f"there are indexes already, in {data}/indexes (mine, …); --overwrite" in err
    assert (data / "uploads/new").exists()
    assert call("backup", "restore", backup, "--data-dir", data, "--overwrite")[0] == 0
    assert not (data / "uploads/new").exists()
    assert sentences(data) == [*HALVES, *OTHER_HALVES]
    assert len(rows(data)) == 3


def test_a_damaged_database_is_replaced(backup: Path, data: Path, call: Call) -> None:
    kept = rows(data)
    (data / "bitext.db").write_bytes(b"not a database" * 1000)
    assert call("backup", "restore", backup, "--data-dir", data, "--overwrite")[0] == 0
    assert rows(data) == kept


def test_a_damaged_backup_changes_nothing(
    backup: Path, data: Path, call: Call, tmp_path: Path
) -> None:
    whole = backup.read_bytes()
    rng = random.Random(1)
    places = [rng.randrange(len(whole)) for _ in range(30)]
    damaged = [whole[:place] for place in (0, 100, *places[:10])]
    for place in places:
        damaged.append(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    other = tmp_path / "other"
    for content in damaged:
        backup.write_bytes(content)
        code, out, err = call("backup", "restore", backup, "--data-dir", other)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert str(backup) in err
        assert list(other.iterdir()) == []
        assert call("backup", "check", backup)[0] == 2


def archive(*members: tuple[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as made:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return zstandard.compress(raw.getvalue())


HEAD = {"format": "bitext backup 1", "bitext": "1", "created": "now", "database": "none"}


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([("x", b"")], "is not a backup of bitext: it does not begin with backup.json"),
        ([("backup.json", b'{"format": "9"}')], "is of format '9', which this bitext does not kn"),
        ([("../x", b"")], "is not a backup: it holds '../x'"),
        ([("uploads/../../x", b"")], "is not a backup: it holds 'uploads/../../x'"),
        ([("/x/y", b"")], "is not a backup: it holds '/x/y'"),
        ([("uploads/x", b"1")], "is damaged: it ends before its checksums"),
        ([("uploads/x", b"1"), ("checksums.json", b"{}")], "is damaged: uploads/x is not what was"),
        ([("checksums.json", b"[1]")], "is damaged: checksums.json cannot be read"),
    ],
)
def test_what_is_no_backup_is_told(
    call: Call, tmp_path: Path, members: list[tuple[str, bytes]], sentence: str
) -> None:
    if members[0][0] not in ("x", "backup.json"):
        members = [("backup.json", json.dumps(HEAD).encode()), *members]
    file = tmp_path / "b"
    file.write_bytes(archive(*members))
    code, _, err = call("backup", "restore", file, "--data-dir", tmp_path / "deep" / "data")
    assert code == 2
    assert sentence in err
    assert list((tmp_path / "deep" / "data").iterdir()) == []
    assert not (tmp_path / "x").exists()


def test_a_backup_of_a_later_version_is_refused_before_anything_is_replaced(
    call: Call, tmp_path: Path
) -> None:
    head = {**HEAD, "database": "9999"}
    sums = b"{}"
    file = tmp_path / "b"
    file.write_bytes(archive(("backup.json", json.dumps(head).encode()), ("checksums.json", sums)))
    code, _, err = call("backup", "restore", file, "--data-dir", tmp_path / "data")
    assert code == 2
    assert "the tables have version 9999, which a later bitext has made" in err
    assert list((tmp_path / "data").iterdir()) == []


def test_nothing_is_restored_under_a_running_service(backup: Path, data: Path, call: Call) -> None:
    with at_work(Settings(data_dir=data)):
        code, _, err = call("backup", "restore", backup, "--data-dir", data, "--overwrite")
    assert (code, err) == (
        2,
        f"bitext backup restore: a service or worker is using {data}; stop it first\n",
    )


KILLED = """
import os, signal, sys

step, touches = int(sys.argv[1]), 0
TOUCHES = {"rename", "replace", "unlink", "rmdir", "mkdir", "sync", "fsync", "commit", "execute"}

def hook(frame, event, called):  # before each call of a function that is written in C
    global touches
    if event == "c_call" and called.__name__ in TOUCHES:
        touches += 1
        if touches == step:
            os.kill(os.getpid(), signal.SIGKILL)

from bitext.cli import main
import alembic.command, retrieval.store.text_index, service.backup.restoring, service.backup.tables
sys.setprofile(hook)
main(sys.argv[2:])
"""


@pytest.mark.parametrize("step", [5, 150, 240, 280, 303])
def test_a_killed_restore_is_all_or_nothing(
    backup: Path, data: Path, tmp_path: Path, step: int
) -> None:
    (data / "uploads/new").write_text("since")
    TextIndex.load(data / "indexes/mine").delete(ids=[0, 1])
    before = (len(sentences(data)), True)
    command = ("backup", "restore", str(backup), "--data-dir", str(data), "--overwrite")
    code = subprocess.run([sys.executable, "-c", KILLED, str(step), *command]).returncode
    assert code in (-signal.SIGKILL, 0)
    with at_work(Settings(data_dir=data)):  # as a service starts
        after = (len(sentences(data)), (data / "uploads/new").exists())
    assert after in (before, (len(HALVES) + len(OTHER_HALVES), False))
    assert len(rows(data)) == 3


def test_a_service_waits_until_a_backup_is_back(tmp_path: Path) -> None:
    from service.backup.occupancy import alone

    with alone(tmp_path), pytest.raises(BusyError, match="is being restored"), shared(tmp_path):
        raise AssertionError
    with shared(tmp_path), shared(tmp_path):  # service and worker
        pass


def test_a_damaged_index_is_named(data: Path, call: Call, tmp_path: Path) -> None:
    vectors = next((data / "indexes/mine").glob("vectors-*"))
    os.truncate(vectors, 8)
    code, out, err = call("backup", "create", tmp_path / "b", "--data-dir", data)
    assert (code, out) == (2, "")
    assert f"{vectors} is truncated" in err
    assert not (tmp_path / "b").exists()
    assert not list(data.glob(".*"))


def test_what_a_killed_backup_left_is_swept(backup: Path, data: Path, call: Call) -> None:
    (data / ".backup.0123abcd.tmp" / "0").mkdir(parents=True)
    assert call("backup", "create", backup, "--data-dir", data)[0] == 0
    assert not list(data.glob(".*"))


def test_there_must_be_data(call: Call, tmp_path: Path) -> None:
    code, _, err = call("backup", "create", tmp_path / "b", "--data-dir", tmp_path / "none")
    assert (code, err) == (2, f"bitext backup create: there is no data folder {tmp_path}/none\n")


def test_a_pipe_will_do(data: Path, tmp_path: Path) -> None:
    there = ["--data-dir", str(data)]
    bitext = [sys.executable, "-m", "bitext", "backup"]
    made = subprocess.run([*bitext, "create", "-", *there], capture_output=True, check=True)
    assert made.stderr.decode().splitlines()[-1].endswith("\t-")
    other = ["--data-dir", str(tmp_path / "other")]
    subprocess.run([*bitext, "restore", "-", *other], input=made.stdout, check=True)
    assert rows(tmp_path / "other") == rows(data)


def test_a_backup_goes_from_sqlite_to_postgresql_and_back(
    data: Path, postgres: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = database_of(Settings(data_dir=data))
    with database.write() as session:
        every = job("3", "failed")
        every.name, every.error, every.gpu = "Grüße 😀 \u2028 \\ % \t", "'\n\";--", True
        every.settings = {"b": [1e-9, None, True], "a": "\0 \ud800"}
        every.progress = {"done": 2**60, "total": None}
        every.started = every.finished = every.lease = now()
        session.add(every)
        session.add(KeyRow(id="k", name="n", scope="read", digest=bytes(range(32)), created=now()))
    database.close()
    kept = tables(Settings(data_dir=data), tmp_path / "kept")
    assert len(kept) == 4
    first, second, other, third = (tmp_path / name for name in ("1", "2", "other", "third"))
    assert call("backup", "create", first, "--data-dir", data)[0] == 0
    with monkeypatch.context() as there:
        there.setenv("BITEXT_DATABASE", postgres)
        assert call("backup", "restore", first, "--data-dir", other)[0] == 0
        assert not (other / "bitext.db").exists()
        settings = Settings(data_dir=other, database=postgres)
        assert tables(settings, tmp_path / "moved") == kept
        code, _, err = call("backup", "restore", first, "--data-dir", tmp_path / "new")
        assert (code, "the database has rows already" in err) == (2, True)
        assert call("backup", "restore", first, "--data-dir", other, "--overwrite")[0] == 0
        assert call("database", "status", "--data-dir", other)[0] == 0
        assert call("backup", "create", second, "--data-dir", other)[0] == 0
    assert call("backup", "restore", second, "--data-dir", third)[0] == 0
    assert tables(Settings(data_dir=third), tmp_path / "back") == kept
    assert sentences(third) == sentences(other) == sentences(data)
    assert visible(third) == visible(other)


def test_tables_of_others_are_left_alone(
    backup: Path, postgres: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(make_url(postgres))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders AS SELECT 7 AS number"))
    monkeypatch.setenv("BITEXT_DATABASE", postgres)
    for more in ((), ("--overwrite",)):
        assert call("backup", "restore", backup, "--data-dir", tmp_path / "other", *more)[0] == 0
    with engine.begin() as connection:
        assert connection.execute(text("SELECT number FROM orders")).scalar() == 7
    engine.dispose()
    settings = Settings(data_dir=tmp_path / "other", database=postgres)
    assert "orders.jsonl" not in tables(settings, tmp_path / "dumped")
