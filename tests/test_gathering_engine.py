"""GatheringEngine: what waits while the model computes is searched together, each for itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from encoders.gathering.callers import CALLER, Caller, HungUpError
from encoders.gathering.events import DONE, FAILED, GONE, BatchDone, CallDone, Event
from nmt.search.engine import Item
from nmt.search.frontier import Found
from nmt.search.gathering import SHARE, GatheringEngine
from nmt.search.search import SearchSettings

HOW = SearchSettings()


def items(*sources: int) -> list[Item]:
    return [Item([source], [0], 5) for source in sources]


class Echo:
    """Finds each source itself; stands still at the first call until it is let go."""

    name, device, dtype, bytes = "echo", "cpu", "float32", 0

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def find(
        self, items: Sequence[Item], how: SearchSettings, *, counted: int
    ) -> list[list[Found]]:
        self.batches.append([item.source[0] for item in items])
        if not self.begun.is_set():
            self.begun.set()
            assert self.go_on.wait(20)
        if any(item.source[0] < 0 for item in items):
            raise ValueError("a source that cannot be")
        return [[Found(item.source, 0.0, False)] for item in items]


def found(engine: GatheringEngine, *sources: int, how: SearchSettings = HOW) -> list[int]:
    return [own[0].ids[0] for own in engine.find(items(*sources), how, counted=0)]


def gathered(calls: Sequence[tuple[Sequence[int], SearchSettings]]) -> tuple[Echo, list[object]]:
    """The results of calls that wait while a first one is computed, by threads of their own."""
    echo = Echo()
    engine = GatheringEngine(echo)
    with ThreadPoolExecutor(len(calls) + 1) as pool:
        first = pool.submit(found, engine, 1)
        assert echo.begun.wait(20)
        results = []
        for number, (sources, how) in enumerate(calls, 2):
            results.append(pool.submit(found, engine, *sources, how=how))
            while len(engine._calls) < number:  # until it waits
                pass
        echo.go_on.set()
        assert first.result() == [1]
        return echo, [one.exception() or one.result() for one in results]


def test_calls_that_wait_are_searched_together() -> None:
    echo, results = gathered([([2, 3], HOW), ([4], HOW)])
    assert results == [[2, 3], [4]]
    assert [sorted(batch) for batch in echo.batches] == [[1], [2, 3, 4]]


def test_calls_of_other_settings_are_not_mixed() -> None:
    greedy = SearchSettings(beam_size=1)
    echo, results = gathered([([2], HOW), ([3], greedy), ([4], HOW)])
    assert results == [[2], [3], [4]]
    assert [sorted(batch) for batch in echo.batches] == [[1], [2, 4], [3]]


def test_a_long_call_holds_nobody_up() -> None:
    long = list(range(100, 100 + SHARE + 8))
    echo, results = gathered([(long, HOW), ([2], HOW)])
    assert results == [long, [2]]
    assert [len(batch) for batch in echo.batches] == [1, SHARE + 1, 8]


def test_the_fault_of_one_call_is_no_others() -> None:
    _, results = gathered([([2], HOW), ([-1], HOW), ([3], HOW)])
    assert results[0] == [2]
    assert isinstance(results[1], ValueError)
    assert results[2] == [3]


def found_for(caller: Caller, engine: GatheringEngine, *sources: int) -> list[int]:
    CALLER.set(caller)  # of a context that is this thread's own
    return found(engine, *sources)


def test_who_hangs_up_waits_no_more_and_nothing_is_searched_for_it() -> None:
    echo, caller, heard = Echo(), Caller(), list[Event]()
    engine = GatheringEngine(echo, model="m", told=heard.append)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(found, engine, 1)
        assert echo.begun.wait(20)
        gone = pool.submit(found_for, caller, engine, 2, 3)
        while len(engine._calls) < 2:  # until it waits
            pass
        stays = pool.submit(found, engine, 4)
        while len(engine._calls) < 3:
            pass
        caller.hang_up()
        assert isinstance(gone.exception(20), HungUpError)  # while the first is being searched
        assert not first.done()
        echo.go_on.set()
        assert (first.result(20), stays.result(20)) == ([1], [4])
    assert echo.batches == [[1], [4]]
    calls = [event for event in heard if isinstance(event, CallDone)]
    assert [(call.windows, call.outcome) for call in calls] == [(2, GONE), (1, DONE), (1, DONE)]
    assert calls[0].waited == calls[0].total
    assert engine._calls == []


def test_who_hangs_up_while_being_searched_for_is_searched_for_no_further() -> None:
    echo, caller = Echo(), Caller()
    engine = GatheringEngine(echo)
    with ThreadPoolExecutor(1) as pool:
        gone = pool.submit(found_for, caller, engine, *range(1, 2 * SHARE))
        assert echo.begun.wait(20)
        caller.hang_up()
        echo.go_on.set()
        assert isinstance(gone.exception(20), HungUpError)
    assert [len(batch) for batch in echo.batches] == [SHARE]
    assert found(engine, 7) == [7]


def test_who_is_gone_already_is_not_begun() -> None:
    echo, caller = Echo(), Caller()
    caller.hang_up()
    with ThreadPoolExecutor(1) as pool:
        gone = pool.submit(found_for, caller, GatheringEngine(echo), 1)
        assert isinstance(gone.exception(20), HungUpError)
    assert echo.batches == []


def test_a_short_call_is_answered_before_a_long_one_is_done() -> None:
    """The thread that searches goes on with its own call, and holds no other's answer back."""

    class Slow(Echo):
        """Stands still at its third batch, too."""

        last = threading.Event()

        def find(
            self, items: Sequence[Item], how: SearchSettings, *, counted: int
        ) -> list[list[Found]]:
            if len(self.batches) == 2:
                assert self.last.wait(20)
            return super().find(items, how, counted=counted)

    echo = Slow()
    engine = GatheringEngine(echo)
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(found, engine, *range(100, 100 + 3 * SHARE))
        assert echo.begun.wait(20)
        short = pool.submit(found, engine, 1)
        while len(engine._calls) < 2:
            pass
        echo.go_on.set()
        assert short.result(20) == [1]
        assert not long.done()
        echo.last.set()
        assert len(long.result(20)) == 3 * SHARE


def test_turns_and_calls_are_told() -> None:
    echo, heard = Echo(), list[Event]()
    echo.go_on.set()
    engine = GatheringEngine(echo, model="m", told=heard.append)
    engine.find([Item([5, 6, 7], [0], 5), Item([8], [0], 5)], HOW, counted=0)
    with pytest.raises(ValueError, match="cannot be"):
        found(engine, -1)
    batch, call, failed = heard
    assert isinstance(batch, BatchDone)
    assert (batch.model, batch.rows, batch.pieces, batch.calls, batch.waiting) == ("m", 2, 4, 1, 0)
    assert isinstance(call, CallDone)
    assert (call.model, call.windows, call.pieces, call.outcome) == ("m", 2, 4, DONE)
    assert 0 <= call.waited <= call.total
    assert isinstance(failed, CallDone)
    assert failed.outcome == FAILED


def test_nothing_is_found_for_nothing() -> None:
    assert found(GatheringEngine(Echo())) == []


def test_a_fault_leaves_the_engine_usable() -> None:
    echo = Echo()
    echo.go_on.set()
    engine = GatheringEngine(echo)
    with pytest.raises(ValueError, match="cannot be"):
        found(engine, -1)
    assert found(engine, 7) == [7]
