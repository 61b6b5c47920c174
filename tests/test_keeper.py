"""The process between worker and command: when the command begins, and that it always ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.jobs import keeper

Start = Callable[..., "subprocess.Popen[bytes]"]
SECONDS = 60.0
"""How long a test waits for what must happen, on a machine that is busy."""

# Says that it is there, with its number and that of a child of its own, and waits.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a keeper of a Python program; what the program prints is at ``.stdout``."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, patience: float = 600.0) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", keeper.__file__, str(tmp_path / "lock"), str(patience)]
        process = subprocess.Popen(
            [*command, "--", sys.executable, "-c", program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def say(process: subprocess.Popen[bytes], order: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{order}\n".encode())


def begun(process: subprocess.Popen[bytes]) -> list[int]:
    """The numbers of the command and of its child."""
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def has_gone(pid: int) -> bool:
    """Whether nothing of it is left but, for a moment, a number."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("import sys; sys.exit(2)", 2),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 128 + signal.SIGSEGV),
    ],
)
def test_it_ends_as_the_command_does(start: Start, program: str, code: int) -> None:
    assert start(program).wait(SECONDS) == code


def test_what_a_command_leaves_behind_is_ended(start: Start) -> None:
    process = start(PARENT.replace("time.sleep(600)\nexcept", "pass\nexcept"))
    _, child = begun(process)
    assert process.wait(SECONDS) == 0
    assert has_gone(child)


def test_an_interrupt_reaches_the_command(start: Start) -> None:
    process = start(PARENT)
    both = begun(process)
    say(process, "interrupt")
    assert process.wait(SECONDS) == 130
    assert all(map(has_gone, both))


@pytest.mark.parametrize("end", ["kill", "gone"])
def test_all_of_it_ends_with_the_worker(start: Start, end: str) -> None:
    process = start(PARENT)
    both = begun(process)
    if end == "kill":
        say(process, "kill")
    else:
        assert process.stdin is not None
        process.stdin.close()  # as when the worker is killed
    assert process.wait(SECONDS) == 128 + signal.SIGKILL
    assert all(map(has_gone, both))


def test_a_worker_that_is_silent_loses_it(start: Start) -> None:
    process = start(PARENT, patience=3600)
    both = begun(process)
    say(process, f"alive {time.monotonic() - 3599.9}")  # a claim made sure of long ago
    assert process.wait(SECONDS) == 128 + signal.SIGKILL
    assert all(map(has_gone, both))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of it")
def test_a_command_does_not_outlive_its_keeper(start: Start) -> None:
    process = start(PARENT)
    command, child = begun(process)
    process.kill()
    assert has_gone(command)
    os.kill(child, signal.SIGKILL)  # nobody told it


def test_it_waits_for_whoever_works_there_still(start: Start, tmp_path: Path) -> None:
    first = start(PARENT)
    begun(first)
    second = start("print(1, flush=True)")
    lock = os.open(tmp_path / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):  # it is the first one's
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)
    say(first, "kill")
    assert begun(second) == [1]
    assert second.wait(SECONDS) == 0


def test_one_that_waits_can_be_told_to_stop(start: Start) -> None:
    first = start(PARENT)
    begun(first)
    second = start("print(1, flush=True)")
    say(second, "interrupt")
    assert second.wait(SECONDS) == 128 + signal.SIGKILL
    assert begun(second) == []
