"""Workers killed in the middle of real jobs: the next one goes on, and the result is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from sqlalchemy.exc import OperationalError

from service.database.engine import Database, database_of
from service.jobs import running
from service.jobs.kinds import Command, Plan
from service.jobs.queueing import Queue
from service.jobs.tables import ENDED, JobRow
from service.jobs.worker import Worker
from service.settings import Settings

SECONDS = 300.0
"""How long a test waits for what must happen, on a machine that is busy."""
TRAIN: dict[str, Any] = {
    "data": {"source_lang": "en", "target_lang": "de", "corpora": [{"file": "input:toy.tsv"}],
             "dev": [{"file": "input:toy.tsv"}]},
    "vocabulary": {"size": 330},
    "initialize": {"model": None},
    "model": {"dim": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1},
    "stages": [{"steps": 60, "batch_tokens": 100, "learning_rate": 0.01}],
    "validation": {"every": 20, "measure": "loss"},
    "checkpoint_steps": 5,
}  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path, toy_corpora: Path, tiny_model: Path) -> Settings:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    lines = (toy_corpora / "toy.en-de.tsv").read_text()
    (inputs / "toy.tsv").write_text(lines)
    for name, column in (("en.txt", 0), ("de.txt", 1)):
        rows = [line.split("\t")[column] for line in lines.splitlines()]
        (inputs / name).write_text("\n".join(rows) + "\n")
    return Settings(
        model=str(tiny_model), data_dir=tmp_path / "data", input_dir=inputs, worker_lease=3
    )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    made = database_of(settings)
    yield made
    made.close()


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Start ``bitext worker`` as a process of its own."""
    started: list[subprocess.Popen[bytes]] = []
    ours = {
        "BITEXT_DATA_DIR": str(settings.data_dir),
        "BITEXT_INPUT_DIR": str(settings.input_dir),
        "BITEXT_MODEL": settings.model,
        "BITEXT_WORKER_LEASE": "3",
        "OMP_NUM_THREADS": "1",
    }

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bitext", "worker", *options]
        process = subprocess.Popen(command, env={**os.environ, **ours}, stderr=subprocess.DEVNULL)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_training_goes_on_after_its_worker_was_killed(
    settings: Settings, queue: Queue, start: Start
) -> None:
    broken, whole = (queue.submit("train", TRAIN).id for _ in range(2))
    worker = start()
    folder = settings.jobs / broken
    wait_for(lambda: (folder / "out/run/checkpoint/place.json").is_file())
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert start("--until-idle").wait(SECONDS) == 0
    again = queue.get(broken)
    assert (again.state, again.attempts, again.crashes, again.error) == ("done", 2, 1, None)
    assert queue.get(whole).attempts == 1
    assert text(folder / "log.txt").count("--- attempt") == 2
    models = [settings.jobs / id / "out/model/model.safetensors" for id in (broken, whole)]
    first, second = map(load_file, models)
    assert set(first) == set(second)
    assert all(first[name].equal(second[name]) for name in first)
    progress = again.progress
    assert progress is not None
    assert (progress["done"], progress["total"], progress["unit"]) == (60, 60, "steps")


def test_mining_goes_on_after_its_worker_was_killed(
    settings: Settings, queue: Queue, start: Start
) -> None:
    given = {"source": "input:en.txt", "target": "input:de.txt"}
    broken, whole = (queue.submit("mine", given).id for _ in range(2))
    worker = start()
    wait_for((settings.jobs / broken / "out/mined.tsv.work").is_dir)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert start("--until-idle").wait(SECONDS) == 0
    assert [queue.get(id).state for id in (broken, whole)] == ["done", "done"]
    first, second = (text(settings.jobs / id / "out/mined.tsv") for id in (broken, whole))
    assert first == second
    assert first.count("\n") > 5


# --- the same worker with commands that do less


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """What jobs consist of: modules that lie in the folder of the job."""
    steps: list[Command] = []
    monkeypatch.setattr(running, "plan", lambda *_: Plan(steps, gpu=False))
    return steps


def module(settings: Settings, id: str, name: str, program: str) -> Command:
    folder = settings.jobs / id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(program)
    return [name]


LOOP = "import time\nprint('began', flush=True)\nwhile True:\n    time.sleep(0.01)\n"
PATIENT = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{LOOP}"


def run(worker: Worker) -> threading.Thread:
    thread = threading.Thread(target=worker.run, kwargs={"until_idle": True})
    thread.start()
    return thread


def has_ended(queue: Queue, id: str) -> bool:
    return queue.get(id).state in ENDED


def done(settings: Settings, database: Database, queue: Queue, id: str) -> JobRow:
    """The job once a worker has nothing more to do."""
    Worker(settings, database).run(until_idle=True)
    return queue.get(id)


def test_steps_that_ended_well_are_not_run_again(
    settings: Settings, database: Database, queue: Queue, commands: list[Command]
) -> None:
    id = queue.submit("mine", {}).id
    say = "open('said', 'a').write('{}')"
    commands += [
        module(settings, id, "first_step", say.format("1")),
        module(settings, id, "second_step", f"{say.format('2')}\nif not open('said').read()[2:]:\n"
               "    raise SystemExit('bitext: too little was said')"),
    ]  # fmt: skip
    failed = done(settings, database, queue, id)
    assert (failed.state, failed.error) == ("failed", "bitext: too little was said")
    queue.retry(id)
    again = done(settings, database, queue, id)
    assert (again.state, again.attempts) == ("done", 2)
    assert text(settings.jobs / id / "said") == "122"


def test_a_mistake_is_told_and_not_tried_again(
    settings: Settings, database: Database, queue: Queue
) -> None:
    id = queue.submit("mine", {"source": "input:gone.txt", "target": "input:de.txt"}).id
    failed = done(settings, database, queue, id)
    assert (failed.state, failed.attempts) == ("failed", 1)
    assert failed.error == "field 'settings.source': there is no file 'input:gone.txt'"


def test_a_process_that_is_killed_again_and_again_fails(
    settings: Settings, database: Database, queue: Queue, commands: list[Command]
) -> None:
    id = queue.submit("mine", {}).id
    commands.append(module(settings, id, "killed", "import os; os.kill(os.getpid(), 9)"))
    few = settings.model_copy(update={"max_crashes": 2})
    failed = done(few, database, queue, id)
    assert (failed.state, failed.attempts) == ("failed", 2)
    assert failed.error == "its process was killed by signal 9, 2 times (BITEXT_MAX_CRASHES)"


@pytest.mark.parametrize(
    ("program", "state", "crashes", "runs"),
    [
        ("raise SystemExit('bitext: no')", "failed", 0, "1"),
        ("import os; os.kill(os.getpid(), 9)", "failed", 2, "11"),  # tried again, and once
    ],
    ids=["fails", "is-killed"],
)
def test_a_command_is_not_run_again_because_the_database_fails(
    settings: Settings, database: Database, queue: Queue, commands: list[Command],
    monkeypatch: pytest.MonkeyPatch, program: str, state: str, crashes: int, runs: str,
) -> None:  # fmt: skip
    id = queue.submit("mine", {}).id
    said = f"open('said', 'a').write('1')\n{program}"
    commands.append(module(settings, id, "once", said))
    for name in ("end", "release"):
        monkeypatch.setattr(Queue, name, fails_once(getattr(Queue, name)))
    few = settings.model_copy(update={"max_crashes": 2})
    job = done(few, database, queue, id)
    assert (job.state, job.crashes) == (state, crashes)
    assert text(settings.jobs / id / "said") == runs


def fails_once(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method`` of a database that is away when it is called first."""
    left = iter([OperationalError("UPDATE", {}, ValueError("away"))])

    def call(*args: Any, **kwargs: Any) -> Any:
        for error in left:
            raise error
        return method(*args, **kwargs)

    return call


@pytest.mark.parametrize("program", [LOOP, PATIENT], ids=["heeds", "does-not"])
def test_a_job_is_cancelled(
    settings: Settings, database: Database, queue: Queue, commands: list[Command], program: str
) -> None:
    id = queue.submit("mine", {}).id
    commands.append(module(settings, id, "loops", program))
    thread = run(Worker(settings, database, grace=0.2))
    wait_for(lambda: "began" in text(settings.jobs / id / "log.txt"))
    assert queue.cancel(id).state == "cancelling"
    thread.join(SECONDS)
    assert queue.get(id).state == "cancelled"
    assert "began" in text(settings.jobs / id / "log.txt")  # what was there stays


def test_a_worker_that_is_stopped_gives_its_job_back(
    settings: Settings, database: Database, queue: Queue, commands: list[Command]
) -> None:
    id = queue.submit("mine", {}).id
    commands.append(module(settings, id, "loops", LOOP))
    worker = Worker(settings, database)
    thread = run(worker)
    wait_for(lambda: "began" in text(settings.jobs / id / "log.txt"))
    worker.stop()
    thread.join(SECONDS)
    row = queue.get(id)
    assert (row.state, row.crashes, row.worker) == ("queued", 0, None)


def test_a_job_that_another_has_by_now_is_let_go(
    settings: Settings, database: Database, queue: Queue, commands: list[Command]
) -> None:
    id = queue.submit("mine", {}).id
    commands.append(module(settings, id, "loops", LOOP))
    thread = run(Worker(settings, database))
    wait_for(lambda: "began" in text(settings.jobs / id / "log.txt"))
    with database.write() as session:  # as if another had claimed it, and was done with it
        row = session.get(JobRow, id)
        assert row is not None
        row.worker, row.attempts, row.state = "another", row.attempts + 1, "done"
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert (queue.get(id).worker, queue.get(id).state) == ("another", "done")


def test_a_worker_does_one_job_at_least(call: Callable[..., tuple[int, str, str]]) -> None:
    assert call("worker", "--jobs", 0) == (2, "", "bitext worker: --jobs 0: at least one\n")


def test_several_jobs_run_at_once_where_they_may(
    settings: Settings, database: Database, queue: Queue, commands: list[Command]
) -> None:
    ids = [queue.submit("mine", {}).id for _ in range(2)]
    # each waits for the other
    meet = (
        "import os, time\nopen('../met-' + str(os.getpid()), 'w')\n"
        "while sum(n.startswith('met-') for n in os.listdir('..')) < 2: time.sleep(0.01)"
    )
    for id in ids:
        commands[:] = [module(settings, id, "meets", meet)]
    two = settings.model_copy(update={"worker_jobs": 2})
    Worker(two, database).run(until_idle=True)
    assert [queue.get(id).state for id in ids] == ["done", "done"]


def test_the_command_sees_no_settings_of_the_service(
    settings: Settings, database: Database, queue: Queue, commands: list[Command],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("BITEXT_DATABASE", "postgresql://me:secret@host/name")
    id = queue.submit("mine", {}).id
    show = (
        "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if 'BITEXT' in k}))"
    )
    commands.append(module(settings, id, "shows", show))
    assert done(settings, database, queue, id).state == "done"
    said = json.loads(text(settings.jobs / id / "log.txt").splitlines()[-1])
    assert set(said) == {"BITEXT_PROGRESS"}
