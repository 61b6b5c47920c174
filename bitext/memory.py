"""Memory that a long run has freed, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def give_back() -> None:
    """Return freed memory to the system, where the C library can be asked to (glibc).

    Batches of ever other sizes leave holes behind that malloc keeps: without this, a process that
    aligns pairs all day grows by megabytes a minute though nothing is held.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
