"""A service that is busy for weeks must not grow: what it frees goes back, and it holds little.

*malloc.* glibc keeps what is freed between things that live on, in a pool of each of many threads.
After seven minutes of benchmarks/service/soak.py it held 359 MiB, of which 125 were free, while
those in use were as many as after two; ``malloc_trim`` took the process from 723 to 630 MiB.

*oneDNN*, which computes GELU and products in bfloat16 for torch, makes code for every shape of a
batch and keeps 1,024 of them, and hardly a batch of several requests has the shape of another: 19
MiB in six minutes of the soak, 1 with 64 kept. To make them again, whether 64 or 128 are kept, took
no time that could be measured (batches of 1, 8 and 32 sentences of ever other lengths).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import MutableMapping

from bitext.memory import give_back

EVERY = 30.0
"""Seconds between two times."""
PRIMITIVES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")


def hold_few_primitives(environ: MutableMapping[str, str] | None = None) -> None:
    """Set what is not set: to be called before torch computes anything, which reads it then."""
    environ = os.environ if environ is None else environ
    environ.setdefault(*PRIMITIVES)


def free_regularly() -> None:
    """Give free memory back for as long as the process lives, in a thread of its own."""

    def run() -> None:
        while True:
            give_back()  # without Python's lock; others compute meanwhile
            time.sleep(EVERY)

    threading.Thread(target=run, name="freeing", daemon=True).start()
