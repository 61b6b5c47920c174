"""From how far a command is to how fast it goes and when it will be done."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

SPAN = 600.0
"""Seconds the rate looks back."""


class RateMeter:
    """Remembers how far a command was."""

    def __init__(self) -> None:
        self._stage: object = None
        self._seen: deque[tuple[float, int]] = deque()
        self._last: dict[str, Any] | None = None

    def take(self, said: dict[str, Any], moment: float | None = None) -> dict[str, Any] | None:
        """What to tell of it; ``None`` if nothing has changed.

        :param said: ``stage``, ``unit``, ``done`` and ``total``; see bitext/progress.py.
        """
        moment = time.monotonic() if moment is None else moment
        if said == self._last:
            return None
        if said["stage"] != self._stage:
            self._stage = said["stage"]
            self._seen.clear()
        self._last = said
        self._seen.append((moment, said["done"]))
        while moment - self._seen[0][0] > SPAN:
            self._seen.popleft()
        rate = self._rate()
        left = None if said["total"] is None or not rate else (said["total"] - said["done"]) / rate
        return {
            **said,
            "rate": None if rate is None else float(f"{rate:.3g}"),
            "eta_seconds": None if left is None else round(max(0.0, left), 1),
        }

    def _rate(self) -> float | None:
        """Done a second; what the first look found may have been done by an earlier attempt."""
        (began, before), (moment, done) = self._seen[0], self._seen[-1]
        return None if moment <= began else (done - before) / (moment - began)
