"""A backup file: tar in Zstandard, with the checksum of each file at the end.

backup.json        what it is, of which bitext and moment
ROOM/...           files
checksums.json     what each of them must be: a file that was cut off has none
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import zstandard
from pydantic import BaseModel, ConfigDict, NonNegativeInt, StringConstraints, ValidationError

from bitext.errors import InputError
from bitext.text import as_input_error
from bitext.zstd import ZstdReader

HEAD_FILE, SUMS_FILE = "backup.json", "checksums.json"
LEVEL = 3
"""Of Zstandard: as fast as a disk; vectors do not get much smaller at a higher one."""
PIECE = 2**20
MAX_RECORD = 2**28
"""Bytes that the two records may have; a backup of a million files has 100 MB of sums."""


class Head(BaseModel):
    """What a backup says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["bitext backup 1"] = "bitext backup 1"
    bitext: str
    """The version that made it."""
    created: str
    """ISO 8601, UTC."""
    database: str
    """The version of the tables (``bitext database status``)."""


class FileSum(BaseModel):
    """What a file must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: NonNegativeInt
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


Sums = dict[str, FileSum]
Done = Callable[[int], object]
"""Is told how many more bytes are done."""


def write_archive(file: IO[bytes], head: Head, folder: Path, done: Done) -> Sums:
    """Write all files below ``folder`` to ``file``; what they were."""
    sums: Sums = {}
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    with (
        compressor.stream_writer(file, closefd=False) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        _add_record(archive, HEAD_FILE, head.model_dump())
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                sums[name] = _add_file(archive, path, name, done)
        _add_record(archive, SUMS_FILE, {name: found.model_dump() for name, found in sums.items()})
    return sums


def read_archive(file: IO[bytes], name: str, folder: Path | None, done: Done) -> tuple[Head, Sums]:
    """Read a backup whole, and see that every file is as it was written.

    :param name: what a message calls it.
    :param folder: where the files go, which is then to be kept or thrown away as a whole;
        ``None`` only looks.
    :raises InputError: if it is no backup, or is damaged or cut off.
    """
    stream = io.BufferedReader(ZstdReader(file), PIECE)
    with _readable(name), tarfile.open(fileobj=stream, mode="r|") as archive:
        members = iter(archive)
        head = _read_head(archive, next(members, None), name)
        found: Sums = {}
        for member in members:
            if member.name == SUMS_FILE:
                _compare(found, _read_record(archive, member), name)
                return head, found
            if not member.isfile() or not _is_inside(member.name) or member.name in found:
                raise InputError(f"{name} is not a backup: it holds '{member.name}'")
            found[member.name] = _extract(archive, member, folder, done)
    raise InputError(f"{name} is damaged: it ends before its checksums")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Tell what tar and Zstandard find in one sentence."""
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name} is not a backup, or is damaged: {reason}") from error


def _read_head(archive: tarfile.TarFile, first: tarfile.TarInfo | None, name: str) -> Head:
    if first is None or first.name != HEAD_FILE:
        raise InputError(f"{name} is not a backup of bitext: it does not begin with {HEAD_FILE}")
    record = _read_record(archive, first)
    try:
        return Head.model_validate(record)
    except ValidationError:
        made = record.get("format") if isinstance(record, dict) else record
        raise InputError(
            f"{name} is of format {made!r}, which this bitext does not know; it reads "
            f"'{Head.model_fields['format'].default}'"
        ) from None


def _read_record(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    if not member.isfile() or member.size > MAX_RECORD:
        raise InputError(f"{member.name} is too large, or no file")
    file = archive.extractfile(member)
    assert file is not None  # it is a file
    return json.loads(file.read())


def _add_record(archive: tarfile.TarFile, name: str, record: object) -> None:
    content = json.dumps(record, ensure_ascii=False, indent=1).encode()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _add_file(archive: tarfile.TarFile, path: Path, name: str, done: Done) -> FileSum:
    member = tarfile.TarInfo(name)
    with open(path, "rb") as file:
        member.size = path.stat().st_size
        member.mtime = int(path.stat().st_mtime)
        summing = _Summing(file, done)
        archive.addfile(member, summing)  # type: ignore[arg-type]  # it only reads
    return FileSum(bytes=member.size, sha256=summing.sum.hexdigest())


def _extract(
    archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path | None, done: Done
) -> FileSum:
    file = archive.extractfile(member)
    assert file is not None
    reading = _Summing(file, done)
    if folder is None:
        while reading.read(PIECE):
            pass
    else:
        path = folder / member.name
        with as_input_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as new:
                while piece := reading.read(PIECE):
                    new.write(piece)
    return FileSum(bytes=member.size, sha256=reading.sum.hexdigest())


def _is_inside(name: str) -> bool:
    """Whether a name leads nowhere but into the folder that the files go to."""
    parts = name.split("/")
    return len(parts) > 1 and not any(part in ("", ".", "..") or "\0" in part for part in parts)


def _compare(found: Sums, record: Any, name: str) -> None:
    try:
        expected = {key: FileSum.model_validate(value) for key, value in record.items()}
    except (ValidationError, AttributeError):
        raise InputError(f"{name} is damaged: {SUMS_FILE} cannot be read") from None
    for key in sorted(found.keys() | expected.keys()):
        if found.get(key) != expected.get(key):
            raise InputError(f"{name} is damaged: {key} is not what was written")


class _Summing:
    """A file whose checksum is taken as it is read."""

    def __init__(self, file: IO[bytes], done: Done) -> None:
        self._file = file
        self._done = done
        self.sum = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self.sum.update(piece)
        self._done(len(piece))
        return piece
