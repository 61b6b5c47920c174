"""Memory: giving back what a long run has freed, or keeping it; and how much there is."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any

# of glibc's malloc.h
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 1 << 30  # bytes


def give_back() -> None:
    """Return freed memory to the system, where the C library can be asked to (glibc).

    Batches of ever other sizes leave holes behind that malloc keeps: without this, a process that
    aligns pairs all day grows by megabytes a minute though nothing is held.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def keep_freed_memory() -> bool:
    """Let the process use the memory of freed tensors again, instead of giving it back.

    A training step frees what it made, and the next one makes the same. Memory from the system
    comes page by page, each filled with zeros: two to ten hundredths of a step in bfloat16. It is
    a setting of the process, for commands that train, and not for a library to make.

    :return: whether it can be set here (glibc).
    """
    choose = _of_glibc("mallopt")
    if choose is None:
        return False
    return all(choose(what, _LARGEST) for what in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


@cache
def _of_glibc(function: str) -> Any:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), function, None)


def available() -> int:
    """Bytes that programs may still take; where the system does not say, all it has."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            sizes = dict(line.split(":", 1) for line in file)
        return 1024 * int(sizes["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
