"""Training text: found by patterns, read once, kept as flat arrays of pieces."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.text import read_bitext, read_gold, read_parallel, read_sentences
from bitext.text import words as split_words
from encoders.statistics.cells import UnitBitext
from encoders.statistics.lexicon import UnitLinks
from encoders.subwords import Subwords, SubwordSplitter

logger = logging.getLogger(__name__)

_PAIR = re.compile(r"\.([a-z]{2,3})-([a-z]{2,3})\.tsv(\.gz|\.zst)?$")
_SINGLE = re.compile(r"\.([a-z]{2,3})\.txt(\.gz|\.zst)?$")
_CHUNK = 10_000
LETTERS, DIGITS, SIGN, UNSPACED = range(4)
"""What the characters of a piece are."""
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A file of text whose name tells its languages; ``target`` is empty for one language."""

    path: Path
    source: str
    target: str = ""

    @property
    def languages(self) -> str:
        return f"{self.source}-{self.target}" if self.target else self.source


@dataclass(frozen=True, slots=True)
class Sentences:
    """The pieces of many sentences, laid end to end, and the word that each belongs to.

    Sentence ``k`` is ``pieces[offsets[k]:offsets[k + 1]]``; its words count from 0.
    """

    pieces: NDArray[np.int32]
    offsets: NDArray[np.int64]
    word_of: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Pieces of each sentence."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class ParallelSentences:
    """Sentence pairs: sentence ``k`` of either side. A monolingual corpus has empty targets."""

    source: Sentences
    target: Sentences

    def __len__(self) -> int:
        return len(self.source)

    def by_piece(self) -> UnitBitext:
        """The pieces of both sides, for what counts pieces."""
        return UnitBitext(
            self.source.pieces, self.source.offsets, self.target.pieces, self.target.offsets
        )


def find_corpora(patterns: Sequence[str], folder: Path) -> list[CorpusFile]:
    """The parallel files that ``patterns`` name below ``folder``, in a fixed order.

    :raises InputError: if a pattern matches nothing, or a name does not tell its languages.
    """
    return [
        CorpusFile(path, match[1], match[2])
        for path, match in _find("corpora", patterns, folder, _PAIR, "x.en-de.tsv.gz")
    ]


def find_monolingual(patterns: Sequence[str], folder: Path) -> list[CorpusFile]:
    """The monolingual files that ``patterns`` name below ``folder``, a sentence a line.

    :raises InputError: if a pattern matches nothing, or a name does not tell its language.
    """
    return [
        CorpusFile(path, match[1])
        for path, match in _find("monolingual", patterns, folder, _SINGLE, "x.de.txt.gz")
    ]


def _find(
    key: str, patterns: Sequence[str], folder: Path, name: re.Pattern[str], example: str
) -> Iterator[tuple[Path, re.Match[str]]]:
    for pattern in patterns:
        if not pattern or Path(pattern).is_absolute():
            raise InputError(f"{key}: expected a pattern below {folder}, got '{pattern}'")
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise InputError(f"{key}: no file matches '{pattern}' in {folder}")
        for path in paths:
            match = name.search(path.name)
            if match is None:
                raise InputError(f"{key}: expected a name such as '{example}', got '{path}'")
            yield path, match


class PieceReader:
    """Splits text into pieces and groups the pieces into words, in one way for all languages.

    A word begins where the tokenizer's own pre-splitting begins one; besides, every sign stands
    alone, a number is a word, and every piece of Han, kana, Thai, Lao, Khmer or Burmese script is
    one: those have no spaces.

    :param transliterate: see :class:`SubwordSplitter`.
    """

    def __init__(self, tokenizer: Any, transliterate: str | None = None) -> None:
        self.splitter = SubwordSplitter(tokenizer, transliterate)
        self.names: list[str] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self._kinds = np.array([kind_of(name) for name in self.names], dtype=np.uint8)
        self._marked = np.array([name.startswith(("▁", "Ġ")) for name in self.names])

    def sentences(self, texts: Sequence[str]) -> Iterator[Subwords]:
        """The pieces of raw sentences, and the word of each."""
        for ids, pretoken in self.splitter.pretokens(texts):
            yield Subwords(ids, self.word_of(np.array(ids, dtype=np.int64), pretoken))

    def word_of(self, ids: NDArray[np.int64], pretoken: NDArray[np.int64]) -> NDArray[np.int64]:
        """The word of each piece of a sentence, from 0.

        :param pretoken: the unit of the tokenizer's pre-splitting that each piece lies in.
        """
        if not len(ids):
            return pretoken
        kinds = self._kinds[ids]
        before = np.concatenate([[SIGN], kinds[:-1]])
        begins = (kinds == SIGN) | (kinds == UNSPACED)
        apart = np.diff(pretoken, prepend=-1) != 0
        begins |= (kinds == LETTERS) & (apart | (before == SIGN))
        begins |= (kinds == DIGITS) & ((before != DIGITS) | self._marked[ids])
        begins[0] = True
        return np.cumsum(begins) - 1


def kind_of(piece: str) -> int:
    """What a piece is made of: ``LETTERS``, ``DIGITS``, ``SIGN`` or ``UNSPACED`` script."""
    text = piece.lstrip("▁Ġ").removeprefix("##")
    if not text:
        return LETTERS
    if all(unicodedata.category(c)[0] == "N" for c in text):
        return DIGITS
    if all(unicodedata.category(c)[0] in "PSZ" for c in text):
        return SIGN
    return UNSPACED if _UNSPACED.match(text) else LETTERS


_UNSPACED = re.compile(
    "[぀-ヿ㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)


def read_pairs(
    files: Iterable[CorpusFile], reader: PieceReader, longest: int
) -> tuple[ParallelSentences, int]:
    """The pieces of one language pair's files, and how many pairs were empty or too long."""
    source, target = _Flat(), _Flat()
    dropped = 0
    for file in files:
        for chunk in _chunks(read_bitext(file.path)):
            sides = zip(
                reader.sentences([str(pair.source) for pair in chunk]),
                reader.sentences([str(pair.target) for pair in chunk]),
                strict=True,
            )
            for src, tgt in sides:
                if 0 < len(src.ids) <= longest and 0 < len(tgt.ids) <= longest:
                    source.add(src)
                    target.add(tgt)
                else:
                    dropped += 1
    return ParallelSentences(source.sentences(), target.sentences()), dropped


def read_monolingual(
    files: Iterable[CorpusFile], reader: PieceReader, longest: int
) -> tuple[ParallelSentences, int]:
    """The pieces of one language's files, and how many sentences were empty or too long."""
    source, target = _Flat(), _Flat()
    dropped = 0
    for file in files:
        for chunk in _chunks(read_sentences(file.path)):
            for sentence in reader.sentences(chunk):
                if 0 < len(sentence.ids) <= longest:
                    source.add(sentence)
                    target.add(_NOTHING)
                else:
                    dropped += 1
    return ParallelSentences(source.sentences(), target.sentences()), dropped


def read_gold_pairs(
    stem: Path, splitter: SubwordSplitter, longest: int
) -> tuple[ParallelSentences, UnitLinks]:
    """Tokenised pairs with links that people made: ``STEM.src``, ``STEM.tgt``, ``STEM.gold``.

    Sure and possible links count alike but for their weight, 1 and 0.5; links that point past a
    sentence's end, or to a word without pieces, are left out, and so are pairs that are too long.
    """
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("src", "tgt", "gold")]
    pairs = list(read_parallel(paths[0], paths[1]))
    gold = read_gold(paths[2], pairs=len(pairs))
    sides = [
        splitter.words([split_words(str(getattr(pair, side))) for pair in pairs])
        for side in ("source", "target")
    ]
    flat = _Flat(), _Flat()
    rows: list[NDArray[np.float64]] = []
    for number, (src, tgt) in enumerate(zip(*sides, strict=True)):
        if not (0 < len(src.ids) <= longest and 0 < len(tgt.ids) <= longest):
            continue
        renumbered = [_renumber(one) for one in (src, tgt)]
        links = [
            (renumbered[0][1][i], renumbered[1][1][j], 1.0 if (i, j) in gold[number].sure else 0.5)
            for i, j in sorted(gold[number].possible)
            if i in renumbered[0][1] and j in renumbered[1][1]
        ]
        for side, (words, _) in zip(flat, renumbered, strict=True):
            side.add(words)
        rows.append(np.array(links, dtype=np.float64).reshape(-1, 3))
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    i, j, weight = np.concatenate([np.zeros((0, 3)), *rows]).T
    linked = UnitLinks(offsets, i.astype(np.uint8), j.astype(np.uint8), weight.astype(np.float16))
    return ParallelSentences(flat[0].sentences(), flat[1].sentences()), linked


def _renumber(words: Subwords) -> tuple[Subwords, dict[int, int]]:
    """Words that have pieces, counted without gaps, and their new numbers."""
    present, new = np.unique(words.word_of, return_inverse=True)
    return Subwords(words.ids, new), {int(old): number for number, old in enumerate(present)}


_NOTHING = Subwords([], np.zeros(0, dtype=np.int64))


class _Flat:
    """Sentences as they are read."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.int32]] = []
        self._words: list[NDArray[np.uint8]] = []

    def add(self, sentence: Subwords) -> None:
        self._pieces.append(np.array(sentence.ids, dtype=np.int32))
        self._words.append(sentence.word_of.astype(np.uint8))

    def sentences(self) -> Sentences:
        offsets = np.zeros(len(self._pieces) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in self._pieces], out=offsets[1:])
        return Sentences(
            np.concatenate([np.zeros(0, dtype=np.int32), *self._pieces]),
            offsets,
            np.concatenate([np.zeros(0, dtype=np.uint8), *self._words]),
        )


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, _CHUNK)):
        yield chunk
