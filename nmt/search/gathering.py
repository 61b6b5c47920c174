"""GatheringEngine: what several threads want translated at the same time, searched together.

Nobody waits for others to come: a call that finds the model free begins at once, and those that
come meanwhile are served together when it has done a share. A model that is asked by one thread
works as it would alone; one that is asked by many works on full batches. Each call goes as soon as
its own sentences are found, and who hangs up (``encoders/gathering/callers.py``) at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from encoders.gathering.callers import CALLER, Caller, HungUpError
from encoders.gathering.events import (
    DONE,
    FAILED,
    GONE,
    BatchDone,
    CallDone,
    Told,
    tell_nobody,
)
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
        self.began = time.perf_counter()
        self.entered: float | None = None
        """When its first share was searched."""
        # The longest first, as batches are made of like lengths.
        self.left = sorted(range(len(items)), key=lambda n: len(items[n].source))
        self._open = len(items)

    @property
    def is_done(self) -> bool:
        return self.error is not None or not self._open

    def goes_with(self, other: _Call) -> bool:
        return (self.how, self.counted) == (other.how, other.counted)

    def take(self, most: int) -> _Share:
        count = min(SHARE, most, len(self.left))
        return _Share(self, [self.left.pop() for _ in range(count)])

    def give(self, places: Sequence[int], found: Sequence[list[Found]]) -> None:
        for place, one in zip(places, found, strict=True):
            self.found[place] = one
        self._open -= len(places)

    def end(self, error: BaseException) -> None:
        """It comes to nothing; the first reason counts."""
        self.error = self.error or error


class _Share(NamedTuple):
    """Some sentences of a call, by their numbers."""

    call: _Call
    places: list[int]

    @property
    def items(self) -> list[Item]:
        return [self.call.items[place] for place in self.places]


class GatheringEngine:
    """An engine for many threads; one of them computes at a time, for all that wait.

    :param model: its name, for what is told.
    :param told: called with what happens: a :class:`BatchDone` for each turn, whose pieces are
        those of the sources, and a :class:`CallDone` for each call.
    """

    def __init__(self, engine: Engine, *, model: str = "", told: Told = tell_nobody) -> None:
        self._engine = engine
        self.name = engine.name
        self.device = engine.device
        self.dtype = engine.dtype
        self.bytes = engine.bytes
        self._model = model
        self._told = told
        self._calls: list[_Call] = []
        self._change = threading.Condition()
        self._at_work = False

    def find(
        self, items: Sequence[Item], how: SearchSettings, *, counted: int
    ) -> list[list[Found]]:
        """As :class:`nmt.search.engine.Engine` says; what is found depends on no other call.

        :raises HungUpError: if the caller of this context hangs up.
        """
        if not items:
            return []
        caller = CALLER.get() or Caller()
        own = _Call(items, how, counted)

        def give_up() -> None:
            self._leave(own, HungUpError("the client hung up"))

        caller.begin(give_up)
        try:
            with self._change:
                self._calls.append(own)
            while not own.is_done:
                self._wait_or_serve(own)
        except BaseException as error:  # Ctrl-C: nobody waits for it any more
            self._leave(own, error)
            raise
        finally:
            caller.end(give_up)
            self._tell(own, caller)
        if own.error is not None:
            raise own.error
        return own.found

    def _leave(self, call: _Call, error: BaseException) -> None:
        """``call`` is wanted no more; what is being searched of it is found for nobody."""
        with self._change:
            call.end(error)
            self._calls = [one for one in self._calls if one is not call]
            self._change.notify_all()

    def _wait_or_serve(self, own: _Call) -> None:
        """Wait while another thread searches; then search for all that wait, unless ``own`` is
        done by then."""
        with self._change:
            while self._at_work and not own.is_done:
                self._change.wait()
            if own.is_done:
                return
            shares = self._shares()
            self._at_work = True
        try:
            self._serve(shares)
        finally:
            with self._change:
                self._at_work = False
                served = [share.call for share in shares]
                rest = [call for call in self._calls if call not in served]
                self._calls = rest + [call for call in served if not call.is_done]
                self._change.notify_all()

    def _shares(self) -> list[_Share]:
        """A share of the call that has waited longest and of those that go with it."""
        shares, room = [], TURN
        first = self._calls[0]
        for call in self._calls:
            if room and call.goes_with(first):
                shares.append(call.take(room))
                room -= len(shares[-1].places)
        return shares

    def _serve(self, shares: Sequence[_Share]) -> None:
        try:
            self._search(shares)
        except Exception as error:
            if len(shares) == 1:
                shares[0].call.end(error)
            else:
                self._serve_apart(shares)
        except BaseException as error:  # Ctrl-C, which this thread must hear of, too
            for share in shares:
                share.call.end(error)
            raise

    def _search(self, shares: Sequence[_Share]) -> None:
        first = shares[0].call
        items = [item for share in shares for item in share.items]
        began = time.perf_counter()
        for share in shares:
            share.call.entered = share.call.entered or began
        found = iter(self._engine.find(items, first.how, counted=first.counted))
        seconds = time.perf_counter() - began
        for share in shares:
            share.call.give(share.places, [next(found) for _ in share.places])
        self._tell_turn(items, len(shares), seconds)

    def _serve_apart(self, shares: Sequence[_Share]) -> None:
        """The fault of one call is no other's."""
        for share in shares:
            if share.call.is_done:  # it hung up meanwhile
                continue
            try:
                self._search([share])
            except Exception as error:
                share.call.end(error)

    def _tell_turn(self, items: Sequence[Item], calls: int, seconds: float) -> None:
        with self._change:
            waiting = sum(len(call.left) for call in self._calls)
        self._told(
            BatchDone(
                self._model,
                rows=len(items),
                pieces=sum(len(item.source) for item in items),
                padded=None,
                calls=calls,
                seconds=seconds,
                waiting=waiting,
            )
        )

    def _tell(self, call: _Call, caller: Caller) -> None:
        total = time.perf_counter() - call.began
        waited = total if call.entered is None else call.entered - call.began
        pieces = sum(len(item.source) for item in call.items)
        outcome = GONE if caller.is_gone else DONE if call.error is None else FAILED
        self._told(CallDone(self._model, len(call.items), pieces, waited, total, outcome))
