"""GatheringEngine: what several threads want translated at the same time, searched together.

Nobody waits for others to come: a call that finds the model free begins at once, and those that
come meanwhile are served together when it has done a share. A model that is asked by one thread
works as it would alone; one that is asked by many works on full batches.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from nmt.search.engine import Engine, Item
from nmt.search.frontier import Found
from nmt.search.search import SearchSettings

SHARE = 32
"""Sentences of one call that are searched in a turn, so that a long call holds nobody up."""

TURN = 256
"""Sentences of all calls in a turn."""


class _Call:
    """What one thread wants, and how far it is."""

    def __init__(self, items: Sequence[Item], how: SearchSettings, counted: int) -> None:
        self.items = items
        self.how = how
        self.counted = counted
        self.found: list[list[Found]] = [[] for _ in items]
        self.error: BaseException | None = None
        # The longest first, as batches are made of like lengths.
        self._left = sorted(range(len(items)), key=lambda n: len(items[n].source))

    @property
    def is_done(self) -> bool:
        return self.error is not None or not self._left

    def goes_with(self, other: _Call) -> bool:
        return (self.how, self.counted) == (other.how, other.counted)

    def take(self, most: int) -> _Share:
        count = min(SHARE, most, len(self._left))
        return _Share(self, [self._left.pop() for _ in range(count)])


class _Share(NamedTuple):
    """Some sentences of a call, by their numbers."""

    call: _Call
    places: list[int]

    @property
    def items(self) -> list[Item]:
        return [self.call.items[place] for place in self.places]

    def give(self, found: Sequence[list[Found]]) -> None:
        for place, one in zip(self.places, found, strict=True):
            self.call.found[place] = one


class GatheringEngine:
    """An engine for many threads; one of them computes at a time, for all that wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name
        self.device = engine.device
        self.dtype = engine.dtype
        self.bytes = engine.bytes
        self._calls: list[_Call] = []
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def find(
        self, items: Sequence[Item], how: SearchSettings, *, counted: int
    ) -> list[list[Found]]:
        """As :class:`nmt.search.engine.Engine` says; what is found depends on no other call."""
        own = _Call(items, how, counted)
        if not own.is_done:
            with self._lock:
                self._calls.append(own)
            with self._turn:  # whoever has the turn serves all, perhaps this call too
                while not own.is_done:
                    self._serve()
        if own.error is not None:
            raise own.error
        return own.found

    def _serve(self) -> None:
        """Search for a share of the call that has waited longest and of those that go with it."""
        shares = self._shares()
        try:
            self._search(shares)
        except BaseException as error:
            if len(shares) == 1 or not isinstance(error, Exception):
                for share in shares:
                    share.call.error = error
            else:
                self._serve_apart(shares)
        with self._lock:
            served = [share.call for share in shares]
            rest = [call for call in self._calls if call not in served]
            self._calls = rest + [call for call in served if not call.is_done]

    def _shares(self) -> list[_Share]:
        shares, room = [], TURN
        with self._lock:
            first = self._calls[0]
            for call in self._calls:
                if room and call.goes_with(first):
                    shares.append(call.take(room))
                    room -= len(shares[-1].places)
        return shares

    def _search(self, shares: Sequence[_Share]) -> None:
        first = shares[0].call
        items = [item for share in shares for item in share.items]
        found = iter(self._engine.find(items, first.how, counted=first.counted))
        for share in shares:
            share.give([next(found) for _ in share.places])

    def _serve_apart(self, shares: Sequence[_Share]) -> None:
        """The fault of one call is no other's."""
        for share in shares:
            try:
                self._search([share])
            except Exception as error:
                share.call.error = error
