"""One attempt at a job: its commands one after the other, and what becomes of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import bitext
from bitext.errors import BitextError
from bitext.progress import VARIABLE
from bitext.text import atomic_write
from service.database.engine import Database
from service.jobs import keeper
from service.jobs.kinds import Command, plan
from service.jobs.looking import LOG, PROGRESS, last_line, read_progress
from service.jobs.queueing import Claim, LostError, Queue
from service.jobs.rate import RateMeter
from service.jobs.tables import JobRow, UploadRow
from service.jobs.work import Work
from service.settings import Settings
from service.sources import PREFIX

logger = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at how far the command is, and whether the job is still wanted."""
STEPS = "steps"


class Run:
    """A claimed job at work. Nothing here waits: the worker calls :meth:`tick` again and again."""

    def __init__(
        self,
        job: JobRow,
        worker: str,
        settings: Settings,
        database: Database,
        queue: Queue,
        grace: float,
    ) -> None:
        self.job = job
        self.is_over = False
        self._claim = Claim(job.id, worker, job.attempts)
        self._settings, self._database, self._queue = settings, database, queue
        self._grace = grace
        self._folder = settings.jobs / job.id
        self._commands: list[Command] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._asked: str | None = None
        self._deadline = float("inf")
        self._looked = time.monotonic()
        self._claimed = self._looked
        self._rate = RateMeter()
        self._outcome: Callable[[], None] | None = None

    def stop(self) -> None:
        """The worker ends: another shall go on."""
        self._ask("stop")

    def tick(self) -> None:
        """Look at the process and the database, and do what comes next."""
        try:
            self._tick()
        except LostError:
            logger.warning("job %s is another worker's by now", self.job.id)
            self._say("kill")
            if self._process is not None:
                self._process.wait()
                self._forget(self._process)
            self.is_over = True

    def _tick(self) -> None:
        if time.monotonic() - self._looked >= LOOK:
            self._renew()
        if self._outcome is not None:
            self._outcome()  # the database failed at it
        elif self._process is None:
            self._go_on()
        elif (code := self._process.poll()) is not None:
            self._forget(self._process)
            self._after(code)
        elif time.monotonic() > self._deadline:
            self._say("kill")

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        """It has ended."""
        assert process.stdin is not None
        process.stdin.close()
        self._process = None

    # --- commands

    def _go_on(self) -> None:
        """Start the next command, or end the job."""
        if self._asked is not None:
            self._leave()
            return
        try:
            if self._commands is None:
                self._commands = self._plan()
            done = self._done()
            if done < len(self._commands):
                self._start(self._commands[done])
                return
        except BitextError as error:
            self._end("failed", str(error))
            return
        except OSError as error:  # the disk is full, the folder may not be written
            self._end("failed", f"cannot write {self._folder}: {error.strerror}")
            return
        self._end("done")

    def _plan(self) -> list[Command]:
        self._folder.mkdir(parents=True, exist_ok=True)
        work = Work(self._settings, self._find, self._folder)
        work.out.mkdir(exist_ok=True)
        return plan(self.job.kind, self.job.settings, work).steps

    def _find(self, id: str) -> UploadRow | None:
        with self._database.read() as session:
            return session.get(UploadRow, id)

    def _start(self, command: Command) -> None:
        (self._folder / PROGRESS).unlink(missing_ok=True)
        patience = self._settings.worker_lease * 0.8
        with open(self._folder / LOG, "ab") as log:
            log.write(f"--- attempt {self.job.attempts}: {' '.join(command)}\n".encode())
            log.flush()
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [
                    sys.executable, "-I", keeper.__file__, str(self._folder / "lock"),
                    str(patience), "--", sys.executable, "-m", *command,
                ],
                cwd=self._folder, env=self._environment(), stdin=subprocess.PIPE, bufsize=0,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._say(f"alive {self._claimed}")

    def _environment(self) -> dict[str, str]:
        """That of the worker without the service's settings, of which one may be a password."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        here = str(Path(bitext.__file__).parents[1])
        path = os.pathsep.join(filter(None, [here, kept.get("PYTHONPATH")]))
        progress = str(self._folder / PROGRESS)
        return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", VARIABLE: progress}

    def _after(self, code: int) -> None:
        """A command has ended."""
        if code == 0:
            with atomic_write(self._folder / STEPS) as file:
                file.write(str(self._done() + 1))
            self._rate = RateMeter()
            if self._asked is None or self._done() == len(self._commands or ()):
                self._asked = None  # it was asked too late: all is done
                self._go_on()
                return
        if self._asked is not None:
            self._leave()
        elif code > keeper.SIGNALLED:
            self._release(f"its process was killed by signal {code - keeper.SIGNALLED}")
        else:
            said = last_line(self._folder, self._log_start)
            self._end("failed", said or f"the command ended with code {code}")

    def _done(self) -> int:
        """How many commands have ended well, in all attempts."""
        try:
            return int((self._folder / STEPS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0

    # --- the queue

    def _renew(self) -> None:
        began = time.monotonic()
        self._looked = began
        progress = self._progress()
        if self._queue.renew(self._claim, progress) == "cancelling":
            self._ask("cancel")
        self._claimed = began
        self._say(f"alive {began}")

    def _progress(self) -> dict[str, Any] | None:
        """How far the command is, where that has changed."""
        found = None if self._process is None else read_progress(self._folder)
        return None if found is None else self._rate.take(found)

    def _ask(self, why: str) -> None:
        """Have the command stop; who cancels comes before a worker that stops."""
        if self._asked is None:
            self._deadline = time.monotonic() + self._grace
            self._say("interrupt")
        if self._asked != "cancel":
            self._asked = why

    def _leave(self) -> None:
        if self._asked == "cancel":
            self._end("cancelled")
        else:
            self._release(None)

    def _release(self, crashed: str | None) -> None:
        self._conclude(lambda: self._queue.release(self._claim, crashed=crashed))

    def _end(self, state: str, error: str | None = None) -> None:
        self._conclude(lambda: self._queue.end(self._claim, state, error))
        logger.info("job %s is %s%s", self.job.id, state, f": {error}" if error else "")

    def _conclude(self, tell: Callable[[], object]) -> None:
        """Tell the queue how this attempt came out, again at the next tick if it cannot be told:
        the command itself has run, and must not run again."""
        self._outcome = lambda: self._conclude(tell)
        tell()
        self.is_over = True

    def _say(self, order: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # it has ended, as the next look will show
                self._process.stdin.write(f"{order}\n".encode())
                self._process.stdin.flush()
