"""Windows that many threads want to put through one model, in batches that they share.

A thread that encodes (to answer a request, say) makes windows of its texts and hands them in; a few
threads of the gatherer's own put them through the model, together with those of others, and each
caller gets its own rows back. So tokenising, the model, and what is made of the vectors overlap,
and short requests fill batches together.

*When.* A thread that is free takes what is there at once: who comes alone does not wait. What comes
in while all are at work makes up the next round (``queue.py``).

*Alone.* What cannot be computed fails its own caller: a batch that fails is computed again, call by
call. Who hangs up (``callers.py``) takes back what is not computed yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch

from bitext.errors import InputError
from encoders.encoder import Encoder, Reading, Window
from encoders.gathering.callers import CALLER, Caller, HungUpError
from encoders.gathering.events import (
    DONE,
    FAILED,
    GONE,
    BatchDone,
    CallDone,
    Tokenised,
    Told,
    tell_nobody,
)
from encoders.gathering.queue import Call, Part, Place, WindowQueue
from encoders.subwords import Subwords, SubwordSplitter

ROUND = 2
"""Batches of a round for each thread: more make less padding, and longer turns."""
LARGE = 2e8
"""Operations of the largest product in a layer from which on several cores share one batch. Two
cores bring a factor of 1.3 to 1.7 there; with less, one pair a request was answered later by two
cores (55 a second, 73 by one; bundled model), as they also have the other threads to run."""


class Gatherer:
    """Threads that put the windows of many callers through one model.

    They start when the first window comes, and end with :meth:`close`.

    :param workers: batches that are computed at the same time, each by one thread of torch: a core
        does more with a batch of its own than with a share of one. A large one that is alone gets
        all.
    :param most: padded pieces of a batch; ``None`` for what suits the device, where a sentence
        that is longer is a batch by itself.
    :param told: called with what happens.
    :raises InputError: if the longest sentence that the model takes has more than ``most`` pieces.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        workers: int = 1,
        most: int | None = None,
        told: Told = tell_nobody,
    ) -> None:
        self._encoder = encoder.in_one_go()
        self._told = told
        self._workers = workers
        cost = encoder.batch_cost
        if most is not None:
            cost = cost._replace(most=_enough(most, encoder))
        self._queue = WindowQueue(cost, encoder.framing, pieces=ROUND * workers * cost.most)
        self._change = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._cores = threading.local()
        self._is_closed = False

    def encoder(self) -> Encoder:
        """The encoder, whose windows go this way."""
        splitter = TimedSplitter(self._encoder.splitter, self._encoder.name, self._told)
        return self._encoder.by_way_of(self.passes, splitter)

    def passes(self, windows: Sequence[Window], reading: Reading) -> Iterator[Part]:
        """Hand windows in, and get each back once with its row, in any order.

        Once the gatherer is closed, they are computed in the thread that asks.

        :raises HungUpError: if the caller of this context hangs up.
        """
        if not windows:
            return
        caller = CALLER.get() or Caller()
        call = Call(windows, reading)

        def give_up() -> None:
            call.end(HungUpError("the client hung up"))

        caller.begin(give_up)
        outcome = FAILED
        try:
            if self._hand_in(call):
                yield from _parts(call, len(windows))
            else:
                yield from self._encoder.passes(windows, reading)
            outcome = DONE
        finally:
            call.is_over = True
            caller.end(give_up)
            self._tell(call, windows, GONE if caller.is_gone else outcome)

    def close(self) -> None:
        """End the threads when what was handed in is computed."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def waiting(self) -> int:
        """Windows that wait for the model."""
        with self._change:
            return len(self._queue)

    def _hand_in(self, call: Call) -> bool:
        with self._change:
            if self._is_closed:
                return False
            self._queue.put(call)
            if len(self._threads) < self._workers:
                name = f"{self._encoder.name} {len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
            self._change.notify()
        return True

    def _work(self) -> None:
        while batch := self._next():
            try:
                self._compute(batch)
            except Exception as error:  # no one may wait for ever, nor those who come later
                for call in {place.call for place in batch}:
                    call.end(error)
            finally:
                with self._change:
                    self._busy -= 1

    def _next(self) -> list[Place]:
        """The next batch; an empty one when there is nothing more to do."""
        with self._change:
            while not (batch := self._queue.take()):
                if self._is_closed:
                    return batch
                self._change.wait()
            self._busy += 1
            is_alone = self._busy == 1 and not len(self._queue)
        if self._workers > 1:
            self._take_cores(self._workers if is_alone and self._is_large(batch) else 1)
        return batch

    def _is_large(self, batch: Sequence[Place]) -> bool:
        """By the product that widens the states fourfold, as in nearly all encoders."""
        return 8 * self._encoder.dim**2 * self._padded(batch) >= LARGE

    def _padded(self, batch: Sequence[Place]) -> int:
        """Pieces of a batch, padding included."""
        longest = max(len(place.window.ids) for place in batch)
        return (longest + self._encoder.framing) * len(batch)

    def _take_cores(self, cores: int) -> None:
        """Let torch compute with so many in this thread: all of them where there is one batch."""
        if getattr(self._cores, "taken", None) != cores:
            torch.set_num_threads(cores)
            self._cores.taken = cores

    def _compute(self, batch: Sequence[Place]) -> None:
        """Put ``batch`` through the model and hand everyone their rows."""
        calls = [(call, list(places)) for call, places in groupby(batch, lambda place: place.call)]
        began = time.perf_counter()
        for call, _ in calls:
            call.entered = call.entered or began
        try:
            found = self._encoder.read(
                [place.window for place in batch], {call.reading for call, _ in calls}
            )
        except Exception as error:
            if len(calls) == 1:
                calls[0][0].end(error)
                return
            for _, places in calls:
                self._compute(places)
            return
        seconds = time.perf_counter() - began
        first = 0
        for call, places in calls:
            rows = slice(first, first + len(places))
            own = {key: array[rows] for key, array in found[call.reading].items()}
            call.parts.put(([place.window for place in places], own))
            first += len(places)
        self._tell_batch(batch, len(calls), seconds)

    def _tell_batch(self, batch: Sequence[Place], calls: int, seconds: float) -> None:
        framing = self._encoder.framing * len(batch)
        self._told(
            BatchDone(
                self._encoder.name,
                rows=len(batch),
                pieces=sum(len(place.window.ids) for place in batch) + framing,
                padded=self._padded(batch),
                calls=calls,
                seconds=seconds,
                waiting=self.waiting(),
            )
        )

    def _tell(self, call: Call, windows: Sequence[Window], outcome: str) -> None:
        total = time.perf_counter() - call.began
        waited = total if call.entered is None else call.entered - call.began
        pieces = sum(len(window.ids) for window in windows)
        self._told(CallDone(self._encoder.name, len(windows), pieces, waited, total, outcome))


class TimedSplitter(SubwordSplitter):
    """A splitter that tells how long it takes."""

    def __init__(self, splitter: SubwordSplitter, model: str, told: Told) -> None:
        vars(self).update(vars(splitter))
        self._model = model
        self._told = told

    def texts(self, texts: Sequence[str]) -> list[Subwords]:
        """The pieces of raw sentences."""
        began = time.perf_counter()
        return self._tell(began, super().texts(texts))

    def words(self, sentences: Sequence[Sequence[str]]) -> list[Subwords]:
        """The pieces of sentences that have been split into words."""
        began = time.perf_counter()
        return self._tell(began, super().words(sentences))

    def _tell(self, began: float, found: list[Subwords]) -> list[Subwords]:
        seconds = time.perf_counter() - began
        pieces = sum(len(one.ids) for one in found)
        self._told(Tokenised(self._model, len(found), pieces, seconds))
        return found


def _enough(most: int, encoder: Encoder) -> int:
    """``most``, if it holds the longest sentence that the model takes."""
    longest = encoder.max_pieces + encoder.framing
    if most < longest:
        raise InputError(
            f"a batch of {most} pieces does not hold the longest sentence that model "
            f"'{encoder.name}' takes, of {longest}; allow that many, or set no limit"
        )
    return most


def _parts(call: Call, windows: int) -> Iterator[Part]:
    """What comes of ``call``, until all its windows are there."""
    while windows:
        part = call.parts.get()
        if isinstance(part, BaseException):
            raise part
        windows -= len(part[0])
        yield part
