"""The command ``bitext embed``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.progress import report_progress
from bitext.text import name_of, read_sentences
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
    File,
    ModelChoice,
    Overwrite,
    Pooling,
)

if TYPE_CHECKING:
    from retrieval.vectors import Rows


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

    check_output(output, overwrite)
    lines = peeked(read_sentences(file), file)
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

    with report_progress("sentences", show=progress) as done, naming(name_of(file)):
        manifest = write_vectors(output, blocks(), space=space, dim=encoder.dim)
    if zeros:
        print(f"{name_of(file)}: {zeros} lines are empty, their rows are zeros", file=sys.stderr)
    print_made(manifest.count, manifest.dim, output, as_json)
