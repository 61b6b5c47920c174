"""What every training loop needs: seeds that are functions of the place, and a polite end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def seed_of(*numbers: int) -> int:
    """A seed made of the run's seed and what is to be random."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class Interruption:
    """Ctrl-C and a polite kill end a run after the present step; a second one at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """While the block runs, a signal only sets ``asked``."""

        def note(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        try:
            before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread, where no signal arrives
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
