"""A lock that many readers share, or one writer has alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SharedLock:
    """Readers run together; a writer waits for them, and those who come later wait for the writer.

    FAISS may be searched by many threads at once, but not while something is added.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers = 0  # waiting, and the one at work

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writers)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writers)
            self._writers = 1
            self._changed.wait_for(lambda: not self._readers)
        try:
            yield
        finally:
            with self._changed:
                self._writers = 0
                self._changed.notify_all()

    @contextmanager
    def writing_then_reading(self) -> Iterator[Callable[[], None]]:
        """Write, and go on as a reader before another writer comes: where the block calls it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writers)
            self._writers = 1
            self._changed.wait_for(lambda: not self._readers)
        writes = True

        def go_on() -> None:
            nonlocal writes
            with self._changed:
                writes = False
                self._readers += 1
                self._writers = 0
                self._changed.notify_all()

        try:
            yield go_on
        finally:
            with self._changed:
                if writes:
                    self._writers = 0
                else:
                    self._readers -= 1
                self._changed.notify_all()
