"""Who is let in: a house with room for so many requests and so many bytes, and no more.

Whatever waits longer than its client does is computed for nobody. So a request is admitted while
what is in the house, waiting or being worked on, is below two bounds: a number of requests, and the
bytes of their bodies, which are a fair measure of the work there is. What the request itself holds
does not count: one with a single pair and one with hundreds are let in by the same rule. A few are
let in whatever they weigh, since one that takes minutes holds up nobody who comes after it: they
take turns (``encoders/gathering/queue.py``). When the house is full, who comes is told when it may
be empty, by the rate at which bytes left it lately.

Everything here runs in the event loop; there are no locks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from service.batching.events import Admitted, Done, Event, Refused
from service.errors import OverloadedError

MEMORY = 10.0
"""Seconds after which what was measured counts for a third."""
FEW = 8
"""Requests that may be in the house whatever they weigh."""
LONGEST = 60
"""Seconds that a client is told to wait at most: by then everything may be different."""


@dataclass(eq=False)
class Visit:
    """A request in the house."""

    size: int
    began: float
    started: float | None = None
    """When it had a place to be worked on."""


class Rate:
    """Bytes a second, lately, over the time in which there was something to do."""

    def __init__(self) -> None:
        self._bytes = 0.0
        self._seconds = 0.0

    def add(self, size: int, seconds: float) -> None:
        """``size`` bytes were done, ``seconds`` after the last ones."""
        kept = math.exp(-seconds / MEMORY)
        self._bytes = self._bytes * kept + size
        self._seconds = self._seconds * kept + seconds

    def seconds(self, size: int) -> int:
        """In which ``size`` bytes will be done: whole ones, from 1 to ``LONGEST``."""
        if self._bytes <= 0:
            return 1
        return min(LONGEST, max(1, math.ceil(size * self._seconds / self._bytes)))


class Admission:
    """The door of the house.

    :param requests: how many may be in it.
    :param most: bytes that may be in it, if they are of more than ``FEW``. The last that is let in
        may be above.
    """

    def __init__(
        self,
        *,
        requests: int,
        most: int,
        told: Callable[[Event], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._requests = requests
        self._most = most
        self._told = told
        self._clock = clock
        self._visits: set[Visit] = set()
        self._bytes = 0
        self._rate = Rate()
        self._emptied = anyio.Event()
        self._last = 0.0
        """When a request left, or came into an empty house."""

    def __len__(self) -> int:
        """Requests in the house."""
        return len(self._visits)

    def check(self, size: int) -> None:
        """Whether there is room, for a request of ``size`` bytes.

        :raises OverloadedError: if the house is full.
        """
        if self._is_full():
            after = self._rate.seconds(self._bytes)
            self._told(Refused(size, len(self._visits), self._bytes, after))
            raise OverloadedError(
                f"{len(self._visits)} requests ({self._bytes} bytes) are being worked on or wait; "
                f"try again in {after} seconds",
                retry_after=after,
            )

    def enter(self, size: int) -> Visit:
        """Let a request of ``size`` bytes in.

        :raises OverloadedError: if the house is full.
        """
        self.check(size)
        now = self._clock()
        if not self._visits:
            self._last = now
            self._emptied = anyio.Event()
        visit = Visit(size, now)
        self._visits.add(visit)
        self._bytes += size
        self._told(Admitted(size, len(self._visits), self._bytes))
        return visit

    def _is_full(self) -> bool:
        count = len(self._visits)
        return count >= self._requests or (count >= FEW and self._bytes >= self._most)

    def start(self, visit: Visit) -> None:
        """``visit`` has its place to be worked on."""
        visit.started = self._clock()

    def leave(self, visit: Visit, outcome: str) -> None:
        """``visit`` is over."""
        now = self._clock()
        self._visits.remove(visit)
        self._bytes -= visit.size
        # Who went without being worked on tells nothing of how fast work is done.
        self._rate.add(visit.size if visit.started is not None else 0, now - self._last)
        self._last = now
        waited = (now if visit.started is None else visit.started) - visit.began
        self._told(
            Done(visit.size, len(self._visits), self._bytes, waited, now - visit.began, outcome)
        )
        if not self._visits:
            self._emptied.set()

    async def empty(self) -> None:
        """Wait until nobody is in the house."""
        if self._visits:
            await self._emptied.wait()
