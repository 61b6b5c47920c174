"""Copies of a TextIndex as of one moment, taken while others read and write.

A snapshot is a folder: ``manifest.json`` with the checksum of every file, and ``index``, which is
an index like any other.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt

from bitext.errors import InputError
from bitext.text import as_input_error, atomic_folder
from retrieval.store.row_file import MovedError, row_path
from retrieval.store.search_folder import search_path
from retrieval.store.sentences import STORE_FILE, SentenceStore, StoreReader, renumber
from retrieval.vectors.files import row_bytes
from retrieval.vectors.manifest import (
    MANIFEST_FILE,
    Sha256,
    Strict,
    check_bytes,
    check_sum,
    read_manifest,
    sum_file,
    write_manifest,
)

INDEX_FOLDER = "index"
CENTRING_FOLDER = "centring"
"""In an index, where it centres by what was learnt before."""
_NAME = re.compile(r"((search-\d+|centring)/)?[a-z][\w.-]*", re.ASCII)  # of a file in an index
PIECE = 2**20
"""Bytes copied at once."""


class FileSum(Strict):
    """What a file must be."""

    bytes: NonNegativeInt
    checksum: Sha256


class SnapshotManifest(Strict):
    """What a snapshot holds."""

    format: Literal["bitext snapshot 1"] = "bitext snapshot 1"
    version: NonNegativeInt
    """Of the index when it was taken."""
    count: NonNegativeInt
    """Sentences."""
    files: dict[str, FileSum]


def write_snapshot(
    reader: StoreReader, store: SentenceStore, folder: Path, path: Path, dim: int
) -> SnapshotManifest:
    """Copy the index in ``folder``, as ``reader`` sees it, to the new folder ``path``.

    :raises InputError: if ``path`` exists and is not an empty folder, or cannot be written.
    :raises MovedError: if the vectors were put into another file meanwhile.
    """
    check_free(path)
    state = reader.state()
    with atomic_folder(path) as new:
        index = new / INDEX_FOLDER
        index.mkdir()
        vectors = row_path(index, state.generation)
        _copy_start(row_path(folder, state.generation), vectors, state.rows * row_bytes(dim))
        if state.trained:
            _copy_folder(search_path(folder, state.search), search_path(index, state.search))
        if (folder / CENTRING_FOLDER).is_dir():
            shutil.copytree(folder / CENTRING_FOLDER, index / CENTRING_FOLDER)
        store.copy(reader, index / STORE_FILE)
        shutil.copyfile(folder / MANIFEST_FILE, index / MANIFEST_FILE)
        manifest = SnapshotManifest(version=state.version, count=reader.count(), files=_sums(index))
        write_manifest(new, manifest)
    return manifest


def restore_snapshot(path: Path, folder: Path, *, overwrite: bool = False) -> SnapshotManifest:
    """Make an index of a snapshot, if that is as it was written.

    :param overwrite: let it take the place of the index that is in ``folder``, in one step. Who
        has that one loaded is told so.
    :raises InputError: if a file of the snapshot is damaged, or ``folder`` is in use.
    """
    manifest = read_manifest(path, SnapshotManifest)
    if not overwrite:
        check_free(folder)
    with atomic_folder(folder, marker=MANIFEST_FILE) as new:
        for name, expected in manifest.files.items():
            if not _NAME.fullmatch(name):
                raise InputError(f"{path / MANIFEST_FILE} names a file outside it: '{name}'")
            source = path / INDEX_FOLDER / name
            check_bytes(source, expected.bytes)
            with as_input_error(new / name):
                (new / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source, new / name)
            check_sum(source, sum_file(new / name), expected.checksum)
        renumber(new / STORE_FILE)
    return manifest


def check_free(folder: Path) -> None:
    """:raises InputError: if ``folder`` exists and is not an empty folder."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} exists already")


def _sums(folder: Path) -> dict[str, FileSum]:
    """Of all files, by their names from ``folder``."""
    return {
        path.relative_to(folder).as_posix(): FileSum(
            bytes=path.stat().st_size, checksum=sum_file(path)
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder that may be removed meanwhile, but is never changed."""
    try:
        shutil.copytree(source, target)
    except (OSError, shutil.Error) as error:
        if not source.is_dir():
            raise MovedError(f"{source} is missing") from None
        raise InputError(f"cannot copy {source}: {error}") from error


def _copy_start(source: Path, target: Path, size: int) -> None:
    """Copy the first ``size`` bytes of a file that may be growing."""
    if not source.is_file():
        raise MovedError(f"{source} is missing")
    check_bytes(source, size, exactly=False)
    with as_input_error(target), open(source, "rb") as old, open(target, "wb") as new:
        while piece := old.read(min(PIECE, size)):
            new.write(piece)
            size -= len(piece)
