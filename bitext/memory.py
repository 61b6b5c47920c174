"""Memory: giving back what a long run has freed, and how much there is."""

from __future__ import annotations

import ctypes
import os
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


def available() -> int:
    """Bytes that programs may still take; where the system does not say, all it has."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            sizes = dict(line.split(":", 1) for line in file)
        return 1024 * int(sizes["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
