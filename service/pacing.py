"""The pace at which the service says no.

A client that asks again as soon as it is refused takes as much of the event loop as it likes, for
which those who were let in wait with every step. So the first refusal is said at once, and those of
a crowd wait for their turn, though no longer than ``LONGEST``, which who is told to come again in
whole seconds hardly notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable

REFUSALS = 100
"""That are said in a second, unless so many come that they would wait too long."""
LONGEST = 1.0
"""Seconds that one waits at most."""


class Pace:
    """Turns, ``1 / rate`` seconds after one another."""

    def __init__(
        self,
        rate: float = REFUSALS,
        longest: float = LONGEST,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._step = 1 / rate
        self._longest = longest
        self._clock = clock
        self._next = 0.0

    def wait(self) -> float:
        """Take the next turn; seconds until it comes, ``longest`` at most."""
        now = self._clock()
        turn = min(max(self._next, now), now + self._longest)
        self._next = turn + self._step
        return turn - now
