"""The quality guard: translations that show without a reference that something went wrong.

Each flag is a plain rule over a source and its translation, both raw text. Words are those of
:mod:`bitext.segmentation`, so that the rules hold where no spaces are written, too.

- **empty**: no letter or digit, though the source has one.
- **copied**: of the source's words (each as often as it stands there; case, numbers and punctuation
  do not count) at least ``copied`` are in the translation, and the source has at least
  ``copied_words`` of them. Ott et al. (2018) counted copies so, and found that beam search likes
  them; a short source may well be all names.
- **repeated**: a run of one to ``period`` words stands ``times`` times in a row, and in the source
  no run stands in a row as often: the loops of Holtzman et al. (2020).
- **short**, **long**: characters of the source are more than ``ratio`` times those of the
  translation, or the other way round, ``extra`` added to both; those of East Asian width count
  twice, spaces not at all.
- **unknown**: it has a sign of a piece that the vocabulary lacks (:data:`UNKNOWN`), more often than
  the source has it.

A flag is no proof. How many flags human translations get is in docs/evaluate-translation.md.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from bitext.segmentation import segment
from encoders.strict import Strict

FLAGS = ("empty", "copied", "repeated", "short", "long", "unknown")

UNKNOWN = ("<unk>", "[UNK]", "\u2047", "\ufffd")
"""How tokenisers write what they do not know; SentencePiece writes U+2047, a double question
mark."""


class GuardSettings(Strict):
    """From where on something is flagged."""

    copied: float = Field(0.8, gt=0, le=1)
    copied_words: int = Field(4, ge=1)
    times: int = Field(4, ge=2)
    period: int = Field(12, ge=1)
    ratio: float = Field(2.5, ge=1)
    extra: int = Field(10, ge=0)


def guard_flags(source: str, translation: str, how: GuardSettings | None = None) -> tuple[str, ...]:
    """What is wrong with a translation, in the order of :data:`FLAGS`.

    Example: ``guard_flags("Ein Hund bellt.", "")`` -> ``("empty", "short")``, and
    ``guard_flags("Ein Hund bellt.", "A dog barks.")`` -> ``()``
    """
    how = how or GuardSettings()
    given = [word.text for word in segment(source)]
    made = [word.text for word in segment(translation)]
    found = {
        "empty": _says(source) and not _says(translation),
        "copied": _is_copied(given, made, how),
        "repeated": _is_repeated(given, made, how),
        "short": _ratio(source, translation, how.extra) > how.ratio,
        "long": _ratio(translation, source, how.extra) > how.ratio,
        "unknown": any(translation.count(sign) > source.count(sign) for sign in UNKNOWN),
    }
    return tuple(flag for flag in FLAGS if found[flag])


@dataclass
class GuardCounts:
    """How many translations got each flag, and how many got any."""

    translations: int = 0
    flagged: int = 0
    flags: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FLAGS, 0))

    def add(self, flags: Sequence[str]) -> None:
        """Count a translation with its flags."""
        self.translations += 1
        self.flagged += bool(flags)
        for flag in flags:
            self.flags[flag] += 1

    def __str__(self) -> str:
        """Example: ``3 of 1,000 translations flagged: 2 empty, 1 copied``."""
        each = ", ".join(f"{count:,} {flag}" for flag, count in self.flags.items() if count)
        told = f"{self.flagged:,} of {self.translations:,} translations flagged"
        return f"{told}: {each}" if each else told

    def as_dict(self) -> dict[str, int]:
        """Ready for JSON."""
        return {"translations": self.translations, "flagged": self.flagged, **self.flags}


def guard(
    sources: Iterable[str], translations: Iterable[str], how: GuardSettings | None = None
) -> tuple[list[tuple[str, ...]], GuardCounts]:
    """The flags of each translation, and the counts of all."""
    counts = GuardCounts()
    flags = []
    for source, translation in zip(sources, translations, strict=True):
        flags.append(guard_flags(source, translation, how))
        counts.add(flags[-1])
    return flags, counts


def longest_loop(words: Sequence[str], period: int) -> int:
    """How often a run of one to ``period`` words stands in a row, at the most.

    Example: ``longest_loop("a b a b a c".split(), 12)`` -> 2, as ``a b`` stands twice.
    """
    most = min(1, len(words))
    for step in range(1, min(period, len(words) // 2) + 1):
        same = 0
        for before, after in zip(words, words[step:], strict=False):
            same = same + 1 if before == after else 0
            most = max(most, same // step + 1)
    return most


def _is_repeated(given: Sequence[str], made: Sequence[str], how: GuardSettings) -> bool:
    times = longest_loop(made, how.period)
    return times >= how.times and times > longest_loop(given, how.period)


def _is_copied(given: Sequence[str], made: Sequence[str], how: GuardSettings) -> bool:
    ours, theirs = _counted(given), _counted(made)
    words = ours.total()
    return words >= how.copied_words and (ours & theirs).total() >= how.copied * words


def _counted(words: Iterable[str]) -> Counter[str]:
    """Words with a letter, whatever their case."""
    return Counter(word.casefold() for word in words if any(map(str.isalpha, word)))


def _says(text: str) -> bool:
    return any(map(str.isalnum, text))


def _ratio(first: str, second: str, extra: int) -> float:
    longer, shorter = (sum(map(_width, text)) + extra for text in (first, second))
    if not shorter:
        return float("inf") if longer else 1.0
    return longer / shorter


def _width(character: str) -> int:
    if character.isspace():
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
