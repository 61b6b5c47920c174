"""What was freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from service.freeing import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

pieces = [b"x" * (60_000 if number % 2 else 1_000) for number in range(4_000)]
kept = pieces[::2]  # between them lies what is freed: 2,000 times 60,000 bytes
del pieces
before = resident()
assert give_back()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of malloc, only glibc's is asked")
def test_what_lies_between_things_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)
    # of each 60,000 bytes a page (4,096) at either end may be shared
    assert int(done.stdout) > 2_000 * (60_000 - 2 * 4_096) * 0.9
