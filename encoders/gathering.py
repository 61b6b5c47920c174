"""What many threads want of one model, computed together."""

from __future__ import annotations

from dataclasses import dataclass


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
    padded: int
    """With padding."""
    calls: int
    """How many calls (mostly: requests) had rows in it."""
    seconds: float
    """Of the forward pass."""
    waiting: int
    """Windows that still waited for the model when the batch was done."""


@dataclass(frozen=True, slots=True)
class CallDone:
    """All windows of one call have gone through the model, or it failed or was given up."""

    model: str
    windows: int
    pieces: int
    waited: float
    """Seconds until its first window went into the model."""
    seconds: float
    """Seconds until its last one was done, the waiting included."""
    outcome: str
    """``done``, ``failed`` or ``gone`` (whoever wanted it hung up)."""
