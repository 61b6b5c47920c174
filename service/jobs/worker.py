"""The worker: takes jobs from the queue and runs their commands, each in a process of its own."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from service.database.engine import Database
from service.jobs.kinds import KINDS, kind_named
from service.jobs.queueing import Queue
from service.jobs.running import Run
from service.settings import Settings

logger = logging.getLogger(__name__)

TICK = 0.25
"""Seconds between two looks at everything."""
GRACE = 60.0
"""Seconds that a command may take to stop, once it was asked to."""


class Worker:
    """Runs jobs until it is told to stop."""

    def __init__(self, settings: Settings, database: Database, *, grace: float = GRACE) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._settings = settings
        self._database = database
        self._queue = Queue(database, lease=settings.worker_lease, max_crashes=settings.max_crashes)
        self._grace = grace
        self._runs: list[Run] = []
        self._stopping = threading.Event()
        self._reaped = -float("inf")

    def stop(self) -> None:
        """Claim no more; stop the jobs in good order, to be gone on with by another worker."""
        self._stopping.set()

    def run(self, *, until_idle: bool = False) -> None:
        """Work until :meth:`stop`.

        :param until_idle: or until there is nothing to do.
        """
        self._database.open()
        for kind in KINDS:
            kind_named(kind)  # imported now: whoever has a job must not be away for long
        logger.info("worker %s waits for jobs", self.name)
        while True:
            stopping = self._stopping.is_set()
            if stopping:
                for one in self._runs:
                    one.stop()
            else:
                self._safely(self._take)
            for one in list(self._runs):
                self._safely(one.tick)
            self._runs = [one for one in self._runs if not one.is_over]
            if not self._runs and (stopping or (until_idle and self._is_idle())):
                return
            self._stopping.wait(TICK) if not stopping else time.sleep(TICK)

    def _take(self) -> None:
        """Claim as many jobs as there is room for."""
        if time.monotonic() - self._reaped > self._settings.worker_lease / 10:
            self._reaped = time.monotonic()
            if freed := self._queue.reap():
                logger.warning("%d jobs of silent workers are free again", freed)
        others = sum(not one.job.gpu for one in self._runs)
        row = self._queue.claim(
            self.name,
            gpu=not any(one.job.gpu for one in self._runs),
            others=others < self._settings.worker_jobs,
        )
        if row is not None:
            logger.info("job %s (%s), attempt %d", row.id, row.kind, row.attempts)
            self._runs.append(
                Run(row, self.name, self._settings, self._database, self._queue, self._grace)
            )

    def _is_idle(self) -> bool:
        return not any(self._queue.page(state=state, limit=1) for state in ("queued", "running"))

    def _safely(self, act: Callable[[], None]) -> None:
        """The database may be away for a while; whoever has a job then loses it in time."""
        try:
            act()
        except SQLAlchemyError as error:
            logger.error("the database failed: %s", str(error).splitlines()[0])
            self._stopping.wait(1.0)


def stop_on_signals(worker: Worker) -> None:
    """SIGTERM and SIGINT stop a worker in good order."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
