"""How much a packed file holds, found out once, before any job reads it.

Commands read files line by line, but keep the lines; a file of two megabytes can hold billions. So
an upload counts as what it holds: no job can be made to read more than may be uploaded unpacked.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bitext.errors import InputError
from bitext.zstd import ZstdReader

PACKED = (".gz", ".zst")
"""Endings of files that commands unpack (bitext/text.py)."""
PIECE = 1 << 20


def unpacked_bytes(path: Path, ending: str, most: int) -> int:
    """Bytes that the packed file at ``path`` holds, counted until they are more than ``most``.

    :param ending: one of :data:`PACKED`.
    :raises InputError: if the file cannot be unpacked to its end.
    """
    counted = 0
    try:
        for size in _pieces(path, ending):
            counted += size
            if counted > most:
                break
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the upload cannot be unpacked as its name says: {error}") from error
    return counted


def _pieces(path: Path, ending: str) -> Iterator[int]:
    """The sizes of what is unpacked, piece by piece; nothing of it is kept."""
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        unpacked: gzip.GzipFile | io.BufferedReader
        if ending == ".gz":
            unpacked = stack.enter_context(gzip.GzipFile(fileobj=file))
        else:
            unpacked = io.BufferedReader(ZstdReader(file))
        while piece := unpacked.read(PIECE):
            yield len(piece)
