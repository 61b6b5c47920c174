"""Kill the API and the worker with SIGKILL, again and again, while jobs and uploads come in.

    python benchmarks/service/chaos.py --rounds 20 --jobs 30 --folder FOLDER

Every job adds a file to one index: one that was lost leaves a gap there, one that was done twice
leaves too many sentences. Uploads are the write load on the database. In each round either the API
or the worker is killed, after a time drawn at random, and started again. At the end, whatever was
answered with 201 must be there: every upload with its checksum, every job done, and as many
sentences in the index as its jobs brought.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

INDEX = "chaos"
LINES = 3
"""Sentences that a job adds."""


class Service:
    """The two processes, and what they have acknowledged."""

    def __init__(self, folder: Path, database: str | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        ours = {
            "BITEXT_DATA_DIR": str(folder), "BITEXT_PORT": str(self.port), "BITEXT_SAMPLE": "false",
            "BITEXT_WORKER_LEASE": "5", "BITEXT_MAX_CRASHES": "1000", "BITEXT_MAX_JOBS": "1000",
            "OMP_NUM_THREADS": "1", **({"BITEXT_DATABASE": database} if database else {}),
        }  # fmt: skip
        self._environment = {**os.environ, **ours}
        self._log = (folder / "chaos.log").open("ab")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, what: str) -> None:
        command = [sys.executable, "-m", "bitext", what]
        self.processes[what] = subprocess.Popen(
            command, env=self._environment, stdout=self._log, stderr=self._log
        )

    def kill(self, what: str) -> None:
        self.processes[what].send_signal(signal.SIGKILL)
        self.processes[what].wait()

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
        """Ask until somebody answers."""
        while True:
            try:
                status, answer = self.ask(method, path, body)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.2)
                continue
            if status < 300:
                return answer
            if status != 503:
                raise SystemExit(f"{method} {path}: {status} {answer}")
            time.sleep(0.2)


class Load:
    """Sends uploads, and now and then a job; remembers what was acknowledged."""

    def __init__(self, service: Service, every: int, most: int) -> None:
        self.uploads: dict[str, str] = {}
        self.jobs: dict[str, str] = {}
        self.stop = threading.Event()
        self._service, self._every, self._most = service, every, most
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            data = "".join(f"sentence {number} of line {n}\n" for n in range(LINES)).encode()
            try:
                status, made = self._service.ask("POST", "/uploads?name=x.txt", data)
                if status != 201:
                    continue
                self.uploads[made["id"]] = hashlib.sha256(data).hexdigest()
                if len(self.uploads) % self._every == 0 and len(self.jobs) < self._most:
                    self._submit(made["id"])
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.1)
            time.sleep(0.02)

    def _submit(self, upload: str) -> None:
        settings = {"index": INDEX, "mode": "add", "file": f"upload:{upload}", "language": "en"}
        status, job = self._service.ask("POST", "/jobs", {"kind": "index", "settings": settings})
        if status == 201:
            self.jobs[job["id"]] = upload


def rounds(service: Service, count: int, seed: int) -> Counter[str]:
    """Kill and start again; how often each."""
    draw = random.Random(seed)
    killed: Counter[str] = Counter()
    for number in range(1, count + 1):
        what = draw.choice(("serve", "worker"))
        time.sleep(draw.uniform(1.0, 12.0))
        service.kill(what)
        killed[what] += 1
        service.start(what)
        print(f"round {number}: killed {what}", file=sys.stderr, flush=True)
    return killed


def check(service: Service, load: Load) -> dict[str, int]:
    """Wait for the jobs to end, and count what is wrong."""
    all_jobs: dict[str, Any] = {}
    while True:
        after, all_jobs = "", {}
        while True:
            page = service.insist("GET", f"/jobs?limit=200{after}")
            all_jobs |= {job["id"]: job for job in page["jobs"]}
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        if all(job["state"] in ("done", "failed", "cancelled") for job in all_jobs.values()):
            break
        time.sleep(1)
    kept = {one["id"]: one["sha256"] for one in service.insist("GET", "/uploads")["uploads"]}
    count = service.insist("GET", f"/indexes/{INDEX}")["count"]
    return {
        "uploads acknowledged": len(load.uploads),
        "uploads lost or damaged": sum(kept.get(i) != s for i, s in load.uploads.items()),
        "jobs acknowledged": len(load.jobs),
        "jobs lost": len(set(load.jobs) - set(all_jobs)),
        "jobs not done": sum(job["state"] != "done" for job in all_jobs.values()),
        "attempts": sum(job["attempts"] for job in all_jobs.values()),
        "sentences missing or too many": abs(count - LINES * len(all_jobs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=5, help="uploads between two jobs")
    parser.add_argument("--jobs", type=int, default=30, help="as many as that at most")
    parser.add_argument("--folder", type=Path, required=True, help="an empty data folder")
    parser.add_argument("--database", help="a URL; default: SQLite")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    service = Service(given.folder, given.database)
    try:
        for what in ("serve", "worker"):
            service.start(what)
        service.insist("PUT", f"/indexes/{INDEX}", {"centring": False})
        load = Load(service, given.every, given.jobs)
        load.thread.start()
        killed = rounds(service, given.rounds, given.seed)
        load.stop.set()
        load.thread.join()
        found = check(service, load)
    finally:
        for process in service.processes.values():
            process.kill()
            process.wait()
    print(json.dumps({"killed": dict(killed), **found}))
    wrong = ["uploads lost or damaged", "jobs lost", "jobs not done"]
    wrong.append("sentences missing or too many")
    sys.exit(any(found[name] for name in wrong))


if __name__ == "__main__":
    main()
