"""Text of one language as a model reads it, to denoise it or to translate it back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.text import open_lines
from nmt.pieces.tokenization import Codec, Frame
from nmt.training.config import DataSettings, Monolingual, Text
from nmt.training.data import Cleaning, EncodedBitext, Pieces

_CHUNK = 20_000
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
"""Thai, Lao, Burmese, Khmer, kana and Han: written without spaces between words."""


class Around(NamedTuple):
    """What stands before and after the pieces in an encoder's input."""

    before: list[int]
    after: list[int]

    def put(self, pieces: Sequence[int]) -> list[int]:
        return [*self.before, *pieces, *self.after]


@dataclass(frozen=True, slots=True)
class EncodedText:
    """Text as bitext of itself: its source is what the encoder reads where nothing is noisy."""

    copies: EncodedBitext
    around: Around  # the pieces of a source
    frame: Frame  # around those of a target
    sentences: Pieces  # of each text, the places of its pieces where a sentence begins

    def __len__(self) -> int:
        return len(self.copies)

    def pieces(self, number: int) -> NDArray[np.int32]:
        """Those of one text, without special ones."""
        whole = self.copies.target[number]
        return whole[len(self.frame.before) : len(whole) - len(self.frame.after)]


def read_text(text: Text, data: Path) -> Iterator[str]:
    """The sentences that a config names, relative to ``data``.

    :raises InputError: if the file cannot be read, or a line has no such column.
    """
    end = None if text.first is None else text.skip + text.first
    lines = enumerate(open_lines(data / text.file), start=1)
    for number, line in islice(lines, text.skip, end):
        if text.column is None:
            yield line
            continue
        columns = line.split("\t")
        if len(columns) < text.column:
            raise InputError(
                f"{data / text.file}, line {number}: no column {text.column}, only {len(columns)}"
            )
        yield columns[text.column - 1]


def around(codec: Codec, source_lang: str, target_lang: str) -> Around:
    """What the codec puts around a source.

    :raises InputError: if the two sides have different pieces, so that the output of the model
        cannot be its input.
    """
    ends = Around(*codec.around(source_lang, target_lang))
    if codec.source(["a"], source_lang, target_lang) != [
        ends.put(codec.target(["a"], source_lang)[0])
    ]:
        raise InputError(
            "monolingual text needs a model whose source and target share their pieces, and this "
            "model's do not"
        )
    return ends


def encode_text(
    text: Monolingual, settings: DataSettings, codec: Codec, data: Path
) -> tuple[EncodedText, Cleaning]:
    """Read and encode text; what cannot be learned from is counted and left out.

    :raises InputError: if it cannot be read, or nothing of it is left.
    :raises UnknownNameError: if the model does not know its language.
    """
    ends, frame = around(codec, text.lang, text.lang), codec.frame(text.lang)
    most = min(
        min(settings.max_pieces, codec.max_source) - len(ends.put([])),
        min(settings.max_pieces, codec.max_target) - len(frame.before) - len(frame.after),
    )
    said = Cleaning(f"{text.file} ({text.lang})", unit="sentences")
    kept: list[list[int]] = []
    seen: set[str] = set()
    wanted = read_text(text, data)
    while chunk := list(islice(wanted, _CHUNK)):
        for sentence, pieces in zip(chunk, codec.target(chunk, text.lang), strict=True):
            said.pairs += 1
            if not sentence.strip():
                said.empty += 1
            elif settings.unique and sentence in seen:
                said.repeated += 1
            elif len(pieces) > most:
                said.too_long += 1
            else:
                seen.add(sentence)
                kept.append(pieces)
    said.kept = len(kept)
    if not kept:
        raise InputError(f"{said.sentence()}; nothing is left to train on")
    return _encoded(kept, [[0]] * len(kept), text.lang, ends, frame, text.weight), said


def joined(text: EncodedText, most: int) -> EncodedText:
    """Texts of as many consecutive sentences as have together at most ``most`` pieces."""
    whole: list[list[int]] = []
    starts: list[list[int]] = []
    for number in range(len(text)):
        pieces = text.pieces(number).tolist()
        if whole and len(whole[-1]) + len(pieces) <= most:
            starts[-1].append(len(whole[-1]))
            whole[-1].extend(pieces)
        else:
            whole.append(pieces)
            starts.append([0])
    copies = text.copies
    return _encoded(whole, starts, copies.source_lang, text.around, text.frame, copies.weight)


def _encoded(
    texts: list[list[int]],
    starts: list[list[int]],
    lang: str,
    ends: Around,
    frame: Frame,
    weight: float,
) -> EncodedText:
    copies = EncodedBitext(
        Pieces.of(ends.put(one) for one in texts),
        Pieces.of([*frame.before, *one, *frame.after] for one in texts),
        frame.given,
        lang,
        lang,
        weight,
    )
    return EncodedText(copies, ends, frame, Pieces.of(starts))


def word_starts(tokenizer: Any) -> NDArray[np.bool_]:
    """Which pieces begin a word, by their ids.

    Those with a word mark, a sign, or a letter of a script without spaces.
    """
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    marked = any(name.startswith("▁") for name in names)  # else, the pieces are WordPiece's
    return np.array([_starts_word(name, marked=marked) for name in names])


def _starts_word(name: str, *, marked: bool) -> bool:
    if name.startswith("▁") or (not marked and not name.startswith("##")):
        return True
    bare = name.removeprefix("##")
    is_byte = bare.startswith("<0x")
    if not bare or is_byte:
        return not is_byte
    return bool(_UNSPACED.match(bare)) or unicodedata.category(bare[0])[0] in "PS"
