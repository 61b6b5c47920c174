"""The vectors of a TextIndex on disk: rows of float32 that are added to, and never changed.

A file has a generation in its name. Rows that nothing names any more stay where they are until the
living ones are copied to a file of the next generation.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from retrieval.vectors.encoding import chunks
from retrieval.vectors.files import BLOCK_ROWS, Rows, row_bytes, sync
from retrieval.vectors.manifest import check_bytes


class MovedError(InputError):
    """A file that is not there; the rows may be in one of the next generation."""


class Place(NamedTuple):
    """Where the vector of a sentence is, and what its bytes must sum to."""

    id: int
    row: int
    checksum: int


def row_path(folder: Path, generation: int) -> Path:
    """The file of one generation."""
    return folder / f"vectors-{generation}.f32"


def checksum_of(row: Rows) -> int:
    """CRC-32 of one row's bytes on disk."""
    return zlib.crc32(row.astype("<f4").tobytes())


@contextmanager
def appending(path: Path, rows: int, dim: int) -> Iterator[IO[bytes]]:
    """The file, standing after its first ``rows`` rows; when the block ends well, it is on disk.

    What lies beyond was left behind by an addition that was cut off, and goes.

    :raises InputError: if it is not there, is too short, or cannot be written.
    """
    check_bytes(path, rows * row_bytes(dim), exactly=False)
    try:
        file = open(path, "r+b")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    with file:
        file.truncate(rows * row_bytes(dim))
        file.seek(rows * row_bytes(dim))
        yield file
        sync(file)


def read_places(
    path: Path, places: Iterable[Place], rows: int, dim: int
) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Ids and vectors of ``places``, some thousands at a time, each row checked.

    :param rows: how many rows the file has.
    :return: fresh arrays of shape (some,) and (some, dim).
    :raises MovedError: if the file is not there.
    :raises InputError: if it is too short, or a row is not as it was written.
    """
    mapped = _map(path, rows, dim)
    for some in chunks(places, BLOCK_ROWS):
        if max(place.row for place in some) >= rows:
            raise InputError(f"{path} has {rows} rows, and sentences beyond them")
        block = mapped[[place.row for place in some]]
        for place, row in zip(some, block, strict=True):
            if zlib.crc32(row) != place.checksum:
                raise InputError(f"{path} is damaged: row {place.row} is not as it was written")
        yield np.array([place.id for place in some], np.int64), block.astype(np.float32)


def _map(path: Path, rows: int, dim: int) -> Rows:
    if not path.is_file():
        raise MovedError(f"{path} is missing")
    check_bytes(path, rows * row_bytes(dim), exactly=False)
    if not rows:  # an empty file cannot be mapped
        return np.empty((0, dim), np.float32)
    try:
        return np.memmap(path, "<f4", "r", shape=(rows, dim))
    except FileNotFoundError:
        raise MovedError(f"{path} is missing") from None
