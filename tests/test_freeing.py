"""What keeps a service from growing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from service import freeing

SHAPES = """
import sys
from service.freeing import hold_few_primitives

if sys.argv[1] == "few":
    hold_few_primitives()
import torch

def resident():
    return int(open("/proc/self/statm").read().split()[1])

torch.set_num_threads(1)
rows = torch.rand(2000, 64)
before = None
for n in range(1, 1025):
    torch.nn.functional.gelu(rows[:n])
    if n == 128:
        before = resident()
print(resident() - before)
"""


def test_few_primitives_are_held_unless_the_operator_says_how_many() -> None:
    environ = {"OTHER": "1"}
    freeing.hold_few_primitives(environ)
    freeing.hold_few_primitives(environ)
    assert environ == {"OTHER": "1", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128"}
    environ = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}
    freeing.hold_few_primitives(environ)
    assert environ == {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}


def pages_for_many_shapes(how: str) -> int:
    environ = {key: value for key, value in os.environ.items() if "ONEDNN" not in key}
    done = subprocess.run(
        [sys.executable, "-c", SHAPES, how], capture_output=True, text=True, check=True, env=environ
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory of a process")
def test_batches_of_ever_other_shapes_do_not_add_up() -> None:
    all_held = pages_for_many_shapes("all")
    if all_held < 500:
        pytest.skip("torch computes without oneDNN here")
    assert pages_for_many_shapes("few") < all_held / 2


def test_memory_goes_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = threading.Semaphore(0)
    monkeypatch.setattr(freeing, "give_back", given.release)
    monkeypatch.setattr(freeing, "EVERY", 0.001)
    freeing.free_regularly()
    for _ in range(3):
        assert given.acquire(timeout=30)
    monkeypatch.setattr(freeing, "EVERY", 3600.0)
