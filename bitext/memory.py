"""What the process does with memory that it has freed."""

from __future__ import annotations

import ctypes
import sys

# of malloc.h
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 1 << 30  # bytes


def keep_freed_memory() -> bool:
    """Let the process use the memory of freed tensors again, instead of giving it back.

    A training step frees what it made, and the next one makes the same. Memory from the system
    comes page by page, each filled with zeros: two to ten hundredths of a step in bfloat16. It is
    a setting of the process, for commands that train, and not for a library to make.

    :return: whether it can be set here; it can with glibc.
    """
    if sys.platform != "linux":
        return False
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    if choose is None:
        return False
    return all(choose(what, _LARGEST) for what in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
