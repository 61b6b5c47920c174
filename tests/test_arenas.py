"""Threads share few pools of memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from service.batching.arenas import limit_arenas

limit_arenas()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
at_once = threading.Barrier(9)

def hold():
    kept = bytes(10_000)  # so large a one is malloc's
    at_once.wait()

for _ in range(8):
    threading.Thread(target=hold).start()
at_once.wait()
file = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how malloc is told is glibc's alone")
@pytest.mark.parametrize("given", [None, 5])
def test_threads_share_two_pools_unless_the_operator_says_more(given: int | None) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if given is not None:
        environ["MALLOC_ARENA_MAX"] = str(given)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, check=True, capture_output=True, text=True
    )
    assert done.stdout.count("<heap nr=") == (given or 2)
