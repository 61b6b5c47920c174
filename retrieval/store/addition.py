"""An addition to a TextIndex: encoded first, however long that takes, and then written in one go.

What is encoded waits in memory or, where there is much of it, in two files without a name, which
are gone when the process is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import NamedTuple

import numpy as np

from bitext.errors import InputError, TooLargeError
from bitext.text import as_input_error
from retrieval.store.means import RunningMean
from retrieval.store.metadata import Metadata, check_text, dump_metadata
from retrieval.store.writing import Encoded, Writing
from retrieval.vectors.centring import Centring
from retrieval.vectors.encoding import CHUNK, check_directions, chunks
from retrieval.vectors.files import Rows, row_bytes
from retrieval.vectors.language_names import check_language

SPOOL_BYTES = 16 * 2**20
"""What waits in memory before it goes to a file."""
LARGEST_ID = 2**63 - 1


class Entry(NamedTuple):
    """A sentence that is to be added; without an ``id``, the next number."""

    language: str
    text: str
    id: int | None = None
    metadata: Metadata | None = None


class Addition:
    """A change: sentences, their vectors and means of new languages; a context manager.

    :param centred: whether the index takes means away.
    :param means: the languages that have one already.
    :param centring: by which the index centres instead, for the languages it knows.
    :param replace: let a sentence take the place of the one that has its id.
    :param limit: the most sentences the index may then hold.
    :param once: a name; nothing is written if an addition of that name was.
    """

    def __init__(
        self,
        folder: Path,
        dim: int,
        *,
        centred: bool,
        means: Mapping[str, Rows],
        centring: Centring | None = None,
        replace: bool = False,
        limit: int | None = None,
        once: str | None = None,
    ) -> None:
        self.added = 0
        self._once = once
        self.ids: list[int] = []
        self._folder, self._dim, self._replace, self._limit = folder, dim, replace, limit
        self._centred, self._centring = centred, centring
        self._known = set(means)
        self._given: dict[str, Rows] = {}
        self._running: dict[str, RunningMean] = {}
        self._vectors, self._entries = _spool(folder), _spool(folder)

    def __enter__(self) -> Addition:
        return self

    def __exit__(self, *_: object) -> None:
        self._vectors.close()
        self._entries.close()

    def set_mean(self, language: str, mean: Rows) -> None:
        """Fix the mean of a language, shape (dim,).

        :raises InputError: if the index is not centred.
        """
        check_language(language)
        if not self._centred:
            raise InputError("the index does not centre by means: it takes none")
        self._given[language] = mean

    def add(self, entries: Sequence[Entry], vectors: Rows) -> None:
        """Add sentences and their vectors, not centred.

        :raises InputError: if one cannot be in an index, naming its number.
        """
        texts = [entry.text for entry in entries]
        check_directions(vectors, texts, before=self.added)
        lines = [self._line(number, entry) for number, entry in enumerate(entries, self.added + 1)]
        with as_input_error(self._folder):
            self._vectors.write(vectors.astype("<f4").tobytes())
            self._entries.write("".join(lines).encode("ascii"))
        if self._centred:
            self._collect(entries, vectors)
        self.added += len(entries)

    def apply(self, writing: Writing) -> None:
        """Write all of it.

        :raises InputError: if a sentence or a mean is there already, or a mean has too little text.
        :raises TooLargeError: if there would be more sentences than ``limit``.
        """
        if self._once is not None and not writing.first_time(self._once):
            return
        for language, mean in self._given.items():
            writing.set_mean(language, mean)
        for language, running in self._running.items():
            if language not in writing.means:  # another addition may have fixed it meanwhile
                writing.set_mean(language, running.value())
        self.ids = []
        for entries, vectors in self._blocks():
            self.ids += writing.put(entries, vectors, replace=self._replace)
            if self._limit is not None and writing.count > self._limit:
                raise TooLargeError(
                    f"index {self._folder} may hold {self._limit} sentences, not more"
                )

    def _line(self, number: int, entry: Entry) -> str:
        check_language(entry.language)
        if self._centring is not None:
            self._centring.check_language(entry.language)
        check_text(f"sentence {number}", entry.text)
        if entry.id is None and self._replace:
            raise InputError(f"sentence {number} has no id, so there is nothing it could replace")
        if entry.id is not None and not 0 <= entry.id <= LARGEST_ID:
            raise InputError(f"sentence {number}: an id is a number from 0 up, got {entry.id}")
        try:
            metadata = dump_metadata(entry.metadata)
        except InputError as error:
            raise InputError(f"sentence {number}: {error}") from None
        return json.dumps((entry.language, entry.text, entry.id, metadata)) + "\n"

    def _blocks(self) -> Iterator[tuple[list[Encoded], Rows]]:
        self._vectors.seek(0)
        self._entries.seek(0)
        for lines in chunks(self._entries, CHUNK):
            data = self._vectors.read(len(lines) * row_bytes(self._dim))
            vectors = np.frombuffer(data, "<f4").reshape(len(lines), self._dim)
            yield [Encoded(*json.loads(line)) for line in lines], vectors.astype(np.float32)

    def _collect(self, entries: Sequence[Entry], vectors: Rows) -> None:
        """Let the new vectors take part in the means that are not fixed yet."""
        of = np.array([entry.language for entry in entries])
        for language in set(of.tolist()) - self._known - set(self._given):
            running = self._running.setdefault(language, RunningMean(language, self._dim))
            own = of == language
            running.add(
                [entry.text for entry, is_own in zip(entries, own, strict=True) if is_own],
                vectors[own],
            )


def _spool(folder: Path) -> SpooledTemporaryFile[bytes]:
    """Memory, and beyond some size a file on the disk of ``folder``, in no folder's list."""
    return SpooledTemporaryFile(SPOOL_BYTES, dir=str(folder))
