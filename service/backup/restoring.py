"""Put a backup back: all of it is on the disk and checked before the first thing is replaced.

From then on a small file says so, and whoever finds it, the next service or the next attempt, goes
on to the end: what is replaced is never half old and half new.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bitext.errors import InputError
from bitext.text import as_input_error, atomic_write, sync_folder
from service.backup.archive import Done, Head, Sums, read_archive
from service.backup.occupancy import alone, shared
from service.backup.rooms import DATABASE, INDEXES, entries, rooms
from service.errors import DatabaseError
from service.settings import Settings

STAGE = ".restoring"
PLAN = "plan.json"
"""In the stage, once all of it is whole: what shall be there in the end."""


def restore(
    file: IO[bytes], name: str, settings: Settings, *, overwrite: bool, done: Done
) -> tuple[Head, Sums]:
    """Make the data of the service what a backup holds.

    :param name: what a message calls the file.
    :param overwrite: replace all that is there.
    :raises BusyError: if a service or worker uses the data folder.
    :raises InputError: if the backup is damaged, or there are data and not ``overwrite``.
    """
    data = settings.data_dir.expanduser()
    with as_input_error(data):
        data.mkdir(parents=True, exist_ok=True)
    with alone(data):
        finish(settings)
        if not overwrite:
            _check_free(settings)
        stage = data / STAGE
        with as_input_error(stage):
            stage.mkdir()
        try:
            head, sums = read_archive(file, name, stage, done)
            _plan(stage, head, settings)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        finish(settings)
    return head, sums


@contextmanager
def at_work(settings: Settings) -> Iterator[None]:
    """What a service or worker does with its data folder as long as it lives.

    A backup that was being put back when its process was killed is put back to the end first.

    :raises BusyError: if one is being put back at this moment.
    """
    data = settings.data_dir.expanduser()
    with shared(data):
        is_planned = (data / STAGE / PLAN).exists()
    if is_planned:
        with alone(data):
            finish(settings)
    with shared(data):
        yield


def finish(settings: Settings) -> None:
    """Do what is planned, if something is; as often as it takes."""
    from service.database.engine import url_of

    stage = settings.data_dir.expanduser() / STAGE
    if (stage / PLAN).exists():
        plan = json.loads((stage / PLAN).read_text("utf-8"))
        _load_tables(url_of(settings), stage / DATABASE, plan["database"])
        for room, folder in rooms(settings).items():
            _fill(folder, stage / room, plan["rooms"].get(room, []))
        (stage / PLAN).unlink()
        sync_folder(stage)
    shutil.rmtree(stage, ignore_errors=True)


def _check_free(settings: Settings) -> None:
    from service.backup.tables import is_empty
    from service.database.engine import url_of

    for room, folder in rooms(settings).items():
        if found := entries(folder):
            raise InputError(f"there are {room} already, in {folder} ({found[0]}, …)" + _HINT)
    if not is_empty(url_of(settings)):
        raise InputError("the database has rows already" + _HINT)


_HINT = "; --overwrite replaces all that is there"


def _plan(stage: Path, head: Head, settings: Settings) -> None:
    """Bring the stage to the disk and say that it is whole."""
    from retrieval.store.sentences import STORE_FILE, renumber
    from service.database.engine import url_of
    from service.database.upgrading import check_known

    url_of(settings)  # a mistake in it shows before anything is replaced
    check_known(head.database)
    unknown = {path.name for path in stage.iterdir()} - {DATABASE, *rooms(settings)}
    if unknown:
        raise InputError(f"the backup holds '{min(unknown)}', which this bitext does not know")
    for index in entries(stage / INDEXES):
        renumber(stage / INDEXES / index / STORE_FILE)
    os.sync()
    plan: dict[str, Any] = {
        "database": head.database,
        "rooms": {room: entries(stage / room) for room in rooms(settings)},
    }
    with atomic_write(stage / PLAN) as file:
        json.dump(plan, file)


def _load_tables(url: Any, folder: Path, version: str) -> None:
    from service.backup.tables import load

    try:
        load(url, folder, version)
    except DatabaseError:
        if url.get_backend_name() != "sqlite":
            raise
        for ending in ("-wal", "-shm", ""):  # a file that is damaged; what it held is replaced
            Path(f"{url.database}{ending}").unlink(missing_ok=True)
        load(url, folder, version)


def _fill(room: Path, stage: Path, names: list[str]) -> None:
    """Let ``room`` hold ``names`` and nothing else, from ``stage`` where they are still there."""
    with as_input_error(room):
        for name in entries(room):
            if name not in names or (stage / name).exists():
                _remove(room / name)
        if names:
            room.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (stage / name).exists():
                _move(stage / name, room / name)
        if room.is_dir():
            sync_folder(room)


def _remove(path: Path) -> None:
    grave = path.with_name(f".{path.name}.deleted")
    shutil.rmtree(grave, ignore_errors=True)
    path.rename(grave)
    if grave.is_dir() and not grave.is_symlink():
        shutil.rmtree(grave)
    else:
        grave.unlink()


def _move(source: Path, target: Path) -> None:
    """Rename, or copy where the target is of another file system; whole or not at all."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = target.with_name(f".{target.name}.restoring")
        shutil.rmtree(copy, ignore_errors=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copyfile(source, copy)
        os.sync()
        copy.rename(target)
