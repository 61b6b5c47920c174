"""The command ``bitext project``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, NamedTuple

import typer

from aligners.options import (
    AlignerChoice,
    Distortion,
    Method,
    NullEntropy,
    SimilarityOption,
    Threshold,
    Unit,
)
from bitext.errors import InputError, TooLargeError, TooLongError, UnknownNameError, choose_from
from bitext.progress import report_progress
from bitext.text import atomic_write, name_of, read_alignments
from bitext.types import Alignment, SentencePair
from encoders.options import (
    AllowDownload,
    Device,
    Dtype,
    Layer,
    Model,
    Revision,
    ShowProgress,
    TooLong,
)
from encoders.preset import BUNDLED

if TYPE_CHECKING:
    from aligners.aligner import Aligner
    from aligners.projection import Rules
    from aligners.projection_inputs import Entry, Item

FORMATS = ("tags", "spans", "answers", "markup", "html")
CHUNK = 256
"""Sentence pairs that are read and aligned at a time."""

Target = Annotated[
    str | None, typer.Argument(help="The translations, a line each (tags, markup and html).")
]
Format = Annotated[str, typer.Option(help="tags, spans, answers, markup or html.")]
Strategy = Annotated[str, typer.Option(help="mass, longest-run, min-max or complete-only.")]
Gap = Annotated[int, typer.Option(min=0, help="Unlinked words that longest-run bridges.")]
Punctuation = Annotated[
    bool, typer.Option("--punctuation", help="Let links of words to punctuation count.")
]
Overlap = Annotated[
    bool, typer.Option("--overlap", help="Spans: let those that lie apart overlap in the target.")
]
Scheme = Annotated[str, typer.Option(help="Of tags: iob2, bilou or bioes.")]
WordColumn = Annotated[int, typer.Option(min=1, help="Of tags: the column of the word, from 1.")]
TagColumn = Annotated[
    int | None, typer.Option(min=1, help="Of tags: the column of the tag; default: the last.")
]
Links = Annotated[
    str | None, typer.Option(help="Take links such as '0-0 1-2' from here, a line a pair.")
]
Report = Annotated[Path | None, typer.Option(help="Write what became of each span, as JSON lines.")]


def project(
    file: Annotated[str, typer.Argument(help="The source; - is stdin.")],
    target: Target = None,
    format: Format = ...,  # type: ignore[assignment]  # Typer's sign of an option that must be
    strategy: Strategy = "mass",
    gap: Gap = 2,
    punctuation: Punctuation = False,
    overlap: Overlap = False,
    scheme: Scheme = "iob2",
    word_column: WordColumn = 1,
    tag_column: TagColumn = None,
    links: Links = None,
    report: Report = None,
    output: Annotated[Path | None, typer.Option(help="Write here, all or nothing.")] = None,
    method: Method = None,
    layer: Layer = None,
    model: Model = BUNDLED,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "cpu",
    unit: Unit = None,
    similarity: SimilarityOption = None,
    distortion: Distortion = None,
    threshold: Threshold = None,
    null_entropy: NullEntropy = None,
    too_long: TooLong = "error",
    allow_download: AllowDownload = False,
    progress: ShowProgress = None,
) -> None:
    """Carry tags, spans, answers or inline markup over word links to translations.

    tags: FILE has a word and its tag a line, TARGET the tokenised translations. spans, answers:
    FILE has JSON lines with source and target. markup, html: FILE has lines of 'source TAB target',
    or TARGET the targets. What was lost is counted on stderr and told by --report.
    """
    from aligners.projection import Rules

    rules = Rules(strategy, gap, punctuation, disjoint=not (overlap and format == "spans"))
    if overlap and format != "spans":
        raise InputError(f"--overlap is for --format spans; with {format} nothing may overlap")
    items = _read(format, file, target, scheme, word_column, tag_column)
    items = chain([next(items)], items)  # bad input shows before a model is loaded
    if links is not None:
        source: _Links = _FromFile(links)
    else:
        choice = AlignerChoice(
            model,
            revision,
            dtype,
            device,
            allow_download=allow_download,
            methods=(method,) if method else (),
            layer=layer,
            unit=unit,
            similarity=similarity,
            distortion=distortion,
            threshold=threshold,
            null_entropy=null_entropy,
            too_long=too_long,
        )
        choice.check()
        source = _Computed(choice.load(), name_of(file))
    if progress is None and output is None and sys.stdout.isatty():
        progress = False  # a bar and the results on one terminal would mix
    summary = _carry_all(items, source, rules, output, report, progress)
    print(f"{summary} | {strategy} | {source.signature}", file=sys.stderr)


# --- reading


def _read(
    format: str,
    file: str,
    target: str | None,
    scheme: str,
    word_column: int,
    tag_column: int | None,
) -> Iterator[Item]:
    """The pairs of FILE and TARGET.

    :raises UnknownNameError: if there is no such format.
    :raises InputError: if the format needs TARGET and there is none, or the reverse.
    """
    from aligners import projection_inputs as inputs
    from aligners import records

    if format not in FORMATS:
        raise UnknownNameError(choose_from("format", format, FORMATS))
    if format in ("spans", "answers"):
        if target is not None:
            raise InputError(f"--format {format} has the targets in FILE; got '{target}' besides")
        if format == "spans":
            return inputs.record_items(records.read_spans(file), records.with_spans)
        return inputs.record_items(records.read_answers(file), records.with_answers)
    if format == "tags":
        if target is None:
            raise InputError("--format tags needs TARGET, the tokenised translations, a line each")
        return inputs.tagged_items(
            file, target, scheme=scheme, word_column=word_column, tag_column=tag_column
        )
    return inputs.markup_items(file, target, html=format == "html")


# --- links


class _Computed:
    """Links from a model; raw text is aligned sentence by sentence."""

    def __init__(self, aligner: Aligner, file: str) -> None:
        self.aligner = aligner
        self.file = file
        self.signature = aligner.signature

    def of(self, items: Sequence[Item]) -> list[Alignment]:
        from aligners.passages import align_passages

        try:
            passages = [item.passages for item in items if item.passages is not None]
            if passages:
                return align_passages(self.aligner, passages)
            return self.aligner.align([SentencePair(i.source, i.target) for i in items])
        except TooLongError as error:
            line = items[error.sentence % len(items)].line
            raise error.called(f"{self.file}, line {line}") from None
        except TooLargeError as error:
            raise TooLargeError(f"{self.file}, from line {items[0].line} on, {error}") from None

    def finish(self) -> None:
        """Nothing can be left."""


class _FromFile:
    """Links from a file of Pharaoh lines, one a pair."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines = read_alignments(path)
        self.line = 0
        self.signature = f"links of {name_of(path)}"

    def of(self, items: Sequence[Item]) -> list[Alignment]:
        from aligners.projection import check_links

        found = []
        for item in items:
            alignment = next(self.lines, None)
            if alignment is None:
                count = f"{self.line} line(s)"
                raise InputError(f"{name_of(self.path)} has {count}, but there are more pairs")
            self.line += 1
            try:
                check_links(alignment, len(item.source), len(item.target))
            except InputError as error:
                where = f"{name_of(self.path)}, line {self.line}"
                raise InputError(f"{where}: {error}") from None
            found.append(alignment)
        return found

    def finish(self) -> None:
        """:raises InputError: if there are links of pairs that are not there."""
        if more := sum(1 for _ in self.lines):
            count = f"{self.line + more} lines for {self.line} pair(s)"
            raise InputError(f"{name_of(self.path)} has {count}; it must have one line a pair")


_Links = _Computed | _FromFile


# --- carrying


def _carry_all(
    items: Iterable[Item],
    links: _Links,
    rules: Rules,
    output: Path | None,
    report: Path | None,
    progress: bool | None,
) -> _Summary:
    """Print what each item becomes, in order, in the memory of a chunk of them."""
    summary = _Summary(Counter(), Counter(), Counter())
    with ExitStack() as stack:
        out: IO[str] = stack.enter_context(atomic_write(output)) if output else sys.stdout
        log = stack.enter_context(atomic_write(report)) if report else None
        done = stack.enter_context(report_progress("pairs", show=progress))
        items = iter(items)
        while chunk := list(islice(items, CHUNK)):
            for item, alignment in zip(chunk, links.of(chunk), strict=True):
                carried = item.carry(alignment, rules)
                out.write(carried.text)
                summary.add(carried.entries)
                if log is not None:
                    _write_report(log, carried.entries)
                done(1)
        links.finish()
    return summary


def _write_report(file: IO[str], entries: Iterable[Entry]) -> None:
    for entry in entries:
        file.write(f"{json.dumps(entry.as_dict(), ensure_ascii=False)}\n")


class _Summary(NamedTuple):
    """How many spans came over, and what was noted of them and of the lost ones."""

    outcomes: Counter[str]
    notes: Counter[str]
    reasons: Counter[str]

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            lost = entry.target is None
            self.outcomes["lost" if lost else "projected"] += 1
            (self.reasons if lost else self.notes).update(entry.notes)

    def __str__(self) -> str:
        projected = f"{self.outcomes['projected']} projected{_counts(self.notes)}"
        return f"{projected}, {self.outcomes['lost']} lost{_counts(self.reasons)}"


def _counts(counter: Counter[str]) -> str:
    """Example: ``" (cut 2, clipped 1)"``, or nothing where nothing was counted."""
    if not counter:
        return ""
    parts = [f"{name} {count}" for name, count in counter.most_common()]
    return f" ({', '.join(parts)})"
