"""The process between a worker and the command that it runs; it sees to the command's end.

It is started as a script, with nothing of ours imported: ::

    keeper.py LOCK PATIENCE -- COMMAND ...

The worker writes lines to its standard input: ``alive SECONDS``, the moment (``time.monotonic``)
at which the worker made sure of its claim; ``interrupt``; ``kill``. The command and all that it has
started are killed

- when the worker is gone, and with it the other end of standard input;
- when the last such moment is more than PATIENCE seconds ago: the worker hangs, or the database is
  away, and another worker may soon have the job;
- when the command itself ends, as far as it has left something behind.

While it lives it holds the lock on the file LOCK, and the command begins only then: where there are
two of them for the same folder, one waits.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time

TICK = 0.1
SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a command."""


def main(lock: str, patience: float, command: list[str]) -> int:
    """Run ``command``; its exit code, or 128 and the number of the signal that ended it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the worker decides; the command has its own
    orders = Orders(patience)
    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    while not _locked(file):
        orders.wait()
        if orders.kill or orders.interrupt:
            return SIGNALLED + signal.SIGKILL
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,
        pass_fds=[file],  # the lock is free when all of them are gone
    )
    interrupted = False
    while not _has_ended(child.pid):
        orders.wait()
        if orders.kill:
            _signal(child.pid, signal.SIGKILL)
        elif orders.interrupt and not interrupted:
            interrupted = True
            _signal(child.pid, signal.SIGINT)
    _signal(child.pid, signal.SIGKILL)  # before it is buried, so that the number is still its own
    code = child.wait()
    return code if code >= 0 else SIGNALLED - code


class Orders:
    """What the worker has said on standard input."""

    def __init__(self, patience: float) -> None:
        self.interrupt = False
        self.kill = False
        self._patience = patience
        self._alive = time.monotonic()
        self._rest = b""

    def wait(self) -> None:
        """Listen for a tick."""
        if self.kill:
            time.sleep(TICK)
        elif select.select([0], [], [], TICK)[0]:
            self._read(os.read(0, 65536))
        self.kill = self.kill or time.monotonic() - self._alive > self._patience

    def _read(self, data: bytes) -> None:
        if not data:
            self.kill = True
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, _, argument = line.partition(b" ")
            if word == b"alive":
                self._alive = float(argument)
            self.interrupt = self.interrupt or word == b"interrupt"
            self.kill = self.kill or word == b"kill"


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal(group: int, number: int) -> None:
    # where none is left, macOS says that it is not permitted
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _die_with_parent() -> None:
    """In the child: should the keeper be killed, so is the command (Linux)."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[4:]))
