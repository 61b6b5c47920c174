"""Memory that was freed is used again."""

from __future__ import annotations

import subprocess
import sys

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
    assert faults("give back") > 10 * max(kept, 1)
