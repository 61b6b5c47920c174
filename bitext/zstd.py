"""Reading Zstandard files, with the end of a file told from a file that was cut off."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ZstdReader(io.RawIOBase):
    """Decompressed bytes of a Zstandard file of one or more frames.

    ``zstandard``'s own ``stream_reader`` ends a file that was cut off as if it were whole.
    """

    # A block of 4 bytes may stand for 128 KiB, so that one step can decompress to 8 MiB.
    CHUNK = 256

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._output:
            if not self._input:
                self._input = self._file.read(self.CHUNK)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("the compressed file ends in the middle")
                return 0
            self._step()
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._output))
        view[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _step(self) -> None:
        """Decompress what has been read, up to the end of the frame."""
        if self._frame is None:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            self._output = memoryview(self._frame.decompress(self._input))
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
        self._input = self._frame.unused_data
        if self._frame.eof:
            self._frame = None
