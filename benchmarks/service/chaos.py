"""Kill service, worker and database with SIGKILL, again and again, while jobs and uploads come in.

    python benchmarks/service/chaos.py --rounds 20 --folder FOLDER
    python benchmarks/service/chaos.py --rounds 20 --folder FOLDER --database postgres

The database is SQLite by default: a file, which service and worker write by themselves, so that
to kill them is to kill it in the middle of writing. With ``--database postgres`` a server is
started, and is the third that is killed, with all its processes.

Two jobs train the same small translator; every other job adds a file to one index: one that was
lost leaves a gap there, one that was done twice leaves too many sentences. Uploads are the write
load on the database. A round waits until the service answers and a job is at work (after a worker
was killed: in another attempt), then a time drawn at random, kills, and starts again; a database
comes back after up to eight seconds, where a worker's claim lasts five. The first kill is that of a
worker whose training has made a checkpoint.

At the end, whatever was answered with 201 must be there: every upload in the tables and with its
checksum on the disk, every job done, as many sentences in the index as its jobs brought, no attempt
begun twice, and the training that was killed has made the same model as the other one.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from postgres import Postgres, postgres

INDEX = "chaos"
LINES = 3
"""Sentences that a job adds."""
WAITING = 1
"""Jobs that are kept waiting, so that there is always one to run."""
STEPS = 120
TRAIN: dict[str, Any] = {
    "data": {"source_lang": "en", "target_lang": "de"},
    "vocabulary": {"size": 300},
    "initialize": {"model": None},
    "model": {"dim": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1},
    "stages": [{"steps": STEPS, "batch_tokens": 200, "learning_rate": 0.01}],
    "validation": {"every": STEPS // 3, "measure": "loss"},
    "checkpoint_steps": 10,
}  # fmt: skip
GONE = (OSError, http.client.HTTPException, ValueError)
"""What a client sees of a service that dies."""


class Service:
    """The processes, and how to ask them."""

    def __init__(self, folder: Path, database: Postgres | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        ours = {
            "BITEXT_DATA_DIR": str(folder), "BITEXT_PORT": str(self.port), "BITEXT_SAMPLE": "false",
            "BITEXT_WORKER_LEASE": "5", "BITEXT_MAX_CRASHES": "1000", "BITEXT_MAX_JOBS": "1000",
            "BITEXT_WORKER_JOBS": "3", "OMP_NUM_THREADS": "1",
            **({"BITEXT_DATABASE": database.url} if database else {}),
        }  # fmt: skip
        self.folder, self.database = folder, database
        self._environment = {**os.environ, **ours}
        self._log = (folder / "chaos.log").open("ab")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, what: str) -> None:
        if what == "database":
            assert self.database is not None
            self.database.start()
            return
        command = [sys.executable, "-m", "bitext", what]
        self.processes[what] = subprocess.Popen(
            command,
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is for us
        )

    def kill(self, what: str) -> None:
        if what == "database":
            assert self.database is not None
            self.database.kill()
            return
        self.processes[what].send_signal(signal.SIGKILL)
        self.processes[what].wait()

    def ended(self) -> list[str]:
        """The processes that nobody has killed, and that are gone."""
        return [what for what, process in self.processes.items() if process.poll() is not None]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """:raises OSError: if nobody answers.
        :raises http.client.HTTPException: if the answer is cut off.
        """
        is_file = isinstance(body, bytes)
        data = body if is_file or body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if is_file else "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, f"/v1{path}", data, {"Content-Type": kind} if data else {})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def insist(self, method: str, path: str, body: Any = None) -> Any:
        """Ask until somebody answers.

        :raises SystemExit: if the answer is a refusal, or a process has ended by itself.
        """
        while True:
            if ended := self.ended():
                raise SystemExit(f"ended by itself: {ended}")
            try:
                status, answer = self.ask(method, path, body)
            except GONE:
                time.sleep(0.2)
                continue
            if status < 300:
                return answer
            if status != 503:
                raise SystemExit(f"{method} {path}: {status} {answer}")
            time.sleep(0.2)

    def at_work(self) -> dict[tuple[str, int], bool]:
        """Jobs whose command has begun and numbers of their attempts, and whether each is a
        training that has made a checkpoint."""
        found = {}
        for job in self.insist("GET", "/jobs?state=running")["jobs"]:
            folder = self.folder / "jobs" / job["id"]
            if f"--- attempt {job['attempts']}:" in read(folder / "log.txt"):
                saved = (folder / "out/run/checkpoint/place.json").is_file()
                found[job["id"], job["attempts"]] = saved
        return found


def read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


class Load:
    """Sends uploads, and a job when too few wait; remembers what was acknowledged."""

    def __init__(self, service: Service) -> None:
        self.uploads: dict[str, str] = {}
        self.jobs: dict[str, str] = {}
        self.statuses: Counter[str] = Counter()
        self.stop = threading.Event()
        self._service = service
        self._looked = 0.0
        self.thread = threading.Thread(target=self._run)

    def train(self) -> list[str]:
        """Submit two trainings that are the same."""
        pairs = [f"the {a} {b} is {c}\tdas {a} {b} ist {c}\n" for a in "abcde" for b in "fghij"
                 for c in "klmno"]  # fmt: skip
        kept = self._service.insist("POST", "/uploads?name=x.tsv", "".join(pairs).encode())["id"]
        files = [{"file": f"upload:{kept}"}]
        settings = {**TRAIN, "data": {**TRAIN["data"], "corpora": files, "dev": files}}
        body = {"kind": "train", "settings": settings}
        return [self._service.insist("POST", "/jobs", body)["id"] for _ in range(2)]

    def _run(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            data = "".join(f"sentence {number} of line {n}\n" for n in range(LINES)).encode()
            try:
                if (made := self._post("/uploads?name=x.txt", data)) is not None:
                    self.uploads[made["id"]] = hashlib.sha256(data).hexdigest()
                    if self._too_few_wait():
                        self._submit(made["id"])
            except GONE:
                self.statuses["no answer"] += 1
                time.sleep(0.1)
            time.sleep(0.05)

    def _too_few_wait(self) -> bool:
        if time.monotonic() - self._looked < 2:
            return False
        self._looked = time.monotonic()
        status, page = self._service.ask("GET", "/jobs?state=queued")
        self.statuses[str(status)] += 1
        return status == 200 and len(page["jobs"]) < WAITING

    def _submit(self, upload: str) -> None:
        settings = {"index": INDEX, "mode": "add", "file": f"upload:{upload}", "language": "en"}
        if (job := self._post("/jobs", {"kind": "index", "settings": settings})) is not None:
            self.jobs[job["id"]] = upload

    def _post(self, path: str, body: Any) -> Any:
        """What was made, if that was acknowledged."""
        status, made = self._service.ask("POST", path, body)
        self.statuses[str(status)] += 1
        return made if status == 201 else None


def rounds(service: Service, count: int, minutes: float, draw: random.Random) -> Counter[str]:
    """Kill and start again; how often each."""
    end = time.monotonic() + 60 * minutes
    victims = ["worker", "serve", *(["database"] if service.database else [])]
    order = [victims[number % len(victims)] for number in range(1, count)]
    draw.shuffle(order)
    killed: Counter[str] = Counter()
    before: set[tuple[str, int]] = set()
    for number, what in enumerate(["worker", *order], 1):
        if time.monotonic() > end:
            break
        while not (work := _new(service.at_work(), before)) or (
            number == 1 and not any(work.values())
        ):
            time.sleep(0.1)
        time.sleep(0.0 if number == 1 else draw.uniform(0.0, 12.0))
        if what == "worker":
            before |= set(service.at_work())
        service.kill(what)
        if what == "database":
            time.sleep(draw.uniform(0.0, 8.0))
        service.start(what)
        killed[what] += 1
        told = f"round {number}: killed {what}, with {len(work)} jobs at work"
        if any(work.values()):
            told += ", a training of them"
        print(f"{time.strftime('%X')} {told}", file=sys.stderr, flush=True)
    return killed


def _new(
    work: dict[tuple[str, int], bool], before: set[tuple[str, int]]
) -> dict[tuple[str, int], bool]:
    """What was not at work when a worker was killed."""
    return {attempt: saved for attempt, saved in work.items() if attempt not in before}


def all_jobs(service: Service) -> dict[str, Any]:
    """Every job, once all have ended."""
    while True:
        after, found = "", dict[str, Any]()
        while True:
            page = service.insist("GET", f"/jobs?limit=200{after}")
            found |= {job["id"]: job for job in page["jobs"]}
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        if all(job["state"] in ("done", "failed", "cancelled") for job in found.values()):
            return found
        time.sleep(1)


def check(service: Service, load: Load, trainings: list[str]) -> dict[str, Any]:
    """Wait for the jobs to end, and count what is wrong."""
    jobs = all_jobs(service)
    kept = {one["id"]: one["sha256"] for one in service.insist("GET", "/uploads")["uploads"]}
    count = service.insist("GET", f"/indexes/{INDEX}")["count"]
    begun = [attempts_in(service.folder / "jobs" / id / "log.txt") for id in jobs]
    models = {digest(service.folder / f"jobs/{id}/out/model/model.safetensors") for id in trainings}
    return {
        "uploads acknowledged": len(load.uploads),
        "uploads lost or damaged": sum(
            not kept.get(id) == sum_ == digest(service.folder / "uploads" / id)
            for id, sum_ in load.uploads.items()
        ),
        "jobs acknowledged": len(load.jobs) + len(trainings),
        "jobs lost": len({*load.jobs, *trainings} - set(jobs)),
        "jobs not done": sum(job["state"] != "done" for job in jobs.values()),
        "attempts": sum(job["attempts"] for job in jobs.values()),
        "attempts at trainings": [jobs[id]["attempts"] for id in trainings],
        "attempts begun twice": sum(len(ones) - len(set(ones)) for ones in begun),
        "trained models that differ": len(models) - 1,
        "sentences missing or too many": abs(
            count - LINES * sum(job["kind"] == "index" for job in jobs.values())
        ),
    }


WRONG = (
    "uploads lost or damaged", "jobs lost", "jobs not done", "attempts begun twice",
    "trained models that differ", "sentences missing or too many",
)  # fmt: skip


def attempts_in(log: Path) -> list[str]:
    return re.findall(r"^--- attempt (\d+):", read(log), re.MULTILINE)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "not there"


def run(service: Service, given: argparse.Namespace) -> bool:
    """Whether nothing is wrong."""
    try:
        for what in ("serve", "worker"):
            service.start(what)
        service.insist("PUT", f"/indexes/{INDEX}", {"centring": False})
        load = Load(service)
        trainings = load.train()
        load.thread.start()
        try:
            killed = rounds(service, given.rounds, given.minutes, random.Random(given.seed))
        finally:
            load.stop.set()
            load.thread.join()
        found = check(service, load, trainings)
    finally:
        for process in service.processes.values():
            process.kill()
            process.wait()
    print(json.dumps({"killed": dict(killed), "answers": dict(load.statuses), **found}))
    unknown = set(load.statuses) - {"200", "201", "503", "no answer"}
    return not unknown and not any(found[name] for name in WRONG)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=600, help="no round begins after them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True, help="an empty data folder")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--postgres", type=Path, help="the folder of PostgreSQL's programs")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and stop what was started
    given.folder.mkdir(parents=True, exist_ok=True)
    is_sqlite = given.database == "sqlite"
    with nullcontext() if is_sqlite else postgres(given.postgres) as database:
        is_right = run(Service(given.folder, database), given)
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
