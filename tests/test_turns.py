"""Turns: changes of several threads made together, each with its own outcome."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from retrieval.store.turns import Turns


def test_one_commit_for_those_that_wait() -> None:
    commits: list[list[int]] = []
    first_is_in, go_on = threading.Event(), threading.Event()

    def commit(changes: Sequence[int]) -> None:
        commits.append(sorted(changes))
        first_is_in.set()
        assert go_on.wait(10)

    turns: Turns[int] = Turns(commit)
    threads = [threading.Thread(target=turns.make, args=[n]) for n in range(4)]
    threads[0].start()
    assert first_is_in.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(turns._queue) < 3:
        pass
    go_on.set()
    for thread in threads:
        thread.join()
    assert commits == [[0], [1, 2, 3]]


def test_a_mistake_is_only_its_own() -> None:
    """Of changes 1, -2 and 3 made together, -2 cannot be: the others are made without it."""
    made: list[int] = []
    first_is_in, go_on = threading.Event(), threading.Event()

    def commit(changes: Sequence[int]) -> None:
        first_is_in.set()
        assert go_on.wait(10)
        if min(changes) < 0:
            raise ValueError(f"cannot make {min(changes)}")
        made.extend(changes)

    turns: Turns[int] = Turns(commit)
    raised: list[str] = []

    def make(change: int) -> None:
        try:
            turns.make(change)
        except ValueError as error:
            raised.append(str(error))

    threads = [threading.Thread(target=make, args=[n]) for n in (0, 1, -2, 3)]
    threads[0].start()
    assert first_is_in.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(turns._queue) < 3:
        pass
    go_on.set()
    for thread in threads:
        thread.join()
    assert (sorted(made), raised) == ([0, 1, 3], ["cannot make -2"])


def test_an_interruption_leaves_the_turn_free() -> None:
    interrupted = iter([True, False])

    def commit(changes: Sequence[int]) -> None:
        if next(interrupted):
            raise KeyboardInterrupt

    turns: Turns[int] = Turns(commit)
    with pytest.raises(KeyboardInterrupt):
        turns.make(1)
    turns.make(2)
