"""Words and pieces: which pieces a word or sentence has, and which word a piece belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.languages.transliteration import find_transform


class Subwords(NamedTuple):
    """The pieces of one sentence, special pieces left out.

    ``word_of`` holds the word each piece belongs to, ascending; for raw text it is all zeros.
    """

    ids: list[int]
    word_of: NDArray[np.int64]


class SubwordSplitter:
    """Splits raw text or lists of words into pieces; safe to share between threads.

    A word may get no piece at all (whitespace, a zero-width space). Fast tokenizers are called
    below the ``transformers`` wrapper, which changes settings on every call: it cannot be shared.

    :param transliterate: one of ``TRANSFORMS``, applied to every word or sentence first. A word
        that becomes several stays one.
    :raises UnknownNameError: if there is no such transform.
    """

    def __init__(self, tokenizer: Any, transliterate: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._transform = find_transform(transliterate)
        self._fast = getattr(tokenizer, "backend_tokenizer", None)
        if self._fast is not None:
            self._fast.no_truncation()
            self._fast.no_padding()
        probe = self.texts(["a"])[0].ids
        framed = list(tokenizer("a")["input_ids"])
        start = _position(probe, framed)
        self.prefix: list[int] = framed[:start]
        """Special pieces before a sentence, such as ``<s>``."""
        self.suffix: list[int] = framed[start + len(probe) :]
        """Special pieces after a sentence, such as ``</s>``."""
        self.pad = int(tokenizer.pad_token_id or 0)
        if self._fast is not None:
            # "<s>" in somebody's text is three characters, not the start of a sentence; the call
            # above has set this back
            self._fast.encode_special_tokens = True
        # Byte-level tokenizers mark the start of a word by the space before it, and lose the mark
        # when words come one by one.
        self._space = ""
        if self.texts(["a a"])[0].ids == [*probe, *self.texts([" a"])[0].ids] != probe * 2:
            self._space = " "

    def texts(self, texts: Sequence[str]) -> list[Subwords]:
        """The pieces of raw sentences."""
        if self._transform is not None:
            texts = [self._transform(text) for text in texts]
        if self._fast is None:
            ids = [self._ids(text) for text in texts]
        else:
            ids = [e.ids for e in self._fast.encode_batch(list(texts), add_special_tokens=False)]
        return [Subwords(i, np.zeros(len(i), dtype=np.int64)) for i in ids]

    def pretokens(self, texts: Sequence[str]) -> list[Subwords]:
        """The pieces of raw sentences, ``word_of`` being the tokenizer's own units.

        Those are what it splits text into before it looks for pieces: what stands between spaces,
        say. Tokenizers without such a stage have one unit a piece.
        """
        if self._fast is None:
            return [Subwords(i, np.arange(len(i))) for i, _ in self.texts(texts)]
        if self._transform is not None:
            texts = [self._transform(text) for text in texts]
        encodings = self._fast.encode_batch(list(texts), add_special_tokens=False)
        return [Subwords(e.ids, np.array(e.word_ids, dtype=np.int64)) for e in encodings]

    def words(self, sentences: Sequence[Sequence[str]]) -> list[Subwords]:
        """The pieces of sentences that have been split into words."""
        if self._transform is not None:
            sentences = [[self._transform(word) for word in words] for words in sentences]
        if self._fast is None:
            return [self._by_word(sentence) for sentence in sentences]
        spaced = [[self._spaced(i, word) for i, word in enumerate(words)] for words in sentences]
        encodings = self._fast.encode_batch(spaced, is_pretokenized=True, add_special_tokens=False)
        return [Subwords(e.ids, np.array(e.word_ids, dtype=np.int64)) for e in encodings]

    def _spaced(self, position: int, word: str) -> str:
        return self._space + word if position and word.strip() else word

    def _by_word(self, sentence: Sequence[str]) -> Subwords:
        pieces = [(i, piece) for i, word in enumerate(sentence) for piece in self._ids(word)]
        return Subwords([p for _, p in pieces], np.array([i for i, _ in pieces], dtype=np.int64))

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.convert_tokens_to_ids(self._tokenizer.tokenize(text)))


def _position(part: list[int], whole: list[int]) -> int:
    for start in range(len(whole) - len(part) + 1):
        if whole[start : start + len(part)] == part:
            return start
    raise AssertionError("a tokenizer frames a sentence by special pieces")
