"""The command ``bitext mine``."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import typer

from bitext.errors import BitextError, InputError, MismatchError
from bitext.progress import report_progress
from bitext.text import name_of, read_bitext, read_sentences
from bitext.types import SentencePair
from encoders.options import (
    AllowDownload,
    AsJson,
    Device,
    Dtype,
    Layer,
    Model,
    Revision,
    ShowProgress,
    TooLong,
)
from encoders.preset import BUNDLED
from retrieval.command_input import check_file, packed_file
from retrieval.mining.corpus import EMPTY
from retrieval.options import ModelChoice, Pooling, Prefix, Restart, Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.filters.filters import FilterChain
    from retrieval.mining.miner import Candidates
    from retrieval.mining.neighbours import BothWays
    from retrieval.mining.rules import Chosen, Own, Rules
    from retrieval.mining.run import MiningRun, Search, Texts
    from retrieval.vectors.encoding import Progress
    from retrieval.vectors.files import Vectors


def mine(
    source: Annotated[str, typer.Argument(help="One sentence a line; - is stdin.")],
    target: Annotated[str, typer.Argument(help="The same in the other language.")],
    output: Annotated[
        Path | None, typer.Option(help="Write here; the same command goes on with a broken run.")
    ] = None,
    margin: Annotated[str, typer.Option(help="absolute, distance or ratio.")] = "ratio",
    mode: Annotated[
        str, typer.Option(help="forward, backward, intersection, max (one to one) or union.")
    ] = "max",
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbours a margin looks at.")] = 4,
    threshold: Annotated[
        float | None, typer.Option(help="Margins must be above this; default: none.")
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(help="Instead: the threshold at which this share is expected to be right."),
    ] = None,
    surely: Annotated[
        bool,
        typer.Option("--surely", help="Hold the lower end of the estimate's interval to it."),
    ] = False,
    known: Annotated[
        str | None,
        typer.Option(
            help="With --precision, translations of such text, 'source TAB target' a line: they "
            "make the estimate surer."
        ),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Write the best so many only.")] = None,
    coverage: Annotated[
        float,
        typer.Option(
            min=0,
            help="Add so much of word alignment's evidence to margins; 0.5 is a good weight.",
        ),
    ] = 0.0,
    filters: Annotated[
        str | None,
        typer.Option(help="Drop pairs as 'bitext filter' does; 'default' names its own."),
    ] = None,
    score_only: Annotated[
        bool,
        typer.Option("--score-only", help="Line n is paired with line n: score all, in order."),
    ] = False,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Keep a line that came before as one of its own.")
    ] = False,
    centring: Annotated[
        str | None,
        typer.Option(
            help="mean, components:1, ...: learnt from both sides; or a folder of 'bitext "
            "centring fit' and --languages."
        ),
    ] = None,
    languages: Annotated[
        str | None, typer.Option(help="As de-en: what --centring FOLDER calls both sides.")
    ] = None,
    search: Annotated[
        str,
        typer.Option(help="exact, a kind of index such as ivf, or auto: by the numbers of lines."),
    ] = "auto",
    work: Annotated[
        Path | None,
        typer.Option(help="Work here and keep it, to mine again otherwise; default: OUTPUT.work."),
    ] = None,
    restart: Restart = False,
    model: Model = BUNDLED,
    revision: Revision = None,
    layer: Layer = None,
    pooling: Pooling = None,
    prefix: Prefix = None,
    store: Store = "float32",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "windows",
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Find the sentences of SOURCE and TARGET that translate each other, best first.

    Prints 'score TAB source TAB target' a pair; with --json, an object with score, source_id,
    target_id, source and target, where ids are line numbers from 0.
    """
    from retrieval.filters.filters import sides as both_texts
    from retrieval.mining.rules import Rules
    from retrieval.mining.run import Making, MiningRun
    from retrieval.vectors.files import check_dtype

    kind = _search_kind(search)
    rules = Rules(margin, mode, k, threshold, precision, surely, coverage)
    if score_only:
        _refuse_with_score_only(rules, known, filters, top, repeats)
    filter_chain = _filter_chain(filters)
    learnt = _centring(centring, languages)
    _check_places(source, target, output, work, restart)
    if known is not None and precision is None:
        raise InputError("--known is for --precision, which is not given")
    planted = [] if known is None else list(map(both_texts, read_bitext(known)))
    sides = [_Side(path, tabs=as_json) for path in (source, target)]
    choice = ModelChoice(model, revision, dtype, device, allow_download)
    with _working(output, work, restart=restart) as folder:
        made = Making(choice.load(), layer, pooling, prefix, check_dtype(store), too_long, repeats)
        texts = [
            side.texts([pair[number] for pair in planted]) for number, side in enumerate(sides)
        ]
        run = MiningRun(folder, texts, made, partial(_stage, progress))
        if score_only:
            _check_lines(sides)
        vectors = learnt(run, run.embed())
        found = _search_of(kind, vectors, rules.neighbours, device)
        both = run.nearest(vectors, found)
        lines = (
            _scored(run, vectors, both, rules)
            if score_only
            else _mined(run, both, rules, _own(run, sides, len(planted)), filter_chain, top)
        )
        _write(output, map(_as_json if as_json else _as_tsv, lines))


class _Line(NamedTuple):
    """A pair as it is written."""

    score: float | None
    source_id: int
    target_id: int
    source: str
    target: str


def _as_tsv(line: _Line) -> str:
    score = "" if line.score is None else f"{line.score:.6f}"
    return f"{score}\t{line.source}\t{line.target}\n"


def _as_json(line: _Line) -> str:
    score = None if line.score is None else round(line.score, 6)
    return json.dumps({**line._asdict(), "score": score}, ensure_ascii=False) + "\n"


# --- what is asked for


def _refuse_with_score_only(
    rules: Rules, known: str | None, filters: str | None, top: int | None, repeats: bool
) -> None:
    """:raises InputError: if an option would leave pairs out, or means nothing there."""
    given = {
        "--threshold": rules.threshold,
        "--precision": rules.precision,
        "--coverage": rules.coverage or None,
        "--known": known,
        "--filters": filters,
        "--top": top,
        "--repeats": repeats or None,
    }
    for option, value in given.items():
        if value is not None:
            raise InputError(f"--score-only scores all lines: {option} cannot be given with it")


def _check_lines(sides: Sequence[_Side]) -> None:
    source, target = sides
    if source.count != target.count:
        raise InputError(
            f"{name_of(source.path)} has {source.count} lines, {name_of(target.path)} has "
            f"{target.count}; with --score-only line n is paired with line n"
        )


def _filter_chain(filters: str | None) -> FilterChain | None:
    from retrieval.filters.commands import chain_of

    if filters is None:
        return None
    return chain_of(None if filters == "default" else filters, None)


Centre = Callable[["MiningRun", "Sequence[Vectors]"], "Sequence[Vectors]"]


def _centring(named: str | None, languages: str | None) -> Centre:
    """What is done to raw vectors.

    :raises BitextError: if there is no such kind or folder, or languages are missing.
    """
    from retrieval.vectors.centring import Centring, Kind

    if named is None or not Path(named).is_dir():
        if languages is not None and named is not None:
            raise InputError(f"there is no folder {named}, which --centring names for --languages")
        if languages is not None:
            raise InputError("--languages is for --centring FOLDER, which is not given")
        if named is None:
            return lambda run, vectors: vectors
        kind = str(Kind.parse(named))
        return lambda run, vectors: run.centre(vectors, kind)
    learnt = Centring.load(named)
    source, hyphen, target = (languages or "").partition("-")
    if not (source and hyphen and target):
        raise InputError(f"--centring {named} needs --languages, as de-en")
    for language in (source, target):
        learnt.check_language(language)
    return lambda run, vectors: run.centre_by(vectors, learnt, (source, target))


def _search_kind(search: str) -> str | None:
    """``exact`` or a kind of index; ``None`` for what suits the number of sentences.

    :raises BitextError: if there is no such kind of index.
    """
    from retrieval.index.kinds import Kind
    from retrieval.mining.approximate import EXACT

    if search == "auto":
        return None
    return search if search == EXACT else str(Kind.parse(search))


def _search_of(kind: str | None, vectors: Sequence[Vectors], k: int, device: str) -> Search:
    """The search asked for, or what suits the number of sentences, which stderr then tells."""
    from retrieval.mining.approximate import choose_search
    from retrieval.mining.run import Search

    if kind is None:
        source, target = vectors
        choice = choose_search(len(source), len(target), source.manifest.dim)
        kind = choice.search
        print(f"search: {kind}, as {choice.reason}", file=sys.stderr)
    return Search(k, kind, device=device)


# --- where


def _check_places(
    source: str, target: str, output: Path | None, work: Path | None, restart: bool
) -> None:
    if source == target == "-":
        raise InputError("source and target cannot both be standard input")
    if output is not None:
        check_file(output, (source, target))
    if restart and output is None and work is None:
        raise InputError("--restart is for --output or --work, of which there is none")


@contextmanager
def _working(output: Path | None, work: Path | None, *, restart: bool) -> Iterator[Path]:
    """The folder of the run: kept if it was named; else there until the output is whole."""
    from retrieval.mining.work import work_folder

    if output is None and work is None:
        with (
            tempfile.TemporaryDirectory(prefix="bitext-mine-") as temporary,
            work_folder(Path(temporary), keep=True, restart=False) as folder,
        ):
            yield folder
        return
    place = work or output.with_name(f"{output.name}.work")  # type: ignore[union-attr]
    hint = f"what is done is kept: the same command goes on with {place}"
    with work_folder(place, keep=work is not None, restart=restart) as folder:
        try:
            yield folder
        except KeyboardInterrupt:
            raise KeyboardInterrupt(hint) from None
        except BitextError as error:
            if not isinstance(error, MismatchError):
                error.hint = hint
            raise


def _stage(show: bool | None, what: str, total: int) -> AbstractContextManager[Progress]:
    return report_progress(what, total, show=show)


class _Side:
    """The sentences of a file, counted as they are read, and those planted after them."""

    def __init__(self, path: str, *, tabs: bool) -> None:
        """:param tabs: whether a sentence may hold some."""
        self.path = path
        self._tabs = tabs
        self.count = 0

    def texts(self, planted: Sequence[str]) -> Texts:
        from retrieval.mining.run import Texts

        return Texts(chain(self._read(), planted), name_of(self.path))

    def _read(self) -> Iterator[str]:
        for number, line in enumerate(read_sentences(self.path), start=1):
            if "\t" in line and not self._tabs:
                raise InputError(
                    f"{name_of(self.path)}, line {number} has a tab, which separates the columns "
                    "of what is written; --json has none"
                )
            self.count = number
            yield line


# --- what is found


def _mined(
    run: MiningRun,
    both: BothWays,
    rules: Rules,
    own: Own,
    filters: FilterChain | None,
    top: int | None,
) -> Iterator[_Line]:
    """The pairs that the rules choose and no filter drops."""
    from bitext.bridges import coverage_by
    from retrieval.filters.commands import report_dropped
    from retrieval.mining.rules import choose

    def evidence(found: Candidates) -> NDArray[np.float64]:
        return run.coverage(found, coverage_by(run.making.encoder))

    chosen = choose(both, rules, own, evidence)
    _tell(chosen, rules)
    lines = (
        _line(run, *pair) for pair in zip(*(part.tolist() for part in chosen.pairs), strict=True)
    )
    yield from islice(lines if filters is None else _filtered(lines, filters), top)
    if filters is not None:
        report_dropped(filters, as_json=False)


def _filtered(lines: Iterable[_Line], filters: FilterChain) -> Iterator[_Line]:
    from retrieval.vectors.encoding import chunks

    for some in chunks(lines):
        pairs = [SentencePair(line.source, line.target) for line in some]
        for line, verdict in zip(some, filters.judge(pairs), strict=True):
            if verdict.filter is None:
                yield line


def _scored(
    run: MiningRun, vectors: Sequence[Vectors], both: BothWays, rules: Rules
) -> Iterator[_Line]:
    """All lines in order, each with the margin of its own two sentences."""
    from retrieval.mining.miner import score_pairs
    from retrieval.mining.run import UnitRows

    rows = np.stack([corpus.rows for corpus in run.corpora], axis=1)  # as many: checked before
    there = (rows != EMPTY).all(axis=1)
    scores = np.full(len(rows), np.nan)
    source, target = map(UnitRows, vectors)
    scores[there] = score_pairs(source, target, rows[there], margin=rules.margin, both=both)
    for number, (pair, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True)):
        texts = (
            "" if row == EMPTY else corpus[row]
            for row, corpus in zip(pair, run.corpora, strict=True)
        )
        yield _Line(None if math.isnan(score) else score, number, number, *texts)


def _own(run: MiningRun, sides: Sequence[_Side], planted: int) -> Own:
    """How many sentences are the user's, and the rows of the known pairs.

    A pair of which just one side is in the text already stays out of the estimate.
    """
    from retrieval.mining.rules import Own

    counts, rows = [], []
    for side, corpus in zip(sides, run.corpora, strict=True):
        counts.append(int(np.searchsorted(corpus.numbers, side.count)))
        rows.append(corpus.rows[len(corpus.rows) - planted :])
    known = np.unique(np.stack(rows, axis=1), axis=0)
    theirs = known >= counts
    own = known[(known != EMPTY).all(axis=1) & (theirs[:, 0] == theirs[:, 1])]
    return Own(counts[0], counts[1], own)


def _line(run: MiningRun, source: int, target: int, score: float) -> _Line:
    return _Line(score, *run.lines(source, target), *run.texts(source, target))


def _tell(chosen: Chosen, rules: Rules) -> None:
    """What was found, on stderr."""
    found = f"{len(chosen.pairs.score):,} of {chosen.considered:,} pairs"
    if chosen.threshold is None:
        print(f"{found}: no threshold was given", file=sys.stderr)
    else:
        least = "above" if chosen.calibration is None else "at least"
        print(f"{found} score {least} {chosen.threshold:.4f}", file=sys.stderr)
    if chosen.silent:
        print(f"{chosen.silent:,} pairs have a side with nothing to compare", file=sys.stderr)
    if chosen.calibration is not None:
        print(chosen.calibration.table(), file=sys.stderr)


def _write(output: Path | None, lines: Iterable[str]) -> None:
    """All at once to a file, which appears when it is whole; as they come to stdout."""
    from retrieval.vectors.encoding import chunks

    if output is None:
        sys.stdout.writelines(lines)
        return
    with packed_file(output) as write:
        for some in chunks(lines):
            write("".join(some))
