"""The command ``bitext align``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, tee
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple

import typer

from aligners.evaluation_commands import score_found, score_line
from bitext.errors import TooLongError
from bitext.gold import read_gold_of
from bitext.progress import report_progress
from bitext.text import (
    atomic_write,
    name_of,
    read_bitext,
    read_parallel,
    words,
)
from bitext.types import Alignment, SentencePair, Side
from encoders.options import (
    AllowDownload,
    AsJson,
    Device,
    Dtype,
    GoldIndex,
    Layer,
    Model,
    Revision,
    ShowProgress,
    TooLong,
    load_encoder,
)
from encoders.preset import BUNDLED

Offsets = list[tuple[int, int]]

Target = Annotated[
    str | None, typer.Argument(help="The target sentences, if FILE has the source ones only.")
]
Method = Annotated[
    str | None,
    typer.Option(
        help="argmax, backward, forward, itermax, mwmf or softmax; default: the model's own."
    ),
]
Unit = Annotated[
    str | None, typer.Option(help="What is matched: piece or word; default: the model's own.")
]
Distortion = Annotated[
    float | None,
    typer.Option(help="How much distant positions count less, 0 to 1; default: the model's own."),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Drop links that score less, 0 to 1; default: the model's own."),
]
Chunk = Annotated[int, typer.Option(min=1, help="Pairs read and aligned at a time.")]
Scores = Annotated[bool, typer.Option("--scores", help="Pharaoh with scores: 0-0:0.9134.")]
Gold = Annotated[Path | None, typer.Option(help="Score against this file, on stderr.")]


Plot = Annotated[Path | None, typer.Option(help="Draw a few pairs, too: a .svg or .png file.")]


class _Input(NamedTuple):
    """One pair as it is aligned and, of raw text, where its words stand."""

    pair: SentencePair
    offsets: tuple[Offsets, Offsets] | None = None


def align(
    file: Annotated[str, typer.Argument(help="Lines of 'source TAB target'; - is stdin.")],
    target: Target = None,
    method: Method = None,
    layer: Layer = None,
    model: Model = BUNDLED,
    revision: Revision = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    unit: Unit = None,
    distortion: Distortion = None,
    threshold: Threshold = None,
    too_long: TooLong = "error",
    chunk: Chunk = 256,
    raw: Annotated[bool, typer.Option("--raw", help="Segment raw text into words.")] = False,
    as_json: AsJson = False,
    scores: Scores = False,
    gold: Gold = None,
    gold_index: GoldIndex = None,
    output: Annotated[Path | None, typer.Option(help="Write here, all or nothing.")] = None,
    plot: Plot = None,
    allow_download: AllowDownload = False,
    progress: ShowProgress = None,
) -> None:
    """Align the words of sentence pairs: one line of links such as '0-0 1-2' a pair, in order.

    Words are what spaces separate, unless --raw is given.
    """
    from aligners.aligner import Aligner, check_choices
    from aligners.plot import pairs_to_plot, plot_pairs

    check_choices(method=method, unit=unit, distortion=distortion, threshold=threshold)
    inputs = _read(file, target, raw)
    if plot is not None:
        inputs, some = tee(inputs)
        drawn = pairs_to_plot((item.pair for item in some), plot)
    expected = None
    if gold is not None:
        held = list(inputs)
        expected = read_gold_of(gold, gold_index, [item.pair for item in held])
        inputs = iter(held)
    encoder = load_encoder(model, revision, dtype, device, allow_download=allow_download)
    aligner = Aligner(
        encoder,
        method=method,
        layer=layer,
        unit=unit,
        distortion=distortion,
        threshold=threshold,
        too_long=too_long,
    )
    inputs, pairs = tee(inputs)
    found = []
    if progress is None and output is None and sys.stdout.isatty():
        progress = False  # a bar and the links on one terminal would mix
    with _output(output) as out, report_progress("pairs", show=progress) as done:
        stream = aligner.align_stream((item.pair for item in pairs), chunk=chunk)
        for alignment, item in zip(_naming(file, stream), inputs, strict=True):
            print(_line(item, alignment, as_json, scores), file=out, flush=output is None)
            done(1)
            if expected is not None:
                found.append(alignment)
    if plot is not None:
        plot_pairs(aligner.details(drawn), drawn, plot, title=aligner.signature)
    if gold is not None and expected is not None:
        score = score_found(gold, found, expected, gold_index, aligner.signature)
        print(score_line(score, as_json), file=sys.stderr)


# --- reading


def _read(file: str, target: str | None, raw: bool) -> Iterator[_Input]:
    """The pairs of one or two files; the first is read at once, so that bad input shows early."""
    pairs = read_bitext(file) if target is None else read_parallel(file, target)
    inputs = map(_segmented if raw else _split, pairs)
    return chain([next(inputs)], inputs)


def _split(pair: SentencePair) -> _Input:
    return _Input(SentencePair(words(_text(pair.source)), words(_text(pair.target))))


def _segmented(pair: SentencePair) -> _Input:
    from bitext.segmentation import segment

    source, target = segment(_text(pair.source)), segment(_text(pair.target))
    offsets = ([(w.start, w.end) for w in source], [(w.start, w.end) for w in target])
    return _Input(SentencePair([w.text for w in source], [w.text for w in target]), offsets)


def _text(side: Side) -> str:
    assert isinstance(side, str), "files hold raw text"
    return side


# --- writing


@contextmanager
def _output(path: Path | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
    else:
        with atomic_write(path) as file:
            yield file


def _naming(file: str, alignments: Iterable[Alignment]) -> Iterator[Alignment]:
    """Put the file before the number of a pair, which is its line."""
    try:
        yield from alignments
    except TooLongError as error:
        raise error.called(f"{name_of(file)}, {error.name}") from None


def _line(item: _Input, alignment: Alignment, as_json: bool, scores: bool) -> str:
    scored = zip(alignment.links, alignment.scores, strict=True)
    if not as_json:
        if scores:
            return " ".join(f"{i}-{j}:{score:.4f}" for (i, j), score in scored)
        return str(alignment)
    record: dict[str, Any] = {
        "source_words": item.pair.source,
        "target_words": item.pair.target,
        "links": [{"source": i, "target": j, "score": round(s, 6)} for (i, j), s in scored],
    }
    if item.offsets is not None:
        record["source_offsets"], record["target_offsets"] = item.offsets
    return json.dumps(record, ensure_ascii=False)
