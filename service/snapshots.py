"""Snapshots of the indexes of this service: a folder each, in one folder an index.

Their names are made here and begin with the time, so that no path comes from outside. They stay
when their index is removed: that is when they are needed.
"""

from __future__ import annotations

import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bitext.errors import BitextError, InputError, MismatchError, TooLargeError
from retrieval.vectors.manifest import MANIFEST_FILE
from service.errors import SHOWN, UnknownIndexError, UnknownSnapshotError
from service.indexes import Indexes, make_folder
from service.schemas.fields import INDEX_NAME
from service.settings import Settings

ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of an index."""

    id: str
    index: str
    created: datetime
    count: int
    bytes: int


class Snapshots:
    """Snapshots by index and id. Threads may share it; every method belongs in a thread.

    One is written or read back at a time: each is a copy of a whole index.
    """

    def __init__(self, settings: Settings, indexes: Indexes) -> None:
        self.folder = settings.snapshots
        self._most = settings.max_snapshots
        self._indexes = indexes
        self._lock = threading.Lock()

    def of(self, name: str) -> list[Snapshot]:
        """All snapshots of the index ``name``, oldest first.

        :raises UnknownIndexError: if there is no such index, and no snapshot of one.
        """
        ids = self._ids(name)
        if not ids:
            self._indexes.get(name)
        return [self._info(name, one) for one in ids]

    def create(self, name: str) -> Snapshot:
        """Copy the index ``name`` as it is now.

        :raises TooLargeError: if there are as many snapshots as there may be.
        """
        with self._lock, self._indexes.changing(name) as index:
            if self._total() >= self._most:
                raise TooLargeError(
                    f"there are {self._most} snapshots, as many as there may be "
                    "(BITEXT_MAX_SNAPSHOTS); delete one"
                )
            made = f"{datetime.now(UTC).strftime(_TIME)}-{secrets.token_hex(4)}"
            make_folder(self.folder / name)
            _sweep(self.folder / name)
            with self._named(name, made):
                index.snapshot(self.folder / name / made)
            return self._info(name, made)

    def delete(self, name: str, snapshot: str) -> None:
        """Remove a snapshot.

        :raises UnknownSnapshotError: if there is none.
        """
        with self._lock:
            path = self._path(name, snapshot)
            path.rename(path.with_name(f".{path.name}.deleted"))  # gone, whatever happens then
            _sweep(path.parent)

    def restore(self, name: str, snapshot: str) -> None:
        """Make the index ``name`` what it was then, whether it is still there or not.

        :raises UnknownSnapshotError: if there is none.
        :raises MismatchError: if it is damaged.
        """
        self._indexes.check_changeable(name)
        with self._lock, self._named(name, snapshot):
            self._indexes.restore(name, self._path(name, snapshot))

    def _info(self, name: str, snapshot: str) -> Snapshot:
        from retrieval.store.snapshots import SnapshotManifest
        from retrieval.vectors.manifest import read_manifest

        with self._named(name, snapshot):
            manifest = read_manifest(self._path(name, snapshot), SnapshotManifest)
        created = datetime.strptime(snapshot.partition("-")[0], _TIME).replace(tzinfo=UTC)
        size = sum(file.bytes for file in manifest.files.values())
        return Snapshot(snapshot, name, created, manifest.count, size)

    def _ids(self, name: str) -> list[str]:
        folder = self._folder(name)
        if not folder.is_dir():
            return []
        found = (path.name for path in folder.iterdir() if (path / MANIFEST_FILE).is_file())
        return sorted(one for one in found if ID.fullmatch(one))

    def _total(self) -> int:
        if not self.folder.is_dir():
            return 0
        names = [path.name for path in self.folder.iterdir()]
        return sum(len(self._ids(name)) for name in names if INDEX_NAME.fullmatch(name))

    def _path(self, name: str, snapshot: str) -> Path:
        path = self._folder(name) / snapshot
        if not ID.fullmatch(snapshot) or not (path / MANIFEST_FILE).is_file():
            raise UnknownSnapshotError(f"index '{name}' has no snapshot '{snapshot[:SHOWN]}'")
        return path

    def _folder(self, name: str) -> Path:
        if not INDEX_NAME.fullmatch(name):
            raise UnknownIndexError(f"there is no index '{name[:SHOWN]}'")
        return self.folder / name

    @contextmanager
    def _named(self, name: str, snapshot: str) -> Iterator[None]:
        """Let errors speak of the snapshot by its id; a file that is damaged is a conflict."""
        folder = self.folder / name / snapshot
        try:
            yield
        except BitextError as error:
            sentence = str(error).replace(f"{folder}/", "").replace(str(folder), f"'{snapshot}'")
            if not isinstance(error, InputError):
                raise
            raise MismatchError(f"snapshot '{snapshot}' cannot be used: {sentence}") from error


def _sweep(folder: Path) -> None:
    """Remove what is deleted, and what a service that was killed left half written."""
    for path in folder.glob(".*"):
        shutil.rmtree(path, ignore_errors=True)
