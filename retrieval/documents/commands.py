"""The commands ``bitext align-documents`` and ``bitext evaluate documents``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bitext.errors import InputError, TooLongError, UnknownNameError, choose_from
from bitext.progress import report_progress
from bitext.text import STDIN, as_input_error, name_of, open_lines, read_sentences
from encoders.options import (
    AllowDownload,
    AsJson,
    Device,
    Dtype,
    Layer,
    Model,
    Revision,
    ShowProgress,
)
from encoders.preset import BUNDLED
from retrieval.command_input import check_file, check_output, packed_file
from retrieval.documents.files import ENDINGS, FORMATS, document_name, like_named, read_beads
from retrieval.options import ModelChoice, Pooling

if TYPE_CHECKING:
    from retrieval.documents.aligner import DocumentAligner


class _Documents(NamedTuple):
    """What is to be aligned, and where the beads go; without ``output``, to stdout."""

    source: str
    target: str
    output: Path | None


# --- bitext align-documents


def align_documents(
    source: Annotated[
        str | None, typer.Argument(help="One sentence a line, or a folder of such files.")
    ] = None,
    target: Annotated[
        str | None, typer.Argument(help="The other language; of a folder, files of like names.")
    ] = None,
    pairs: Annotated[
        str | None, typer.Option(help="Lines of 'SOURCE TAB TARGET' files, instead of both.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A file; of several documents, a folder of files.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="beads ('[0, 1]:[0]:0.24'), tsv or json; default: beads.")
    ] = None,
    most: Annotated[int, typer.Option(help="Sentences of a bead, both sides together.")] = 8,
    one_to_many: Annotated[
        bool, typer.Option("--one-to-many", help="Only beads of one source sentence.")
    ] = False,
    runs: Annotated[
        str,
        typer.Option(help="Vectors of several sentences: encoded or, much faster, summed."),
    ] = "encoded",
    join: Annotated[float | None, typer.Option(help="Cost of each sentence joined.")] = None,
    skip: Annotated[float | None, typer.Option(help="Cost of each sentence left out.")] = None,
    length: Annotated[float | None, typer.Option(help="Cost of unequal lengths.")] = None,
    centre: Annotated[
        bool | None,
        typer.Option(
            "--centre/--raw",
            help="Take each document's mean away from its vectors; default: as suits the model.",
        ),
    ] = None,
    model: Model = BUNDLED,
    revision: Revision = None,
    layer: Layer = None,
    pooling: Pooling = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: Annotated[
        str, typer.Option(help="Texts beyond the model's length: windows or error.")
    ] = "windows",
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave the documents that the folder has already.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Align the sentences of documents: which of one translate which of the other, in order.

    Prints a bead a line: numbers of sentences from 0, and what vecalign calls their cost.
    """
    kind = _format(format, as_json)
    given = {"join": join, "skip": skip, "length": length}
    work = _work(source, target, pairs, output, kind, resume=resume, overwrite=overwrite)
    from retrieval.documents.costs import Weights, bead_shapes  # brings numpy

    weights = Weights(**{name: value for name, value in given.items() if value is not None})
    bead_shapes(most)
    from retrieval.documents.aligner import RUNS, DocumentAligner  # brings torch
    from retrieval.documents.vectors import DocumentSettings

    if runs not in RUNS:
        raise UnknownNameError(choose_from("runs", runs, RUNS))
    settings = DocumentSettings(most=most, one_to_many=one_to_many, weights=weights)
    if not work:
        return
    encoder = ModelChoice(model, revision, dtype, device, allow_download).load()
    aligner = DocumentAligner(
        encoder,
        settings,
        runs=runs,
        layer=layer,
        pooling=pooling,
        centred=centre,
        too_long=too_long,
    )
    for documents in work:
        _align(aligner, documents, kind, progress)


def _format(format: str | None, as_json: bool) -> str:
    if as_json and format not in (None, "json"):
        raise InputError("give --format or --json, not both")
    kind = "json" if as_json else format or "beads"
    if kind not in FORMATS:
        raise UnknownNameError(choose_from("format", kind, FORMATS))
    return kind


def _align(
    aligner: DocumentAligner, documents: _Documents, kind: str, progress: bool | None
) -> None:
    sources, targets = (list(read_sentences(path)) for path in documents[:2])
    total = aligner.texts(len(sources), len(targets))
    names = f"{name_of(documents.source)} and {name_of(documents.target)}"
    try:
        with report_progress("texts", total, show=progress) as done:
            beads = aligner.align(sources, targets, progress=done)
    except TooLongError as error:
        raise error.called(f"{names}, {error.name}") from None
    try:
        lines = [FORMATS[kind](bead, sources, targets) for bead in beads]
    except InputError as error:
        raise InputError(f"{names}: {error}") from None
    if documents.output is None:
        print(*lines, sep="\n", flush=True)
        return
    with packed_file(documents.output) as write:
        write("".join(line + "\n" for line in lines))


def _work(
    source: str | None,
    target: str | None,
    pairs: str | None,
    output: Path | None,
    kind: str,
    *,
    resume: bool,
    overwrite: bool,
) -> list[_Documents]:
    """The pairs of documents, with the files to write."""
    if resume and overwrite:
        raise InputError("give --resume or --overwrite, not both")
    if pairs is not None:
        if source is not None:
            raise InputError("give SOURCE and TARGET or --pairs, not both")
        found = _listed(pairs)
    elif source is None or target is None:
        raise InputError("give SOURCE and TARGET, two files or two folders, or --pairs")
    elif Path(source).is_dir() or Path(target).is_dir():
        found = _in_folders(Path(source), Path(target))
    else:
        if source == target == STDIN:
            raise InputError("source and target cannot both be standard input")
        if resume:
            raise InputError("--resume is for several documents")
        if output is not None:
            check_output(output, overwrite)
            check_file(output, (source, target))
        return [_Documents(source, target, output)]
    if output is None:
        raise InputError("several documents need an --output folder")
    return _to_folder(found, output, kind, resume=resume, overwrite=overwrite)


def _listed(path: str) -> dict[str, tuple[str, str]]:
    """The documents of a list, by the names of the source files."""
    found: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(open_lines(path), start=1):
        fields = line.split("\t")
        if len(fields) != 2 or not all(fields):
            raise InputError(
                f"{name_of(path)}, line {number}: expected 'SOURCE TAB TARGET', got '{line[:80]}'"
            )
        for field in fields:
            if not os.path.isfile(field):  # false, too, for a name that no file can have
                raise InputError(f"{name_of(path)}, line {number}: there is no file {field[:80]}")
        name = document_name(Path(fields[0]))
        if name in found:
            raise InputError(
                f"{name_of(path)}, line {number}: {found[name][0]} and {fields[0]} are both "
                f"called '{name}'"
            )
        found[name] = (fields[0], fields[1])
    if not found:
        raise InputError(f"{name_of(path)} is empty; expected lines of 'SOURCE TAB TARGET'")
    return found


def _in_folders(source: Path, target: Path) -> dict[str, tuple[str, str]]:
    for path in (source, target):
        if not path.is_dir():
            raise InputError(f"{path} must be a folder, as the other side is one")
    return {name: (str(own), str(other)) for name, own, other in like_named(source, target)}


def _to_folder(
    found: dict[str, tuple[str, str]], output: Path, kind: str, *, resume: bool, overwrite: bool
) -> list[_Documents]:
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} must be a folder, for several documents")
    work = [_Documents(*paths, output / (name + ENDINGS[kind])) for name, paths in found.items()]
    there = [
        documents.output for documents in work if documents.output and documents.output.exists()
    ]
    if there and not (resume or overwrite):
        raise InputError(
            f"{there[0]} exists already; --resume leaves such documents, --overwrite replaces them"
        )
    with as_input_error(output):
        output.mkdir(parents=True, exist_ok=True)
    if resume:
        print(f"{len(there)} of {len(work)} documents are there already", file=sys.stderr)
        work = [documents for documents in work if documents.output not in there]
    return work


# --- bitext evaluate documents


def evaluate_documents(
    hypothesis: Annotated[
        Path, typer.Argument(help="Beads such as '[0, 1]:[0]' a line, or a folder of such files.")
    ],
    gold: Annotated[Path, typer.Argument(help="The same by hand; of a folder, of like names.")],
    confidence: Annotated[
        float | None, typer.Option(help="Of the bootstrap intervals, in per cent; default: 95.")
    ] = None,
    resamples: Annotated[int | None, typer.Option(help="For intervals; default: 1000.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the resamples; default: 0.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The score as an object.")] = False,
) -> None:
    """Score beads against gold: precision, recall and F1, strict and lax, of all documents.

    With --confidence, --resamples or --seed, each measure has its bootstrap interval.
    """
    from bitext.significance import Resampling  # brings numpy
    from retrieval.documents.evaluation import evaluate

    asked = {"resamples": resamples, "seed": seed, "confidence": confidence}
    given = {name: value for name, value in asked.items() if value is not None}
    how = Resampling(**given) if given else None  # type: ignore[arg-type]
    files = _scored_files(hypothesis, gold)
    found, expected = ([read_beads(pair[side]) for pair in files] for side in (0, 1))
    score = evaluate(found, expected, how)
    print(json.dumps(score.as_dict(), ensure_ascii=False) if as_json else score)


def _scored_files(hypothesis: Path, gold: Path) -> Sequence[tuple[Path, Path]]:
    if hypothesis.is_dir() != gold.is_dir():
        raise InputError(f"{hypothesis} and {gold} must both be files, or both folders")
    if not hypothesis.is_dir():
        return [(hypothesis, gold)]
    return [(own, other) for _, own, other in like_named(hypothesis, gold)]
