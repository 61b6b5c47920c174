"""Changes of several threads, made in as few transactions as possible."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Change = TypeVar("Change")


class _Waiting(Generic[Change]):
    def __init__(self, change: Change) -> None:
        self.change = change
        self.done = False
        self.error: Exception | None = None


class Turns(Generic[Change]):
    """One thread at a time makes changes, its own and those that wait meanwhile.

    A transaction costs a wait for the disk, whatever is in it; so that many writers do not wait for
    one another, whoever comes next does the work of all.
    """

    def __init__(self, commit: Callable[[Sequence[Change]], None]) -> None:
        """``commit`` makes all of some changes, or raises and makes none."""
        self._commit = commit
        self._turn = threading.Lock()
        self._queue: list[_Waiting[Change]] = []
        self._queueing = threading.Lock()

    def make(self, change: Change) -> None:
        """Have ``change`` made, by this thread or another; raises what making it raised."""
        own = _Waiting(change)
        with self._queueing:
            self._queue.append(own)
        try:
            with self._turn:
                if not own.done:
                    self._make_all()
        finally:
            with self._queueing:  # a thread that is interrupted must not be served later
                self._queue = [waiting for waiting in self._queue if waiting is not own]
        if own.error is not None:
            raise own.error

    def _make_all(self) -> None:
        with self._queueing:
            group, self._queue = self._queue, []
        try:
            self._make(group)
        finally:
            with self._queueing:  # after an interruption, the others do their own
                self._queue = [waiting for waiting in group if not waiting.done] + self._queue

    def _make(self, group: Sequence[_Waiting[Change]]) -> None:
        """All together; if that fails, each alone, so that one's mistake is not another's."""
        try:
            self._commit([waiting.change for waiting in group])
        except Exception as error:
            if len(group) > 1:
                for waiting in group:
                    self._make([waiting])
                return
            group[0].error = error
        for waiting in group:
            waiting.done = True
