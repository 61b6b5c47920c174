"""A model's tokenizer as what cuts bitext for fairseq: dictionary and ids of raw sentences."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import transformers

from encoders.checkpoint import reading
from encoders.hub import find_folder
from encoders.subwords import SubwordSplitter
from nmt.interop.fairseq_data import Side
from nmt.interop.fairseq_dictionary import END, UNKNOWN, build_dictionary
from nmt.interop.fairseq_import import dictionary_of
from nmt.pieces.tokenization import TaggedCodec, read_settings

Ids = list[int]


class PieceSides:
    """Both sides of bitext in the pieces of a model.

    A source is the whole input of the model's encoder: ``<s>``, where it has one, the tag of the
    target language, where the model was trained with tags, the pieces and ``</s>``. A target is
    the tag, where the decoder is given it, the pieces and ``</s>``.

    :param name: a folder or hub name of an encoder or of a translation model of ours.
    :raises ModelNotFoundError: if it is not on this machine.
    :raises MismatchError: if its special pieces have other ids than fairseq's.
    :raises UnknownNameError: if a translation model does not know a language.
    """

    def __init__(self, name: str, source: str, target: str) -> None:
        folder = find_folder(name)
        with reading(name):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        self.languages = source, target
        self.dictionary = dictionary_of(tokenizer)
        settings = read_settings(Path(folder))
        self._codec = TaggedCodec(tokenizer, settings) if settings else None
        self._splitter = SubwordSplitter(tokenizer)

    def source(self, line: str) -> Ids:
        """The ids of a sentence as the encoder's input."""
        if self._codec is not None:
            return self._codec.source([line], *self.languages)[0]
        splitter = self._splitter
        return [*splitter.prefix, *splitter.texts([line])[0].ids, END]

    def target(self, line: str) -> Ids:
        """The ids of a sentence as what the decoder is to write."""
        if self._codec is not None:
            tag = self._codec.prefix(self.languages[1])[1:]
            return [*tag, *self._codec.target([line], self.languages[1])[0], END]
        return [*self._splitter.texts([line])[0].ids, END]

    def whole(self) -> tuple[Side, Side]:
        """Sides of all the model's pieces, with the model's ids."""
        source, target = self.languages
        return (
            Side(source, self.dictionary, self.source),
            Side(target, self.dictionary, self.target),
        )

    def trimmed(
        self, sources: Iterable[str], targets: Iterable[str], *, least: int = 0, multiple: int = 8
    ) -> tuple[Side, Side]:
        """Sides of those pieces alone that the training text has, the frequent first."""
        rows = itertools.chain(map(self.source, sources), map(self.target, targets))
        symbols = self.dictionary.symbols
        lines = (" ".join(symbols[i] for i in row) for row in rows)
        smaller = build_dictionary(lines, least=least, multiple=multiple)
        new_ids = np.full(len(symbols), UNKNOWN, dtype=np.int64)
        for old, symbol in enumerate(symbols):
            new_ids[old] = smaller.ids.get(symbol, UNKNOWN)
        source, target = self.languages
        return (
            Side(source, smaller, lambda line: new_ids[self.source(line)]),
            Side(target, smaller, lambda line: new_ids[self.target(line)]),
        )
