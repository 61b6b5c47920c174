"""What a job has left on the disk so far: its log, its measurements, its artefacts."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bitext.errors import choose_from
from service.errors import UnknownJobError
from service.jobs.kinds import artefacts_of

LOG, MEASUREMENTS, PROGRESS = "log.txt", "out/run/log.jsonl", "progress.jsonl"
TELLING = frozenset({"log.txt", "config.json", "initialization.json"})
"""Artefacts, and files of them, that may name files as the server knows them."""
PART = 256 * 1024
"""Bytes of the log in one answer."""
CHUNK = 1 << 20


class Lines(NamedTuple):
    """Some lines of a file, and where the next ones begin."""

    lines: list[str]
    next: int


def read_log(folder: Path, after: int = 0, *, ended: bool = True) -> Lines:
    """Lines from a byte on, as many as go into one answer.

    :param ended: whether nothing more is to come, so that a last line without an end is one.
    """
    try:
        with open(folder / LOG, "rb") as file:
            file.seek(after)
            data = file.read(PART)
    except FileNotFoundError:
        return Lines([], after)
    whole = data.rfind(b"\n") + 1
    if not whole and (ended or len(data) == PART):
        whole = len(data)
    text = data[:whole].decode("utf-8", "replace")
    return Lines(text.splitlines(), after + whole)


def last_line(folder: Path, after: int) -> str:
    """The last line of the log from a byte on that says something."""
    with open(folder / LOG, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(after, end - 8192))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def read_progress(folder: Path) -> dict[str, Any] | None:
    """The last whole line that a command has written of how far it is."""
    try:
        with open(folder / PROGRESS, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 4096))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    return found


def read_measurements(folder: Path) -> list[dict[str, Any]]:
    """What a training has measured: an object for each time, in order."""
    return Series(folder).after(0)[0]


class Series:
    """What a training measures, read on from where it was read last."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / MEASUREMENTS
        self._file = -1
        self._read = 0  # bytes
        self._count = 0

    def after(self, number: int) -> tuple[list[dict[str, Any]], int]:
        """Those that come after the first ``number``, and how many there are in all.

        ``number`` is that of the last call, or any at the first one.
        """
        try:
            with open(self._path, "rb") as file:
                found = os.fstat(file.fileno())
                is_other = found.st_ino != self._file or found.st_size < self._read
                if is_other or number != self._count:
                    self._file, self._read, self._count = found.st_ino, 0, 0
                file.seek(self._read)
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return [], 0
        whole = data.rfind(b"\n") + 1  # what follows is being written just now
        series = list(_objects(data[:whole]))
        skipped = number - self._count
        self._read += whole
        self._count += len(series)
        return series[skipped:], self._count


def _objects(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.decode("utf-8", "replace").splitlines():
        with suppress(ValueError):
            yield json.loads(line)


# --- artefacts


def artefacts(kind: str, folder: Path) -> dict[str, int]:
    """Names and bytes of what there is to download."""
    places = {name: folder / path for name, path in artefacts_of(kind).items()}
    places["log.txt"] = folder / LOG
    found = {}
    for name, path in places.items():
        with suppress(FileNotFoundError):  # a command may remove what it wrote
            found[name] = _bytes(path)
    return found


def find_artefact(kind: str, folder: Path, name: str) -> Path:
    """:raises UnknownJobError: if there is none of that name."""
    there = artefacts(kind, folder)
    if not there:
        raise UnknownJobError(f"there is no artefact '{name[:80]}': the job has left nothing yet")
    if name not in there:
        raise UnknownJobError(choose_from("artefact", name[:80], there))
    return folder / {**artefacts_of(kind), "log.txt": LOG}[name]


def zipped(folder: Path, top: str, tell: Callable[[Path], Iterator[bytes]]) -> Iterator[bytes]:
    """A folder as a ZIP archive, piece by piece; not compressed, as weights would hardly shrink.

    :param tell: what to send of a file of TELLING.
    """
    buffer = _Drained()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            info = zipfile.ZipInfo.from_file(path, f"{top}/{path.relative_to(folder).as_posix()}")
            with archive.open(info, "w", force_zip64=True) as member:
                for piece in tell(path) if path.name in TELLING else _pieces(path):
                    member.write(piece)
                    yield buffer.drain()
            yield buffer.drain()
    yield buffer.drain()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


class _Drained(io.RawIOBase):
    """A file to write to, from which is taken what was written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def drain(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _bytes(path: Path) -> int:
    """:raises FileNotFoundError: if it is gone, or something in it."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
