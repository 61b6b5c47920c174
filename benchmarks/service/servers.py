"""A server in a process of its own, the load that is put on it, and what it uses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bitext.text import data_folder, open_lines

HERE = Path(__file__).parent
BUNDLED = HERE.parents[1] / "encoders" / "bundled"
LAYER = 4
"""Of the bundled model, for both tasks; its last one."""
PATIENCE = 180
"""Seconds until a server must be ready."""


class Server:
    """A server that listens."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.process = psutil.Process(pid)

    def cpu(self) -> float:
        """Processor seconds so far, those of children that ended included."""
        used = self.process.cpu_times()
        return float(used.user + used.system + used.children_user + used.children_system)

    def memory(self) -> float:
        """Mebibytes, what is shared with other processes counted in part (PSS)."""
        return float(self.process.memory_full_info().pss) / 2**20

    def get(self, path: str) -> tuple[int, bytes]:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.status, answer.read()


@contextmanager
def serving(command: Sequence[object], url: str, **environ: str) -> Iterator[Server]:
    """The server that ``command`` starts, once GET /ready answers 200."""
    log = tempfile.TemporaryFile()  # noqa: SIM115
    arguments = [str(part) for part in command]
    process = subprocess.Popen(
        arguments, stdout=log, stderr=log, env={**os.environ, **environ}, cwd=HERE.parents[1]
    )
    server = Server(url, process.pid)
    try:
        _wait(server, process)
        yield server
    except BaseException:
        log.seek(0)
        sys.stderr.write(log.read().decode(errors="replace")[-3000:])
        raise
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def bitext_server(folder: Path, **environ: str) -> Any:
    """Ours, with nothing but defaults beside ``environ``, its data in ``folder``."""
    port = free_port()
    command = [sys.executable, "-m", "bitext", "serve", "--port", port, "--data-dir", folder]
    command += ["--log-level", "warning"]
    return serving(command, f"http://127.0.0.1:{port}", **environ)


def peer_server(python: Path, script: str, **environ: str) -> Any:
    """A peer behind plain FastAPI, with the bundled model."""
    port = free_port()
    command = [python, HERE / script, BUNDLED, LAYER, port]
    return serving(command, f"http://127.0.0.1:{port}", HF_HUB_OFFLINE="1", **environ)


def put_load(
    server: Server, path: str, bodies: Path, *, clients: int, seconds: float
) -> dict[str, Any]:
    """What the clients counted, and the server's processor seconds meanwhile."""
    command = [sys.executable, HERE / "load_client.py", server.url + path, bodies]
    command += ["--clients", clients, "--seconds", seconds]
    cpu = server.cpu()
    done = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "server_cpu": round(server.cpu() - cpu, 3)}


def multi30k(count: int | None = None) -> list[tuple[str, str]]:
    """Sentence pairs of Multi30k's test set of 2016, English and German (BITEXT_DATA)."""
    folder = data_folder() / "mt"
    sides = []
    for language in ("en", "de"):
        path = folder / f"multi30k_test_2016_flickr.{language}"
        if not path.is_file():
            sys.exit(f"no data: {path} is not there (set BITEXT_DATA)")
        sides.append(list(open_lines(path)))
    return list(zip(*sides, strict=True))[:count]


def write_bodies(path: Path, bodies: Sequence[object]) -> Path:
    """Bodies of requests, one a line."""
    path.write_text("".join(json.dumps(body, ensure_ascii=False) + "\n" for body in bodies))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    for _ in range(PATIENCE * 10):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            if server.get("/ready")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server was not ready in time")
