"""The trained part of an index on disk: folders of their own, each written once.

A folder gets its number in the transaction that names it. Until then it is in a hidden one beside
it, which is locked while somebody works there: what is not locked was left by a process that is no
more. Old ones are hidden before they are removed, so that nobody reads half of one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitext.text import as_input_error, sync_folder
from retrieval.store.tables import State


def search_path(folder: Path, number: int) -> Path:
    """The folder of one number."""
    return folder / f"search-{number}"


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new hidden folder in ``folder``, gone when the block ends."""
    while True:
        path = _hidden(folder)
        with as_input_error(path):
            path.mkdir()
        with _locked(path) as ours:
            if ours:
                try:
                    yield path
                finally:
                    shutil.rmtree(path, ignore_errors=True)
                return


def put_in_place(made: Path, folder: Path, number: int) -> None:
    """Give a folder that is on the disk its number; the caller names it next."""
    with as_input_error(search_path(folder, number)):
        made.rename(search_path(folder, number))
        sync_folder(folder)


def remove_leftovers(folder: Path, state: State) -> None:
    """Remove all but what ``state`` names and what others are at work in."""
    kept = search_path(folder, state.search) if state.trained else None
    for path in folder.glob("search-*"):
        if path != kept:
            remove(path)
    for path in folder.glob(".search-*"):
        with _locked(path) as ours:
            if ours:
                shutil.rmtree(path, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a folder that no state names any more, if it is there."""
    hidden = _hidden(path.parent)
    with suppress(FileNotFoundError):
        path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _hidden(folder: Path) -> Path:
    return folder / f".search-{secrets.token_hex(4)}"


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether ``path`` is there and nobody else's until the block ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield path.exists()  # another may have removed it just before
    finally:
        os.close(descriptor)
