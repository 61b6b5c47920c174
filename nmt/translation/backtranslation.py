"""Back-translation: pairs from text that exists in the target language alone.

A model of the other direction translates the text; what it makes is the source of a new pair, the
text itself the target (Sennrich et al., 2016). So the target side is what people wrote, and the
model learns to write it from a source that may be bad. Pairs that show their badness are dropped:
what the guard flags (:mod:`nmt.evaluation.guard`), and what bitext's own retrieval scores below a
limit. The pairs are then a corpus of the trainer with a tag, so that it knows which sources are
made (Caswell et al., 2019).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bitext.bridges import Similarity
from bitext.errors import TooLongError
from bitext.resumable import Setting, Watched, packer, resumable_write
from bitext.text import open_lines
from bitext.types import Hypothesis, SentencePair
from nmt.evaluation.guard import FLAGS, GuardSettings, guard_flags

CHUNK = 512
"""Lines translated and scored together: what a killed run loses at most."""

REASONS = ("no text", "tab", "too long", "unfinished", *FLAGS, "similarity")
"""Why a line gives no pair: nothing to translate; a tab, which would part the pair wrongly; more
pieces than the model takes, or would have written; the guard's flags; a score below the limit."""


class Translates(Protocol):
    """What translates, such as :class:`nmt.translation.translator.TranslationModel`."""

    def translate(
        self,
        sentences: Sequence[str],
        source_lang: str | None = None,
        target_lang: str | None = None,
        **search: Any,
    ) -> list[list[Hypothesis]]:
        """Hypotheses of each sentence, best first."""
        ...


class BackTranslated(NamedTuple):
    """A line of the text, and what became of it."""

    source: str
    """What was made."""
    target: str
    """The line."""
    dropped: str = ""
    """One of :data:`REASONS`; empty for a pair that is kept."""


@dataclass(frozen=True, kw_only=True)
class BackTranslator:
    """From lines of the target language to pairs.

    :param source_lang: what is made; left out where the translator has one direction.
    :param target_lang: what the lines are in.
    :param least: the smallest score that ``similarity`` may give a pair.
    :param search: for the translator: beam_size, sample, ...
    """

    translator: Translates
    source_lang: str | None = None
    target_lang: str | None = None
    similarity: Similarity | None = field(default=None, repr=False)
    least: float = 0.0
    guard: GuardSettings = field(default_factory=GuardSettings)
    search: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, lines: Sequence[str]) -> list[BackTranslated]:
        """One result a line, in the order given."""
        made = self._translated(lines)
        found = [self._judged(line, made.get(number)) for number, line in enumerate(lines)]
        if self.similarity is None:
            return found
        kept = [number for number, one in enumerate(found) if not one.dropped]
        pairs = [SentencePair(found[number].source, found[number].target) for number in kept]
        for number, score in zip(kept, self.similarity(pairs), strict=True):
            if score < self.least:
                found[number] = found[number]._replace(dropped="similarity")
        return found

    def _translated(self, lines: Sequence[str]) -> dict[int, Hypothesis]:
        """By the number of the line; lines that are too long for the model are left out."""
        left = [number for number, line in enumerate(lines) if not _unfit(line)]
        while left:
            try:
                best = self.translator.translate(
                    [lines[number] for number in left],
                    source_lang=self.target_lang,
                    target_lang=self.source_lang,
                    **self.search,
                )
            except TooLongError as error:
                del left[error.sentence]
            else:
                return {n: one[0] for n, one in zip(left, best, strict=True)}
        return {}

    def _judged(self, line: str, best: Hypothesis | None) -> BackTranslated:
        if best is None:
            return BackTranslated("", line, _unfit(line) or "too long")
        made = best.text
        if best.truncated:
            return BackTranslated(made, line, "unfinished")
        if "\t" in made or "\n" in made:
            return BackTranslated(made, line, "tab")
        flags = guard_flags(line, made, self.guard)
        return BackTranslated(made, line, flags[0] if flags else "")


@dataclass
class Report:
    """How many lines gave a pair, and why others did not."""

    lines: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    before: int = 0
    """Lines that an interrupted run has done; why it dropped some, only that run has told."""

    def add(self, results: Iterable[BackTranslated]) -> None:
        for one in results:
            self.lines += 1
            self.kept += not one.dropped
            if one.dropped:
                self.dropped[one.dropped] += 1

    def __str__(self) -> str:
        """Example: ``kept 900 of 1,000 lines; dropped: 60 copied, 40 similarity``."""
        told = f"kept {self.kept:,} of {self.lines:,} lines"
        since = f", {self.before:,} of which an earlier run did; since then" if self.before else ";"
        each = ", ".join(f"{self.dropped[why]:,} {why}" for why in REASONS if self.dropped[why])
        return f"{told}{since} dropped: {each or 'none'}"

    def as_dict(self) -> dict[str, int | dict[str, int]]:
        """Ready for JSON."""
        dropped = {why: self.dropped[why] for why in REASONS}
        return {"lines": self.lines, "kept": self.kept, "before": self.before, "dropped": dropped}


def back_translate_file(
    lines: Iterable[str],
    output: str | Path,
    translator: BackTranslator,
    settings: Mapping[str, Setting],
    *,
    name: str = "the text",
    restart: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Write the kept pairs, ``source TAB target``; an interrupted run is gone on with.

    :param settings: all that changes the pairs, besides the lines.
    :param name: what messages call the text.
    :param progress: called with the number of lines done since the last call.
    :raises MismatchError: if an earlier run had other settings or other lines.
    :raises InputError: if the output cannot be written.
    """
    watched = Watched(lines, str)
    pack = packer(output)
    report = Report()
    with resumable_write(output, settings, what="lines", restart=restart) as out:
        out.skip(watched, name)
        report.lines = report.before = out.mark.items
        if progress is not None and report.before:
            progress(report.before)
        while some := list(islice(watched, CHUNK)):
            results = translator(some)
            report.add(results)
            kept = "".join(f"{one.source}\t{one.target}\n" for one in results if not one.dropped)
            out.write(pack(kept) if kept else b"", watched.mark)
            if progress is not None:
                progress(len(some))
    if report.before:
        report.kept = sum(1 for _ in open_lines(output))
    return report


def _unfit(line: str) -> str:
    """Why a line is not even translated, if so."""
    if "\t" in line:
        return "tab"
    return "" if any(map(str.isalnum, line)) else "no text"
