"""The command ``bitext evaluate retrieval``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import InputError
from bitext.progress import report_progress
from bitext.text import name_of, read_parallel
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
from retrieval.command_input import naming
from retrieval.options import (
    ModelChoice,
    Pooling,
)

if TYPE_CHECKING:
    from retrieval.evaluate import RetrievalScore


# --- bitext evaluate retrieval


def evaluate_retrieval(
    source: Annotated[str, typer.Argument(help="One sentence a line; - is stdin.")],
    target: Annotated[str, typer.Argument(help="Line i translates line i of SOURCE.")],
    k: Annotated[str, typer.Option("-k", "--k", help="Recall at these, such as 1,5.")] = "1,5",
    centre: Annotated[
        bool | None,
        typer.Option(
            "--centre/--raw", help="Only with, or only without each side's mean taken away."
        ),
    ] = None,
    model: Model = BUNDLED,
    revision: Revision = None,
    layer: Layer = None,
    layers: Annotated[
        str | None, typer.Option(help="Several: 'all', or numbers such as 0,2,4.")
    ] = None,
    pooling: Pooling = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Score retrieval between line-parallel files, both ways: recall@k and error, in percent.

    Prints a header and a line for each layer, raw or centred, and direction, with tabs between.
    With --json, prints an object for each layer, raw or centred, with shares of 1.
    """
    from retrieval.encoding import space_of
    from retrieval.evaluate import RAW_AND_CENTRED, evaluate

    ks = _numbers("-k", k, least=1)
    sources, targets = _both_sides(source, target)
    encoder = ModelChoice(model, revision, dtype, device, allow_download).load()
    spaces = [space_of(encoder, n, pooling) for n in _layers(layer, layers, encoder.layers)]
    with (
        report_progress("sentences", len(spaces) * 2 * len(sources), show=progress) as done,
        naming(f"{name_of(source)} and {name_of(target)}"),
    ):
        for number, space in enumerate(spaces):
            scores = evaluate(
                encoder,
                sources,
                targets,
                layer=space.layer,
                pooling=pooling,
                ks=ks,
                centring=RAW_AND_CENTRED if centre is None else [centre],
                too_long=too_long,
                progress=done,
            )
            _print_scores(scores, as_json, header=number == 0)


def _print_scores(scores: Iterable[RetrievalScore], as_json: bool, header: bool) -> None:
    for score in scores:
        if as_json:
            print(json.dumps(score.as_dict(), ensure_ascii=False))
            continue
        for direction, recall in score.recall.items():
            if header:
                names = [f"recall@{k}" for k in recall]
                columns = ["layer", "vectors", "direction", *names, "error", "pairs", "signature"]
                print(*columns, sep="\t")
                header = False
            shares = [*recall.values(), score.error(direction)]
            vectors = "centred" if score.centred else "raw"
            figures = [f"{100 * share:.2f}" for share in shares]
            row = [score.layer, vectors, direction, *figures, score.pairs, score.signature]
            print(*row, sep="\t")
    sys.stdout.flush()


def _both_sides(source: str, target: str) -> tuple[list[str], list[str]]:
    """:raises InputError: if a line is empty, as it could be found by nobody."""
    sides: tuple[list[str], list[str]] = ([], [])
    for number, pair in enumerate(read_parallel(source, target), start=1):
        for path, text, side in zip(
            (source, target), (pair.source, pair.target), sides, strict=True
        ):
            assert isinstance(text, str), "files hold raw text"
            if not text.strip():
                raise InputError(f"{name_of(path)}, line {number} is empty")
            side.append(text)
    return sides


def _layers(layer: int | None, layers: str | None, last: int) -> Sequence[int | None]:
    if layers is None:
        return [layer]
    if layer is not None:
        raise InputError("give --layer or --layers, not both")
    return range(last + 1) if layers == "all" else _numbers("--layers", layers, least=0)


def _numbers(option: str, given: str, *, least: int) -> list[int]:
    """Numbers with commas between.

    Example: ``_numbers("-k", "1,5", least=1)`` -> ``[1, 5]``
    """
    try:
        numbers = [int(item) for item in given.split(",")]
    except ValueError:
        raise InputError(f"{option} takes numbers such as 1,5, got '{given}'") from None
    if min(numbers) < least:
        raise InputError(f"{option} takes numbers from {least} up, got {min(numbers)}")
    return numbers
