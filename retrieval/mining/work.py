"""The folder in which a mining works: each stage is kept when it is done, and gone on with if not.

    work.json            the settings that all stages share
    source/, target/     the sentences of both sides (:mod:`retrieval.mining.corpus`)
    source.vectors/ …    their vectors, raw (:mod:`retrieval.vectors.embedding`)
    source.mean/ …       the same centred, by the name of the centring
    nearest.KEY/         the neighbours both ways, or as far as they have been found
    coverage.KEY         how far the words of each candidate translate each other

A run with the same folder finds what is there: with another margin, mode, threshold or filter,
nothing is embedded or searched again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bitext.errors import InputError, MismatchError
from bitext.resumable import Setting
from bitext.text import as_input_error, atomic_write

WORK_FILE = "work.json"


class WorkRecord(BaseModel):
    """What ``work.json`` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["bitext mining work 1"] = "bitext mining work 1"
    settings: dict[str, Setting]


@contextmanager
def work_folder(folder: Path, *, keep: bool, restart: bool) -> Iterator[Path]:
    """``folder``, made if need be and closed to other runs; removed when the block ends well.

    :param keep: leave it there all the same.
    :param restart: empty it first.
    :raises InputError: if it is a folder of something else, or another run is at work in it.
    """
    _check_ours(folder)
    with as_input_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _only_run(folder):
        if restart:
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not (folder / WORK_FILE).exists():
            _write(folder, {})
        yield folder
        if not keep:
            shutil.rmtree(folder)


def settle(folder: Path, settings: Mapping[str, Setting]) -> None:
    """Write down what all stages share, or see that an earlier run had the same.

    :raises MismatchError: naming the first setting that differs, and both its values.
    """
    path = folder / WORK_FILE
    try:
        earlier = WorkRecord.model_validate_json(path.read_bytes()).settings
    except (OSError, ValidationError):
        raise InputError(f"{path} is damaged; say --restart to begin anew") from None
    if not earlier:
        _write(folder, settings)
        return
    for name in sorted({*settings, *earlier}):
        ours, theirs = settings.get(name, "none"), earlier.get(name, "none")
        if ours != theirs:
            raise MismatchError(
                f"{folder} was begun with {name} {theirs}, not {ours}; say --restart to throw it "
                "away and begin anew, or name another folder with --work"
            )


def _write(folder: Path, settings: Mapping[str, Setting]) -> None:
    with atomic_write(folder / WORK_FILE) as file:
        file.write(WorkRecord(settings=dict(settings)).model_dump_json(indent=2) + "\n")


def _check_ours(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is there and is no folder")
    names = {entry.name for entry in folder.iterdir()}
    if names and WORK_FILE not in names:
        raise InputError(f"will not work in {folder}: bitext did not put {min(names)} there")


@contextmanager
def _only_run(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is at work in {folder}") from None
        yield
    finally:
        os.close(descriptor)
