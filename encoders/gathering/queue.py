"""The windows that wait for a model, in which order and together with which others they go.

Nothing here knows of threads: whoever shares a queue between them has a lock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from itertools import groupby, islice
from queue import SimpleQueue
from typing import NamedTuple

from encoders.batching import BatchCost, batch_sizes
from encoders.encoder import Read, Reading, Window

Part = tuple[Sequence[Window], Read]
"""Some windows of a call and their rows."""


class Call:
    """The windows of one call of an encoder, and what has come of them."""

    def __init__(self, windows: Sequence[Window], reading: Reading) -> None:
        # The longest are taken first, from the end: what a round takes is then of like lengths.
        self.left = sorted(windows, key=lambda window: len(window.ids))
        self.reading = reading
        self.parts: SimpleQueue[Part | BaseException] = SimpleQueue()
        self.began = time.perf_counter()
        self.entered: float | None = None
        """When its first window went into the model."""
        self.is_over = False
        """Whether nobody waits for its windows any more."""

    def end(self, error: BaseException) -> None:
        """Nothing comes any more but this."""
        self.is_over = True
        self.parts.put(error)


class Place(NamedTuple):
    """A window on its way, and whose it is."""

    call: Call
    window: Window


class WindowQueue:
    """Windows of many calls, taken in batches.

    A round takes one window from each call in turn until it holds ``pieces``: who has many holds
    up who has few no longer than a round takes. Of equal layers, sorted by length and cut where
    that costs least, it makes batches; when they are taken, the next round is made.

    :param framing: special pieces around a window.
    """

    def __init__(self, cost: BatchCost, framing: int, *, pieces: int) -> None:
        self._cost = cost
        self._framing = framing
        self._pieces = pieces
        self._calls: deque[Call] = deque()
        self._batches: deque[list[Place]] = deque()

    def __len__(self) -> int:
        """Windows that wait, those of calls that are over included."""
        return sum(len(call.left) for call in self._calls) + sum(map(len, self._batches))

    def put(self, call: Call) -> None:
        """Let the windows of ``call`` wait for their turn."""
        self._calls.append(call)

    def take(self) -> list[Place]:
        """The next batch, the windows of a call one after the other; empty where none waits."""
        while self._batches or self._calls:
            if not self._batches:
                self._batches.extend(self._cut(self._round()))
                continue
            batch = [place for place in self._batches.popleft() if not place.call.is_over]
            if batch:
                return sorted(batch, key=lambda place: id(place.call))
        return []

    def _round(self) -> list[Place]:
        found: list[Place] = []
        room = self._pieces
        while room > 0 and self._calls:
            call = self._calls.popleft()
            if call.is_over:
                continue
            window = call.left.pop()
            found.append(Place(call, window))
            room -= self._length(window)
            if call.left:
                self._calls.append(call)
        return found

    def _cut(self, places: Sequence[Place]) -> list[list[Place]]:
        def layers(place: Place) -> tuple[int, ...]:
            return place.call.reading.layers

        ordered = sorted(places, key=lambda place: (layers(place), -self._length(place.window)))
        batches: list[list[Place]] = []
        for _, alike in groupby(ordered, key=layers):
            group = list(alike)
            left = iter(group)
            lengths = [self._length(place.window) for place in group]
            batches.extend(list(islice(left, n)) for n in batch_sizes(lengths, self._cost))
        return batches

    def _length(self, window: Window) -> int:
        return len(window.ids) + self._framing
