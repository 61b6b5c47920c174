"""A file that takes long to write: an interrupted run is gone on with, not begun again.

The work goes to ``FILE.part``. Beside it stands the journal, ``FILE.part.json``: the settings by
which the part is made, how many items of the input are done, a hash of them, and how many bytes
they gave. The journal is written after its data are on the disk, so that it is true however the
run ends; what the part holds beyond is cut off by the next run. At the end the part becomes
``FILE`` and the journal goes.

:func:`resumable_folder` is the same for a folder with one large file, such as ``FOLDER`` with its
vectors: the part is ``FOLDER.part``, with the file and its journal in it.

A run that reads the same items in the same chunks, and makes of each chunk the same bytes, ends
with the same file, unbroken or not. ::

    pairs = Watched(read_bitext(path), "{0.source}\\0{0.target}".format)
    with resumable_write("links", {"method": "itermax"}) as out:
        out.skip(pairs, path)
        for chunk in chunks(pairs):
            out.write(text_of(chunk), pairs.mark)
"""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Generic, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from bitext.errors import BitextError, InputError, MismatchError
from bitext.text import as_input_error, atomic_write, ordinary, replaceable, swap_in, sync_folder

SAVE_SECONDS = 5.0
"""How often the journal is written: the most work that a killed run loses."""

Setting = str | int | bool

_Item = TypeVar("_Item")


class Mark(NamedTuple):
    """How far the input has been read: a number of whole items, and a hash of them."""

    items: int = 0
    digest: str = ""


class Watched(Generic[_Item]):
    """Items, with a mark of how far they have been read.

    :param spell: what the hash knows of an item; two items that differ must differ in it.
    """

    def __init__(self, items: Iterable[_Item], spell: Callable[[_Item], str]) -> None:
        self._items = iter(items)
        self._spell = spell
        self._count = 0
        self._hash = blake2b(digest_size=16)

    def __iter__(self) -> Iterator[_Item]:
        return self

    def __next__(self) -> _Item:
        item = next(self._items)
        self._hash.update(self._spell(item).encode() + b"\n")
        self._count += 1
        return item

    @property
    def mark(self) -> Mark:
        return Mark(self._count, self._hash.hexdigest())


class Journal(BaseModel):
    """What ``FILE.part.json`` says of ``FILE.part``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    settings: dict[str, Setting]
    items: NonNegativeInt = 0
    digest: str = ""
    bytes: NonNegativeInt = 0

    @classmethod
    def read(cls, path: Path) -> Journal | None:
        """:raises InputError: if the file is there and holds something else."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            raise InputError(
                f"cannot go on by {path}, which is no journal of bitext; "
                "say --restart to begin anew, or name another output"
            ) from None


class ResumableFile:
    """The part of an output, open at the end of what is known to be whole."""

    def __init__(self, part: Path, file: IO[bytes], journal: Journal, what: str) -> None:
        self.what = what
        self.part = part
        self._file = file
        self._settings = journal.settings
        # one value, so that an interrupt comes before or after its change, never within
        self._at = Mark(journal.items, journal.digest), journal.bytes
        self._saved = time.monotonic()

    @property
    def mark(self) -> Mark:
        """How much of the input is done."""
        return self._at[0]

    @property
    def hint(self) -> str:
        """How to go on."""
        kept = f"{self.part} keeps {self.mark.items:,} {self.what}"
        return f"{kept}: the same command goes on from there"

    def skip(self, items: Watched[_Item], name: str) -> None:
        """Read past the items that are done, and see that they are those.

        :param name: what a message calls the input.
        :raises MismatchError: if they are others than those of the earlier run.
        """
        done = self.mark
        for _ in zip(range(done.items), items, strict=False):
            pass
        if done.items and items.mark != done:
            raise MismatchError(
                f"{name} is not what {self.part} was made of: its first {done.items:,} "
                f"{self.what} were others; {_RESTART}"
            )

    def write(self, data: bytes, mark: Mark) -> None:
        """Add what the items up to ``mark`` gave.

        :raises InputError: if it cannot be written.
        """
        with as_input_error(self.part):
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._at = mark, self._at[1] + len(data)
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Have the journal vouch for all that was written."""
        mark, size = self._at
        with as_input_error(self.part):
            os.fsync(self._file.fileno())
        save_journal(self.part, Journal(settings=self._settings, bytes=size, **mark._asdict()))
        self._saved = time.monotonic()


_RESTART = "say --restart to throw the part away and begin anew"


@contextmanager
def resumable_write(
    path: str | Path,
    settings: Mapping[str, Setting],
    *,
    what: str = "pairs",
    restart: bool = False,
) -> Iterator[ResumableFile]:
    """Go on with the part of an earlier run, or begin one; ``path`` appears when the block ends.

    What is done is kept if the block fails. An error of bitext's then says how to go on, and so
    does the ``KeyboardInterrupt`` of a Ctrl-C.

    :param settings: all that changes what the items give.
    :param what: what the items are called.
    :param restart: throw away what an earlier run left.
    :raises MismatchError: if an earlier run had other settings.
    :raises InputError: if there cannot be such a file, or its part is no part of ours.
    """
    target = Path(path)
    where = ordinary(target, Path.is_file, "a file")
    if target.is_symlink():
        target = where
    part = target.with_name(f"{target.name}.part")
    with _open(part) as file:
        out = ResumableFile(part, file, _begin(file, part, dict(settings), restart), what)
        try:
            yield out
        except BaseException as error:
            _keep(out, part, error)
            raise
        _finish(file, part, target)


@contextmanager
def resumable_folder(
    path: str | Path,
    name: str,
    settings: Mapping[str, Setting],
    *,
    marker: str,
    others: Collection[str] = (),
    what: str = "sentences",
    restart: bool = False,
) -> Iterator[ResumableFile]:
    """The same for a folder and the large file ``name`` in it.

    Whatever else the folder is to hold, the block puts into ``FOLDER.part``, the parent of
    ``out.part``, before it ends; it may read there what was written to the file.

    :param marker: the file that tells a folder of this kind; see :func:`bitext.text.atomic_folder`.
    :param others: what the large file may be called where the settings are others.
    """
    target = replaceable(path, marker)
    folder = target.with_name(f"{target.name}.part")
    part = folder / name
    with as_input_error(folder):
        folder.mkdir(exist_ok=True)
    with _only_run(folder):
        _check_entries(folder, {name, marker}, set(others) - {name}, restart)
        with _open(part) as file:
            out = ResumableFile(part, file, _begin(file, part, dict(settings), restart), what)
            try:
                yield out
            except BaseException as error:
                _keep(out, part, error)
                if not out.mark.items:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
        with as_input_error(target):
            swap_in(folder, target)
        _journal_of(target / name).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # what was replaced


def packer(path: str | Path) -> Callable[[str], bytes]:
    """How text is put into a file of this name: as it is, or as a gzip member or a Zstandard frame.

    Members and frames may follow one another; whoever reads the file sees one text.
    """
    suffix = Path(path).suffix
    if suffix == ".gz":
        return lambda text: gzip.compress(text.encode(), mtime=0)
    if suffix == ".zst":
        import zstandard

        return lambda text: zstandard.compress(text.encode())
    return str.encode


def save_journal(part: Path, journal: Journal) -> None:
    with atomic_write(_journal_of(part)) as file:
        file.write(journal.model_dump_json(indent=2) + "\n")


def _journal_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


@contextmanager
def _open(part: Path) -> Iterator[IO[bytes]]:
    with as_input_error(part):
        file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    with file:
        _lock(file.fileno(), part)
        yield file


@contextmanager
def _only_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of ``folder``."""
    with as_input_error(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _check_entries(folder: Path, own: set[str], others: set[str], restart: bool) -> None:
    """See that nothing is in ``folder`` but what a run like this one leaves there."""
    for entry in sorted(folder.iterdir()):
        name = entry.name.removesuffix(".json")
        if name in own or entry.name in own:
            continue
        if name in others:
            if not restart:
                raise MismatchError(f"{folder} was begun with a file {name}; {_RESTART}")
        elif not entry.name.endswith(".tmp"):  # a killed run's unfinished journal or manifest
            raise InputError(f"will not write to {folder}: bitext did not put {entry.name} there")
        with as_input_error(folder):
            entry.unlink()


def _lock(descriptor: int, part: Path) -> None:
    """Keep other runs out of the part as long as it is open."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = os.path.samestat(os.fstat(descriptor), part.stat())
    except (BlockingIOError, FileNotFoundError):
        alone = False
    if not alone:
        raise InputError(f"another run is writing {part}")


def _begin(file: IO[bytes], part: Path, settings: dict[str, Setting], restart: bool) -> Journal:
    """The journal to go on by; ``file`` is then at the end of what it vouches for."""
    size = os.fstat(file.fileno()).st_size
    journal = None if restart else Journal.read(_journal_of(part))
    if journal is None and size and not restart:
        raise InputError(f"will not replace {part}, which has no journal; {_RESTART}")
    if journal is None or not size:
        journal = Journal(settings=settings)
        save_journal(part, journal)
    _check(journal, settings, part, size)
    with as_input_error(part):
        file.truncate(journal.bytes)
        file.seek(journal.bytes)
    return journal


def _check(journal: Journal, settings: dict[str, Setting], part: Path, size: int) -> None:
    for name in sorted({*settings, *journal.settings}):
        ours, theirs = settings.get(name, "none"), journal.settings.get(name, "none")
        if ours != theirs:
            raise MismatchError(f"{part} was begun with {name} {theirs}, not {ours}; {_RESTART}")
    if size < journal.bytes:
        raise InputError(
            f"{part} has {size} bytes, fewer than the {journal.bytes} in its journal; {_RESTART}"
        )


def _keep(out: ResumableFile, part: Path, error: BaseException) -> None:
    """Leave what the next run can go on with, or nothing."""
    if not out.mark.items:
        _journal_of(part).unlink(missing_ok=True)
        part.unlink(missing_ok=True)
        return
    with suppress(InputError):  # a full disk: the journal that is there stays true
        out.save()
    if isinstance(error, KeyboardInterrupt):
        raise KeyboardInterrupt(out.hint) from None
    if isinstance(error, BitextError) and not isinstance(error, MismatchError):
        error.hint = out.hint


def _finish(file: IO[bytes], part: Path, target: Path) -> None:
    with as_input_error(target):
        os.fsync(file.fileno())
        os.replace(part, target)
        sync_folder(target.parent)
    _journal_of(part).unlink(missing_ok=True)
