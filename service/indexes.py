"""The indexes of this service: a folder each, by name, loaded when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bitext.errors import BitextError, InputError, MismatchError, TooLargeError
from retrieval.vectors.manifest import MANIFEST_FILE
from service.errors import SHOWN, ReadOnlyError, UnknownIndexError
from service.samples import SAMPLE
from service.schemas.fields import INDEX_NAME
from service.settings import Settings

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.store.addition import Entry
    from retrieval.store.text_index import TextIndex


Stamp = tuple[int, int]


@dataclass(frozen=True)
class _Loaded:
    """An index in memory, and what its manifest file was when it was read."""

    index: TextIndex
    stamp: Stamp | None


class Indexes:
    """Indexes by name. Threads may share it; every method reads the disk and belongs in a thread.

    What another process writes, such as ``bitext index``, an index sees itself; one that was
    replaced is loaded again.
    """

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.indexes
        self._max_indexes = settings.max_indexes
        self._max_sentences = settings.max_index_sentences
        self._loaded: dict[str, _Loaded] = {}
        self._lock = threading.RLock()

    def names(self) -> list[str]:
        """The names of all indexes, in order."""
        if not self.folder.is_dir():
            return []
        found = (path.name for path in self.folder.iterdir() if (path / MANIFEST_FILE).is_file())
        return sorted(name for name in found if INDEX_NAME.fullmatch(name))

    def get(self, name: str) -> TextIndex:
        """The index ``name``.

        :raises UnknownIndexError: if there is none.
        :raises MismatchError: if its files are damaged.
        """
        with self._lock:
            path = self._path(name)
            stamp = _stamp(path)
            if stamp is None:
                self._loaded.pop(name, None)
                raise UnknownIndexError(f"there is no index '{name[:SHOWN]}'")
            known = self._loaded.get(name)
            if known is None or known.stamp != stamp:
                known = self._loaded[name] = _Loaded(self._load(path), stamp)
            return known.index

    def create(
        self,
        name: str,
        encoder: Encoder,
        *,
        layer: int | None,
        pooling: str | None,
        centring: bool | None,
    ) -> tuple[TextIndex, bool]:
        """Make the index ``name``, or find it there with these settings; whether it is new.

        :param layer: ``None`` for the model's preset; so ``pooling`` and ``centring``.
        :raises MismatchError: if it is there with other settings.
        :raises TooLargeError: if there are as many indexes as there may be.
        """
        from retrieval.store.text_index import TextIndex
        from retrieval.vectors.encoding import centring_of

        centring = centring_of(encoder, layer, pooling, centring)
        pooling = pooling or encoder.preset.retrieval.pooling
        with self._lock:
            path = self.check_changeable(name)
            if _stamp(path) is not None:
                index = self.get(name)
                _check_same(index, name, encoder, layer, pooling, centring)
                return index, False
            self.check_room()
            make_folder(self.folder)
            with self.named(name):
                TextIndex.create(path, encoder, layer=layer, pooling=pooling, centring=centring)
            return self.get(name), True

    def delete(self, name: str) -> None:
        """Remove the index ``name``."""
        from retrieval.store.text_index import TextIndex

        with self._lock:
            path = self.check_changeable(name)
            if _stamp(path) is None:
                raise UnknownIndexError(f"there is no index '{name[:SHOWN]}'")
            self._loaded.pop(name, None)
            with self.named(name):
                TextIndex.drop(path)

    @contextmanager
    def reading(self, name: str) -> Iterator[TextIndex]:
        """The index ``name``, to be looked at; errors of the block speak of it by name.

        :raises UnknownIndexError: if there is none.
        """
        index = self.get(name)
        with self.named(name):
            yield index

    @contextmanager
    def changing(self, name: str) -> Iterator[TextIndex]:
        """The same, to be written to.

        :raises ReadOnlyError: if it belongs to the service.
        """
        self.check_changeable(name)
        with self.reading(name) as index:
            yield index

    def write(
        self,
        name: str,
        rows: Sequence[Entry],
        *,
        encoder: Encoder,
        too_long: str,
        replace: bool = False,
    ) -> list[int]:
        """Add sentences to the index ``name``, or let them take the place of others; their ids.

        :param replace: every row has an id, and is put where that is.
        :raises TooLargeError: if the index would have more sentences than it may have.
        """
        most = self._max_sentences
        with self.changing(name) as index:
            count = index.count()
            if not replace and count + len(rows) > most:
                raise self._full(name, count)
            try:
                return index.add_mixed(
                    rows, encoder=encoder, too_long=too_long, limit=most, replace=replace
                )
            except TooLargeError:
                raise self._full(name, index.count()) from None

    def restore(self, name: str, snapshot: Path) -> None:
        """Make the index ``name`` what a snapshot holds, in one step, whether it is there or not.

        :raises MismatchError: if a file of the snapshot is damaged.
        :raises TooLargeError: if it would be one index more than there may be.
        """
        from retrieval.store.text_index import TextIndex

        path = self.check_changeable(name)
        is_there = _stamp(path) is not None
        if not is_there:
            self.check_room()
        make_folder(self.folder)
        with self.named(name):
            index = TextIndex.restore(snapshot, path, overwrite=is_there)
        stamp = _stamp(path)
        with self._lock:
            self._loaded[name] = _Loaded(index, stamp)

    @contextmanager
    def named(self, name: str) -> Iterator[None]:
        """Let errors speak of index 'name', not of the folder it lies in."""
        folder = self.folder / name
        try:
            yield
        except BitextError as error:
            if isinstance(error, MismatchError):
                self._loaded.pop(name, None)  # changed on the disk: read it again next time
            sentence = str(error).replace(f"{folder}/", "").replace(str(folder), f"'{name}'")
            if sentence == str(error):
                raise
            raise type(error)(sentence) from error

    def check_changeable(self, name: str) -> Path:
        """The folder of the index ``name``, be it there or not.

        :raises UnknownIndexError: if no index may be called so.
        :raises ReadOnlyError: if it belongs to the service.
        """
        path = self._path(name)
        if name == SAMPLE:
            raise ReadOnlyError(f"index '{SAMPLE}' belongs to the service and cannot be changed")
        return path

    def _full(self, name: str, count: int) -> TooLargeError:
        return TooLargeError(
            f"index '{name}' has {count} sentences and would have more than "
            f"{self._max_sentences} (BITEXT_MAX_INDEX_SENTENCES)"
        )

    def check_room(self) -> None:
        """:raises TooLargeError: if there are as many indexes as there may be."""
        if len(self.names()) >= self._max_indexes:
            raise TooLargeError(
                f"there are {self._max_indexes} indexes, as many as there may be "
                "(BITEXT_MAX_INDEXES)"
            )

    def _load(self, path: Path) -> TextIndex:
        from retrieval.store.text_index import TextIndex

        try:
            with self.named(path.name):
                return TextIndex.load(path)
        except InputError as error:
            raise MismatchError(f"index '{path.name}' cannot be read: {error}") from error

    def _path(self, name: str) -> Path:
        if not INDEX_NAME.fullmatch(name):
            raise UnknownIndexError(f"there is no index '{name[:SHOWN]}'")
        return self.folder / name


def make_folder(folder: Path) -> None:
    """:raises InputError: if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}: {error.strerror}") from error


def _stamp(path: Path) -> Stamp | None:
    """What changes when the index is replaced; what is written to it, it sees itself."""
    try:
        found = (path / MANIFEST_FILE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns


def _check_same(
    index: TextIndex, name: str, encoder: Encoder, layer: int | None, pooling: str, centring: bool
) -> None:
    own = index.manifest
    asked = {
        "model": (encoder.name, encoder.fingerprint),
        "layer": encoder.check_layer(layer, "retrieval"),
        "pooling": pooling,
        "centring": centring,
    }
    there = {
        "model": (own.model, own.fingerprint),
        "layer": own.layer,
        "pooling": own.pooling,
        "centring": index.centring,
    }
    for field, value in asked.items():
        if value != there[field] and (field != "model" or encoder.fingerprint != own.fingerprint):
            raise MismatchError(
                f"index '{name}' is there with {field} {_shown(there[field])}, not {_shown(value)}"
            )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"{value[0]} ({value[1]})"
    return str(value).lower() if isinstance(value, bool) else str(value)
