"""GatheringEngine: what waits while the model computes is searched together, each for itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

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


def test_nothing_is_found_for_nothing() -> None:
    assert found(GatheringEngine(Echo())) == []


def test_a_fault_leaves_the_engine_usable() -> None:
    echo = Echo()
    echo.go_on.set()
    engine = GatheringEngine(echo)
    with pytest.raises(ValueError, match="cannot be"):
        found(engine, -1)
    assert found(engine, 7) == [7]
