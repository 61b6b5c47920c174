"""How many pools of memory threads have: with few, what one has freed another takes.

glibc's malloc gives threads pools of their own, eight a core, and a pool keeps what was freed in
it. The service has many threads that hold vectors for a moment, so its pools grew for as long as it
was busy: after seven minutes (benchmarks/service/soak.py) malloc had 359 MiB, of which 125 were
free, while those in use were as many as after two.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from contextlib import suppress

ARENAS = 2
"""Pools; of Python's threads one computes at a time, so they seldom wait for each other."""
VARIABLE = "MALLOC_ARENA_MAX"
"""By which glibc itself is told."""
_M_ARENA_MAX = -8


def limit_arenas(environ: Mapping[str, str] = os.environ) -> None:
    """Limit the pools of this process, unless a variable does; to be called before threads start.

    Where malloc is not that of glibc, this does nothing.
    """
    if sys.platform == "linux" and VARIABLE not in environ:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
