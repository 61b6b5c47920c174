"""The commands ``bitext embed``, ``index``, ``retrieve`` and ``evaluate retrieval``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer

from bitext.errors import InputError, MismatchError, TooLongError
from bitext.progress import report_progress
from bitext.text import atomic_folder, name_of, read_parallel, read_sentences
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
from retrieval.options import (
    File,
    IndexLayer,
    IndexModel,
    IndexPooling,
    ModelChoice,
    Overwrite,
    Pooling,
    SkipEmpty,
)

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.evaluate import RetrievalScore
    from retrieval.text_index import Hit, TextIndex
    from retrieval.vectors import Rows

Item = TypeVar("Item")

UNDETERMINED = "und"  # ISO 639: nobody said which language


class _Line(NamedTuple):
    number: int  # in its file, from 1
    text: str


# --- bitext embed


def embed(
    file: File,
    output: Annotated[Path, typer.Option(help="The folder of vectors to write.")],
    model: Model = BUNDLED,
    revision: Revision = None,
    layer: Layer = None,
    pooling: Pooling = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    overwrite: Overwrite = False,
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Turn sentences into unit vectors on disk: row i for line i, zeros for an empty line.

    Prints the number of vectors, their dim and the folder.
    """
    from retrieval.encoding import chunks, encode, space_of
    from retrieval.vectors import write_vectors

    _check_output(output, overwrite)
    lines = _peeked(read_sentences(file), file)
    encoder = ModelChoice(model, revision, dtype, device, allow_download).load()
    space = space_of(encoder, layer, pooling)

    zeros = 0

    def blocks() -> Iterator[Rows]:
        nonlocal zeros
        before = 0
        for chunk in chunks(lines):
            rows = encode(encoder, chunk, space, too_long=too_long, before=before, progress=done)
            zeros += int((~rows.any(axis=1)).sum())
            before += len(chunk)
            yield rows

    with report_progress("sentences", show=progress) as done, _naming(name_of(file)):
        manifest = write_vectors(output, blocks(), space=space, dim=encoder.dim)
    if zeros:
        print(f"{name_of(file)}: {zeros} lines are empty, their rows are zeros", file=sys.stderr)
    _print_made(manifest.count, manifest.dim, output, as_json)


# --- bitext index


def index(
    file: File,
    output: Annotated[Path, typer.Option(help="The folder of the index.")],
    language: Annotated[str | None, typer.Option(help="Of the sentences, such as de.")] = None,
    with_language: Annotated[
        bool, typer.Option("--with-language", help="Lines are 'language TAB sentence'.")
    ] = False,
    centre: Annotated[
        bool | None,
        typer.Option(
            "--centre/--raw",
            help="Take its language's mean away from each vector; default: as suits the model.",
        ),
    ] = None,
    mean: Annotated[
        list[str] | None,
        typer.Option(help="LANGUAGE=FILE: take that language's mean from this text. Repeatable."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add to the index that is there.")] = False,
    overwrite: Overwrite = False,
    skip_empty: SkipEmpty = False,
    model: Annotated[
        str | None, typer.Option(help="A folder or hub name; default: bundled or, to add, its own.")
    ] = None,
    revision: Revision = None,
    layer: Layer = None,
    pooling: Pooling = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Build an index of sentences, or add to one: all of FILE or nothing.

    Prints the number of sentences in the index, the dim of their vectors and the folder.
    """
    _check_options(language, with_language, centre, add, overwrite, bool(mean))
    means = [_mean_file(given) for given in mean or ()]
    rows = _peeked(_language_rows(file, language, with_language, skip_empty), file)
    choice = ModelChoice(model, revision, dtype, device, allow_download)
    opened = (
        _existing_index(output, choice, layer, pooling, centre)
        if add
        else _new_index(
            output, choice, layer, pooling, centre, language is not None or with_language, overwrite
        )
    )
    with opened as (filled, encoder), report_progress("sentences", show=progress) as done:
        vectors = {}
        for name, path in means:
            with _naming(name_of(path)):
                vectors[name] = filled.mean_of(
                    name, read_sentences(path), encoder=encoder, too_long=too_long
                )
        with _naming(name_of(file)):
            filled.add_mixed(rows, encoder=encoder, means=vectors, too_long=too_long, progress=done)
    _print_made(filled.count, filled.manifest.dim, output, as_json)


@contextmanager
def _existing_index(
    folder: Path, choice: ModelChoice, layer: int | None, pooling: str | None, centre: bool | None
) -> Iterator[tuple[TextIndex, Encoder]]:
    from retrieval.text_index import TextIndex

    found = TextIndex.load(folder)
    if centre and not found.centring:
        raise MismatchError(f"index {folder} was built without --centre")
    if centre is False and found.centring:
        raise MismatchError(f"index {folder} was built with --centre")
    encoder = choice.load(found.manifest)
    found.check(encoder, layer=layer, pooling=pooling)
    yield found, encoder


@contextmanager
def _new_index(
    folder: Path,
    choice: ModelChoice,
    layer: int | None,
    pooling: str | None,
    centre: bool | None,
    has_language: bool,
    overwrite: bool,
) -> Iterator[tuple[TextIndex, Encoder]]:
    """An index under another name, which becomes ``folder`` when the block ends well."""
    from retrieval.encoding import centring_of
    from retrieval.manifest import MANIFEST_FILE
    from retrieval.text_index import TextIndex

    _check_output(folder, overwrite)
    encoder = choice.load()
    centring = centring_of(encoder, layer, pooling, centre)
    if centring and not has_language:
        print(
            f"model '{encoder.name}' is best centred, which needs --language; this index is raw",
            file=sys.stderr,
        )
        centring = False
    with atomic_folder(folder, marker=MANIFEST_FILE) as new:
        made = TextIndex.create(new, encoder, layer=layer, pooling=pooling, centring=centring)
        yield made, encoder


def _check_options(
    language: str | None,
    with_language: bool,
    centre: bool | None,
    add: bool,
    overwrite: bool,
    mean: bool,
) -> None:
    """:raises InputError: if options contradict one another."""
    if language is not None and with_language:
        raise InputError("give --language for all lines or --with-language for each, not both")
    if centre and language is None and not with_language:
        raise InputError("--centre needs --language or --with-language, as means are by language")
    if add and overwrite:
        raise InputError("--add keeps the index that is there, --overwrite does not; give one")
    if mean and not (centre or add):
        raise InputError("--mean is for an index with --centre")


def _mean_file(given: str) -> tuple[str, str]:
    language, equals, path = given.partition("=")
    if not (language and equals and path):
        raise InputError(f"--mean takes LANGUAGE=FILE, got '{given}'")
    return language, path


def _language_rows(
    file: str, language: str | None, with_language: bool, skip_empty: bool
) -> Iterator[tuple[str, str]]:
    """The (language, text) of each line."""
    from retrieval.addition import check_language

    if language is not None:
        check_language(language)
    for line in _numbered(file, skip_empty):
        if not with_language:
            yield language or UNDETERMINED, line.text
            continue
        where = f"{name_of(file)}, line {line.number}"
        named, tab, text = line.text.partition("\t")
        if not tab or not text.strip():
            raise InputError(f"{where}: expected 'language TAB sentence', got '{line.text[:40]}'")
        try:
            check_language(named)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        yield named, text


# --- bitext retrieve


def retrieve(
    file: File,
    index: Annotated[Path, typer.Option(help="The folder of the index.")],
    k: Annotated[int, typer.Option("-k", "--k", help="Sentences to find for each query.")] = 5,
    language: Annotated[
        str | None, typer.Option(help="Of the queries; a centred index must know it.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="The least cosine of a hit; default: the model's own."),
    ] = None,
    skip_empty: SkipEmpty = False,
    model: IndexModel = None,
    revision: Revision = None,
    layer: IndexLayer = None,
    pooling: IndexPooling = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    chunk: Annotated[int, typer.Option(min=1, help="Queries read and answered at a time.")] = 256,
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Find the nearest sentences of an index.

    Prints a line a hit: number of the query's line, rank, cosine, id and text, with tabs between.
    With --json, prints {"query": ..., "results": [{"id": ..., "text": ..., "score": ...}]} a query.
    """
    from retrieval.encoding import chunks
    from retrieval.text_index import TextIndex

    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    found = TextIndex.load(index)
    lines = _peeked(_numbered(file, skip_empty), file)
    encoder = ModelChoice(model, revision, dtype, device, allow_download).load(found.manifest)
    found.check(encoder, layer=layer, pooling=pooling)
    before = 0
    with report_progress("queries", show=progress) as done, _naming(name_of(file)):
        for some in chunks(lines, chunk):
            answers = found.retrieve(
                [line.text for line in some],
                k=k,
                encoder=encoder,
                language=language,
                threshold=threshold,
                too_long=too_long,
                before=before,
            )
            for line, hits in zip(some, answers, strict=True):
                _print_hits(line, hits, as_json)
            sys.stdout.flush()
            before += len(some)
            done(len(some))


def _print_hits(line: _Line, hits: Sequence[Hit], as_json: bool) -> None:
    if as_json:
        results = [{"id": h.id, "text": h.text, "score": round(h.score, 6)} for h in hits]
        print(json.dumps({"query": line.text, "results": results}, ensure_ascii=False))
        return
    for rank, hit in enumerate(hits, start=1):
        # The text comes last, so that a tab in it does no harm; a line break would.
        text = hit.text.replace("\r", "\\r").replace("\n", "\\n")
        print(line.number, rank, f"{hit.score:.6f}", hit.id, text, sep="\t")


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
        _naming(f"{name_of(source)} and {name_of(target)}"),
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


# --- what they share


def _check_output(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already; --overwrite replaces it")


def _numbered(file: str, skip_empty: bool) -> Iterator[_Line]:
    """The lines with their numbers; an empty one is refused, or left out and counted."""
    skipped = 0
    for number, text in enumerate(read_sentences(file), start=1):
        if text.strip():
            yield _Line(number, text)
        elif skip_empty:
            skipped += 1
        else:
            raise InputError(
                f"{name_of(file)}, line {number} is empty; --skip-empty leaves such lines out"
            )
    if skipped:
        print(f"{name_of(file)}: {skipped} empty lines left out", file=sys.stderr)


def _peeked(items: Iterator[Item], file: str) -> Iterator[Item]:
    """Read the first item at once, so that bad input shows before a model is loaded."""
    for first in items:
        return chain([first], items)
    raise InputError(f"{name_of(file)} has only empty lines")


@contextmanager
def _naming(file: str) -> Iterator[None]:
    """Put the file before the number of a sentence in it."""
    from retrieval.encoding import NothingThereError

    try:
        yield
    except NothingThereError as error:
        raise InputError(f"{file}, {error}") from None
    except TooLongError as error:
        raise error.called(f"{file}, {error.name}") from None


def _print_made(count: int, dim: int, folder: Path, as_json: bool) -> None:
    if as_json:
        record = {"count": count, "dim": dim, "folder": str(folder)}
        print(json.dumps(record, ensure_ascii=False))
    else:
        print(count, dim, folder, sep="\t")
