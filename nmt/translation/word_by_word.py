"""Translation word by word, by a lexicon that needs no pairs: the baseline of unsupervised NMT.

A word's vector is the mean of the encoder's vectors of it wherever it stands in text of its
language. It is translated by the word of the other language that is nearest by CSLS (Conneau et
al., 2018, *Word translation without parallel data*, section 2.3), which takes away how near each of
the two words is to everything: ``2 cos(x, y) - r(x) - r(y)`` with ``r`` the mean cosine of a word's
``neighbours`` nearest in the other language. Lample et al. (2018) begin unsupervised translation
with such a translator, and compare with it.

The text of both languages need not be related. What relates them is the encoder; one that was
trained on pairs has seen some.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.segmentation import segment
from bitext.types import Hypothesis
from encoders.encoder import Encoder
from encoders.pooling import Vectors, centre

CHUNK = 1024
_ROWS = 1024
_ELSEWHERE = 10**6

NEIGHBOURS = 10
"""Those of the paper."""


@dataclass(frozen=True, slots=True)
class Lexis:
    """The words of a language, whatever their case, in the order of their first appearance."""

    forms: list[str]
    """How each is mostly written, other than at the start of a sentence if it stands elsewhere."""
    counts: NDArray[np.int64]
    vectors: Vectors
    """Unit rows, the mean of all words taken away; shape (words, dim)."""

    def common(self, least: int) -> Lexis:
        """The words that stand in the text at least so often."""
        kept = np.flatnonzero(self.counts >= least)
        forms = [self.forms[word] for word in kept]
        return Lexis(forms, self.counts[kept], self.vectors[kept])


def lexis_of(encoder: Encoder, lines: Iterable[str], *, layer: int | None = None) -> Lexis:
    """The words of a text.

    :param layer: of the word vectors; ``None`` for the one that suits word alignment.
    :raises InputError: if there are none.
    :raises TooLongError: if a line has more pieces than the model takes.
    """
    tally = _Tally(encoder.dim)
    lines = iter(lines)
    while some := list(islice(lines, CHUNK)):
        split = [words for line in some if (words := [word.text for word in segment(line)])]
        tally.add(split, encoder.words(split, layer=layer))
    return tally.lexis()


def induce(source: Lexis, target: Lexis, *, neighbours: int = NEIGHBOURS) -> dict[str, str]:
    """A translation of each source word, by its case-folded form.

    :param neighbours: of CSLS; 0 for the cosine alone.
    """
    around = _around(target, source, neighbours)
    lexicon = {}
    for start in range(0, len(source.forms), _ROWS):
        # What is taken away of the source word is the same for all candidates.
        scores = 2 * (source.vectors[start : start + _ROWS] @ target.vectors.T) - around
        for number, best in enumerate(scores.argmax(1).tolist(), start=start):
            lexicon[source.forms[number].casefold()] = target.forms[best]
    return lexicon


class _Tally:
    """What is summed up of each word while a text is read."""

    def __init__(self, dim: int) -> None:
        self._numbers: dict[str, int] = {}
        self._forms: dict[int, Counter[str]] = defaultdict(Counter)
        self._sums = np.zeros((0, dim))
        self._counts = np.zeros(0, np.int64)

    def add(self, sentences: Sequence[Sequence[str]], rows: Sequence[Vectors]) -> None:
        places = []
        for words in sentences:
            for place, word in enumerate(words):
                number = self._numbers.setdefault(word.casefold(), len(self._numbers))
                # A form at the start of a sentence counts only where there is no other.
                self._forms[number][word] += _ELSEWHERE if place else 1
                places.append(number)
        more = len(self._numbers) - len(self._counts)
        self._sums = np.vstack([self._sums, np.zeros((more, self._sums.shape[1]))])
        self._counts = np.append(self._counts, np.zeros(more, np.int64))
        if places:
            np.add.at(self._sums, places, np.vstack(rows))
            np.add.at(self._counts, places, 1)

    def lexis(self) -> Lexis:
        """Of what has a letter in it."""
        kept = [number for word, number in self._numbers.items() if any(map(str.isalpha, word))]
        if not kept:
            raise InputError("there are no words in the text")
        means = np.asarray(self._sums[kept] / self._counts[kept, None], np.float32)
        forms = [self._forms[number].most_common(1)[0][0] for number in kept]
        return Lexis(forms, self._counts[kept], centre(means, means.mean(0)))


class WordByWord:
    """Translates by a lexicon; what it does not know, numbers and punctuation stay as they are.

    It can be asked as :class:`nmt.translation.translator.TranslationModel` can, and so can
    back-translate.

    :param lexicon: by case-folded source words.
    """

    def __init__(self, lexicon: Mapping[str, str]) -> None:
        self._lexicon = lexicon

    def translate(
        self,
        sentences: Sequence[str],
        source_lang: str | None = None,
        target_lang: str | None = None,
        **search: Any,
    ) -> list[list[Hypothesis]]:
        """One hypothesis a sentence; languages and search make no difference."""
        return [[Hypothesis(self._one(sentence), 0.0)] for sentence in sentences]

    def _one(self, sentence: str) -> str:
        parts, end = [], 0
        for word in segment(sentence):
            found = self._lexicon.get(word.text.casefold(), word.text)
            if not end and word.text[0].isupper():
                found = found[0].upper() + found[1:]
            parts += [sentence[end : word.start], found]
            end = word.end
        return "".join([*parts, sentence[end:]])


def _around(words: Lexis, others: Lexis, neighbours: int) -> Vectors:
    """The mean cosine of each word's nearest among the others, shape (words,)."""
    found = np.zeros(len(words.forms), np.float32)
    k = min(neighbours, len(others.forms))
    if not k:
        return found
    for start in range(0, len(found), _ROWS):
        cosines = words.vectors[start : start + _ROWS] @ others.vectors.T
        nearest = np.partition(cosines, -k, axis=1)[:, -k:]
        found[start : start + _ROWS] = nearest.mean(1)
    return found
