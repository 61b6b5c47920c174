"""Sentences to a folder of vectors: written as they come, and gone on with if interrupted.

Until all are there the rows lie in ``FOLDER.part`` (:mod:`bitext.resumable`). Sentences go through
the model in chunks of ``CHUNK``, and an interrupted run goes on at a chunk's beginning: the same
batches are formed, and the folder is byte for byte that of an unbroken run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bitext.resumable import ResumableFile, Setting, Watched, resumable_folder
from retrieval.vectors.encoding import CHUNK, Progress, chunks, encode
from retrieval.vectors.files import (
    BLOCK_ROWS,
    VECTORS_FILES,
    Rows,
    StoredType,
    Vectors,
    file_of,
    manifest_of,
    row_bytes,
    row_data,
    write_vectors,
)
from retrieval.vectors.manifest import MANIFEST_FILE, Manifest, Space, write_manifest

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.vectors.centring import Centring


class Embedded(NamedTuple):
    """What was written."""

    manifest: Manifest
    empty: int
    """Rows of zeros: sentences without pieces."""


def embed_lines(
    folder: str | Path,
    lines: Iterable[str],
    encoder: Encoder,
    space: Space,
    *,
    centring: Centring | None = None,
    language: str | None = None,
    dtype: StoredType = "float32",
    too_long: str = "error",
    restart: bool = False,
    progress: Progress | None = None,
    name: str = "the text",
) -> Embedded:
    """Write the unit vectors of ``lines``, row i for line i, zeros for one without pieces.

    Where an earlier run of the same settings was interrupted, this one goes on, having read past
    the lines that are done. A folder that is there is replaced when the new one is whole.

    :param space: of the raw vectors, from :func:`retrieval.vectors.encoding.space_of`.
    :param centring: applied to what the encoder gives; it must know ``language``.
    :param restart: throw away what an earlier run left.
    :param progress: called with the number of lines done since the last call, first with those
        that an earlier run has done.
    :param name: what messages call the text.
    :raises TooLongError: if a line has more pieces than the model takes.
    :raises MismatchError: if an earlier run had other settings or other lines.
    :raises InputError: if ``folder`` is a folder of something else, or cannot be written.
    """
    made = space if centring is None else centring.centred(space)
    settings = _settings(encoder, made, language if centring else None, dtype, too_long)
    watched = Watched(lines, str)
    with resumable_folder(
        folder,
        file_of(dtype),
        settings,
        marker=MANIFEST_FILE,
        others=VECTORS_FILES,
        restart=restart,
    ) as out:
        out.skip(watched, name)
        if progress is not None and out.mark.items:
            progress(out.mark.items)
        for chunk in chunks(watched, CHUNK):
            before = watched.mark.items - len(chunk)
            rows = encode(
                encoder, chunk, space, too_long=too_long, before=before, progress=progress
            )
            if centring is not None:
                rows = centring.apply(rows, language or "")
            out.write(row_data(rows, encoder.dim, dtype), watched.mark)
        return _finish(out, made, encoder.dim, dtype)


def _settings(
    encoder: Encoder, space: Space, language: str | None, dtype: StoredType, too_long: str
) -> dict[str, Setting]:
    """All that changes the rows."""
    return {
        "model": encoder.fingerprint,
        "precision": encoder.dtype,
        "layer": space.layer,
        "pooling": space.pooling,
        "prefix": space.prefix,
        "centre": space.centre or "none",
        "language": language or "none",
        "dtype": dtype,
        "too_long": too_long,
        "chunk": CHUNK,
    }


def _finish(out: ResumableFile, space: Space, dim: int, dtype: StoredType) -> Embedded:
    """Write the manifest, having read the rows once more: a resumed run has not seen them all."""
    checksum = hashlib.sha256()
    empty = 0
    size = BLOCK_ROWS * row_bytes(dim, dtype)
    with open(out.part, "rb") as file:
        while data := file.read(size):
            checksum.update(data)
            words = np.frombuffer(data, np.uint16 if dtype == "float16" else np.uint32)
            empty += int((~words.reshape(-1, dim).any(axis=1)).sum())
    manifest = manifest_of(space, dim, dtype, out.mark.items, checksum.hexdigest())
    write_manifest(out.part.parent, manifest)
    return Embedded(manifest, empty)


def centre_vectors(
    source: str | Path,
    folder: str | Path,
    centring: Centring,
    language: str,
    *,
    dtype: StoredType | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write the vectors of the folder ``source`` centred to ``folder``, which appears when whole.

    :param dtype: how numbers are stored; ``None`` as they were.
    :raises MismatchError: if the vectors are not of the space that ``centring`` was learnt from.
    :raises UnknownNameError: if it was not learnt for ``language``.
    """
    vectors = Vectors.load(source)
    space = centring.centred(vectors.manifest)

    def blocks() -> Iterator[Rows]:
        for block in vectors.blocks():
            yield centring.apply(block, language)
            if progress is not None:
                progress(len(block))

    dim = vectors.manifest.dim
    return write_vectors(
        folder, blocks(), space=space, dim=dim, dtype=dtype or vectors.manifest.dtype
    )
