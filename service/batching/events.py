"""What happens on the way of a request through the models, told to whoever counts it.

``state.events.listeners.append(listener)`` is all there is to do. A listener is called with each
event, in whatever thread it happens (the event loop's too, several at once): it must be quick, must
not wait, and takes care of its own locks. What it raises is logged, and hurts no request.

A request is admitted or refused; admitted, it waits for a place, then its texts are tokenised, its
windows (sentences, or the parts of long ones) wait for the model, go through it in batches with
those of others, and what it wanted is made of the vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from encoders.gathering.events import BatchDone, CallDone, Tokenised

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request may come in. Beside it: how many are in the house now, and what they weigh."""

    size: int
    """Bytes of its body."""
    requests: int
    """Admitted and not done, this one too: those that compute and those that wait for a place."""
    bytes: int
    """Of all their bodies."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was answered 429."""

    size: int
    requests: int
    bytes: int
    retry_after: int
    """Seconds, as it was told."""


@dataclass(frozen=True, slots=True)
class Done:
    """An admitted request has left, one way or another."""

    size: int
    requests: int
    """That are left."""
    bytes: int
    waited: float
    """Seconds until it had a place."""
    total: float
    """Seconds since it was admitted."""
    outcome: str
    """``done``, ``failed`` (an error was raised) or ``gone`` (the client hung up)."""


Event = Admitted | Refused | Done | Tokenised | CallDone | BatchDone
Listener = Callable[[Event], None]


class Events:
    """Those who want to know."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def emit(self, event: Event) -> None:
        """Tell everyone."""
        for listener in self.listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed at %s", type(event).__name__)


__all__ = [
    "Admitted",
    "BatchDone",
    "CallDone",
    "Done",
    "Event",
    "Events",
    "Listener",
    "Refused",
    "Tokenised",
]
