"""From two files of sentences to pairs that translate each other, stage by stage.

Read both sides, embed them, centre them if asked, find each one's nearest; pairs are then chosen by
:mod:`retrieval.mining.miner`. Every stage leaves its result in the work folder
(:mod:`retrieval.mining.work`) and goes on with what it finds there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.bridges import Coverage
from bitext.errors import TooLongError
from bitext.resumable import Setting, Watched, resumable_write
from bitext.types import SentencePair
from retrieval.mining.approximate import EXACT, nearest_both_ways_approximately
from retrieval.mining.corpus import Corpus, write_corpus
from retrieval.mining.interruption import discard
from retrieval.mining.miner import Candidates
from retrieval.mining.neighbour_files import load_both_ways, save_both_ways
from retrieval.mining.neighbours import BothWays, Dtype, nearest_both_ways
from retrieval.mining.work import settle
from retrieval.vectors.centring import Centring, fit_centring
from retrieval.vectors.embedding import centre_vectors, embed_lines
from retrieval.vectors.encoding import Progress, chunks, space_of
from retrieval.vectors.files import Rows, StoredType, Vectors
from retrieval.vectors.manifest import MANIFEST_FILE, Space

if TYPE_CHECKING:
    from pathlib import Path

    from encoders.encoder import Encoder

SIDES = ("source", "target")
PAIRS_AT_ONCE = 256
"""Pairs whose words are aligned together."""

Stage = Callable[[str, int], AbstractContextManager[Progress]]
"""What draws the progress of a stage: what is counted, and how many there are."""


class Texts(NamedTuple):
    """The lines of one side, and what messages call them."""

    lines: Iterable[str]
    name: str


@dataclass(frozen=True)
class Making:
    """How sentences become vectors."""

    encoder: Encoder
    layer: int | None = None
    pooling: str | None = None
    prefix: str | None = None
    store: StoredType = "float32"
    too_long: str = "error"
    repeats: bool = False
    """Whether a line that came before is a sentence of its own."""

    @property
    def space(self) -> Space:
        return space_of(self.encoder, self.layer, self.pooling, prefix=self.prefix)

    @property
    def settings(self) -> dict[str, Setting]:
        """All that changes the vectors, by name."""
        space = self.space
        return {
            "model": space.fingerprint,
            "precision": self.encoder.dtype,
            "layer": space.layer,
            "pooling": space.pooling,
            "prefix": space.prefix,
            "store": self.store,
            "too_long": self.too_long,
            "repeats": self.repeats,
        }


@dataclass(frozen=True)
class Search:
    """How the nearest are found."""

    k: int
    kind: str = EXACT
    """``exact``, or a kind of approximate index (:mod:`retrieval.index.kinds`)."""
    dtype: Dtype = "auto"
    """Of the product; it changes how long an exact search takes, never what it finds."""
    device: str = "cpu"


class UnitRows:
    """Vectors on disk as a search reads them: unit rows of float32, a part at a time."""

    ndim = 2

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self.shape = (len(vectors), vectors.manifest.dim)

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, part: slice | NDArray[np.int64]) -> Rows:
        return self._vectors.take(part)


class MiningRun:
    """The stages of one mining, in the folder it works in.

    :param stage: draws progress.
    :raises MismatchError: if the folder was begun with other settings or other text.
    """

    def __init__(self, folder: Path, sides: Sequence[Texts], making: Making, stage: Stage) -> None:
        self.folder = folder
        self.making = making
        self._stage = stage
        settle(folder, making.settings)
        self.corpora: tuple[Corpus, ...] = tuple(
            write_corpus(folder / side, lines, name=name, repeats=making.repeats)
            for side, (lines, name) in zip(SIDES, sides, strict=True)
        )
        self._names = [name for _, name in sides]

    def embed(self) -> tuple[Vectors, ...]:
        """The raw vectors of both sides."""
        return tuple(self._embed(number) for number in range(len(SIDES)))

    def centre(self, vectors: Sequence[Vectors], kind: str) -> tuple[Vectors, ...]:
        """The same, centred as both sides' own vectors say (:mod:`retrieval.vectors.centring`)."""
        dim = vectors[0].manifest.dim
        blocks = {side: one.blocks() for side, one in zip(SIDES, vectors, strict=True)}
        centring = fit_centring(kind, blocks, vectors[0].manifest, dim=dim)
        return self.centre_by(vectors, centring, SIDES)

    def centre_by(
        self, vectors: Sequence[Vectors], centring: Centring, languages: Sequence[str]
    ) -> tuple[Vectors, ...]:
        """The same, centred by what was learnt elsewhere, each side as its language."""
        made = []
        for side, one, language in zip(SIDES, vectors, languages, strict=True):
            folder = self.folder / f"{side}.{_short([centring.digest, language])}"
            if not (folder / MANIFEST_FILE).is_file():
                raw = self.folder / f"{side}.vectors"
                with self._stage(f"{side} vectors centred", len(one)) as done:
                    centre_vectors(raw, folder, centring, language, progress=done)
            made.append(Vectors.load(folder))
        return tuple(made)

    def nearest(self, vectors: Sequence[Vectors], search: Search) -> BothWays:
        """The nearest of each sentence of one side among those of the other, both ways."""
        identity = [*(one.manifest.checksum for one in vectors), str(search.k), search.kind]
        folder = self.folder / f"nearest.{_short(identity)}"
        found = load_both_ways(folder)
        if found is None:
            found = self._search(vectors, search, folder.with_suffix(".part"), " ".join(identity))
            save_both_ways(folder, found)
        discard(folder.with_suffix(".part"))
        return found

    def coverage(self, found: Candidates, coverage: Coverage) -> NDArray[np.float64]:
        """How far the words of each candidate translate each other, shape (candidates,).

        :param coverage: of some pairs of text; see :mod:`bitext.bridges`.
        """
        pairs = list(zip(found.source.tolist(), found.target.tolist(), strict=True))
        watched = Watched(pairs, "{0[0]} {0[1]}".format)
        path = self.folder / f"coverage.{_short(f'{s} {t}' for s, t in pairs)}"
        if not path.is_file():
            with (
                self._stage("pairs aligned by words", len(pairs)) as done,
                resumable_write(path, {"model": self.making.space.fingerprint}) as out,
            ):
                out.skip(watched, "the list of candidates")
                done(out.mark.items)
                for some in chunks(watched, PAIRS_AT_ONCE):
                    scores = coverage([SentencePair(*self.texts(*pair)) for pair in some])
                    out.write(np.asarray(scores, "<f8").tobytes(), watched.mark)
                    done(len(some))
        return np.fromfile(path, "<f8")

    def texts(self, source: int, target: int) -> tuple[str, str]:
        """The sentences of these rows."""
        return self.corpora[0][source], self.corpora[1][target]

    def lines(self, source: int, target: int) -> tuple[int, int]:
        """The lines of the input, from 0, on which they stood first."""
        return int(self.corpora[0].numbers[source]), int(self.corpora[1].numbers[target])

    def _embed(self, number: int) -> Vectors:
        side, corpus, making = SIDES[number], self.corpora[number], self.making
        folder = self.folder / f"{side}.vectors"
        if not (folder / MANIFEST_FILE).is_file():
            with (
                self._stage(f"{side} sentences", len(corpus)) as done,
                _by_line(corpus, self._names[number]),
            ):
                embed_lines(
                    folder,
                    corpus,
                    making.encoder,
                    making.space,
                    dtype=making.store,
                    too_long=making.too_long,
                    progress=done,
                    name=self._names[number],
                )
        return Vectors.load(folder)

    def _search(
        self, vectors: Sequence[Vectors], search: Search, part: Path, identity: str
    ) -> BothWays:
        source, target = map(UnitRows, vectors)
        with self._stage("source sentences searched for", len(vectors[0])) as done:
            if search.kind != EXACT:
                return nearest_both_ways_approximately(source, target, search.k, kind=search.kind)
            return nearest_both_ways(
                source,
                target,
                search.k,
                dtype=search.dtype,
                device=search.device,
                checkpoint=part,
                identity=identity,
                progress=done,
            )


@contextmanager
def _by_line(corpus: Corpus, name: str) -> Iterator[None]:
    """Let an error name the line of the input, not the row of the corpus."""
    try:
        yield
    except TooLongError as error:
        line = int(corpus.numbers[error.sentence]) + 1
        raise error.called(f"{name}, line {line}") from None


def _short(parts: Iterable[str]) -> str:
    """A name made of what tells one result from others."""
    digest = blake2b(digest_size=6)
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()
