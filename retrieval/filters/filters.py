"""Filters of sentence pairs: each gives a pair a score, and says of a score whether the pair stays.

A filter is named with its settings, ``length_ratio:most=3``, and looked up in :data:`FILTERS`. The
defaults were chosen on NTREX, where all pairs are translations: how many each would drop of them,
and of pairs that are none, is in docs/tasks-filter.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

from pydantic import Field, PrivateAttr

from bitext import settings
from bitext.bridges import Coverage
from bitext.types import SentencePair, Side
from encoders.strict import Strict
from retrieval.filters.languages import load_identifier
from retrieval.filters.numbers import numbers_in

CHUNK = 1024
"""Pairs filtered at once."""


class PairFilter(Protocol):
    """What every filter can do."""

    def score(self, pairs: Sequence[SentencePair]) -> Sequence[float]:
        """A number for each pair; what it means is the filter's own."""

    def accept(self, score: float) -> bool:
        """Whether a pair of this score stays."""


class _AtMost(Strict):
    most: float

    def accept(self, score: float) -> bool:
        return score <= self.most


class _AtLeast(Strict):
    least: float

    def accept(self, score: float) -> bool:
        return score >= self.least


# --- of one pair


class Short(_AtLeast):
    """Letters and digits of the side that has fewer; without any there is nothing to translate."""

    least: float = Field(1, ge=0)

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        return [min(sum(map(str.isalnum, text)) for text in sides(pair)) for pair in pairs]


class Long(_AtMost):
    """Characters of the longer side; above 1,000 it is a paragraph, or no text."""

    most: float = Field(1000, ge=1)

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        return [max(map(len, sides(pair))) for pair in pairs]


class LengthRatio(_AtMost):
    """How many times the longer side is as long as the other.

    In characters without spaces, those of East Asian width counted twice: so the same number suits
    all languages tried. ``extra`` is added to both sides, for a short sentence may well be twice as
    long as its translation. In ``words`` it suits languages that write spaces.
    """

    most: float = Field(2, ge=1)
    unit: Literal["characters", "words"] = "characters"
    extra: float = Field(10, ge=0)

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        return [self._ratio(*(self._length(text) + self.extra for text in sides(p))) for p in pairs]

    def _length(self, text: str) -> int:
        if self.unit == "words":
            return len(text.split())
        return sum(_width(character) for character in text)

    @staticmethod
    def _ratio(first: float, second: float) -> float:
        shorter, longer = sorted((first, second))
        if not longer:
            return 1.0
        return longer / shorter if shorter else float("inf")


class Copies(_AtMost):
    """How alike the sides are: Dice's coefficient of their pairs of neighbouring characters.

    Case, spaces and punctuation do not count. Sides without letters, such as ``1984``, are never
    copies.
    """

    most: float = Field(0.8, ge=0, le=1)

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        return [self._likeness(*sides(pair)) for pair in pairs]

    @staticmethod
    def _likeness(source: str, target: str) -> float:
        if not any(map(str.isalpha, source + target)):
            return 0.0
        bigrams = [_bigrams(fold(text)) for text in (source, target)]
        total = sum(sum(found.values()) for found in bigrams)
        return 2 * sum((bigrams[0] & bigrams[1]).values()) / total if total else 0.0


class Numbers(_AtLeast):
    """The share of numbers that both sides have: Dice's coefficient, 1 where neither has any.

    Those up to ``above`` do not count: they may well be written as words, or be an hour told by 12
    on one side and by 24 on the other.
    """

    least: float = Field(0.5, ge=0, le=1)
    above: int = Field(24, ge=-1)

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        return [self._agreement(*sides(pair)) for pair in pairs]

    def _agreement(self, source: str, target: str) -> float:
        ours, theirs = (Counter(self._counted(text)) for text in (source, target))
        total = sum(ours.values()) + sum(theirs.values())
        return 2 * sum((ours & theirs).values()) / total if total else 1.0

    def _counted(self, text: str) -> list[str]:
        return [number for number in numbers_in(text) if float(number) > self.above]


class Script(_AtLeast):
    """The share of letters that are of the script named, of the side that has fewer such.

    A script is the first word of its letters' Unicode names, such as ``latin``, ``cyrillic``,
    ``devanagari``; ``cjk+hiragana+katakana`` names three.
    """

    source: str = Field(min_length=1)
    target: str = Field(min_length=1)
    least: float = Field(0.5, ge=0, le=1)

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        wanted = [frozenset(side.lower().split("+")) for side in (self.source, self.target)]
        return [
            min(_share(text, scripts) for text, scripts in zip(sides(pair), wanted, strict=True))
            for pair in pairs
        ]


class Language(_AtLeast):
    """How probable it is that each side is in its language; the less probable of both.

    Needs the extra ``langid``: py3langid, whose model comes with it. Languages are its codes, of
    two letters.
    """

    source: str = Field(min_length=1)
    target: str = Field(min_length=1)
    least: float = Field(0.05, ge=0, le=1)
    _probability: Callable[[str, str], float] = PrivateAttr()

    def model_post_init(self, context: object) -> None:
        self._probability = load_identifier((self.source, self.target))

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        languages = (self.source, self.target)
        return [min(map(self._probability, sides(pair), languages)) for pair in pairs]


# --- of a pair among the pairs before it


class Repeats(_AtMost):
    """How often the same pair has come before; case, spaces and punctuation do not count.

    Some 90 bytes of memory for each different pair.
    """

    most: float = Field(0, ge=0)
    _seen: Counter[int] = PrivateAttr(default_factory=Counter)

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        return [_count(self._seen, "\0".join(map(fold, sides(pair)))) for pair in pairs]


class Fanout(_AtMost):
    """With how many others the source, or the target, has come before; the more of both.

    A sentence that is everybody's translation is a heading or an error. The first ones stay.
    """

    most: float = Field(4, ge=0)
    _sources: Counter[int] = PrivateAttr(default_factory=Counter)
    _targets: Counter[int] = PrivateAttr(default_factory=Counter)
    _pairs: Counter[int] = PrivateAttr(default_factory=Counter)

    def score(self, pairs: Sequence[SentencePair]) -> list[float]:
        return [self._others(*map(fold, sides(pair))) for pair in pairs]

    def _others(self, source: str, target: str) -> float:
        if _count(self._pairs, f"{source}\0{target}"):
            return 0.0  # the same pair once more: Repeats is for that
        return max(_count(self._sources, source), _count(self._targets, target))


@dataclass(frozen=True)
class Covered:
    """How much of both sides is surely translated, told by whoever has an aligner."""

    coverage: Coverage = field(repr=False)
    least: float = 0.3

    def score(self, pairs: Sequence[SentencePair]) -> Sequence[float]:
        return self.coverage(pairs) if pairs else []

    def accept(self, score: float) -> bool:
        return score >= self.least


FILTERS: dict[str, type[_AtMost] | type[_AtLeast]] = {
    "short": Short,
    "long": Long,
    "length_ratio": LengthRatio,
    "copies": Copies,
    "numbers": Numbers,
    "script": Script,
    "language": Language,
    "repeats": Repeats,
    "fanout": Fanout,
}
DEFAULT_FILTERS = ("short", "long", "copies", "length_ratio", "numbers", "repeats")


def parse_filter(text: str) -> PairFilter:
    """Make the filter ``name`` or ``name:setting=value,setting=value``.

    :raises UnknownNameError: if there is no such filter or setting.
    :raises InputError: if a value is not what the setting takes, or one is missing.
    """
    name, changed = settings.parse(
        text, what="filter", names=FILTERS, settings_of=FILTERS.__getitem__
    )
    made: PairFilter = FILTERS[name].model_validate(dict(changed))  # type: ignore[assignment]
    return made


# --- many filters, many pairs


class Verdict(NamedTuple):
    """Which filter dropped a pair, and for what score; ``None`` for a pair that stays."""

    filter: str | None
    score: float = 0.0


class FilterChain:
    """Filters one after the other: a pair that one drops, the next ones do not see.

    :param filters: by the names that the report gives them.
    """

    def __init__(self, filters: Mapping[str, PairFilter]) -> None:
        self._filters = dict(filters)
        self.dropped = dict.fromkeys(filters, 0)
        """How many pairs each filter has dropped."""
        self.kept = 0

    def judge(self, pairs: Sequence[SentencePair]) -> list[Verdict]:
        """A verdict for each pair."""
        verdicts = [Verdict(None)] * len(pairs)
        left = list(range(len(pairs)))
        for name, one in self._filters.items():
            scores = one.score([pairs[place] for place in left])
            for place, score in zip(left, scores, strict=True):
                if not one.accept(score):
                    verdicts[place] = Verdict(name, float(score))
            gone = sum(verdicts[place].filter is not None for place in left)
            self.dropped[name] += gone
            left = [place for place in left if verdicts[place].filter is None]
        self.kept += len(left)
        return verdicts

    def run(self, pairs: Iterable[SentencePair]) -> Iterator[tuple[SentencePair, Verdict]]:
        """Each pair with its verdict, in order and in bounded memory but for what filters keep."""
        some: list[SentencePair] = []
        for pair in pairs:
            some.append(pair)
            if len(some) == CHUNK:
                yield from zip(some, self.judge(some), strict=True)
                some = []
        yield from zip(some, self.judge(some), strict=True)


# --- text


def sides(pair: SentencePair) -> tuple[str, str]:
    """Both sides as text."""
    return _text(pair.source), _text(pair.target)


def _text(side: Side) -> str:
    return side if isinstance(side, str) else " ".join(side)


def fold(text: str) -> str:
    """Letters, digits and marks alone, in one form and case.

    Example: ``fold("It's 5 o'clock!")`` -> ``"its5oclock"``
    """
    folded = unicodedata.normalize("NFKC", text.casefold())
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LMN")


def _bigrams(text: str) -> Counter[str]:
    return Counter(map("".join, pairwise(text))) if text[1:] else Counter([text])


def _width(character: str) -> int:
    if character.isspace():
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _share(text: str, scripts: frozenset[str]) -> float:
    letters = [c for c in text if c.isalpha()]
    right = sum(_script(c) in scripts for c in letters)
    return right / len(letters) if letters else 1.0


def _script(letter: str) -> str:
    return re.split("[ -]", unicodedata.name(letter, "none"), maxsplit=1)[0].lower()


def _count(seen: Counter[int], text: str) -> int:
    """How often ``text`` was there before now."""
    key = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
    before = seen[key]
    seen[key] = before + 1
    return before
