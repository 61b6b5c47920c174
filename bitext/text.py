"""Text in and out: sentences, tab-separated bitext, Pharaoh lines; plain, .gz, .zst, stdin.

Reading is strict. A line that is not UTF-8, holds a NUL byte or is longer than ``MAX_LINE_BYTES``
stops the reading with one sentence that names the file and the line; nothing is cut, skipped or
guessed. Writing is all or nothing: a reader sees the old file or the whole new one.
"""

from __future__ import annotations

import ctypes
import errno
import gzip
import io
import os
import re
import secrets
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from bitext.errors import InputError
from bitext.types import Alignment, GoldAlignment, SentencePair

MAX_LINE_BYTES = 1_000_000
"""The longest line that is read, in bytes and without its newline."""

STDIN = "-"

_BOM = b"\xef\xbb\xbf"
_SPACES = re.compile("[ \t]+")
_Parsed = TypeVar("_Parsed")


def words(text: str) -> list[str]:
    """Split at spaces and tabs, and at nothing else: a no-break space stays inside its word.

    Example: ``words(" 10\\u00a0000  euros")`` -> ``["10\\u00a0000", "euros"]``
    """
    return [word for word in _SPACES.split(text) if word]


def data_folder() -> Path:
    """Where the measuring data lie: ``BITEXT_DATA``, or ``shared/data`` beside the repository."""
    if given := os.environ.get("BITEXT_DATA"):
        return Path(given)
    return Path(__file__).resolve().parents[2] / "shared" / "data"


# --- reading


def open_lines(path: str | Path) -> Iterator[str]:
    r"""Yield the lines of a text file without their ``\n`` or ``\r\n``; ``-`` is standard input.

    Files ending in ``.gz`` and ``.zst`` are decompressed. A byte order mark at the start of the
    file is no text and is dropped. An empty file has no lines.

    :raises InputError: if the file cannot be read, or a line is not what the module allows.
    """
    name = name_of(path)
    try:
        with _open_bytes(path) as stream:
            for number, raw in enumerate(_raw_lines(stream), start=1):
                yield _decode(raw, f"{name}, line {number}")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {name}: {reason}") from error


def read_sentences(path: str | Path) -> Iterator[str]:
    """Yield the lines of a file that must have some.

    :raises InputError: if the file is empty.
    """
    return _not_empty(open_lines(path), path, "one sentence a line")


def read_bitext(path: str | Path) -> Iterator[SentencePair]:
    """Yield the pairs of a file with one ``source TAB target`` a line, both sides as raw text.

    :raises InputError: if the file is empty or a line has not exactly one tab.
    """
    lines = _not_empty(open_lines(path), path, "lines of 'source TAB target'")
    return _parsed(lines, path, _split_pair)


def read_parallel(source_path: str | Path, target_path: str | Path) -> Iterator[SentencePair]:
    """Yield the pairs of two files whose lines correspond.

    :raises InputError: if the files are empty or have different numbers of lines, which shows
        once the shorter one has ended.
    """
    if str(source_path) == str(target_path) == STDIN:
        raise InputError("source and target cannot both be standard input")
    return _zipped(source_path, target_path)


def read_alignments(path: str | Path) -> Iterator[Alignment]:
    """Yield the alignments of a file of Pharaoh lines; an empty line is a pair without links.

    :raises InputError: if the file is empty or a line is not made of links such as ``0-0 1-2``.
    """
    lines = _not_empty(open_lines(path), path, "links such as '0-0 1-2'")
    return _parsed(lines, path, Alignment.parse)


def read_gold(path: str | Path, *, pairs: int | None = None) -> list[GoldAlignment]:
    """Read gold alignments, one sentence pair a line: ``0-0`` a sure link, ``1p2`` a possible one.

    :param pairs: how many pairs there are, where the caller knows.
    :raises InputError: if a line holds something else, or the lines are not as many as ``pairs``.
    """
    lines = _not_empty(open_lines(path), path, "gold links such as '0-0 1p2'")
    gold = list(_parsed(lines, path, GoldAlignment.parse))
    if pairs is not None and len(gold) != pairs:
        count = f"{_lines(len(gold))} for {pairs} sentence pairs"
        raise InputError(f"{name_of(path)} has {count}; it must have one line a pair")
    return gold


def name_of(path: str | Path) -> str:
    """What a message calls the file at ``path``."""
    return "standard input" if str(path) == STDIN else str(path)


@contextmanager
def _open_bytes(path: str | Path) -> Iterator[IO[bytes]]:
    """Open ``path`` for reading, decompressed; standard input is left open afterwards."""
    if str(path) == STDIN:
        yield sys.stdin.buffer
        return
    with open(path, "rb") as file:
        suffix = Path(path).suffix
        if suffix == ".gz":
            with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
                yield unzipped  # type: ignore[misc]  # GzipFile reads as IO[bytes] does
        elif suffix == ".zst":
            from bitext.zstd import ZstdReader

            yield io.BufferedReader(ZstdReader(file))
        else:
            yield file


def _raw_lines(stream: IO[bytes]) -> Iterator[bytes]:
    r"""Yield lines without ``\n`` or ``\r\n``; of a longer line than is allowed, its first bytes.

    A file that is one endless line is thus never held in memory.
    """
    room = len(_BOM) + MAX_LINE_BYTES + len(b"\r\n") + 1  # one too many tells that it was longer
    first = True
    while raw := stream.readline(room):
        if first:
            raw, first = raw.removeprefix(_BOM), False
        if raw.endswith(b"\n"):
            raw = raw[:-2] if raw.endswith(b"\r\n") else raw[:-1]
        yield raw


def _decode(raw: bytes, where: str) -> str:
    """Decode one line, or say what is wrong at which character (counted from 1)."""
    if len(raw) > MAX_LINE_BYTES:
        raise InputError(f"{where}: longer than the {MAX_LINE_BYTES} bytes a line may have")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(raw[: error.start].decode("utf-8")) + 1
        byte = raw[error.start]
        raise InputError(f"{where}: byte 0x{byte:02x} at column {column} is not UTF-8") from None
    if "\0" in text:
        raise InputError(f"{where}: NUL byte at column {text.index(chr(0)) + 1}")
    return text


def _not_empty(lines: Iterator[str], path: str | Path, expected: str) -> Iterator[str]:
    """Pass ``lines`` on; having none is an error that says what was ``expected``."""
    first = next(lines, None)
    if first is None:
        raise InputError(f"{name_of(path)} is empty; expected {expected}")
    yield first
    yield from lines


def _parsed(
    lines: Iterator[str], path: str | Path, parse: Callable[[str], _Parsed]
) -> Iterator[_Parsed]:
    """Parse each line; an error names the file and the line."""
    for number, line in enumerate(lines, start=1):
        try:
            yield parse(line)
        except InputError as error:
            raise InputError(f"{name_of(path)}, line {number}: {error}") from None


def _split_pair(line: str) -> SentencePair:
    if line.count("\t") != 1:
        raise InputError(f"expected 'source TAB target', found {line.count(chr(9))} tabs")
    source, target = line.split("\t")
    return SentencePair(source, target)


def _zipped(source_path: str | Path, target_path: str | Path) -> Iterator[SentencePair]:
    sources, targets = open_lines(source_path), open_lines(target_path)
    both = 0
    for source in sources:
        target = next(targets, None)
        if target is None:
            lines = both + 1 + sum(1 for _ in sources)
            raise _unequal(source_path, lines, target_path, both)
        yield SentencePair(source, target)
        both += 1
    if more := sum(1 for _ in targets):
        raise _unequal(source_path, both, target_path, both + more)
    if not both:
        names = f"{name_of(source_path)} and {name_of(target_path)}"
        raise InputError(f"{names} are empty; expected one sentence a line")


def _unequal(source: str | Path, sources: int, target: str | Path, targets: int) -> InputError:
    return InputError(
        f"{name_of(source)} has {_lines(sources)}, {name_of(target)} has {_lines(targets)};"
        " they must have as many, as line n of one translates line n of the other"
    )


def _lines(count: int) -> str:
    return f"{count} line" if count == 1 else f"{count} lines"


# --- writing


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[str]]:
    """Open a UTF-8 text file that takes the place of ``path`` when the block ends well.

    Until then ``path`` is as it was; if the block fails, it stays so.

    :raises InputError: if there cannot be such a file.
    """
    with _replacing(Path(path)) as (target, temporary):
        with as_input_error(target):
            file = open(temporary, "x", encoding="utf-8", newline="\n")  # noqa: SIM115
        with file:
            yield file
            _sync_file(file, target)


@contextmanager
def atomic_bytes(path: str | Path) -> Iterator[IO[bytes]]:
    """The same for a file of bytes."""
    with _replacing(Path(path)) as (target, temporary):
        with as_input_error(target):
            file = open(temporary, "xb")  # noqa: SIM115
        with file:
            yield file
            _sync_file(file, target)


@contextmanager
def _replacing(path: Path) -> Iterator[tuple[Path, Path]]:
    """Where ``path`` leads, and a name beside it whose file takes its place when the block ends."""
    target = ordinary(path, Path.is_file, "a file")
    temporary = _beside(target)
    try:
        yield target, temporary
        with as_input_error(target):
            os.replace(temporary, target)
            sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_file(file: IO[str] | IO[bytes], target: Path) -> None:
    with as_input_error(target):
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def atomic_folder(path: str | Path, *, marker: str | None = None) -> Iterator[Path]:
    """Give a new empty folder that takes the place of ``path`` when the block ends well.

    :param marker: the file that tells a folder of this kind. A folder that holds other things and
        not this one is somebody's, and is not replaced.
    :raises InputError: if ``path`` cannot be such a folder.
    """
    target = replaceable(path, marker)
    temporary = _beside(target)
    with as_input_error(target):
        temporary.mkdir()
    try:
        yield temporary
        with as_input_error(target):
            swap_in(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replaceable(path: str | Path, marker: str | None = None) -> Path:
    """Where ``path`` leads, through links, if a folder may take the place of what stands there.

    :param marker: as for :func:`atomic_folder`.
    :raises InputError: if it may not.
    """
    target = ordinary(Path(path), Path.is_dir, "a folder")
    if marker and target.is_dir() and any(target.iterdir()) and not (target / marker).is_file():
        raise InputError(f"will not replace {path}: it is not empty and has no {marker}")
    return target


def ordinary(path: Path, is_kind: Callable[[Path], bool], kind: str) -> Path:
    """Where ``path`` leads, through links, if what stands there may be replaced."""
    target = Path(os.path.realpath(path))
    if target.exists() and not is_kind(target):
        raise InputError(f"cannot write {path}: what stands there is not {kind}")
    return target


def _beside(target: Path) -> Path:
    """A free hidden name in the same folder, so that a rename stays within one file system."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def as_input_error(target: Path) -> Iterator[None]:
    """Turn what the file system refuses (no such folder, no space) into one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error


def _sync_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def swap_in(new: Path, target: Path) -> None:
    """Bring the folder ``new`` to the disk and rename it to ``target``.

    An old folder there is then at ``new``, to be removed.
    """
    _sync_tree(new)
    _swap(new, target)
    sync_folder(target.parent)


def _swap(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
    elif not _exchange(new, target):
        # Without an exchange in one step there is a moment with nothing at the target, but the
        # old folder is whole under its side name.
        old = _beside(target)
        target.rename(old)
        new.rename(target)
        old.rename(new)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; false where the system cannot (Linux since 3.15 can)."""
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if sys.platform != "linux" or renameat2 is None:
        return False
    if renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0:
        return True
    if (code := ctypes.get_errno()) in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code))
