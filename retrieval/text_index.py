"""TextIndex: sentences, their vectors and their languages' means behind one folder.

    manifest.json   replaced last, in one step: what it does not name is not there
    vectors.f32     rows of float32, only ever added to
    sentences.db    SQLite: id, language, text; and the mean of each language where centred

Whenever a process is killed, the folder holds the index before or after the addition it was at:
rows and sentences beyond the manifest's count do not exist, and the next addition overwrites them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bitext.errors import InputError, MismatchError, TooLargeError, UnknownNameError, choose_from
from bitext.text import atomic_folder
from encoders.pooling import centre
from retrieval.addition import (
    Draft,
    RunningMean,
    TextIndexManifest,
    digest_of_mean,
    digest_of_means,
)
from retrieval.encoding import Progress, check_directions, chunks, encode, is_preset, space_of
from retrieval.index import Index
from retrieval.manifest import (
    MANIFEST_FILE,
    Space,
    check_bytes,
    check_same_space,
    check_sum,
    read_manifest,
    write_manifest,
)
from retrieval.store import STORE_FILE, SentenceStore
from retrieval.vectors import VECTORS_FILE, Rows, read_rows, row_bytes, sync

if TYPE_CHECKING:
    from encoders.encoder import Encoder


class Hit(NamedTuple):
    """A sentence that was found."""

    id: int
    text: str
    score: float
    language: str


class TextIndex:
    """Sentences to be found by meaning; made with :meth:`create` or :meth:`load`.

    Threads may search together. One thread adds at a time, in this process or another; a process
    that has the index loaded while another one adds to it goes on with what it loaded.
    """

    def __init__(
        self, folder: Path, manifest: TextIndexManifest, index: Index, checksum: Any
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._index = index
        self._checksum = checksum  # hashlib's running state over the rows so far
        self._store = SentenceStore(folder / STORE_FILE)
        self._means = self._store.means(manifest.means)
        self._writer = threading.Lock()

    @classmethod
    def create(
        cls,
        folder: str | Path,
        encoder: Encoder,
        *,
        layer: int | None = None,
        pooling: str | None = None,
        centring: bool = False,
    ) -> TextIndex:
        """Make an empty index for the vectors of ``encoder``.

        :param layer: ``None`` for the model's preset; so ``pooling``.
        :param centring: take the mean of its language away from every vector (Libovický et al.,
            2020). Queries must then name their language.
        :raises InputError: if ``folder`` exists and is not an empty folder.
        :raises UnknownNameError: if layer or pooling does not exist.
        """
        folder = Path(folder)
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise InputError(f"{folder} exists already")
        space = space_of(encoder, layer, pooling, centre=digest_of_means({}) if centring else None)
        with atomic_folder(folder) as new:
            (new / VECTORS_FILE).touch()
            SentenceStore.create(new / STORE_FILE)
            write_manifest(
                new,
                TextIndexManifest(
                    **space.model_dump(),
                    dim=encoder.dim,
                    count=0,
                    checksum=hashlib.sha256().hexdigest(),
                    languages={},
                    means={},
                ),
            )
        return cls.load(folder)

    @classmethod
    def load(cls, folder: str | Path) -> TextIndex:
        """Load an index; its vectors are read into memory and checked.

        :raises InputError: if a file in the folder is not as it was written.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, TextIndexManifest)
        path = folder / VECTORS_FILE
        check_bytes(path, manifest.count * row_bytes(manifest.dim), exactly=False)
        index = Index(manifest.dim)
        checksum = hashlib.sha256()
        with open(path, "rb") as file:
            for rows in read_rows(file, manifest.count, manifest.dim):
                checksum.update(rows.astype("<f4").tobytes())
            check_sum(path, checksum.hexdigest(), manifest.checksum)
            file.seek(0)
            _append(index, read_rows(file, manifest.count, manifest.dim))
        loaded = cls(folder, manifest, index, checksum)
        loaded._store.check(manifest.count)
        digests = {language: digest_of_mean(mean) for language, mean in loaded._means.items()}
        if digests != manifest.means:
            raise InputError(f"the means in {folder / STORE_FILE} are not those of its manifest")
        return loaded

    @staticmethod
    def delete(folder: str | Path) -> None:
        """Remove an index whole; it is gone at once, its disk space a moment later.

        :raises InputError: if ``folder`` is not an index.
        """
        folder = Path(folder)
        if not (folder / MANIFEST_FILE).is_file() or not (folder / STORE_FILE).is_file():
            raise InputError(f"{folder} is not an index")
        grave = folder.with_name(f".{folder.name}.deleted")
        shutil.rmtree(grave, ignore_errors=True)
        shutil.rmtree(folder.rename(grave))

    @property
    def count(self) -> int:
        """How many sentences there are; their ids are 0 to ``count - 1``."""
        return self.manifest.count

    @property
    def languages(self) -> Mapping[str, int]:
        """How many sentences there are of each language."""
        return MappingProxyType(self.manifest.languages)

    @property
    def centring(self) -> bool:
        """Whether vectors have their language's mean taken away."""
        return self.manifest.centre is not None

    def sentences(self) -> Iterator[tuple[int, str, str]]:
        """All sentences in order: id, language, text."""
        return self._store.read(self.count)

    # --- searching

    def retrieve(
        self,
        queries: Sequence[str],
        *,
        k: int,
        encoder: Encoder,
        language: str | None = None,
        layer: int | None = None,
        pooling: str | None = None,
        threshold: float | None = None,
        too_long: str = "error",
        before: int = 0,
    ) -> list[list[Hit]]:
        """The ``k`` sentences nearest to each query, best first; of equal ones the older first.

        :param language: of the queries; a centred index must know it, another one does not ask.
        :param layer: ``None`` for the index's own, the only one it accepts; so ``pooling``.
        :param threshold: the least cosine of a hit; ``None`` for that of the model's preset, if it
            has one and the index is made as it says.
        :param before: how many queries came before these, for the number in a message.
        :raises MismatchError: if model, layer or pooling are not those the index was built with.
        :raises UnknownNameError: if the index is centred and has no mean for ``language``.
        :raises InputError: if ``k`` is less than 1, or a query is empty.
        """
        space = self.check(encoder, layer=layer, pooling=pooling)
        mean = self._mean(language) if self.centring else None
        vectors = encode(encoder, queries, space, too_long=too_long, what="query", before=before)
        check_directions(vectors, queries, what="query", before=before)
        hits = self._hits(vectors if mean is None else centre(vectors, mean), k)
        least = self._threshold(encoder) if threshold is None else threshold
        return [[hit for hit in some if hit.score >= least] for some in hits]

    def _threshold(self, encoder: Encoder) -> float:
        preset = encoder.preset.retrieval
        if preset.threshold is None or preset.centred != self.centring:
            return -np.inf
        return preset.threshold if is_preset(encoder, self.manifest) else -np.inf

    def check(
        self, encoder: Encoder, *, layer: int | None = None, pooling: str | None = None
    ) -> Space:
        """Where vectors of ``encoder`` come from, if they can be compared with those here.

        :raises MismatchError: naming what differs, and both its values.
        """
        own, where = self.manifest, f"index {self.folder}"
        # Another model comes first: it may not even have the layer.
        named = {"model": encoder.name, "fingerprint": encoder.fingerprint}
        check_same_space(own, own.model_copy(update=named), where=where, what="the query")
        layer = own.layer if layer is None else layer
        space = space_of(
            encoder, layer, pooling or own.pooling, prefix=own.prefix, centre=own.centre
        )
        check_same_space(own, space, where=where, what="the query")
        return space

    def search(self, vectors: Rows, *, k: int, space: Space) -> list[list[Hit]]:
        """The same for vectors that are there already.

        :param vectors: unit rows, shape (queries, dim).
        :param space: where they come from; the manifest of vectors on disk says it.
        :raises MismatchError: if model, layer, pooling or centre are not those of the index.
        """
        check_same_space(self.manifest, space, where=f"index {self.folder}", what="the query")
        return self._hits(vectors, k)

    def _hits(self, vectors: Rows, k: int) -> list[list[Hit]]:
        neighbours = self._index.search(vectors, k)
        found = self._store.sentences(neighbours.ids.ravel().tolist())
        return [
            [
                Hit(number, found[number].text, score, found[number].language)
                for number, score in zip(ids, scores, strict=True)
            ]
            for ids, scores in zip(neighbours.ids.tolist(), neighbours.scores.tolist(), strict=True)
        ]

    # --- adding

    def add(
        self,
        texts: Iterable[str],
        *,
        language: str,
        encoder: Encoder,
        too_long: str = "error",
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """Add sentences of one language, all or none, in bounded memory; their ids.

        If the index is centred and has no mean for ``language``, it is taken from these sentences.

        :param limit: the most sentences the index may then hold.
        :param progress: called with the number of sentences done since the last call.
        :raises MismatchError: if the encoder is not the one the index was built with, or another
            process has added something since the index was loaded.
        :raises TooLargeError: if there would be more than ``limit`` sentences.
        :raises InputError: if a sentence is empty, or there are too few to take a mean from.
        """
        rows = ((language, text) for text in texts)
        return self.add_mixed(
            rows, encoder=encoder, too_long=too_long, limit=limit, progress=progress
        )

    def add_mixed(
        self,
        rows: Iterable[tuple[str, str]],
        *,
        encoder: Encoder,
        means: Mapping[str, Rows] | None = None,
        too_long: str = "error",
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """The same for sentences of several languages: (language, text) rows.

        :param means: of languages that have none yet, from :meth:`mean_of`; fixed together with
            what is added.
        """
        space = self.check(encoder)
        with self._adding() as draft:
            for language, mean in (means or {}).items():
                draft.set_mean(language, mean)
            for chunk in chunks(rows):
                if limit is not None and draft.count + len(chunk) > limit:
                    raise TooLargeError(f"index {self.folder} may hold {limit} sentences, not more")
                texts = [text for _, text in chunk]
                vectors = encode(
                    encoder, texts, space, too_long=too_long, before=draft.added, progress=progress
                )
                draft.add(chunk, vectors)
        return list(range(draft.old.count, draft.count))

    def set_mean(
        self, language: str, texts: Iterable[str], *, encoder: Encoder, too_long: str = "error"
    ) -> None:
        """Fix the mean of a language that the index has none for yet.

        A query in that language can be centred then, before or without any sentence of it.

        :raises InputError: if the index is not centred, has that mean, or there are too few texts.
        """
        mean = self.mean_of(language, texts, encoder=encoder, too_long=too_long)
        self.add_mixed((), encoder=encoder, means={language: mean})

    def mean_of(
        self, language: str, texts: Iterable[str], *, encoder: Encoder, too_long: str = "error"
    ) -> Rows:
        """The mean of a language's sentences, shape (dim,); nothing is kept of them.

        :param texts: at least ``MEAN_SENTENCES`` different ones; some hundreds serve well.
        :raises InputError: if there are too few.
        """
        space = self.check(encoder)
        mean = RunningMean(language, encoder.dim)
        before = 0
        for chunk in chunks(texts):
            vectors = encode(encoder, chunk, space, too_long=too_long, before=before)
            check_directions(vectors, chunk, before=before)
            before += len(chunk)
            mean.add(chunk, vectors)
        return mean.value()

    @contextmanager
    def _adding(self) -> Iterator[Draft]:
        """A draft that becomes part of the index when the block ends well; one at a time.

        Vectors are on the disk first, then sentences, and then the manifest that names them.
        """
        with self._writer, self._locked_file() as file:
            old = self.manifest
            file.truncate(old.count * row_bytes(old.dim))  # what was cut off before it was named
            file.seek(0, os.SEEK_END)
            for leftover in self.folder.glob(f".{MANIFEST_FILE}.*.tmp"):
                leftover.unlink()
            with self._store.adding(old.count) as transaction:
                draft = Draft(old, self._means, file, self._checksum.copy(), transaction)
                yield draft
                manifest = draft.finish()
                sync(file)
            write_manifest(self.folder, manifest)
            self._take_in(manifest, draft, file)

    @contextmanager
    def _locked_file(self) -> Iterator[IO[bytes]]:
        """The vector file, closed to other processes, if the index is still the one we know."""
        path = self.folder / VECTORS_FILE
        try:
            file = open(path, "r+b")  # noqa: SIM115
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if read_manifest(self.folder, TextIndexManifest) != self.manifest:
                raise MismatchError(
                    f"index {self.folder} was changed by another process since it was loaded; "
                    "load it again"
                )
            yield file

    def _take_in(self, manifest: TextIndexManifest, draft: Draft, file: IO[bytes]) -> None:
        """Let searches see what the manifest on disk now names."""
        old = self.manifest
        file.seek(old.count * row_bytes(old.dim))
        _append(self._index, read_rows(file, manifest.count - old.count, old.dim))
        self._checksum, self._means, self.manifest = draft.checksum, draft.means, manifest

    def _mean(self, language: str | None) -> Rows:
        """The mean that queries in ``language`` must have taken away."""
        if not self._means:
            raise UnknownNameError(f"index {self.folder} is centred and knows no language yet")
        if language is None:
            known = ", ".join(sorted(self._means))
            raise InputError(
                f"index {self.folder} is centred: say which language the queries are in; "
                f"choose one of: {known}"
            )
        if language not in self._means:
            raise UnknownNameError(choose_from("language", language, self._means))
        return self._means[language]


def _append(index: Index, blocks: Iterable[Rows]) -> None:
    """Add rows whose ids count on."""
    for rows in blocks:
        index.add(rows, np.arange(len(index), len(index) + len(rows)))
