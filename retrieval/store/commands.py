"""The commands ``bitext index`` and ``bitext retrieve``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import InputError, MismatchError
from bitext.progress import report_progress
from bitext.text import atomic_folder, name_of, read_sentences
from encoders.options import (
    AllowDownload,
    AsJson,
    Device,
    Dtype,
    Layer,
    Revision,
    ShowProgress,
    TooLong,
)
from retrieval.command_input import (
    Line,
    check_output,
    naming,
    numbered,
    peeked,
    print_made,
    tell_search,
)
from retrieval.options import (
    CentringFolder,
    File,
    IndexLayer,
    IndexModel,
    IndexPooling,
    ModelChoice,
    Overwrite,
    Pooling,
    SearchKind,
    SkipEmpty,
    Where,
    Within,
)
from retrieval.store.json_input import read_entries

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.store.addition import Entry
    from retrieval.store.text_index import Hit, TextIndex

UNDETERMINED = "und"  # ISO 639: nobody said which language


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
    centring: CentringFolder = None,
    mean: Annotated[
        list[str] | None,
        typer.Option(help="LANGUAGE=FILE: take that language's mean from this text. Repeatable."),
    ] = None,
    from_json: Annotated[
        bool,
        typer.Option("--from-json", help="Lines are objects: text, language, id, metadata."),
    ] = False,
    add: Annotated[bool, typer.Option("--add", help="Add to the index that is there.")] = False,
    upsert: Annotated[
        bool,
        typer.Option("--upsert", help="Add, and replace sentences whose id comes again."),
    ] = False,
    once: Annotated[
        str | None,
        typer.Option(
            help="With --add, a name: where it was added to this index before, do no more."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The most sentences that the index may then hold.")
    ] = None,
    overwrite: Overwrite = False,
    skip_empty: SkipEmpty = False,
    kind: SearchKind = None,
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

    With --from-json a line is {"text": ..., "language": ..., "id": ..., "metadata": {...}}; all but
    the text may be left out, the language if --language says it. Prints the number of sentences in
    the index, the dim of their vectors and the folder; how it searches, and why, on stderr.
    """
    _check_options(language, with_language, from_json, centre, add or upsert, overwrite, bool(mean))
    if kind is not None and (add or upsert):
        raise InputError("--kind is for a new index; 'bitext reindex' changes that of this one")
    if once is not None and not add:
        raise InputError("--once is for --add; another index is as it is built")
    has_language = language is not None or with_language or from_json
    if centring is not None:
        _check_centring(has_language, add or upsert, centre is not None or bool(mean))
    means = [_mean_file(given) for given in mean or ()]
    lines = (
        read_entries(file, language, skip_empty)
        if from_json
        else _language_rows(file, language, with_language, skip_empty)
    )
    rows = peeked(lines, file)
    choice = ModelChoice(model, revision, dtype, device, allow_download)
    opened = (
        _existing_index(output, choice, layer, pooling, centre)
        if add or upsert
        else _new_index(
            output,
            choice,
            layer,
            pooling,
            centring or centre,
            has_language,
            overwrite,
            kind or "auto",
        )
    )
    with opened as (filled, encoder), report_progress("sentences", show=progress) as done:
        vectors = {}
        for name, path in means:
            with naming(name_of(path)):
                vectors[name] = filled.mean_of(
                    name, read_sentences(path), encoder=encoder, too_long=too_long
                )
        with naming(name_of(file)):
            filled.add_mixed(
                rows, encoder=encoder, means=vectors,
                replace=upsert, too_long=too_long, progress=done, once=once, limit=limit,
            )  # fmt: skip
        count, search = filled.count(), filled.choice
    tell_search(search)
    print_made(count, filled.manifest.dim, output, as_json)


@contextmanager
def _existing_index(
    folder: Path, choice: ModelChoice, layer: int | None, pooling: str | None, centre: bool | None
) -> Iterator[tuple[TextIndex, Encoder]]:
    from retrieval.store.text_index import TextIndex

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
    centre: bool | Path | None,
    has_language: bool,
    overwrite: bool,
    kind: str,
) -> Iterator[tuple[TextIndex, Encoder]]:
    """An index under another name, which becomes ``folder`` when the block ends well.

    :param centre: by means or not, ``None`` for as suits the model; or by a folder.
    """
    from retrieval.store.text_index import TextIndex
    from retrieval.vectors.centring import Centring
    from retrieval.vectors.encoding import centring_of
    from retrieval.vectors.manifest import MANIFEST_FILE

    check_output(folder, overwrite)
    centring: bool | Centring
    if isinstance(centre, Path):
        centring = Centring.load(centre)
        encoder = choice.load(centring.space)
    else:
        encoder = choice.load()
        centring = centring_of(encoder, layer, pooling, centre)
    if centring and not has_language:
        print(
            f"model '{encoder.name}' is best centred, which needs --language; this index is raw",
            file=sys.stderr,
        )
        centring = False
    with atomic_folder(folder, marker=MANIFEST_FILE) as new:
        made = TextIndex.create(
            new, encoder, layer=layer, pooling=pooling, centring=centring, kind=kind
        )
        yield made, encoder


def _check_options(
    language: str | None,
    with_language: bool,
    from_json: bool,
    centre: bool | None,
    add: bool,
    overwrite: bool,
    mean: bool,
) -> None:
    """:raises InputError: if options contradict one another."""
    if language is not None and with_language:
        raise InputError("give --language for all lines or --with-language for each, not both")
    if from_json and with_language:
        raise InputError("lines are --from-json or --with-language, not both")
    if centre and language is None and not (with_language or from_json):
        raise InputError("--centre needs --language or --with-language, as means are by language")
    if add and overwrite:
        raise InputError(
            "--add and --upsert keep the index that is there, --overwrite does not; give one"
        )
    if mean and not (centre or add):
        raise InputError("--mean is for an index with --centre")


def _check_centring(has_language: bool, add: bool, by_means: bool) -> None:
    """:raises InputError: if --centring contradicts other options."""
    if add:
        raise InputError("--centring is for a new index; one that is there keeps its own")
    if by_means:
        raise InputError("--centring says how to centre: give no --centre, --raw or --mean with it")
    if not has_language:
        raise InputError("--centring needs --language, --with-language or --from-json")


def _mean_file(given: str) -> tuple[str, str]:
    language, equals, path = given.partition("=")
    if not (language and equals and path):
        raise InputError(f"--mean takes LANGUAGE=FILE, got '{given}'")
    return language, path


def _language_rows(
    file: str, language: str | None, with_language: bool, skip_empty: bool
) -> Iterator[tuple[str, str] | Entry]:
    """The (language, text) of each line."""
    from retrieval.vectors.language_names import check_language

    if language is not None:
        check_language(language)
    for line in numbered(file, skip_empty):
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
    where: Where = None,
    within: Within = None,
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
    With --json, prints {"query": ..., "results": [{"id": ..., "text": ..., "score": ...}]} a query;
    a result with metadata has them too.
    """
    from retrieval.store.selection import parse_filter
    from retrieval.store.text_index import TextIndex
    from retrieval.vectors.encoding import chunks

    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    chosen = parse_filter(where or (), within or ())
    found = TextIndex.load(index)
    lines = peeked(numbered(file, skip_empty), file)
    encoder = ModelChoice(model, revision, dtype, device, allow_download).load(found.manifest)
    found.check(encoder, layer=layer, pooling=pooling)
    before = 0
    with report_progress("queries", show=progress) as done, naming(name_of(file)):
        for some in chunks(lines, chunk):
            answers = found.retrieve(
                [line.text for line in some],
                k=k,
                encoder=encoder,
                language=language,
                threshold=threshold,
                where=chosen,
                too_long=too_long,
                before=before,
            )
            for line, hits in zip(some, answers, strict=True):
                _print_hits(line, hits, as_json)
            sys.stdout.flush()
            before += len(some)
            done(len(some))


def _print_hits(line: Line, hits: Sequence[Hit], as_json: bool) -> None:
    if as_json:
        results = [
            {"id": h.id, "text": h.text, "score": round(h.score, 6)}
            | ({"metadata": h.metadata} if h.metadata else {})
            for h in hits
        ]
        print(json.dumps({"query": line.text, "results": results}, ensure_ascii=False))
        return
    for rank, hit in enumerate(hits, start=1):
        # The text comes last, so that a tab in it does no harm; a line break would.
        text = hit.text.replace("\r", "\\r").replace("\n", "\\n")
        print(line.number, rank, f"{hit.score:.6f}", hit.id, text, sep="\t")
