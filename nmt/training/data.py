"""Bitext as flat arrays of pieces, and what was left out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.text import read_bitext, read_parallel
from bitext.types import SentencePair
from nmt.pieces.tokenization import Codec
from nmt.training.config import Bitext, Corpus, DataSettings

_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Pieces:
    """Sentences, one behind the other."""

    ids: NDArray[np.int32]  # (pieces of all sentences,)
    offsets: NDArray[np.int64]  # sentence k is ids[offsets[k]:offsets[k + 1]], (sentences + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> NDArray[np.int32]:
        return self.ids[self.offsets[number] : self.offsets[number + 1]]

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @classmethod
    def of(cls, sentences: Iterable[list[int]]) -> Pieces:
        rows = [np.array(one, dtype=np.int32) for one in sentences]
        ends = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        return cls(np.concatenate([np.zeros(0, np.int32), *rows]), ends)


@dataclass(frozen=True, slots=True)
class EncodedBitext:
    """Sentence pairs as a model reads them: whole encoder inputs, and decoder sequences.

    A decoder sequence is the pieces in their frame: its input is all but the last, and what it is
    to predict is all that follows what it is given.
    """

    source: Pieces
    target: Pieces
    prefix: int  # pieces that the decoder is given
    source_lang: str
    target_lang: str
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.source)


@dataclass(slots=True)
class Cleaning:
    """How many pairs of a corpus were kept, and why others were not."""

    name: str
    pairs: int = 0
    kept: int = 0
    empty: int = 0
    repeated: int = 0
    too_long: int = 0
    uneven: int = 0
    unit: str = "pairs"

    def sentence(self) -> str:
        """One line for people."""
        reasons = {
            "with an empty side": self.empty,
            "repeated": self.repeated,
            "too long": self.too_long,
            "of too uneven lengths": self.uneven,
        }
        left_out = ", ".join(f"{count} {why}" for why, count in reasons.items() if count)
        return f"{self.name}: {self.kept} of {self.pairs} {self.unit}" + (
            f"; left out: {left_out}" if left_out else ""
        )


def read_pairs(bitext: Bitext, data: Path) -> Iterator[tuple[str, str]]:
    """The pairs of the files that a config names, relative to ``data``.

    :raises InputError: if a file cannot be read, or two sides have different numbers of lines.
    """
    pairs: Iterator[SentencePair]
    if bitext.file is not None:
        pairs = read_bitext(data / bitext.file)
    else:
        assert bitext.source is not None
        assert bitext.target is not None
        pairs = read_parallel(data / bitext.source, data / bitext.target)
    for pair in pairs:
        source, target = str(pair.source), str(pair.target)
        yield (target, source) if bitext.swap else (source, target)


def name_of_bitext(bitext: Bitext) -> str:
    """What messages call it."""
    return bitext.file or f"{bitext.source} and {bitext.target}"


def encode_corpus(
    corpus: Corpus,
    settings: DataSettings,
    codec: Codec,
    data: Path,
    *,
    texts: list[tuple[str, str]] | None = None,
) -> tuple[EncodedBitext, Cleaning]:
    """Read and encode a corpus; pairs that cannot be learned from are counted and left out.

    :param texts: the pairs that are kept are added to it.
    :raises InputError: if it cannot be read, or nothing of it is left.
    :raises UnknownNameError: if the model does not know its languages.
    """
    source_lang = corpus.source_lang or settings.source_lang
    target_lang = corpus.target_lang or settings.target_lang
    frame = codec.frame(target_lang)
    said = Cleaning(name_of_bitext(corpus))
    sources: list[list[int]] = []
    targets: list[list[int]] = []
    seen: set[int] = set()
    wanted = islice(read_pairs(corpus, data), corpus.first)
    while chunk := list(islice(wanted, _CHUNK)):
        encoded = codec.source(
            [source for source, _ in chunk], source_lang, target_lang, tag=corpus.tag
        )
        pieces = codec.target([target for _, target in chunk], target_lang)
        for pair, source, target in zip(chunk, encoded, pieces, strict=True):
            said.pairs += 1
            whole = [*frame.before, *target, *frame.after]
            if _is_left_out(pair, source, whole, settings, codec, seen, said):
                continue
            said.kept += 1
            if texts is not None:
                texts.append(pair)
            sources.append(source)
            targets.append(whole)
    if not sources:
        raise InputError(f"{said.sentence()}; nothing is left to train on")
    encoded_corpus = EncodedBitext(
        Pieces.of(sources), Pieces.of(targets), frame.given, source_lang, target_lang, corpus.weight
    )
    return encoded_corpus, said


def _is_left_out(
    pair: tuple[str, str],
    source: list[int],
    target: list[int],
    settings: DataSettings,
    codec: Codec,
    seen: set[int],
    said: Cleaning,
) -> bool:
    if not pair[0].strip() or not pair[1].strip():
        said.empty += 1
        return True
    longest = min(settings.max_pieces, codec.max_source), min(settings.max_pieces, codec.max_target)
    if len(source) > longest[0] or len(target) > longest[1]:
        said.too_long += 1
        return True
    short, long = sorted((len(source), len(target)))
    if long > settings.max_ratio * short:
        said.uneven += 1
        return True
    if settings.unique:
        key = hash(pair)
        if key in seen:
            said.repeated += 1
            return True
        seen.add(key)
    return False
