"""What a key may do, and what each route asks for.

A scope includes those before it: who may write may also read. Each function that answers says what
it needs::

    @router.post("/align")
    @needs(Scope.READ)
    async def align(...): ...

A route that says nothing is closed while keys are required (gate.py), and fails a test.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

ATTRIBUTE = "__bitext_demand__"


class Scope(Enum):
    """From nothing asked to everything allowed; the order is that of inclusion."""

    OPEN = "open"
    """No key: the page itself, whether the service lives."""
    METRICS = "metrics"
    """The figures of /metrics, and nothing else: for Prometheus."""
    READ = "read"
    """Align, retrieve, embed, project, mine, translate; look at indexes."""
    WRITE = "write"
    """Change indexes, upload files."""
    TRAIN = "train"
    """Jobs, models: what takes the machine for hours."""

    def includes(self, other: Scope) -> bool:
        """Whether a key of this scope may do what asks for ``other``."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


GIVEN = tuple(scope for scope in Scope if scope is not Scope.OPEN)
"""The scopes that a key can have."""

FREE = (Scope.OPEN, Scope.METRICS)
"""No rate holds for these: they cost little, and those who ask must not be turned away."""


class Demand(NamedTuple):
    """What a route asks of a request."""

    scope: Scope
    streams: bool = False
    """It reads its body piece by piece, of any media type, and limits it itself: an upload."""
    computes: bool = False
    """It asks a model for something, so that it may be refused when too many do."""


def needs(
    scope: Scope, *, streams: bool = False, computes: bool = False
) -> Callable[[Function], Function]:
    """Declare what a function that answers asks of a request."""

    def declare(function: Function) -> Function:
        setattr(function, ATTRIBUTE, Demand(scope, streams, computes))
        return function

    return declare


def demand_of(function: Callable[..., Any] | None) -> Demand | None:
    """What it declares; ``None`` if it says nothing."""
    found: Demand | None = getattr(function, ATTRIBUTE, None)
    return found
