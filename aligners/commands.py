"""The command ``bitext align``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aligners.evaluation_commands import score_found, score_line
from aligners.options import (
    AlignerChoice,
    AsJson,
    ChunkSize,
    CorpusPriorWeight,
    Detail,
    Devices,
    Distortion,
    Format,
    Gold,
    Methods,
    NullEntropy,
    Output,
    PairScores,
    Plot,
    Processes,
    Raw,
    Restart,
    Scores,
    SimilarityOption,
    Target,
    Threshold,
    Unit,
    devices_of,
)
from bitext.errors import InputError
from bitext.gold import read_gold_of
from bitext.progress import report_progress
from bitext.text import as_input_error, atomic_bytes
from bitext.types import Alignment
from encoders.options import (
    AllowDownload,
    Dtype,
    GoldIndex,
    Layer,
    Model,
    Revision,
    ShowProgress,
    TooLong,
)
from encoders.preset import BUNDLED

if TYPE_CHECKING:
    from aligners.batch import Made
    from aligners.inputs import Source
    from aligners.workers import Team
    from bitext.resumable import Setting

logger = logging.getLogger(__name__)


def align(
    file: Annotated[str, typer.Argument(help="Lines of 'source TAB target'; - is stdin.")],
    target: Target = None,
    method: Methods = None,
    layer: Layer = None,
    model: Model = BUNDLED,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Devices = "cpu",
    processes: Processes = None,
    unit: Unit = None,
    similarity: SimilarityOption = None,
    distortion: Distortion = None,
    threshold: Threshold = None,
    null_entropy: NullEntropy = None,
    corpus_prior: CorpusPriorWeight = 0.0,
    too_long: TooLong = "error",
    chunk: ChunkSize = 256,
    raw: Raw = False,
    format: Format = None,
    as_json: AsJson = False,
    scores: Scores = False,
    detail: Detail = False,
    pair_scores: PairScores = False,
    gold: Gold = None,
    gold_index: GoldIndex = None,
    output: Output = None,
    restart: Restart = False,
    plot: Plot = None,
    allow_download: AllowDownload = False,
    progress: ShowProgress = None,
) -> None:
    """Align the words of sentence pairs: one line of links such as '0-0 1-2' a pair, in order.

    Words are what spaces separate, unless --raw is given.
    """
    from aligners.batch import Task
    from aligners.inputs import Source
    from aligners.output import Style
    from aligners.plot import pairs_to_plot, plot_pairs
    from aligners.workers import working

    if restart and output is None:
        raise InputError("--restart is for --output FILE, of which there is none")
    style = Style.of(format, as_json=as_json, scores=scores, detail=detail, pair_scores=pair_scores)
    choice = AlignerChoice(
        model,
        revision,
        dtype,
        allow_download=allow_download,
        methods=tuple(method or ()),
        layer=layer,
        unit=unit,
        similarity=similarity,
        distortion=distortion,
        threshold=threshold,
        null_entropy=null_entropy,
        prior_weight=corpus_prior,
        too_long=too_long,
    )
    choice.check()
    style.check_methods(len(choice.methods))
    devices = devices_of(device, processes)
    source = Source(file, target, raw=raw, chunk=chunk)
    held = source.hold() if gold or plot or corpus_prior else []
    expected = None if gold is None else read_gold_of(gold, gold_index, held)
    drawn = [] if plot is None else pairs_to_plot(held, plot)
    if corpus_prior:
        source.learn_prior(held)
    if progress is None and output is None and sys.stdout.isatty():
        progress = False  # a bar and the links on one terminal would mix
    with working(Task(choice, style, source.names, keep=gold is not None), devices) as team:
        if output is not None or sys.stderr.isatty():
            print(*team.signatures.values(), sep="\n", file=sys.stderr)
        # the chunk too: what is encoded together shows in the last digits of scores
        settings = {**team.settings, "raw": raw, "chunk": chunk}
        if output is None:
            opened = _on_stdout()
        elif gold is None:
            opened = _resuming(output, settings, source, restart)
        else:  # all pairs are in memory, and half of them could not be scored
            opened = _at_once(output)
        with opened as write, report_progress("pairs", show=progress) as done:
            found = _write_all(team, source, write, done)
    if plot is not None:
        aligner = choice.on(devices[0]).load()
        plot_pairs(aligner.details(drawn), drawn, plot, title=aligner.signature)
    if gold is not None and expected is not None:
        for name, alignments in found.items():
            score = score_found(gold, alignments, expected, gold_index, team.signatures[name])
            print(score_line(score, style.format == "jsonl"), file=sys.stderr)


# --- writing


Write = Callable[["Made"], object]


def _write_all(
    team: Team, source: Source, write: Write, done: Callable[[int], None]
) -> dict[str, list[Alignment]]:
    """Write what the pairs give that are left; the alignments by method, if they are wanted."""
    found: dict[str, list[Alignment]] = {}
    if before := source.pairs.mark.items:
        done(before)
    for made in team.make_all(source.chunks()):
        write(made)
        done(made.pairs)
        for method, alignments in made.alignments.items():
            found.setdefault(method, []).extend(alignments)
    return found


@contextmanager
def _on_stdout() -> Iterator[Write]:
    yield lambda made: print(made.text, end="", flush=True)


@contextmanager
def _at_once(path: Path) -> Iterator[Write]:
    """All or nothing."""
    from bitext.resumable import packer

    pack = packer(path)
    with atomic_bytes(path) as file:

        def write(made: Made) -> None:
            with as_input_error(path):
                file.write(pack(made.text))

        yield write


@contextmanager
def _resuming(
    path: Path, settings: dict[str, Setting], source: Source, restart: bool
) -> Iterator[Write]:
    """Go on with what an earlier run has written; its pairs of ``source`` are passed over."""
    from bitext.resumable import packer, resumable_write

    pack = packer(path)
    with resumable_write(path, settings, restart=restart) as out:
        out.skip(source.pairs, " and ".join(source.names))
        logger.info("%d pairs are done already", out.mark.items)
        yield lambda made: out.write(pack(made.text), made.mark)
