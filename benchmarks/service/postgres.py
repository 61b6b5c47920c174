"""A PostgreSQL of our own in a folder of its own, for as long as a command or a benchmark lasts.

    python benchmarks/service/postgres.py python -m pytest tests/test_backup.py

runs a command with the server's address in BITEXT_TEST_POSTGRES. The programs of PostgreSQL are
those on PATH, in ``--postgres FOLDER``, or where Debian puts them (``apt-get install postgresql``).
It will not be run by root, who runs it as the user ``postgres`` (or ``nobody``) instead.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

DEBIAN = "/usr/lib/postgresql/*/bin"
PATIENCE = 60.0
"""Seconds until it must answer."""


class Postgres:
    """A server, of which everything can be killed at once."""

    def __init__(self, programs: Path, folder: Path) -> None:
        """:param folder: an empty one."""
        self._programs, self._folder = programs, folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"postgresql://bitext@127.0.0.1:{self.port}/postgres"
        self._owned = _other_user()
        if self._owned:
            shutil.chown(folder, self._owned["user"])
        made = ["initdb", "-D", str(folder / "data"), "-U", "bitext", "-A", "trust"]
        self._run(*made, "-E", "UTF8", "--locale=C.UTF-8")

    def start(self) -> None:
        """Start it, and wait until it answers.

        :raises SystemExit: if it does not.
        """
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += ["-p", str(self.port), "-k", str(self._folder), "-h", "127.0.0.1"]
        file = self._folder.parent / "postgres.log"
        with file.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", **self._owned
            )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise SystemExit(f"PostgreSQL does not answer: {file.read_text()[-500:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL for the server and all its processes."""
        if self._process is None:
            return
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()  # first: it would else see its children die, and recover
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.wait()
        psutil.wait_procs(family)
        self._process = None

    def stop(self) -> None:
        """In good order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        asked = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, stdout=subprocess.DEVNULL).returncode == 0

    def _run(self, program: str, *options: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *options], cwd="/", capture_output=True, **self._owned
        )
        if done.returncode != 0:
            raise SystemExit(f"{program}: {done.stderr.decode()}")


def find_programs(given: Path | None = None) -> Path:
    """The folder of PostgreSQL's programs.

    :raises SystemExit: if there is none.
    """
    debian = sorted(Path("/").glob(DEBIAN.lstrip("/")), reverse=True)
    on_path = shutil.which("initdb")
    found = [given] if given else [Path(on_path).resolve().parent] if on_path else debian
    if not found or not (found[0] / "initdb").exists():
        raise SystemExit("no PostgreSQL: install one (apt-get install postgresql), or --postgres")
    return found[0]


@contextmanager
def postgres(given: Path | None = None) -> Iterator[Postgres]:
    """A server that answers, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="bitext-postgres-") as top:
        os.chmod(top, 0o711)  # another user shall get to its folder
        folder = Path(top) / "server"
        folder.mkdir()
        server = Postgres(find_programs(given), folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _other_user() -> dict[str, Any]:
    """As whom to run it, if we are root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", type=Path, help="the folder of its programs")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    with postgres(given.postgres) as server:
        environment = {**os.environ, "BITEXT_TEST_POSTGRES": server.url}
        code = subprocess.run(given.command, env=environment).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
