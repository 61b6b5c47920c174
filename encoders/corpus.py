"""Parallel text for training: read once, kept as flat arrays of pieces, cut into batches.

The batches are a function of the seed and the step alone, so that a resumed run goes on with the
very batch that an uninterrupted one would have taken.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.text import read_bitext
from encoders.cells import UnitBitext
from encoders.lexicon import UnitLinks
from encoders.subwords import SubwordSplitter

logger = logging.getLogger(__name__)

_LANGUAGES = re.compile(r"\.([a-z]{2,3})-([a-z]{2,3})\.tsv(\.gz|\.zst)?$")
_CHUNK = 10_000
_ROUND = 100_000
"""Pairs that are drawn, sorted by length and cut into batches together."""


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A tab-separated bitext whose name tells its languages."""

    path: Path
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Sentence pairs of similar lengths, as padded pieces without special ones.

    ``links`` holds rows of (pair, source piece, target piece), ``link_weights`` their weights.
    ``source_keys`` and ``target_keys`` are equal where two pairs have the same sentence.
    """

    source: NDArray[np.int64]  # (pairs, source length), -1 is padding
    target: NDArray[np.int64]  # (pairs, target length), -1 is padding
    links: NDArray[np.int64]  # (links, 3)
    link_weights: NDArray[np.float32]  # (links,)
    source_keys: NDArray[np.int64]  # (pairs,)
    target_keys: NDArray[np.int64]  # (pairs,)


def find_corpora(patterns: Sequence[str], folder: Path) -> list[CorpusFile]:
    """The files that ``patterns`` name below ``folder``, in a fixed order.

    :raises InputError: if a pattern matches nothing, or a name does not tell its languages.
    """
    files = []
    for pattern in patterns:
        if not pattern or Path(pattern).is_absolute():
            raise InputError(f"corpora: expected a pattern below {folder}, got '{pattern}'")
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise InputError(f"corpora: no file matches '{pattern}' in {folder}")
        for path in paths:
            match = _LANGUAGES.search(path.name)
            if match is None:
                raise InputError(f"corpora: expected a name such as 'x.en-de.tsv.gz', got '{path}'")
            files.append(CorpusFile(path, match[1], match[2]))
    return files


def read_pieces(
    files: Sequence[CorpusFile], splitter: SubwordSplitter, longest: int
) -> tuple[UnitBitext, int]:
    """The pieces of one language pair's files, and how many pairs were empty or too long."""
    source, target = _Flat(), _Flat()
    dropped = 0
    for file in files:
        for chunk in _chunks(file.path):
            sides = zip(
                splitter.texts([s for s, _ in chunk]),
                splitter.texts([t for _, t in chunk]),
                strict=True,
            )
            for (src, _), (tgt, _) in sides:
                if 0 < len(src) <= longest and 0 < len(tgt) <= longest:
                    source.add(src)
                    target.add(tgt)
                else:
                    dropped += 1
    return UnitBitext(*source.arrays(), *target.arrays()), dropped


class _Flat:
    def __init__(self) -> None:
        self._sentences: list[NDArray[np.int32]] = []

    def add(self, ids: list[int]) -> None:
        self._sentences.append(np.array(ids, dtype=np.int32))

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        offsets = np.zeros(len(self._sentences) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in self._sentences], out=offsets[1:])
        empty = np.zeros(0, dtype=np.int32)
        return np.concatenate([empty, *self._sentences]), offsets


def _chunks(path: Path) -> Iterator[list[tuple[str, str]]]:
    chunk: list[tuple[str, str]] = []
    for pair in read_bitext(path):
        chunk.append((str(pair.source), str(pair.target)))
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    yield chunk


class TrainingCorpus:
    """Language pairs with their guiding links, drawn from in batches.

    A language's probability is proportional to ``pairs ** alpha`` (Conneau & Lample, 2019).
    """

    def __init__(self, bitexts: dict[str, tuple[UnitBitext, UnitLinks]], seed: int) -> None:
        self.languages = sorted(bitexts)
        self._parts = [bitexts[language] for language in self.languages]
        self._seed = seed

    def bitexts(self) -> list[UnitBitext]:
        """The pieces of every language pair, in a fixed order."""
        return [bitext for bitext, _ in self._parts]

    def batches(
        self, *, alpha: float, tokens: int, join: int, stage: int, start: int
    ) -> Iterator[Batch]:
        """Batches of at most ``tokens`` padded pieces, without end, from number ``start`` on.

        :param join: pairs of a language are joined, one behind the other, to pairs of up to this
            many pieces a side; 0 leaves them alone. Most open parallel text is short; joined, it
            teaches positions and distinctions that longer sentences need.
        """
        number, taken = 0, 0
        while True:
            rng = np.random.default_rng((self._seed, stage, number))
            plan = self._plan(rng, alpha, tokens, join)
            for chosen in plan[max(0, start - taken) :]:
                yield self._batch(chosen)
            taken += len(plan)
            number += 1

    def _plan(
        self, rng: np.random.Generator, alpha: float, tokens: int, join: int
    ) -> list[list[_Drawn]]:
        """One round of batches."""
        shares = np.array([len(bitext) for bitext, _ in self._parts], dtype=np.float64) ** alpha
        counts = rng.multinomial(_ROUND, shares / shares.sum())
        drawn: list[_Drawn] = []
        for language, ((bitext, _), count) in enumerate(zip(self._parts, counts, strict=True)):
            drawn.extend(_join(rng, language, bitext, _draw(rng, len(bitext), count), join))
        ties = rng.random(len(drawn))
        order = sorted(range(len(drawn)), key=lambda k: (drawn[k].width, ties[k]))
        plan: list[list[_Drawn]] = [[]]
        for one in (drawn[k] for k in order):
            # widths grow, so the newest of a batch decides how wide all its rows are
            if plan[-1] and (len(plan[-1]) + 1) * 2 * one.width > tokens:
                plan.append([])
            plan[-1].append(one)
        return [plan[k] for k in rng.permutation(len(plan))]

    def _batch(self, chosen: list[_Drawn]) -> Batch:
        sources, targets, links, weights = [], [], [], []
        for row, (language, pairs, _) in enumerate(chosen):
            bitext, linked = self._parts[language]
            begun = np.zeros(2, dtype=np.int64)  # pieces of the pairs before, either side
            source, target = [], []
            for pair in pairs:
                source.append(_sentence(bitext.source, bitext.source_offsets, pair))
                target.append(_sentence(bitext.target, bitext.target_offsets, pair))
                span = slice(linked.offsets[pair], linked.offsets[pair + 1])
                positions = np.stack([linked.source[span], linked.target[span]], axis=1) + begun
                links.append(np.insert(positions, 0, row, axis=1))
                weights.append(linked.weight[span])
                begun += [len(source[-1]), len(target[-1])]
            sources.append(np.concatenate(source))
            targets.append(np.concatenate(target))
        return Batch(
            _pad(sources),
            _pad(targets),
            np.concatenate(links),
            np.concatenate(weights).astype(np.float32),
            np.array([hash(ids.tobytes()) for ids in sources]),
            np.array([hash(ids.tobytes()) for ids in targets]),
        )


class _Drawn(NamedTuple):
    """Pairs of one language that make one row of a batch."""

    language: int
    pairs: list[int]
    width: int  # pieces of the longer side, and the two special ones


def _join(
    rng: np.random.Generator,
    language: int,
    bitext: UnitBitext,
    pairs: NDArray[np.int64],
    longest: int,
) -> Iterator[_Drawn]:
    """Join ``pairs`` in their order to rows of random widths up to ``longest`` pieces."""
    lengths = np.stack(
        [np.diff(bitext.source_offsets)[pairs], np.diff(bitext.target_offsets)[pairs]], axis=1
    )
    row: list[int] = []
    sides = np.zeros(2, dtype=np.int64)
    room = rng.integers(longest + 1, size=len(pairs))
    for number, pair in enumerate(pairs):
        if row and (sides + lengths[number]).max() > room[number - len(row)]:
            yield _Drawn(language, row, int(sides.max()) + 2)
            row, sides = [], np.zeros(2, dtype=np.int64)
        row.append(int(pair))
        sides = sides + lengths[number]
    if row:
        yield _Drawn(language, row, int(sides.max()) + 2)


def _draw(rng: np.random.Generator, pairs: int, count: int) -> NDArray[np.int64]:
    """``count`` of ``pairs`` numbers, each once before any comes twice."""
    rounds = [rng.permutation(pairs) for _ in range(-(-count // pairs))]
    return np.concatenate([np.zeros(0, dtype=np.int64), *rounds])[:count]


def _sentence(
    pieces: NDArray[np.int32], offsets: NDArray[np.int64], number: int
) -> NDArray[np.int32]:
    return pieces[offsets[number] : offsets[number + 1]]


def _pad(sentences: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    padded = np.full((len(sentences), max(map(len, sentences))), -1, dtype=np.int64)
    for row, ids in enumerate(sentences):
        padded[row, : len(ids)] = ids
    return padded
