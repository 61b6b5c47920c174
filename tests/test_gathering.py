"""Windows of many threads in shared batches: together, by turns, and each for itself."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SENTENCES

from aligners.aligner import Aligner
from bitext.errors import InputError, TooLongError
from bitext.types import SentencePair
from encoders.batching import BatchCost
from encoders.encoder import Encoder, Read, Reading, Window
from encoders.gathering.callers import CALLER, Caller, HungUpError
from encoders.gathering.events import DONE, FAILED, GONE, BatchDone, CallDone, Event, Tokenised
from encoders.gathering.gatherer import Gatherer
from encoders.gathering.queue import Call, WindowQueue

PATIENCE = 60
"""Seconds after which a test fails that waits for something that does not come."""
READING = Reading((1,))


class Gate:
    """Keeps an encoder from computing while it is closed, and fails it at a piece."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder.by_way_of(encoder.passes)
        self.encoder.read = self._read  # type: ignore[method-assign]
        self._own = encoder
        self.open = threading.Event()
        self.reached = threading.Event()
        self.poison: int | None = None

    def _read(self, batch: Sequence[Window], readings: Collection[Reading]) -> dict[Reading, Read]:
        self.reached.set()
        assert self.open.wait(PATIENCE)
        if any(self.poison in window.ids for window in batch):
            raise RuntimeError("poison")
        return self._own.read(batch, readings)


class Ear:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def batches(self) -> list[BatchDone]:
        return [event for event in self.heard if isinstance(event, BatchDone)]

    def calls(self) -> list[CallDone]:
        return [event for event in self.heard if isinstance(event, CallDone)]


@pytest.fixture
def gate(encoder: Encoder) -> Gate:
    return Gate(encoder)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


@contextmanager
def gathering(encoder: Encoder, **options: Any) -> Iterator[tuple[Gatherer, Encoder]]:
    gatherer = Gatherer(encoder, **options)
    try:
        yield gatherer, gatherer.encoder()
    finally:
        gatherer.close()


def wait_until_waiting(gatherer: Gatherer, windows: int) -> None:
    """Return when so many windows wait."""
    tick = threading.Event()
    for _ in range(PATIENCE * 100):
        if gatherer.waiting() == windows:
            return
        tick.wait(0.01)
    raise AssertionError(f"{gatherer.waiting()} windows wait, not {windows}")


def held_up(gate: Gate, shared: Encoder, pool: ThreadPoolExecutor) -> Future[Any]:
    """A first call that keeps the only thread at the closed gate."""
    first = pool.submit(shared.sentences, ["the house"])
    assert gate.reached.wait(PATIENCE)
    return first


def window(length: int) -> Window:
    return Window(0, [7] * length, 0, slice(0, length))


def queue(most: int = 40, pieces: int = 40) -> WindowQueue:
    return WindowQueue(BatchCost(most=most, start=4), 2, pieces=pieces)


def test_calls_that_wait_share_batches(
    gate: Gate, ear: Ear, encoder: Encoder, pool: ThreadPoolExecutor
) -> None:
    with gathering(gate.encoder, told=ear) as (gatherer, shared):
        first = held_up(gate, shared, pool)
        others = [pool.submit(shared.sentences, [text]) for text in SENTENCES]
        wait_until_waiting(gatherer, len(SENTENCES))
        gate.open.set()
        vectors = np.concatenate([other.result(PATIENCE) for other in others])
        first.result(PATIENCE)
    assert vectors == pytest.approx(encoder.sentences(SENTENCES), abs=1e-6)
    alone, *together = ear.batches()
    assert (alone.rows, alone.calls) == (1, 1)
    # eight sentences of like lengths are one batch; the longest and the shortest may be another
    assert len(together) <= 3
    assert sum(batch.rows for batch in together) == len(SENTENCES)
    assert max(batch.calls for batch in together) > 1
    for batch in ear.batches():
        assert batch.padded is not None
        assert 0 < batch.pieces <= batch.padded
    assert ear.batches()[-1].waiting == 0


def test_who_comes_alone_is_computed_alone_and_at_once(encoder: Encoder, ear: Ear) -> None:
    with gathering(encoder, told=ear) as (_, shared):
        found = shared.sentences(SENTENCES[:2])
    np.testing.assert_array_equal(found, encoder.sentences(SENTENCES[:2]))
    (tokenised,) = (event for event in ear.heard if isinstance(event, Tokenised))
    assert tokenised.texts == 2
    (call,) = ear.calls()
    assert (call.windows, call.pieces, call.outcome) == (2, tokenised.pieces, DONE)
    assert 0 <= call.waited <= call.total
    assert sum(batch.rows for batch in ear.batches()) == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_what_else_is_in_the_batch_changes_nothing(
    encoder: Encoder, pool: ThreadPoolExecutor, workers: int
) -> None:
    pairs = [
        SentencePair(one.split(), other.split()) for one in SENTENCES for other in SENTENCES[:6]
    ]
    expected = [Aligner(encoder).align([pair])[0] for pair in pairs]
    with gathering(encoder, workers=workers) as (_, shared):
        aligner = Aligner(shared)
        found = list(pool.map(lambda pair: aligner.align([pair])[0], pairs))
        together = aligner.align(pairs)
    for alignments in (found, together):
        assert [one.links for one in alignments] == [one.links for one in expected]
        for one, other in zip(alignments, expected, strict=True):
            assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_readings_of_every_kind_share_the_model(
    encoder: Encoder, pool: ThreadPoolExecutor, gate: Gate, ear: Ear
) -> None:
    words = [text.split() for text in SENTENCES]
    with gathering(gate.encoder, told=ear) as (gatherer, shared):
        first = held_up(gate, shared, pool)
        pieces = pool.submit(shared.pieces_of_layers, words, layers=[1])
        means = pool.submit(shared.sentences, SENTENCES, layer=1)
        both = pool.submit(
            shared.sentences_of_layers, SENTENCES, layers=[0, 2], poolings=["max", "cls"]
        )
        wait_until_waiting(gatherer, 3 * len(SENTENCES))
        gate.open.set()
        first.result(PATIENCE)
        for one, other in zip(
            pieces.result(PATIENCE)[1], encoder.pieces(words, layer=1), strict=True
        ):
            assert one.vectors == pytest.approx(other.vectors, abs=1e-5)
        assert means.result(PATIENCE) == pytest.approx(
            encoder.sentences(SENTENCES, layer=1), abs=1e-5
        )
        expected = encoder.sentences_of_layers(SENTENCES, layers=[0, 2], poolings=["max", "cls"])
        for key, vectors in both.result(PATIENCE).items():
            assert vectors == pytest.approx(expected[key], abs=1e-5)
    assert {call.outcome for call in ear.calls()} == {DONE}
    assert 2 in {batch.calls for batch in ear.batches()}  # pieces and means, of the same layer


def test_windows_of_a_long_sentence_come_together_again(encoder: Encoder) -> None:
    text = " ".join(SENTENCES[:4] * 10)
    with gathering(encoder, workers=2) as (_, shared):
        with pytest.raises(TooLongError, match="sentence 2 has"):
            shared.sentences(["a", text])
        found = shared.sentences([text], too_long="windows")
    assert found == pytest.approx(encoder.sentences([text], too_long="windows"), abs=1e-5)


def test_who_has_little_goes_before_the_rest_of_who_has_much() -> None:
    waiting = queue()
    long, short = Call([window(8)] * 100, READING), Call([window(8)] * 2, READING)
    waiting.put(long)
    waiting.take()  # of a round of four windows of ten pieces
    waiting.put(short)
    of_round = waiting.take()
    # one window of each in turn: the long call was first
    assert [place.call for place in of_round].count(short) == 2
    assert len(of_round) == 4
    assert len(waiting) == 92 + 2


def test_a_round_is_sorted_and_cut_into_batches_of_like_lengths() -> None:
    waiting = queue(most=24, pieces=90)
    waiting.put(Call([window(1), window(10), window(2)], READING))
    waiting.put(Call([window(9), window(2), window(5)], READING))
    batches = []
    while batch := waiting.take():
        batches.append(sorted(len(place.window.ids) for place in batch))
    assert batches == [[9, 10], [5], [1, 2, 2]]


def test_other_layers_are_other_batches() -> None:
    waiting = queue()
    calls = [Call([window(3)] * 2, Reading((layer,))) for layer in (1, 2, 1)]
    for call in calls:
        waiting.put(call)
    layers = []
    while batch := waiting.take():
        layers.append([place.call.reading.layers for place in batch])
    assert layers == [[(1,)] * 4, [(2,)] * 2]


def test_what_is_given_up_is_not_taken() -> None:
    waiting = queue(pieces=80)
    kept, given_up = Call([window(3)] * 2, READING), Call([window(3)] * 50, READING)
    waiting.put(kept)
    waiting.put(given_up)
    given_up.end(HungUpError())
    taken = waiting.take()
    assert {place.call for place in taken} == {kept}
    assert not waiting.take()
    assert len(waiting) == 0


def test_who_fails_fails_alone(
    gate: Gate, ear: Ear, encoder: Encoder, pool: ThreadPoolExecutor
) -> None:
    with gathering(gate.encoder, told=ear) as (gatherer, shared):
        first = held_up(gate, shared, pool)
        (bad,) = encoder.splitter.texts(["garden"])
        gate.poison = bad.ids[0]
        others = [pool.submit(shared.sentences, [text]) for text in ("cat", "garden", "old")]
        wait_until_waiting(gatherer, 3)
        gate.open.set()
        first.result(PATIENCE)
        failures = [other.exception(PATIENCE) for other in others]
        assert [type(failure) for failure in failures] == [type(None), RuntimeError, type(None)]
        assert others[0].result() == pytest.approx(encoder.sentences(["cat"]), abs=1e-6)
        gate.poison = None
        shared.sentences(["garden"])  # and the thread goes on
    assert [call.outcome for call in ear.calls()].count(FAILED) == 1


def test_what_is_wanted_no_more_is_not_computed(
    gate: Gate, ear: Ear, pool: ThreadPoolExecutor
) -> None:
    caller = Caller()

    def ask(shared: Encoder) -> Any:
        CALLER.set(caller)
        return shared.sentences(SENTENCES)

    with gathering(gate.encoder, told=ear) as (gatherer, shared):
        first = held_up(gate, shared, pool)
        gone = pool.submit(copy_context().run, ask, shared)
        wait_until_waiting(gatherer, len(SENTENCES))
        caller.hang_up()
        with pytest.raises(HungUpError):
            gone.result(PATIENCE)
        gate.open.set()
        first.result(PATIENCE)
        with pytest.raises(HungUpError):
            copy_context().run(ask, shared)
    assert [batch.rows for batch in ear.batches()] == [1]
    assert sorted(call.outcome for call in ear.calls()) == [DONE, GONE]


@pytest.mark.parametrize(("words", "cores"), [(1, 1), (14, 2)])
def test_a_batch_that_is_alone_gets_all_cores_if_it_is_large(
    encoder: Encoder, gate: Gate, monkeypatch: pytest.MonkeyPatch, words: int, cores: int
) -> None:
    monkeypatch.setattr("encoders.gathering.gatherer.LARGE", 8 * encoder.dim**2 * 30)
    seen: list[int] = []
    read = encoder.read

    def watched(batch: Sequence[Window], readings: Collection[Reading]) -> dict[Reading, Read]:
        seen.append(torch.get_num_threads())
        return read(batch, readings)

    gate._own = encoder.by_way_of(encoder.passes)
    gate._own.read = watched  # type: ignore[method-assign]
    gate.open.set()
    with gathering(gate.encoder, workers=2) as (_, shared):
        shared.sentences(["the " * words])
    assert seen == [cores]


def test_closing_finishes_what_was_handed_in(
    gate: Gate, encoder: Encoder, pool: ThreadPoolExecutor
) -> None:
    gatherer = Gatherer(gate.encoder)
    shared = gatherer.encoder()
    first = held_up(gate, shared, pool)
    second = pool.submit(shared.sentences, SENTENCES)
    wait_until_waiting(gatherer, len(SENTENCES))
    closing = pool.submit(gatherer.close)
    with suppress(TimeoutError):
        closing.result(0)
    assert not second.done()
    gate.open.set()
    closing.result(PATIENCE)
    first.result(PATIENCE)
    assert second.result(PATIENCE) == pytest.approx(encoder.sentences(SENTENCES), abs=1e-6)
    # who still holds the encoder computes by himself
    assert shared.sentences(SENTENCES) == pytest.approx(encoder.sentences(SENTENCES), abs=1e-6)
    gatherer.close()


def test_nothing_to_compute_asks_no_thread(encoder: Encoder, ear: Ear) -> None:
    with gathering(encoder, told=ear) as (_, shared):
        assert not shared.sentences(["", " "]).any()
    assert not ear.batches()


def test_a_batch_must_hold_the_longest_sentence(encoder: Encoder) -> None:
    # The tiny model takes 64 pieces, two of them special.
    with pytest.raises(InputError, match="of 63 pieces does not hold the longest .* of 64"):
        Gatherer(encoder, most=63)
    with gathering(encoder, most=64) as (_, shared):
        assert shared.sentences(SENTENCES) == pytest.approx(encoder.sentences(SENTENCES), abs=1e-6)


def test_a_listener_that_raises_leaves_nobody_waiting(
    encoder: Encoder, pool: ThreadPoolExecutor
) -> None:
    def told(event: Event) -> None:
        if isinstance(event, BatchDone):
            raise ValueError("deaf")

    with gathering(encoder, told=told) as (_, shared):
        for text in ("the house", "das haus"):
            assert pool.submit(shared.sentences, [text]).result(PATIENCE).shape == (1, 16)
