"""Chunks aligned in several processes at once, and given back in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import wait
from multiprocessing.queues import SimpleQueue
from threading import Thread
from typing import Protocol

from aligners.batch import Made, Maker, Task
from aligners.inputs import Chunk
from bitext.errors import BitextError
from bitext.resumable import Setting

CHUNKS_AHEAD = 4
"""Chunks a process that are read before their turn to be written; it bounds the memory."""


class WorkerError(BitextError):
    """A process ended before its work was done."""


class Team(Protocol):
    """One process or several that make text of chunks."""

    @property
    def signatures(self) -> dict[str, str]:
        """Of each method."""
        ...

    @property
    def settings(self) -> dict[str, Setting]:
        """All that changes the text, by name."""
        ...

    def make_all(self, chunks: Iterable[Chunk]) -> Iterator[Made]:
        """Yield what each chunk gives, in order."""
        ...


@contextmanager
def working(task: Task, devices: list[str]) -> Iterator[Team]:
    """A process for each device: this one if there is but one.

    :raises BitextError: if the model cannot be loaded.
    """
    if len(devices) == 1:
        yield Alone(task.on(devices[0]))
        return
    pool = _pool(task, devices)
    try:
        yield Together(pool, len(devices))
    finally:
        pool.shutdown(cancel_futures=True)


class Alone:
    """This process."""

    def __init__(self, task: Task) -> None:
        self._maker = Maker(task)
        self.signatures = self._maker.signatures
        self.settings = self._maker.settings

    def make_all(self, chunks: Iterable[Chunk]) -> Iterator[Made]:
        return map(self._maker.make, chunks)


class Together:
    """Several processes, each with a model of its own."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool = pool
        self._count = count
        with _told_of_death(count):
            with _interrupts_held():
                asked = pool.submit(_describe)
            # before another is started, so that one alone fetches a model that is not here
            self.signatures, self.settings = asked.result()

    def make_all(self, chunks: Iterable[Chunk]) -> Iterator[Made]:
        """Yield in order.

        :raises WorkerError: if a process dies.
        """
        ahead: deque[Future[Made]] = deque()
        for chunk in chunks:
            with _told_of_death(self._count), _interrupts_held():
                ahead.append(self._pool.submit(_make, chunk))
            if len(ahead) >= CHUNKS_AHEAD * self._count:
                yield self._result(ahead.popleft())
        while ahead:
            yield self._result(ahead.popleft())

    def _result(self, made: Future[Made]) -> Made:
        with _told_of_death(self._count):
            return made.result()


def _pool(task: Task, devices: list[str]) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    queue: SimpleQueue[str] = context.SimpleQueue()
    for device in devices:
        queue.put(device)
    return ProcessPoolExecutor(
        len(devices), context, initializer=_start, initargs=(task, queue, len(devices))
    )


@contextmanager
def _told_of_death(count: int) -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise WorkerError(
            f"one of the {count} processes was killed or crashed, perhaps for want of memory"
        ) from None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started within never see Ctrl-C: this one sees it, and ends them."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


# --- in a worker process

_tasks: list[Task] = []
"""The one this process was started with."""


def _start(task: Task, devices: SimpleQueue[str], processes: int) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    _share_cores(processes)
    _tasks.append(task.on(devices.get()))


def _end_with_parent() -> None:
    """Not even a parent that is killed leaves a process with a model behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a child"
    wait([parent.sentinel])
    os._exit(1)


def _share_cores(processes: int) -> None:
    import torch

    threads = max(1, torch.get_num_threads() // processes)
    torch.set_num_threads(threads)
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # of the tokenizer


@cache
def _maker() -> Maker:
    return Maker(_tasks[0])


def _describe() -> tuple[dict[str, str], dict[str, Setting]]:
    return _maker().signatures, _maker().settings


def _make(chunk: Chunk) -> Made:
    return _maker().make(chunk)
