"""The command ``bitext inspect``: what it reads, prints, draws and writes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import InputError, TooLongError
from bitext.gold import read_gold_of
from bitext.progress import report_progress
from bitext.text import name_of, read_bitext, read_parallel, words
from bitext.types import GoldAlignment, SentencePair
from encoders.options import (
    AllowDownload,
    AsJson,
    Device,
    Dtype,
    GoldIndex,
    Revision,
    ShowProgress,
    TooLong,
    load_encoder,
)
from encoders.preset import BUNDLED

if TYPE_CHECKING:
    from encoders.inspection.analysis import Analysis, LayerReport


def inspect(
    model: Annotated[str, typer.Argument(help="A folder or hub name.")],
    bitext: Annotated[str, typer.Option(help="Lines of 'source TAB target'; - is stdin.")],
    target: Annotated[
        str | None, typer.Option(help="The target sentences, if --bitext has the source ones only.")
    ] = None,
    gold: Annotated[
        str | None, typer.Option(help="Sure links '0-0' and possible ones '1p2', a line a pair.")
    ] = None,
    gold_bitext: Annotated[
        str | None,
        typer.Option(help="The pairs that --gold is of, words between spaces; default: --bitext."),
    ] = None,
    gold_target: Annotated[
        str | None,
        typer.Option(help="The target sentences, if --gold-bitext has source ones only."),
    ] = None,
    gold_index: GoldIndex = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Pairs of --bitext looked at, the first ones.")
    ] = 1000,
    distortion: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of the alignments; default: the model's own."),
    ] = None,
    write_preset: Annotated[
        bool, typer.Option("--write-preset", help="Make this the model's preset, in its folder.")
    ] = False,
    plot: Annotated[
        list[Path] | None, typer.Option(help="Draw the layers: FILE.png or .svg. Repeatable.")
    ] = None,
    revision: Revision = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Measure what each layer of a model is good for, and recommend settings.

    Prints a header and a line a layer, then the settings recommended for alignment and for
    retrieval, with tabs between; AER, accuracies and F1 in percent. With --json, prints an object a
    layer, then one with the recommendations, with shares of 1.
    """
    plots = plot or []
    for path in plots:
        from encoders.inspection.plot import check_plot

        check_plot(path)
    folder = _own_folder(model) if write_preset else None
    aligned, expected = _gold_pairs(gold, gold_index, gold_bitext, gold_target, bitext, target)
    sources, targets = _sentences(bitext, target, limit)
    encoder = load_encoder(model, revision, dtype, device, allow_download=allow_download)
    from encoders.inspection.analysis import inspect_layers

    total = 2 * (len(sources) + len(aligned))
    with report_progress("sentences", total, show=progress) as done, _naming(name_of(bitext)):
        analysis = inspect_layers(
            encoder,
            sources,
            targets,
            aligned=aligned,
            gold=expected,
            distortion=distortion,
            too_long=too_long,
            progress=done,
        )
    _print_analysis(analysis, as_json)
    for path in plots:
        from encoders.inspection.plot import plot_layers

        plot_layers(analysis, path, title=_title(analysis, model))
    if folder is not None:
        from encoders.preset import PRESET_FILE
        from encoders.preset import write_preset as write

        write(folder, analysis.preset())
        print(f"wrote {folder / PRESET_FILE}", file=sys.stderr)


def _own_folder(model: str) -> Path:
    """The folder of a model that is somebody's own, to write its preset in.

    :raises InputError: if it is the package's or the hub cache's, or cannot be written.
    """
    from encoders.hub import find_folder

    folder = find_folder(model)
    if model == BUNDLED or not Path(model).expanduser().is_dir():
        whose = "the package" if model == BUNDLED else "the cache of the hub"
        raise InputError(
            f"--write-preset changes a folder of your own, and model '{model}' belongs to {whose}; "
            f"copy it (cp -rL {folder} MY_MODEL) and inspect the copy"
        )
    if not os.access(folder, os.W_OK):
        raise InputError(f"--write-preset cannot write in {folder}")
    return folder


def _sentences(bitext: str, target: str | None, limit: int) -> tuple[list[str], list[str]]:
    """The first ``limit`` pairs, one list a side; stderr says where there are more."""
    sources, targets = [], []
    pairs = read_bitext(bitext) if target is None else read_parallel(bitext, target)
    for number, pair in enumerate(islice(pairs, limit), start=1):
        assert isinstance(pair.source, str), "files hold raw text"
        assert isinstance(pair.target, str), "files hold raw text"
        for name, text in (("source", pair.source), ("target", pair.target)):
            if not text.strip():
                raise InputError(f"{name_of(bitext)}, line {number}: the {name} is empty")
        sources.append(pair.source)
        targets.append(pair.target)
    if next(pairs, None) is not None:
        print(
            f"{name_of(bitext)}: the first {limit} pairs are looked at (--limit)", file=sys.stderr
        )
    return sources, targets


def _gold_pairs(
    gold: str | None,
    gold_index: int | None,
    gold_bitext: str | None,
    gold_target: str | None,
    bitext: str,
    target: str | None,
) -> tuple[list[SentencePair], list[GoldAlignment]]:
    """The pairs that have gold links, split into words, and the links."""
    if gold is None:
        if gold_bitext is not None or gold_target is not None or gold_index is not None:
            raise InputError("--gold-bitext, --gold-target and --gold-index are for --gold FILE")
        return [], []
    if gold_bitext is None:
        if gold_target is not None:
            raise InputError("--gold-target is for --gold-bitext FILE")
        gold_bitext, gold_target = bitext, target
        if bitext == "-":
            raise InputError("standard input is read once: give --gold-bitext FILE with --gold")
    read = (
        read_bitext(gold_bitext) if gold_target is None else read_parallel(gold_bitext, gold_target)
    )
    pairs = [SentencePair(words(str(pair.source)), words(str(pair.target))) for pair in read]
    return pairs, read_gold_of(gold, gold_index, pairs)


@contextmanager
def _naming(file: str) -> Iterator[None]:
    """Put the file before the number of a pair of the bitext, which is its line."""
    try:
        yield
    except TooLongError as error:
        if error.name.startswith("gold"):
            raise
        raise error.called(f"{file}, {error.name}") from None


def _title(analysis: Analysis, model: str) -> str:
    gold = f", {analysis.gold_pairs} with gold links" if analysis.gold_pairs else ""
    return f"{model}: {analysis.pairs} sentence pairs{gold}"


def _print_analysis(analysis: Analysis, as_json: bool) -> None:
    if as_json:
        for report in analysis.layers:
            print(json.dumps(asdict(report)))
        print(
            json.dumps(
                {
                    "alignment": asdict(analysis.alignment),
                    "retrieval": asdict(analysis.retrieval),
                    "pairs": analysis.pairs,
                    "gold_pairs": analysis.gold_pairs,
                    "signature": analysis.signature,
                },
                ensure_ascii=False,
            )
        )
        return
    rows = [_row(report) for report in analysis.layers]
    print(*rows[0], sep="\t")
    for row in rows:
        print(*row.values(), sep="\t")
    print(*_advice(analysis), sep="\n")


def _row(report: LayerReport) -> dict[str, str]:
    """The figures of a layer by the names of their columns."""
    accuracies = report.retrieval.items()
    percents = {
        **{f"aer_{unit}": aer for unit, aer in report.aer.items()},
        **{f"raw_{pooling}": accuracy.raw for pooling, accuracy in accuracies},
        **{f"centred_{pooling}": accuracy.centred for pooling, accuracy in accuracies},
    }
    shares = {
        "cka": report.cka,
        "cca": report.cca,
        "anisotropy_source": report.anisotropy_source,
        "anisotropy_target": report.anisotropy_target,
        "language": report.language_accuracy,
    }
    return {
        "layer": str(report.layer),
        **{name: f"{100 * value:.2f}" for name, value in percents.items()},
        **{name: f"{value:.3f}" for name, value in shares.items()},
    }


def _advice(analysis: Analysis) -> Sequence[str]:
    """The recommendation: a line a task, then what the figures depend on."""
    align, retrieve = analysis.alignment, analysis.retrieval
    settings = [f"layer {align.layer}"]
    if align.aer is not None:
        settings += [
            f"unit {align.unit}",
            f"method {align.method}",
            f"distortion {align.distortion:g}",
            f"threshold {align.threshold:g}",
            f"AER {100 * align.aer:.2f} of {analysis.gold_pairs} pairs",
        ]
    embed = [
        f"layer {retrieve.layer}",
        f"pooling {retrieve.pooling}",
        "centred" if retrieve.centred else "raw",
        f"threshold {retrieve.threshold:g} (F1 {100 * retrieve.f1:.2f})",
        f"accuracy {100 * retrieve.accuracy:.2f} of {analysis.pairs} pairs",
    ]
    return [
        "\t".join(["alignment", *settings, align.rule]),
        "\t".join(["retrieval", *embed, retrieve.rule]),
        "\t".join(["signature", analysis.signature]),
    ]
