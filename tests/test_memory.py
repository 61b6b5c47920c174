"""Giving freed memory back or keeping it, and how much there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitext.memory import available, give_back


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="the C library here cannot be asked")
def test_freed_memory_goes_back_to_the_system() -> None:
    # Small pieces, so that they lie in malloc's heap, under one that stays and keeps it from
    # shrinking by itself.
    pieces = [bytes(60_000) for _ in range(2000)]  # 120 MB
    stays = bytes(60_000)
    full = resident()
    del pieces
    give_back()
    assert resident() < full - 20_000, "80 MB of pages of 4 kB at least"
    assert len(stays) == 60_000


def test_available_memory_is_some_of_what_there_is() -> None:
    assert 0 < available() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


PROGRAM = """
import resource
import sys
from bitext.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep" and not keep_freed_memory():
    print("cannot")
    sys.exit()
size = 64 << 20  # more than what malloc would keep by itself
bytearray(size)
before = faults()
for _ in range(4):
    bytearray(size)
print(faults() - before)
"""


def faults(how: str) -> int | None:
    """Pages that the process got from the system for four blocks of 64 MiB, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return None if done.stdout.strip() == "cannot" else int(done.stdout)


def test_a_block_is_used_again() -> None:
    kept = faults("keep")
    if kept is None:  # no glibc here: nothing is set, and nothing breaks
        return
    # a page is 4 KiB or larger, and bytearray's zeros are written where memory is used again
    assert kept < 100
    given_back = faults("give back")
    assert given_back is not None
    assert given_back > 10 * max(kept, 1)
