"""Everything as of one moment, in a folder beside it, while the service goes on.

Tables are read in one transaction; indexes are copied by their own snapshots; what is never changed
once it is there gets a second name, which costs no time and no room.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bitext.errors import BusyError, InputError
from bitext.text import as_input_error
from service.backup.rooms import DATABASE, INDEXES, JOBS, entries, rooms
from service.backup.tables import dump, read_rows
from service.settings import Settings

ATTEMPTS = 5
_STAGES = ".backup.{}.tmp"
LINKS = "inputs"
"""In the folder of a job: links to files, which are made anew when it is begun again."""


class Collected(NamedTuple):
    """What there is to be backed up."""

    version: str
    """Of the tables."""
    unfinished: list[str]
    """The jobs that are at work or wait; they are begun again, and bring no files."""


@contextmanager
def staging(settings: Settings) -> Iterator[Path]:
    """A new folder in the data folder, removed afterwards; and so are those of who was killed."""
    data = settings.data_dir.expanduser()
    if not data.is_dir():
        raise InputError(f"there is no data folder {data}")
    for left in data.glob(_STAGES.format("*")):
        _sweep(left)
    stage = data / _STAGES.format(secrets.token_hex(4))
    with as_input_error(stage):
        stage.mkdir()
    descriptor = os.open(stage, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # who sweeps sees that it is in use
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        os.close(descriptor)


def collect(settings: Settings, stage: Path) -> Collected:
    """Put everything into ``stage``, such that all that the tables speak of is there.

    :raises BusyError: if things were removed each time that it was tried.
    """
    for attempt in range(ATTEMPTS):
        folder = stage / str(attempt)
        folder.mkdir()
        before = _listing(settings)
        collected = _collect(settings, folder)
        if before <= _listing(settings):
            for made in folder.iterdir():
                made.rename(stage / made.name)
            folder.rmdir()
            return collected
        shutil.rmtree(folder)
    raise BusyError("something was removed each time that all was copied; try again later")


def _collect(settings: Settings, stage: Path) -> Collected:
    from service.database.engine import url_of

    (stage / DATABASE).mkdir()
    version = dump(url_of(settings), stage / DATABASE)
    unfinished = _unfinished(stage / DATABASE)
    _copy_indexes(settings, stage)
    for room, folder in rooms(settings).items():
        if room != INDEXES:
            for name in entries(folder):
                if room != JOBS or name not in unfinished:
                    _link(folder / name, stage / room / name, follow=room != JOBS)
    return Collected(version, sorted(unfinished))


def _listing(settings: Settings) -> set[tuple[str, str, int]]:
    """What can be removed or replaced while it is copied: room, name and number on the disk."""
    found = set()
    for room, folder in rooms(settings).items():
        for name in entries(folder):
            with suppress(FileNotFoundError):
                found.add((room, name, (folder / name).stat().st_ino))
    return found


def _unfinished(database: Path) -> set[str]:
    from service.jobs.tables import ENDED

    return {row["id"] for row in read_rows(database / "jobs.jsonl") if row["state"] not in ENDED}


def _copy_indexes(settings: Settings, stage: Path) -> None:
    from retrieval.store.snapshots import INDEX_FOLDER
    from retrieval.store.text_index import TextIndex
    from service.indexes import Indexes

    for name in Indexes(settings).names():
        snapshot = stage / f"{name}.snapshot"
        try:
            TextIndex.load(settings.indexes / name, at_once=False).snapshot(snapshot)
        except InputError:
            if (settings.indexes / name).exists():
                raise
            continue  # it has been removed, as the listing shows
        (stage / INDEXES).mkdir(exist_ok=True)
        (snapshot / INDEX_FOLDER).rename(stage / INDEXES / name)
        shutil.rmtree(snapshot)


def _link(source: Path, target: Path, *, follow: bool) -> None:
    """Give a file, or all files of a folder, a second name; where that cannot be, a copy.

    :param follow: take what links lead to; otherwise links are left out.
    """
    if source.is_symlink() and not follow:
        return
    if source.is_dir():
        for path in sorted(source.iterdir()) if source.name != LINKS or follow else ():
            _link(path, target / path.name, follow=follow)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), target)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
    except FileNotFoundError:
        return  # it has been removed, as the listing shows
    except OSError as error:
        raise InputError(f"cannot copy {source}: {error.strerror}") from error


def _sweep(stage: Path) -> None:
    """Remove the folder of a backup whose process has been killed."""
    try:
        descriptor = os.open(stage, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(stage, ignore_errors=True)
    except BlockingIOError:
        pass  # somebody is making one just now
    finally:
        os.close(descriptor)
