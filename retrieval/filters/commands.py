"""The command ``bitext filter``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bitext.errors import InputError
from bitext.progress import report_progress
from bitext.text import name_of, read_sentences
from bitext.types import SentencePair
from encoders.options import AllowDownload, Device, Dtype, Revision, ShowProgress
from retrieval.command_input import check_file, packed_file
from retrieval.options import ModelChoice

if TYPE_CHECKING:
    from retrieval.filters.filters import Covered, FilterChain, PairFilter


class _Row(NamedTuple):
    line: str
    pair: SentencePair


def filter_pairs(
    file: Annotated[
        str,
        typer.Argument(
            help="Lines of 'source TAB target', or 'score TAB source TAB target'; - is stdin."
        ),
    ],
    filters: Annotated[
        str | None,
        typer.Option(
            help="Their names with settings, as in 'copies length_ratio:most=3'; "
            "default: short, long, copies, length_ratio, numbers, repeats."
        ),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(help="As de-en: filter by language too, which needs the extra langid."),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="The least share of both sides that word alignment surely links; it looks last.",
        ),
    ] = None,
    dropped: Annotated[
        Path | None,
        typer.Option(help="Where dropped lines go, each after its filter and its score there."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="For --coverage: a folder or hub name; default: bundled.")
    ] = None,
    revision: Revision = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    allow_download: AllowDownload = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as an object.")] = False,
    progress: ShowProgress = None,
) -> None:
    """Print the pairs that no filter drops, as they came.

    Filters stand in the order given: what one drops, the next ones do not see. How many each has
    dropped is told on stderr; with --json, as an object.
    """
    from retrieval.filters.filters import CHUNK

    if model is not None and coverage is None:
        raise InputError("--model is for --coverage, which is not given")
    if dropped is not None:
        check_file(dropped, [file])
    choice = ModelChoice(model, revision, dtype, device, allow_download)
    chain = chain_of(filters, languages, None if coverage is None else _covered(choice, coverage))
    rows = _rows(file)
    with report_progress("pairs", show=progress) as done, _writer(dropped) as drop:
        while some := list(islice(rows, CHUNK)):
            gone = []
            for row, verdict in zip(some, chain.judge([row.pair for row in some]), strict=True):
                if verdict.filter is None:
                    print(row.line)
                else:
                    gone.append(f"{verdict.filter}\t{verdict.score:.6g}\t{row.line}\n")
            drop("".join(gone))
            done(len(some))
    report_dropped(chain, as_json)


def chain_of(
    filters: str | None, languages: str | None, covered: Covered | None = None
) -> FilterChain:
    """Filters by their names, one of languages, and one of word alignment: that takes longest.

    :raises InputError: if a filter is named twice.
    """
    from retrieval.filters.filters import DEFAULT_FILTERS, FilterChain, parse_filter

    names = list(DEFAULT_FILTERS) if filters is None else filters.split()
    if languages is not None:
        source, hyphen, target = languages.partition("-")
        if not (source and hyphen and target):
            raise InputError(f"--languages takes two joined by a hyphen, got '{languages}'")
        names.append(f"language:source={source},target={target}")
    if not names and covered is None:
        raise InputError("--filters names no filter")
    found: list[tuple[str, PairFilter]]
    found = [(name.partition(":")[0], parse_filter(name)) for name in names]
    if covered is not None:
        found.append(("coverage", covered))
    for name, _ in found:
        if sum(name == other for other, _ in found) > 1:
            raise InputError(f"filter {name} is given twice")
    return FilterChain(dict(found))


def _covered(choice: ModelChoice, least: float) -> Covered:
    from bitext.bridges import coverage_by
    from retrieval.filters.filters import Covered

    return Covered(coverage_by(choice.load()), least)


def _rows(file: str) -> Iterator[_Row]:
    """The lines with their pairs; the first one tells whether there are scores."""
    columns = 0
    for number, line in enumerate(read_sentences(file), start=1):
        fields = line.split("\t")
        columns = columns or len(fields)
        if len(fields) not in (2, 3) or len(fields) != columns:
            expected = f"{columns} columns, as before" if number > 1 else "'source TAB target'"
            raise InputError(
                f"{name_of(file)}, line {number}: expected {expected}, found {len(fields) - 1} tabs"
            )
        yield _Row(line, SentencePair(fields[-2], fields[-1]))


@contextmanager
def _writer(path: Path | None) -> Iterator[Callable[[str], object]]:
    """What takes some lines for the file, which appears when it is whole; or for nobody."""
    if path is None:
        yield lambda lines: None
        return
    with packed_file(path) as write:
        yield write


def report_dropped(chain: FilterChain, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"kept": chain.kept, "dropped": chain.dropped}), file=sys.stderr)
        return
    total = chain.kept + sum(chain.dropped.values())
    print(f"kept {chain.kept:,} of {total:,} pairs; dropped by", file=sys.stderr)
    for name, count in chain.dropped.items():
        print(f"  {name:<12} {count:>9,}", file=sys.stderr)
