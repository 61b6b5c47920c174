"""For whom something is computed, and what happens when they hang up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar

from bitext.errors import BitextError

GiveUp = Callable[[], None]


class HungUpError(BitextError):
    """Whoever wanted an answer is there no more."""


class Caller:
    """Whoever wants something, and may hang up. Threads may share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: set[GiveUp] = set()
        self._is_gone = False

    def hang_up(self) -> None:
        """Nothing that this caller wants is wanted any more."""
        with self._lock:
            self._is_gone = True
            begun, self._begun = self._begun, set()
        for give_up in begun:
            give_up()

    @property
    def is_gone(self) -> bool:
        """Whether it has hung up."""
        return self._is_gone

    def check(self) -> None:
        """:raises HungUpError: if it has hung up."""
        if self._is_gone:
            raise HungUpError("the client hung up")

    def begin(self, give_up: GiveUp) -> None:
        """Have ``give_up`` called when this caller hangs up.

        :raises HungUpError: if it has.
        """
        with self._lock:
            self.check()
            self._begun.add(give_up)

    def end(self, give_up: GiveUp) -> None:
        """What was begun is over."""
        with self._lock:
            self._begun.discard(give_up)


CALLER: ContextVar[Caller | None] = ContextVar("CALLER", default=None)
"""For whom the code of this context runs, if for anybody who could hang up."""
