"""The command ``bitext mine``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import BitextError, InputError, MismatchError
from bitext.progress import report_progress
from bitext.text import name_of, read_bitext
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
from retrieval.command_input import check_file
from retrieval.options import ModelChoice, Pooling, Prefix, Restart, Store

if TYPE_CHECKING:
    from retrieval.filters.filters import FilterChain
    from retrieval.mining.choices import MinedSide
    from retrieval.mining.rules import Rules
    from retrieval.vectors.encoding import Progress


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
    from retrieval.mining.choices import MinedSide, centring_of, search_kind, search_of
    from retrieval.mining.lines import mined, own_rows, scored, to_json, to_tsv, write
    from retrieval.mining.rules import Rules
    from retrieval.mining.run import Making, MiningRun
    from retrieval.vectors.files import check_dtype

    kind = search_kind(search)
    rules = Rules(margin, mode, k, threshold, precision, surely, coverage)
    if score_only:
        _refuse_with_score_only(rules, known, filters, top, repeats)
    filter_chain = _filter_chain(filters)
    learnt = centring_of(centring, languages)
    _check_places(source, target, output, work, restart)
    if known is not None and precision is None:
        raise InputError("--known is for --precision, which is not given")
    planted = [] if known is None else list(map(both_texts, read_bitext(known)))
    sides = [MinedSide(path, tabs=as_json) for path in (source, target)]
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
        found = search_of(kind, vectors, rules.neighbours, device)
        both = run.nearest(vectors, found)
        lines = (
            scored(run, vectors, both, rules)
            if score_only
            else mined(run, both, rules, own_rows(run, sides, len(planted)), filter_chain, top)
        )
        write(output, map(to_json if as_json else to_tsv, lines))


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


def _check_lines(sides: Sequence[MinedSide]) -> None:
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


# --- where


def _check_places(
    source: str, target: str, output: Path | None, work: Path | None, restart: bool
) -> None:
    if source == target == "-":
        raise InputError("source and target cannot both be standard input")
    if output is not None:
        check_file(output, (source, target))
        if work is not None and output.resolve().is_relative_to(work.resolve()):
            raise InputError(
                f"{output} lies in {work}, which --restart empties; write it elsewhere"
            )
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
