"""One side of a mining on disk: each different sentence once, and where it stood.

    lines.txt     the different sentences, one a line, in the order they were first seen
    offsets.npy   where each begins in it, shape (sentences + 1,)
    numbers.npy   the number of the line, from 0, on which each stood first, shape (sentences,)
    rows.npy      which sentence stands on each line of the input, -1 for an empty one
    corpus.json   how many there are, and a hash of the input

Whatever is asked of it later is read from these files, which are mapped into memory, so that the
sentences need none. While the input is read, 28 bytes a line are held.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from bitext.errors import InputError, MismatchError
from bitext.text import atomic_folder, atomic_write

CORPUS_FILE = "corpus.json"
EMPTY = -1

Numbers = NDArray[np.int64]

_DIGEST = np.dtype("S16")


class CorpusRecord(BaseModel):
    """What ``corpus.json`` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["bitext corpus 1"] = "bitext corpus 1"
    lines: NonNegativeInt
    empty: NonNegativeInt
    sentences: NonNegativeInt
    repeats: bool
    """Whether a line that came before is a sentence of its own."""
    digest: str
    """A hash of all lines in order."""


@dataclass(frozen=True)
class Corpus:
    """The sentences of one side, by row."""

    folder: Path
    record: CorpusRecord
    numbers: Numbers
    """The line, from 0, on which each sentence stood first."""
    rows: Numbers
    """The sentence on each line, ``EMPTY`` for an empty one."""
    _offsets: Numbers
    _text: bytes | mmap.mmap

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """:raises InputError: if the folder is not as :func:`write_corpus` left it."""
        try:
            record = CorpusRecord.model_validate_json((folder / CORPUS_FILE).read_bytes())
            offsets, numbers, rows = (
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("offsets", "numbers", "rows")
            )
            text = _mapped(folder / "lines.txt", int(offsets[-1]))
        except (OSError, ValueError, ValidationError) as error:
            raise InputError(f"{folder} is damaged ({error}); remove it and begin anew") from None
        return cls(folder, record, numbers, rows, offsets, text)

    def __len__(self) -> int:
        return self.record.sentences

    def __getitem__(self, row: int) -> str:
        return self._text[self._offsets[row] : self._offsets[row + 1] - 1].decode()

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))


def write_corpus(folder: Path, lines: Iterable[str], *, name: str, repeats: bool = False) -> Corpus:
    """Keep the different ``lines`` in ``folder``, or see that they are those that are kept there.

    :param name: what a message calls the input.
    :param repeats: keep a line that came before as a sentence of its own.
    :raises MismatchError: if the folder holds other lines.
    :raises InputError: if no line has anything in it.
    """
    if (folder / CORPUS_FILE).is_file():
        return _checked(Corpus.open(folder), lines, name, repeats)
    with atomic_folder(folder) as new:
        lengths, digests = _write_lines(new / "all.txt", lines)
        if not len(lengths) or not lengths.any():
            raise InputError(f"{name} has no sentence")
        rows = _rows_of(lengths, digests, repeats)
        numbers = _first_lines(rows)
        offsets = _write_sentences(new, lengths, numbers)
        for stem, array in (("offsets", offsets), ("numbers", numbers), ("rows", rows)):
            np.save(new / f"{stem}.npy", array, allow_pickle=False)
        record = CorpusRecord(
            lines=len(lengths),
            empty=int((rows == EMPTY).sum()),
            sentences=len(numbers),
            repeats=repeats,
            digest=_digest_of(digests),
        )
        with atomic_write(new / CORPUS_FILE) as file:
            file.write(record.model_dump_json(indent=2) + "\n")
    return Corpus.open(folder)


def _checked(corpus: Corpus, lines: Iterable[str], name: str, repeats: bool) -> Corpus:
    if corpus.record.repeats != repeats:
        was = "with" if corpus.record.repeats else "without"
        raise MismatchError(f"{corpus.folder} was begun {was} repeated lines; say --restart")
    digests = np.fromiter(map(_digest, lines), _DIGEST)
    if _digest_of(digests) != corpus.record.digest:
        raise MismatchError(
            f"{name} is not what {corpus.folder} was made of; say --restart to begin anew"
        )
    return corpus


def _write_lines(path: Path, lines: Iterable[str]) -> tuple[Numbers, NDArray[np.bytes_]]:
    """Copy all lines; the bytes of each with its line break, 0 for an empty one, and its hash."""
    lengths, digests = bytearray(), bytearray()
    with open(path, "wb") as file:
        for line in lines:
            data = line.encode() + b"\n"
            blank = not line.strip()
            if not blank:
                file.write(data)
            lengths += (0 if blank else len(data)).to_bytes(8, "little")
            digests += _digest(line)
    return (
        np.frombuffer(lengths, "<i8").astype(np.int64),
        np.frombuffer(digests, _DIGEST),
    )


def _digest(line: str) -> bytes:
    return blake2b(line.encode(), digest_size=16).digest()


def _digest_of(digests: NDArray[np.bytes_]) -> str:
    return blake2b(digests.tobytes(), digest_size=16).hexdigest()


def _rows_of(lengths: Numbers, digests: NDArray[np.bytes_], repeats: bool) -> Numbers:
    """The sentence of each line; equal hashes of 128 bits are taken for equal lines."""
    rows = np.full(len(lengths), EMPTY, np.int64)
    there = np.flatnonzero(lengths)
    if repeats:
        rows[there] = np.arange(len(there))
        return rows
    _, first, same = np.unique(digests[there], return_index=True, return_inverse=True)
    in_order = np.empty(len(first), np.int64)
    in_order[np.argsort(first)] = np.arange(len(first))
    rows[there] = in_order[same]
    return rows


def _first_lines(rows: Numbers) -> Numbers:
    there = np.flatnonzero(rows != EMPTY)
    _, first = np.unique(rows[there], return_index=True)
    return there[first]


def _write_sentences(folder: Path, lengths: Numbers, numbers: Numbers) -> Numbers:
    """Make ``lines.txt`` of the copy of all lines; where each sentence begins."""
    everything = folder / "all.txt"
    starts = np.cumsum(lengths) - lengths
    with open(everything, "rb") as source, open(folder / "lines.txt", "wb") as file:
        for number in numbers:
            source.seek(starts[number])
            file.write(source.read(lengths[number]))
    everything.unlink()
    return np.concatenate([[0], np.cumsum(lengths[numbers])])


def _mapped(path: Path, size: int) -> bytes | mmap.mmap:
    with open(path, "rb") as file:
        if path.stat().st_size != size:
            raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {size}")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
