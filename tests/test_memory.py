"""Giving freed memory back, and how much there is."""

from __future__ import annotations

import os
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
