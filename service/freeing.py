"""Memory that was freed goes back to the system, so that a service does not grow while it is busy.

glibc's malloc keeps what is freed between things that live on, in a pool of each of many threads.
After seven minutes of benchmarks/service/soak.py it held 359 MiB, of which 125 were free, while
those in use were as many as after two; ``malloc_trim`` took the process from 723 to 630 MiB.
"""

from __future__ import annotations

import threading
import time

from bitext.memory import give_back

EVERY = 30.0
"""Seconds between two times."""


def free_regularly() -> None:
    """Give free memory back for as long as the process lives, in a thread of its own."""

    def run() -> None:
        while True:
            give_back()  # without Python's lock; others compute meanwhile
            time.sleep(EVERY)

    threading.Thread(target=run, name="freeing", daemon=True).start()
