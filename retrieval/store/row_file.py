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


class Places(NamedTuple):
    """The same for many sentences, by id; each of shape (sentences,)."""

    ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    checksums: NDArray[np.int64]


class RowFile:
    """A vector file that is mapped: it can be read even when another has taken its place."""

    def __init__(self, path: Path, rows: int, dim: int) -> None:
        """:param rows: how many there are, those of sentences that are gone too.
        :raises MovedError: if the file is not there.
        :raises InputError: if it is too short.
        """
        self._path = path
        self._mapped = _map(path, rows, dim)

    @property
    def dim(self) -> int:
        return int(self._mapped.shape[1])

    def read(self, rows: NDArray[np.int64], checksums: NDArray[np.int64]) -> Rows:
        """A fresh array of these rows, shape (rows, dim).

        :raises InputError: if one is not as it was written.
        """
        if rows.max(initial=-1) >= len(self._mapped):
            raise InputError(
                f"{self._path} has {len(self._mapped)} rows, and sentences beyond them"
            )
        block = self._mapped[rows]
        for row, vector, checksum in zip(rows.tolist(), block, checksums.tolist(), strict=True):
            if zlib.crc32(vector) != checksum:
                raise InputError(f"{self._path} is damaged: row {row} is not as it was written")
        return block.astype(np.float32)


class PlacedRows:
    """The vectors of sentences as if they stood in an array, read when they are asked for."""

    ndim = 2

    def __init__(self, file: RowFile, places: Places) -> None:
        self._file, self._places = file, places
        self.shape = (len(places.ids), file.dim)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice | NDArray[np.int64]) -> Rows:
        return self._file.read(self._places.rows[part], self._places.checksums[part])


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
    file = RowFile(path, rows, dim)
    for some in chunks(places, BLOCK_ROWS):
        ids, own, checksums = np.array(some, np.int64).T
        yield ids, file.read(own, checksums)


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
