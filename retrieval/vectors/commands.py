"""The commands ``bitext embed`` and ``bitext centring fit`` and ``apply``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import InputError
from bitext.progress import report_progress
from bitext.text import STDIN, name_of, read_sentences
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
from retrieval.command_input import check_output, naming, peeked, print_made
from retrieval.options import (
    CentringFolder,
    File,
    ModelChoice,
    Overwrite,
    Pooling,
    Prefix,
    Restart,
    Store,
)

if TYPE_CHECKING:
    from retrieval.vectors.centring import Centring
    from retrieval.vectors.files import Rows
    from retrieval.vectors.manifest import Space


# --- bitext embed


def embed(
    file: File,
    output: Annotated[Path, typer.Option(help="The folder of vectors to write.")],
    model: Model = BUNDLED,
    revision: Revision = None,
    layer: Layer = None,
    pooling: Pooling = None,
    prefix: Prefix = None,
    centring: CentringFolder = None,
    language: Annotated[
        str | None, typer.Option(help="Of the sentences, such as de; --centring must know it.")
    ] = None,
    store: Store = "float32",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    overwrite: Overwrite = False,
    restart: Restart = False,
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Turn sentences into unit vectors on disk: row i for line i, zeros for an empty line.

    Prints the number of vectors, their dim and the folder. An interrupted run is gone on with by
    the same command.
    """
    from retrieval.vectors.embedding import embed_lines
    from retrieval.vectors.encoding import space_of
    from retrieval.vectors.files import check_dtype

    check_output(output, overwrite)
    stored = check_dtype(store)
    learnt = _load_centring(centring, language)
    lines = peeked(read_sentences(file), file)
    encoder = ModelChoice(model, revision, dtype, device, allow_download).load()
    space = space_of(encoder, layer, pooling, prefix=prefix)
    with report_progress("sentences", show=progress) as done, naming(name_of(file)):
        manifest, empty = embed_lines(
            output,
            lines,
            encoder,
            space,
            centring=learnt,
            language=language,
            dtype=stored,
            too_long=too_long,
            restart=restart,
            progress=done,
            name=name_of(file),
        )
    if empty:
        print(f"{name_of(file)}: {empty} lines are empty, their rows are zeros", file=sys.stderr)
    print_made(manifest.count, manifest.dim, output, as_json)


def _load_centring(folder: Path | None, language: str | None) -> Centring | None:
    from retrieval.vectors.centring import Centring

    if folder is None:
        return None
    if language is None:
        raise InputError("--centring needs --language, as languages are centred apart")
    learnt = Centring.load(folder)
    learnt.check_language(language)
    return learnt


# --- bitext centring


def fit(
    texts: Annotated[
        list[str], typer.Argument(metavar="LANGUAGE=TEXT...", help="A file or folder of vectors.")
    ],
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    kind: Annotated[
        str,
        typer.Option(
            help="mean, components:N, subspace:N, own:N (N directions are taken out) or whitening."
        ),
    ] = "mean",
    model: Model = BUNDLED,
    revision: Revision = None,
    layer: Layer = None,
    pooling: Pooling = None,
    prefix: Prefix = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    overwrite: Overwrite = False,
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Learn from text, or from raw vectors of 'bitext embed', what each language has in common.

    Prints the kind, the number of languages, of vectors, and the folder. The options of the model
    are for text; vectors bring theirs along.
    """
    from retrieval.vectors.centring import Kind, fit_centring

    check_output(output, overwrite)
    Kind.parse(kind)
    given = dict(_language_text(text, texts) for text in texts)
    choice = ModelChoice(model, revision, dtype, device, allow_download)
    with report_progress("vectors", show=progress) as done:
        if all(Path(path).is_dir() for path in given.values()):
            blocks, space, dim = _of_folders(given, done)
        else:
            blocks, space, dim = _of_files(given, choice, layer, pooling, prefix, too_long, done)
        learnt = fit_centring(kind, blocks, space, dim=dim)
    learnt.save(output)
    count = sum(learnt.counts.values())
    if as_json:
        record = {"kind": learnt.kind, "languages": dict(learnt.counts), "centre": learnt.digest}
        print(json.dumps({**record, "folder": str(output)}, ensure_ascii=False))
    else:
        print(learnt.kind, len(learnt.counts), count, output, sep="\t")


Blocks = dict[str, Iterable["Rows"]]


def _language_text(given: str, all_given: Sequence[str]) -> tuple[str, str]:
    """:raises InputError: if it is not LANGUAGE=TEXT, or a language comes twice."""
    language, equals, path = given.partition("=")
    if not (language and equals and path):
        raise InputError(f"expected LANGUAGE=FILE or LANGUAGE=FOLDER, got '{given}'")
    if sum(other.partition("=")[0] == language for other in all_given) > 1:
        raise InputError(f"language '{language}' is given twice; join its files")
    return language, path


def _of_folders(given: dict[str, str], done: Callable[[int], None]) -> tuple[Blocks, Space, int]:
    """The vectors of folders, which must be alike."""
    from retrieval.vectors.files import Vectors
    from retrieval.vectors.manifest import check_same_space

    folders = {language: Vectors.load(path) for language, path in given.items()}
    first, *others = folders.values()
    where, *names = given.values()
    for other, name in zip(others, names, strict=True):
        check_same_space(first.manifest, other.manifest, where=where, what=name)

    def counted(vectors: Vectors) -> Iterable[Rows]:
        for block in vectors.blocks():
            yield block
            done(len(block))

    blocks: Blocks = {language: counted(vectors) for language, vectors in folders.items()}
    return blocks, first.manifest, first.manifest.dim


def _of_files(
    given: dict[str, str],
    choice: ModelChoice,
    layer: int | None,
    pooling: str | None,
    prefix: str | None,
    too_long: str,
    done: Callable[[int], None],
) -> tuple[Blocks, Space, int]:
    """The vectors of text, as they are asked for."""
    from retrieval.vectors.encoding import chunks, encode, space_of

    for path in given.values():
        if Path(path).is_dir():
            raise InputError(f"{path} is a folder: give files for all languages, or folders")
    if list(given.values()).count(STDIN) > 1:
        raise InputError("only one text can be standard input")
    lines = {language: peeked(read_sentences(path), path) for language, path in given.items()}
    encoder = choice.load()
    space = space_of(encoder, layer, pooling, prefix=prefix)

    def encoded(language: str) -> Iterable[Rows]:
        before = 0
        with naming(name_of(given[language])):
            for chunk in chunks(lines[language]):
                yield encode(encoder, chunk, space, too_long=too_long, before=before, progress=done)
                before += len(chunk)

    return {language: encoded(language) for language in given}, space, encoder.dim


def apply(
    vectors: Annotated[Path, typer.Argument(help="A folder of raw vectors, by bitext embed.")],
    centring: Annotated[Path, typer.Option(help="The folder of 'bitext centring fit'.")],
    language: Annotated[str, typer.Option(help="Of the vectors, such as de.")],
    output: Annotated[Path, typer.Option(help="The folder of vectors to write.")],
    store: Annotated[
        str | None, typer.Option(help="Numbers on disk: float32 or float16; default: as they were.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Centre the vectors of one language, a block at a time.

    Prints the number of vectors, their dim and the folder.
    """
    from retrieval.vectors.centring import Centring
    from retrieval.vectors.embedding import centre_vectors
    from retrieval.vectors.files import check_dtype

    check_output(output, overwrite)
    stored = None if store is None else check_dtype(store)
    learnt = Centring.load(centring)
    learnt.check_language(language)
    with report_progress("vectors", show=progress) as done:
        made = centre_vectors(vectors, output, learnt, language, dtype=stored, progress=done)
    print_made(made.count, made.dim, output, as_json)
