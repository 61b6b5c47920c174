"""The database: its URL, its transactions, and the steps from any version to this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from bitext.errors import InputError
from service.database import upgrading
from service.database.engine import Database, make_engine, url_of
from service.database.tables import all_tables, now
from service.errors import DatabaseError
from service.jobs.tables import InputRow, UploadRow
from service.settings import Settings

STEPS = sorted(
    step.revision
    for step in ScriptDirectory(
        str(Path(upgrading.__file__).parent / "migrations")
    ).walk_revisions()
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """An empty database; PostgreSQL where BITEXT_TEST_POSTGRES names a server."""
    if request.param == "sqlite":
        yield make_url(f"sqlite:///{tmp_path}/bitext.db")
        return
    yield from fresh_postgres()


def fresh_postgres() -> Iterator[URL]:
    """A database of the server that BITEXT_TEST_POSTGRES names, removed afterwards."""
    server = os.environ.get("BITEXT_TEST_POSTGRES")
    if not server:
        pytest.skip("BITEXT_TEST_POSTGRES names no server")
    base = make_url(server).set(drivername="postgresql+psycopg")
    name = f"bitext_{os.getpid()}_{os.urandom(3).hex()}"
    engine = create_engine(base, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield base.set(database=name)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def test_the_steps_make_the_tables_that_are_declared(url: URL) -> None:
    before = upgrading.upgrade(url)
    assert before == (upgrading.NONE, STEPS[-1])
    assert upgrading.upgrade(url) == (STEPS[-1], STEPS[-1])
    engine = make_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, all_tables()) == []
    engine.dispose()


@pytest.mark.parametrize("version", STEPS)
def test_every_version_comes_to_the_last(url: URL, version: str) -> None:
    upgrading.upgrade(url, version)
    assert upgrading.versions(url).there == version
    assert upgrading.upgrade(url) == (version, STEPS[-1])
    assert upgrading.versions(url) == (STEPS[-1], STEPS[-1])


def test_processes_that_start_at_once_upgrade_once(url: URL) -> None:
    program = (
        "import sys; from sqlalchemy import make_url; from service.database import upgrading; "
        "print(upgrading.upgrade(make_url(sys.argv[1])).there)"
    )
    written = url.render_as_string(hide_password=False)
    started = [
        subprocess.Popen([sys.executable, "-c", program, written], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    said = sorted(process.communicate()[0].decode().strip() for process in started)
    assert [process.returncode for process in started] == [0, 0, 0]
    assert said == [STEPS[-1], STEPS[-1], upgrading.NONE]


def test_a_step_that_fails_leaves_the_database_as_it_was(url: URL) -> None:
    """The tables of the first step are there already, made by somebody else."""
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE job_uploads (job INTEGER)"))
    with pytest.raises(DatabaseError, match="job_uploads"):
        upgrading.upgrade(url)
    assert inspect(engine).get_table_names() == ["job_uploads"]
    engine.dispose()


def test_a_later_version_is_refused(url: URL) -> None:
    upgrading.upgrade(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(DatabaseError, match="version 9999, which a later bitext has made"):
        Database(url).open()


def test_a_transaction_that_fails_leaves_nothing(url: URL) -> None:
    database = Database(url)
    row = UploadRow(id="a", name="a.txt", bytes=1, sha256="0", created=now())
    with pytest.raises(ZeroDivisionError), database.write() as session:
        session.add(row)
        session.flush()
        1 / 0  # noqa: B018
    with database.read() as session:
        assert session.get(UploadRow, "a") is None
    database.close()


def test_what_a_row_refers_to_must_be_there(url: URL) -> None:
    database = Database(url)
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(InputRow(job="none", upload="none"))
    database.close()


def test_a_moment_comes_back_exactly(url: URL) -> None:
    database, moment = Database(url), now()
    with database.write() as session:
        session.add(UploadRow(id="a", name="a.txt", bytes=1, sha256="0", created=moment))
    with database.read() as session:
        found = session.get(UploadRow, "a")
        assert found is not None
        assert found.created == moment
    database.close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "sqlite:////data/bitext.db"),
        ("sqlite:////elsewhere/x.db", "sqlite:////elsewhere/x.db"),
        ("postgresql://me:secret@host/name", "postgresql+psycopg://me:secret@host/name"),
        ("postgres://host/name", "postgresql+psycopg://host/name"),
    ],
)
def test_where_the_database_is(given: str | None, expected: str) -> None:
    url = url_of(Settings(data_dir=Path("/data"), database=given))
    assert url.render_as_string(hide_password=False) == expected


def test_the_password_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    settings = Settings(database="postgresql://me@host/name", database_password_file=file)
    with pytest.raises(InputError, match=f"PASSWORD_FILE, {file}: No such file"):
        url_of(settings)
    file.write_text("\n")
    with pytest.raises(InputError, match=f"PASSWORD_FILE, {file}, is empty"):
        url_of(settings)
    file.write_text("p@ss/word\n")
    assert url_of(settings).password == "p@ss/word"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("my.db", "BITEXT_DATABASE is not a URL"),
        ("sqlite://", "names no file"),
        ("mysql://me:secret@host/name", "of kind 'mysql'"),
    ],
)
def test_another_url_is_refused_without_its_password(given: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        url_of(Settings(database=given))
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(DatabaseError, match="me:[*]+@127.0.0.1:1/name: connection") as refused:
        Database(make_url("postgresql+psycopg://me:secret@127.0.0.1:1/name")).open()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("query", "idle"), [("", 10), ("?keepalives_idle=3", "3")])
def test_a_server_that_falls_silent_is_given_up_in_time(query: str, idle: object) -> None:
    engine = make_engine(make_url(f"postgresql+psycopg://me@host/name{query}"))
    told: list[dict[str, object]] = []

    @event.listens_for(engine, "do_connect")
    def connect(dialect: object, record: object, arguments: object, how: dict[str, object]) -> None:
        told.append(how)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        engine.connect()
    assert (
        told[0].items()
        >= {
            "tcp_user_timeout": 20_000,
            "keepalives_idle": idle,
            "client_encoding": "utf8",
        }.items()
    )


def test_the_commands(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    there = ("--data-dir", tmp_path / "new")
    assert call("database", "status", *there)[:2] == (1, f"none\t{STEPS[-1]}\n")
    assert not (tmp_path / "new").exists()
    assert call("database", "upgrade", *there)[:2] == (0, f"none\t{STEPS[-1]}\n")
    assert call("database", "status", *there)[:2] == (0, f"{STEPS[-1]}\t{STEPS[-1]}\n")
