"""What is told of a call of a model, and of the batches that it shares with others.

A call is one question to a model: the vectors of some texts, or the translations of some
(``nmt/search/gathering.py``). A request asks one or more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DONE, FAILED, GONE = "done", "failed", "gone"
"""Outcomes: done; an error was raised; whoever wanted it hung up."""


@dataclass(frozen=True, slots=True)
class Tokenised:
    """Texts of one call have become pieces."""

    model: str
    texts: int
    pieces: int
    seconds: float


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A batch has gone through the model."""

    model: str
    rows: int
    """Windows: sentences, or parts of long ones."""
    pieces: int
    """Without padding, special pieces included."""
    padded: int | None
    """With padding; ``None`` where it is not known, as of a translator that cuts them itself."""
    calls: int
    """How many calls had rows in it."""
    seconds: float
    """Of the forward pass, or of the search for translations."""
    waiting: int
    """Windows that waited for the model when the batch was done."""


@dataclass(frozen=True, slots=True)
class CallDone:
    """All windows of one call have gone through the model, or it failed or was given up."""

    model: str
    windows: int
    pieces: int
    """Without padding and special pieces."""
    waited: float
    """Seconds until its first window went into the model."""
    total: float
    """Seconds until its last one was done, the waiting included."""
    outcome: str
    """``DONE``, ``FAILED`` or ``GONE``."""


Event = Tokenised | BatchDone | CallDone
Told = Callable[[Event], None]
"""Called in whatever thread something happens; must be quick."""


def tell_nobody(event: Event) -> None:
    """For those of whom nobody wants to know."""
