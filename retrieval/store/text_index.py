"""TextIndex: sentences, their vectors and their languages' means behind one folder.

    manifest.json            what never changes: the model, how vectors are made, their dim
    centring/                how vectors are centred, if that was learnt before
    vectors-GENERATION.f32   rows of float32, only ever added to
    search-NUMBER/           what was trained to search faster, if anything was
    sentences.db             SQLite: everything else, and which rows and which of the above count

A transaction of SQLite is the commit point of every change; the rows it names are on the disk
before. Whenever a process is killed, the folder holds the index before or after what it was at.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import PositiveInt

from bitext.errors import (
    BitextError,
    BusyError,
    InputError,
    TooLargeError,
    UnknownNameError,
    choose_from,
)
from bitext.text import atomic_folder
from encoders.pooling import centre
from retrieval.index.kinds import Choice, Kind
from retrieval.store.addition import Addition, Entry
from retrieval.store.compaction import compact, is_due
from retrieval.store.means import RunningMean, digest_of_means
from retrieval.store.metadata import Metadata, Value
from retrieval.store.mirror import ATTEMPTS, Mirror
from retrieval.store.renewal import checked_kind, choose, renew
from retrieval.store.renewal import is_due as is_renewal_due
from retrieval.store.row_file import MovedError, row_path
from retrieval.store.selection import Filter
from retrieval.store.sentences import STORE_FILE, SentenceStore
from retrieval.store.snapshots import (
    CENTRING_FOLDER,
    SnapshotManifest,
    check_free,
    restore_snapshot,
    write_snapshot,
)
from retrieval.store.tables import Sentence, State
from retrieval.store.turns import Turns
from retrieval.store.writing import Writing, writing
from retrieval.vectors.centring import Centring
from retrieval.vectors.encoding import (
    Progress,
    check_directions,
    chunks,
    encode,
    is_preset,
    space_of,
)
from retrieval.vectors.files import Rows
from retrieval.vectors.manifest import (
    MANIFEST_FILE,
    Space,
    check_same_space,
    read_manifest,
    write_manifest,
)

if TYPE_CHECKING:
    from encoders.encoder import Encoder

logger = logging.getLogger(__name__)

OLD_FORMATS = ("bitext text index 1", "bitext text index 2")


class TextIndexManifest(Space):
    """What never changes of an index.

    Its ``centre`` is the digest of the centring in its folder, and ``None`` where there is none,
    though means may be taken away: some may be added.
    """

    format: Literal["bitext text index 3"] = "bitext text index 3"
    dim: PositiveInt
    dtype: Literal["float32"] = "float32"
    centring: bool
    """Whether vectors have their language's mean taken away."""


class Hit(NamedTuple):
    """A sentence that was found."""

    id: int
    text: str
    score: float
    language: str
    metadata: dict[str, Value] | None = None


class _Change(Protocol):
    """What is to be written; :class:`Addition` is one."""

    def apply(self, writing: Writing) -> None: ...


class TextIndex:
    """Sentences to be found by meaning; made with :meth:`create` or :meth:`load`.

    Threads and processes may read and write together: writers take turns, each change is there
    whole or not at all, and a search sees every change that was made before it began.
    """

    def __init__(self, folder: Path, manifest: TextIndexManifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._centring = _stored_centring(folder, manifest)
        self._store = SentenceStore(folder / STORE_FILE)
        self._mirror = Mirror(folder, self._store, manifest.dim)
        self._turns: Turns[_Change] = Turns(self._commit)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        encoder: Encoder,
        *,
        layer: int | None = None,
        pooling: str | None = None,
        centring: bool | Centring = False,
        kind: str = "auto",
    ) -> TextIndex:
        """Make an empty index for the vectors of ``encoder``.

        :param layer: ``None`` for the model's preset; so ``pooling``.
        :param centring: take the mean of its language away from every vector (Libovický et al.,
            2020); or centre it by what was learnt before, for the languages that knows. Queries
            must then name their language. Layer and pooling are those it was learnt with.
        :param kind: how it searches, as :mod:`retrieval.index.kinds` spells it; ``auto`` as suits
            its size. Few sentences are compared one by one, whatever it is.
        :raises InputError: if ``folder`` exists and is not an empty folder.
        :raises UnknownNameError: if layer, pooling or kind does not exist.
        """
        folder = Path(folder)
        check_free(folder)
        kind = checked_kind(kind, encoder.dim)
        learnt = centring if isinstance(centring, Centring) else None
        if learnt is None:
            space = space_of(encoder, layer, pooling)
        else:
            space = _space_before(learnt, encoder, layer, pooling)
            space = learnt.centred(space)
        by_means = centring is True
        manifest = TextIndexManifest(**space.model_dump(), dim=encoder.dim, centring=by_means)
        with atomic_folder(folder) as new:
            row_path(new, 0).touch()
            if learnt is not None:
                learnt.save(new / CENTRING_FOLDER)
            state = State(centre=digest_of_means({}) if by_means else None, kind=kind)
            SentenceStore.create(new / STORE_FILE, state)
            write_manifest(new, manifest)
        return cls.load(folder)

    @classmethod
    def load(cls, folder: str | Path, *, at_once: bool = True) -> TextIndex:
        """Load an index; what its kind of search keeps in memory is read and checked.

        :param at_once: read it now, and not when it is first searched.
        :raises InputError: if a file in the folder is not as it was written.
        """
        folder = Path(folder)
        _refuse_old(folder)
        loaded = cls(folder, read_manifest(folder, TextIndexManifest))
        if at_once:
            loaded.refresh()
        return loaded

    @staticmethod
    def drop(folder: str | Path) -> None:
        """Remove an index whole; it is gone at once, its disk space a moment later.

        :raises InputError: if ``folder`` is not an index.
        """
        folder = Path(folder)
        if not (folder / MANIFEST_FILE).is_file() or not (folder / STORE_FILE).is_file():
            raise InputError(f"{folder} is not an index")
        grave = folder.with_name(f".{folder.name}.deleted")
        shutil.rmtree(grave, ignore_errors=True)
        shutil.rmtree(folder.rename(grave))

    # --- what it holds

    @property
    def centring(self) -> bool:
        """Whether vectors are centred, so that queries must name their language."""
        return self.manifest.centring or self._centring is not None

    @property
    def space(self) -> Space:
        """Where its vectors come from; the centre is that of the means there are now."""
        with self._store.reading() as reader:
            centre = reader.state().centre or self.manifest.centre
        fields = {name: getattr(self.manifest, name) for name in Space.model_fields}
        return Space(**{**fields, "centre": centre})

    @property
    def languages(self) -> Mapping[str, int]:
        """How many sentences there are of each language."""
        with self._store.reading() as reader:
            return reader.languages()

    @property
    def means(self) -> Mapping[str, Rows]:
        """The mean of each language that has one, shape (dim,)."""
        with self._store.reading() as reader:
            return reader.means()

    @property
    def kind(self) -> str:
        """How it is to search, as it was asked for; ``auto`` as suits its size."""
        with self._store.reading() as reader:
            return reader.state().kind

    @property
    def choice(self) -> Choice:
        """How it searches now, and why."""
        with self._store.reading() as reader:
            state, count = reader.state(), sum(reader.languages().values())
        choice = choose(state.kind, count, self.manifest.dim)
        if choice.kind == state.chosen:
            return choice
        return Choice(state.chosen, "that suited it when it was decided last")

    def __len__(self) -> int:
        return self.count()

    def count(self, where: Filter | None = None) -> int:
        """How many sentences there are, or how many of them ``where`` means."""
        with self._store.reading() as reader:
            return sum(reader.languages().values()) if where is None else reader.count(where)

    def get(self, ids: Sequence[int]) -> list[Sentence]:
        """The sentences with these ids, in this order; those that are not there are left out."""
        with self._store.reading() as reader:
            found = reader.sentences(ids)
        return [found[number] for number in ids if number in found]

    def scroll(
        self, *, after: int = -1, limit: int = 100, where: Filter | None = None
    ) -> list[Sentence]:
        """The next ``limit`` sentences by id; the id of the last one leads on.

        :param after: only larger ids.
        """
        with self._store.reading() as reader:
            return list(reader.scroll(after, limit, where))

    def sentences(self, where: Filter | None = None) -> Iterator[Sentence]:
        """All sentences in order of id, as they are when the first is read."""
        with self._store.reading() as reader:
            yield from reader.scroll(where=where)

    def refresh(self) -> None:
        """Take in what was written since; every search does so first."""
        with self._mirror.view():
            pass

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
        where: Filter | None = None,
        too_long: str = "error",
        before: int = 0,
    ) -> list[list[Hit]]:
        """The ``k`` sentences nearest to each query, best first; of equal ones the smaller id.

        :param language: of the queries; a centred index must know it, another one does not ask.
        :param layer: ``None`` for the index's own, the only one it accepts; so ``pooling``.
        :param threshold: the least cosine of a hit; ``None`` for that of the model's preset, if it
            has one and the index is made as it says.
        :param where: which sentences may be hits; ``None`` for all.
        :param before: how many queries came before these, for the number in a message.
        :raises MismatchError: if model, layer or pooling are not those the index was built with.
        :raises UnknownNameError: if the index is centred and has no mean for ``language``.
        :raises InputError: if ``k`` is less than 1, or a query is empty.
        """
        space = self.check(encoder, layer=layer, pooling=pooling)
        centred = self._centring_of(language)
        vectors = encode(encoder, queries, space, too_long=too_long, what="query", before=before)
        check_directions(vectors, queries, what="query", before=before)
        hits = self._hits(centred(vectors), k, where)
        least = self._threshold(encoder) if threshold is None else threshold
        return [[hit for hit in some if hit.score >= least] for some in hits]

    def _threshold(self, encoder: Encoder) -> float:
        preset = encoder.preset.retrieval
        if preset.threshold is None or preset.centred != self.manifest.centring:
            return -np.inf
        if self._centring is not None:
            return -np.inf
        return preset.threshold if is_preset(encoder, self.manifest) else -np.inf

    def check(
        self, encoder: Encoder, *, layer: int | None = None, pooling: str | None = None
    ) -> Space:
        """Where vectors of ``encoder`` come from, if they can be compared with those here.

        :raises MismatchError: naming what differs, and both its values.
        """
        own: Space = self.manifest
        where = f"index {self.folder}"
        # Another model comes first: it may not even have the layer.
        named = {"model": encoder.name, "fingerprint": encoder.fingerprint}
        check_same_space(own, own.model_copy(update=named), where=where, what="the query")
        layer = own.layer if layer is None else layer
        space = space_of(
            encoder, layer, pooling or own.pooling, prefix=own.prefix, centre=own.centre
        )
        check_same_space(own, space, where=where, what="the query")
        return space

    def search(
        self, vectors: Rows, *, k: int, space: Space, where: Filter | None = None
    ) -> list[list[Hit]]:
        """The same for vectors that are there already.

        :param vectors: unit rows, shape (queries, dim).
        :param space: where they come from; the manifest of vectors on disk says it.
        :raises MismatchError: if model, layer, pooling or centre are not those of the index.
        """
        check_same_space(self.space, space, where=f"index {self.folder}", what="the query")
        return self._hits(vectors, k, where)

    def _hits(self, vectors: Rows, k: int, where: Filter | None) -> list[list[Hit]]:
        with self._mirror.view() as reader:
            among = None if where is None else reader.ids(where)
            neighbours = self._mirror.search(reader, vectors, k, among)
            found = reader.sentences(neighbours.ids.ravel().tolist())
        return [
            [_hit(found[number], score) for number, score in zip(ids, scores, strict=True)]
            for ids, scores in zip(neighbours.ids.tolist(), neighbours.scores.tolist(), strict=True)
        ]

    # --- writing

    def add(
        self,
        texts: Iterable[str],
        *,
        language: str,
        encoder: Encoder,
        ids: Iterable[int] | None = None,
        metadata: Iterable[Metadata | None] | None = None,
        too_long: str = "error",
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """Add sentences of one language, all or none, in bounded memory; their ids.

        If the index is centred and has no mean for ``language``, it is taken from these sentences.
        Encoding is done first; other writers need not wait for it.

        :param ids: of your choice, one for each sentence; without them they count on.
        :param metadata: of each sentence, to filter by: flat objects.
        :param limit: the most sentences the index may then hold.
        :param progress: called with the number of sentences done since the last call.
        :raises MismatchError: if the encoder is not the one the index was built with.
        :raises TooLargeError: if there would be more than ``limit`` sentences.
        :raises InputError: if a sentence is empty, an id is there already, metadata cannot be such,
            or there are too few sentences to take a mean from.
        """
        return self.add_mixed(
            _entries(texts, language, ids, metadata),
            encoder=encoder, too_long=too_long, limit=limit, progress=progress,
        )  # fmt: skip

    def upsert(
        self,
        texts: Iterable[str],
        *,
        language: str,
        encoder: Encoder,
        ids: Iterable[int],
        metadata: Iterable[Metadata | None] | None = None,
        too_long: str = "error",
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> list[int]:
        """The same, but a sentence takes the place of the one that has its id, metadata and all.

        To do it twice is to do it once.
        """
        return self.add_mixed(
            _entries(texts, language, ids, metadata),
            encoder=encoder, replace=True, too_long=too_long, limit=limit, progress=progress,
        )  # fmt: skip

    def add_mixed(
        self,
        rows: Iterable[tuple[str, str] | Entry],
        *,
        encoder: Encoder,
        means: Mapping[str, Rows] | None = None,
        replace: bool = False,
        too_long: str = "error",
        limit: int | None = None,
        progress: Progress | None = None,
        once: str | None = None,
    ) -> list[int]:
        """The same for sentences of several languages: (language, text) or :class:`Entry` rows.

        :param means: of languages that have none yet, from :meth:`mean_of`; fixed together with
            what is added.
        :param replace: as :meth:`upsert` does; every row must have an id.
        :param once: a name of this addition; where it was made before, by whomever, nothing is.
        """
        if once is not None and self._has_made(once):
            return []
        space = self.check(encoder)
        room = None if limit is None or replace else limit - self.count()
        with Addition(
            self.folder,
            self.manifest.dim,
            centred=self.manifest.centring,
            means=self._mirror.means,
            centring=self._centring,
            replace=replace,
            limit=limit,
            once=once,
        ) as addition:
            for language, mean in (means or {}).items():
                addition.set_mean(language, mean)
            for chunk in chunks(rows):
                if room is not None and addition.added + len(chunk) > room:
                    raise TooLargeError(f"index {self.folder} may hold {limit} sentences, not more")
                entries = [Entry(*row) for row in chunk]
                texts = [entry.text for entry in entries]
                vectors = encode(
                    encoder, texts, space,
                    too_long=too_long, before=addition.added, progress=progress,
                )  # fmt: skip
                addition.add(entries, vectors)
            self._turns.make(addition)
        return addition.ids

    def delete(self, *, ids: Sequence[int] | None = None, where: Filter | None = None) -> int:
        """Take away the sentences with these ids, or those that ``where`` means; how many.

        :raises InputError: if neither or both are given.
        """
        if (ids is None) == (where is None):
            raise InputError("say which sentences to delete: by ids or by a filter")
        deletion = _Deletion(ids, where)
        self._turns.make(deletion)
        return deletion.count

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

    def compact(self) -> None:
        """Give back the disk space of sentences that are gone; done by itself when it is much."""
        compact(self._store, self.folder, self.manifest.dim)
        if not Kind.parse(self.kind).exact:
            self._renew()

    def reindex(self, kind: str | None = None) -> Choice:
        """Decide anew how it searches, and train that on all sentences, while others use it.

        :param kind: how it searches from now on; ``None`` to keep what was asked for.
        :return: what was decided, and why.
        :raises UnknownNameError: if there is no such kind.
        :raises BusyError: if other processes do the same.
        """
        kind = self.kind if kind is None else checked_kind(kind, self.manifest.dim)
        for _ in range(ATTEMPTS):
            choice = self._renew(kind)
            if choice is not None:
                return choice
        raise BusyError(f"index {self.folder} is being trained by other processes; try again")

    def _renew(self, kind: str | None = None) -> Choice | None:
        """See :func:`retrieval.store.renewal.renew`."""
        try:
            choice = renew(self._store, self.folder, self._mirror, self.manifest.dim, kind)
        except MovedError:
            return None
        if choice is not None:
            logger.info("index %s: search %s, as %s", self.folder, *choice)
        return choice

    def snapshot(self, path: str | Path) -> SnapshotManifest:
        """Copy the index as it is now to a new folder, while others go on reading and writing.

        :raises InputError: if ``path`` exists and is not an empty folder, or cannot be written.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._store.reading() as reader:
                    return write_snapshot(
                        reader, self._store, self.folder, Path(path), self.manifest.dim
                    )
            except MovedError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    @classmethod
    def restore(cls, path: str | Path, folder: str | Path, *, overwrite: bool = False) -> TextIndex:
        """Make the index of a snapshot, whose files must be as they were written.

        :param overwrite: let it take the place of the index that is in ``folder``, in one step. Who
            has that one loaded is told at the next call.
        :raises InputError: if a file is damaged, or ``folder`` is in use.
        """
        restore_snapshot(Path(path), Path(folder), overwrite=overwrite)
        return cls.load(folder)

    def _has_made(self, once: str) -> bool:
        with self._store.reading() as reader:
            return reader.has_made(once)

    def _commit(self, changes: Sequence[_Change]) -> None:
        """Make all of ``changes`` in one transaction, or none."""
        with writing(self._store, self.folder, self.manifest.dim, self._centring) as work:
            for change in changes:
                work.begin_change()
                change.apply(work)
        try:
            self._tidy(work)
        except BitextError as error:  # what was written stays written
            logger.warning("index %s could not be tidied up: %s", self.folder, error)

    def _tidy(self, work: Writing) -> None:
        if is_due(work.state, work.count):
            self.compact()
        elif is_renewal_due(work.state, work.count):
            self._renew()
        elif self._store.has_large_journal:
            with self._mirror.alone():
                self._store.empty_journal()

    def _centring_of(self, language: str | None) -> Callable[[Rows], Rows]:
        """What is done to the vectors of queries in ``language``."""
        if self.manifest.centring:
            mean = self._mean(language)
            return lambda vectors: centre(vectors, mean)
        if (learnt := self._centring) is None:
            return lambda vectors: vectors
        if language is None:
            raise self._unsaid(learnt.languages)
        named = language
        learnt.check_language(named)
        return lambda vectors: learnt.apply(vectors, named)

    def _unsaid(self, languages: Iterable[str]) -> InputError:
        return InputError(
            f"index {self.folder} is centred: say which language the queries are in; "
            f"choose one of: {', '.join(sorted(languages))}"
        )

    def _mean(self, language: str | None) -> Rows:
        """The mean that queries in ``language`` must have taken away."""
        means = self._mirror.means
        if language not in means:
            means = self.means  # it may have been set since
        if not means:
            raise UnknownNameError(f"index {self.folder} is centred and knows no language yet")
        if language is None:
            raise self._unsaid(means)
        if language not in means:
            raise UnknownNameError(choose_from("language", language, means))
        return means[language]


def _space_before(
    learnt: Centring, encoder: Encoder, layer: int | None, pooling: str | None
) -> Space:
    """Where vectors come from before they are centred; as those it was learnt from, if not told."""
    own = learnt.space
    layer = own.layer if layer is None else layer
    return space_of(encoder, layer, pooling or own.pooling, prefix=own.prefix)


def _stored_centring(folder: Path, manifest: TextIndexManifest) -> Centring | None:
    """:raises InputError: if it is not the one that the index was built with."""
    if manifest.centre is None:
        return None
    found = Centring.load(folder / CENTRING_FOLDER)
    if found.digest != manifest.centre:
        raise InputError(f"{folder / CENTRING_FOLDER} is not what the index was built with")
    return found


class _Deletion:
    """A change that takes sentences away."""

    def __init__(self, ids: Sequence[int] | None, where: Filter | None) -> None:
        self.count = 0
        self._ids, self._where = ids, where

    def apply(self, writing: Writing) -> None:
        if self._where is not None:
            self.count = writing.delete_where(self._where)
        else:
            self.count = writing.delete(sorted(set(self._ids or ())))


def _hit(sentence: Sentence, score: float) -> Hit:
    return Hit(sentence.id, sentence.text, score, sentence.language, sentence.metadata)


def _entries(
    texts: Iterable[str],
    language: str,
    ids: Iterable[int] | None,
    metadata: Iterable[Metadata | None] | None,
) -> Iterator[Entry]:
    """One entry a text.

    :raises InputError: if there are more or fewer of one than of another.
    """
    given: list[Iterable[Any]] = [c for c in (texts, ids, metadata) if c is not None]
    absent: Any = object()
    for row in zip_longest(*given, fillvalue=absent):
        if any(value is absent for value in row):
            raise InputError("there must be as many ids, and metadata, as sentences")
        text, *others = row
        number = others.pop(0) if ids is not None else None
        yield Entry(language, text, number, others[0] if others else None)


def _refuse_old(folder: Path) -> None:
    """:raises InputError: if an older version of this program made the index."""
    try:
        fields = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # whoever reads it next says what is wrong with it
    if isinstance(fields, dict) and fields.get("format") in OLD_FORMATS:
        raise InputError(f"index {folder} was made by an older bitext: build it again")
