"""Sentence vectors on disk: rows of float32 one after the other, and a manifest beside them.

Row ``i`` is the vector of sentence ``i``, little-endian, without a header, so that any program can
map the file into memory: ``numpy.memmap(FOLDER/vectors.f32, "<f4").reshape(count, dim)``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.text import atomic_folder
from retrieval.manifest import (
    MANIFEST_FILE,
    Manifest,
    Space,
    check_bytes,
    check_sum,
    read_manifest,
    sum_file,
    write_manifest,
)

VECTORS_FILE = "vectors.f32"
BLOCK_ROWS = 4096
"""Rows read or written at once."""
SMALL_BYTES = 64 * 2**20
"""A file up to this size is checked against its checksum whenever it is loaded."""

Rows = NDArray[np.float32]
_STORED = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors that were written by :func:`write_vectors`, mapped into memory and not yet read."""

    manifest: Manifest
    rows: Rows
    """Shape (count, dim), read-only."""

    @classmethod
    def load(cls, folder: str | Path, *, verify: bool | None = None) -> Vectors:
        """Map the vectors of ``folder``; a truncated file is told at once by its size.

        :param verify: read the whole file against its checksum; by default only if it is small.
        :raises InputError: if the folder, the manifest or the file is not as it was written.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, Manifest)
        path = folder / VECTORS_FILE
        size = manifest.count * row_bytes(manifest.dim)
        check_bytes(path, size)
        if verify or (verify is None and size <= SMALL_BYTES):
            check_sum(path, sum_file(path), manifest.checksum)
        return cls(manifest, _map(path, manifest.count, manifest.dim))


def write_vectors(
    folder: str | Path, blocks: Iterable[Rows], *, space: Space, dim: int
) -> Manifest:
    """Write ``blocks`` of rows as they come; the folder appears when all are there.

    An older folder of vectors is replaced in that moment.

    :param blocks: each of shape (any number of rows, dim).
    :raises InputError: if ``folder`` is a folder of something else, or cannot be written.
    """
    checksum = hashlib.sha256()
    count = 0
    with atomic_folder(folder, marker=MANIFEST_FILE) as new:
        with open(new / VECTORS_FILE, "wb") as file:
            for block in blocks:
                checksum.update(append_rows(file, block, dim))
                count += len(block)
        fields = {name: getattr(space, name) for name in Space.model_fields}
        manifest = Manifest(**fields, dim=dim, count=count, checksum=checksum.hexdigest())
        write_manifest(new, manifest)
    return manifest


def row_bytes(dim: int) -> int:
    """Bytes of one stored row."""
    return dim * _STORED.itemsize


def append_rows(file: IO[bytes], block: Rows, dim: int) -> bytes:
    """Write ``block``, shape (rows, dim), where the file stands; the bytes written."""
    if block.ndim != 2 or block.shape[1] != dim:
        raise InputError(f"expected rows of {dim} numbers, got an array of shape {block.shape}")
    data = np.ascontiguousarray(block, dtype=_STORED).tobytes()
    with _naming(file):
        file.write(data)
    return data


def sync(file: IO[bytes]) -> None:
    """Bring to the disk what was written."""
    with _naming(file):
        file.flush()
        os.fsync(file.fileno())


def read_rows(file: IO[bytes], count: int, dim: int) -> Iterator[Rows]:
    """Read ``count`` rows from where the file stands, ``BLOCK_ROWS`` at a time.

    :return: fresh arrays, each of shape (at most ``BLOCK_ROWS``, dim).
    """
    for start in range(0, count, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, count - start)
        data = file.read(rows * row_bytes(dim))
        if len(data) < rows * row_bytes(dim):
            raise InputError(f"{file.name} ended after {start * row_bytes(dim) + len(data)} bytes")
        yield np.frombuffer(data, _STORED).astype(np.float32).reshape(rows, dim)


@contextmanager
def _naming(file: IO[bytes]) -> Iterator[None]:
    """A full disk is something the caller can mend."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {file.name}: {error.strerror}") from error


def _map(path: Path, count: int, dim: int) -> Rows:
    if not count:  # an empty file cannot be mapped
        return np.empty((0, dim), np.float32)
    return np.memmap(path, dtype=_STORED, mode="r", shape=(count, dim))
