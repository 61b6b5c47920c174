"""fairseq's binarised sentences: ``NAME.bin`` holds the ids, ``NAME.idx`` where each one begins.

The layout is that of ``--dataset-impl mmap``, fairseq's default, all numbers little-endian::

    .idx   "MMIDIDX" NUL NUL | u64 version = 1 | u8 code of the dtype | u64 n
           | i32 lengths[n] | i64 first bytes in .bin[n]
    .bin   the ids of all sentences, one after the other
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitext.errors import InputError, MismatchError
from bitext.text import atomic_bytes

MAGIC = b"MMIDIDX\0\0"
OTHER_LAYOUTS = {b"TNTIDX\0\0": "lazy or cached", b"HUFFIDX\0": "huffman"}
DTYPES: dict[int, str] = {
    1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f8", 8: "<u2", 9: "<u4",
    10: "<u8",
}  # fmt: skip
"""fairseq's number for each dtype; 6 and 7 are the same one."""

_HEADER = struct.Struct("<9sQBQ")
Ids = NDArray[np.int64]


def id_dtype(vocabulary: int | None) -> np.dtype[Any]:
    """What fairseq keeps ids in: u2 below 65,500 symbols, else u4; u4 too where it is not told."""
    if vocabulary is None:
        return np.dtype("<u4")
    if vocabulary < 65_500:
        return np.dtype("<u2")
    return np.dtype("<u4" if vocabulary < 4_294_967_295 else "<i8")


class BinarySentences(Sequence[Ids]):
    """The sentences of ``NAME.bin`` and ``NAME.idx``, each an int64 array; nothing is read ahead.

    Both files are mapped: what is looked at comes from the disk, and no more.

    :param name: the path without ``.bin`` or ``.idx``.
    :raises InputError: if a file is missing, is of another layout, or they do not fit together.
    """

    def __init__(self, name: str | Path) -> None:
        self.name = str(name)
        index_path, bin_path = f"{self.name}.idx", f"{self.name}.bin"
        index = _mapped(index_path)
        self.dtype, count = _read_header(index, index_path)
        lengths = _HEADER.size
        starts = lengths + 4 * count
        self.sizes: NDArray[np.int32] = index[lengths:starts].view("<i4")
        self._starts: NDArray[np.int64] = index[starts:].view("<i8")
        self._bytes = _mapped(bin_path)
        self._check(index_path, bin_path)

    def _check(self, index_path: str, bin_path: str) -> None:
        ends = self._starts + self.sizes.astype(np.int64) * self.dtype.itemsize
        if len(ends) and (min(self.sizes.min(), self._starts.min()) < 0):
            raise InputError(f"{index_path} is damaged: a length or a position is below 0")
        needed = int(ends.max(initial=0))
        if needed != len(self._bytes):
            raise InputError(
                f"{bin_path} has {len(self._bytes)} bytes, and {index_path} speaks of {needed};"
                " they do not belong together, or one was cut short"
            )

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, which: int) -> Ids: ...
    @overload
    def __getitem__(self, which: slice) -> Sequence[Ids]: ...
    def __getitem__(self, which: int | slice) -> Ids | Sequence[Ids]:
        if isinstance(which, slice):
            return [self[i] for i in range(*which.indices(len(self)))]
        start = int(self._starts[which])
        end = start + int(self.sizes[which]) * self.dtype.itemsize
        # a copy: positions need not be multiples of the item's size, and the map stays read-only
        found: Ids = np.frombuffer(self._bytes[start:end].tobytes(), self.dtype).astype(np.int64)
        return found

    def __iter__(self) -> Iterator[Ids]:
        return (self[i] for i in range(len(self)))


def _mapped(path: str) -> NDArray[np.uint8]:
    """The bytes of a file, not yet read; an empty file cannot be mapped and has none."""
    try:
        if Path(path).stat().st_size == 0:
            return np.empty(0, np.uint8)
        return np.memmap(path, np.uint8, mode="r")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def _read_header(index: NDArray[np.uint8], path: str) -> tuple[np.dtype[Any], int]:
    """The dtype and the number of sentences, once the file is what it should be."""
    start = index[: _HEADER.size].tobytes()
    for magic, layout in OTHER_LAYOUTS.items():
        if start.startswith(magic):
            raise InputError(f"{path} has fairseq's layout '{layout}'; only mmap can be read:"
                             " preprocess again with --dataset-impl mmap")  # fmt: skip
    if not start.startswith(MAGIC) or len(start) < _HEADER.size:
        raise InputError(f"{path} is not an index of fairseq: it does not begin with 'MMIDIDX'")
    _, version, code, count = _HEADER.unpack(start)
    if version != 1:
        raise InputError(f"{path} is of version {version}; only version 1 is known")
    if code not in DTYPES:
        raise InputError(f"{path}: unknown dtype {code}; known are 1 to {max(DTYPES)}")
    if len(index) != (needed := _HEADER.size + 12 * count):
        raise InputError(f"{path} has {len(index)} bytes; {count} sentences need {needed}")
    return np.dtype(DTYPES[code]), count


class SentenceWriter:
    """Writes ``NAME.bin`` and ``NAME.idx`` sentence by sentence, byte by byte as fairseq does.

    Both take their places when the block ends well, and neither does otherwise::

        with SentenceWriter("train.en-de.en", vocabulary=8000) as out:
            out.add([17, 4, 2])

    :param vocabulary: how many ids there are; it decides the dtype (:func:`id_dtype`).
    :param dtype: another one, of those in ``DTYPES``.
    """

    def __init__(
        self,
        name: str | Path,
        *,
        vocabulary: int | None = None,
        dtype: np.dtype[Any] | str | None = None,
    ) -> None:
        self.name = str(name)
        self.dtype = id_dtype(vocabulary) if dtype is None else np.dtype(dtype).newbyteorder("<")
        self._code = _code_of(self.dtype)
        self._range = _range_of(self.dtype, vocabulary)
        self._sizes = array("i")
        self._stack = ExitStack()

    def __enter__(self) -> SentenceWriter:
        # left in the opposite order: .bin takes its place first, so that no .idx lacks its .bin
        self._index = self._stack.enter_context(atomic_bytes(f"{self.name}.idx"))
        self._data = self._stack.enter_context(atomic_bytes(f"{self.name}.bin"))
        return self

    def add(self, ids: ArrayLike) -> None:
        """Append a sentence, ``</s>`` included.

        :raises MismatchError: if an id is not of the vocabulary, or not of the dtype.
        """
        row = np.asarray(ids)
        least, most = self._range
        if len(row) and not least <= row.min() <= row.max() <= most:
            worst = row.max() if row.max() > most else row.min()
            raise MismatchError(
                f"{self.name}, sentence {len(self._sizes) + 1}: id {worst} is not in"
                f" {least} to {most}, what the vocabulary or dtype {self.dtype.name} allows"
            )
        self._data.write(row.astype(self.dtype).tobytes())
        self._sizes.append(len(row))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            sizes = np.frombuffer(self._sizes, np.intc) if self._sizes else np.empty(0, np.intc)
            starts = np.zeros(len(sizes), "<i8")
            np.cumsum(sizes[:-1].astype(np.int64) * self.dtype.itemsize, out=starts[1:])
            self._index.write(_HEADER.pack(MAGIC, 1, self._code, len(sizes)))
            self._index.write(sizes.astype("<i4").tobytes())
            self._index.write(starts.tobytes())
        self._stack.__exit__(kind, error, trace)


def _range_of(dtype: np.dtype[Any], vocabulary: int | None) -> tuple[int, int]:
    """The smallest and the largest id that may be written."""
    if vocabulary is not None:
        return 0, vocabulary - 1
    held = np.iinfo(dtype) if dtype.kind in "iu" else np.iinfo(np.int32)
    return int(held.min), int(held.max)


def _code_of(dtype: np.dtype[Any]) -> int:
    for code, name in DTYPES.items():
        if np.dtype(name) == dtype:
            return code
    raise ValueError(f"fairseq has no code for {dtype}")
