"""The commands ``bitext delete``, ``reindex``, ``snapshot`` and ``restore``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bitext.errors import InputError
from encoders.options import AsJson
from retrieval.command_input import check_output, print_made, tell_search
from retrieval.options import Overwrite, SearchKind, Where, Within

IndexFolder = Annotated[Path, typer.Argument(help="The folder of the index.")]


def delete(
    index: IndexFolder,
    id: Annotated[list[int] | None, typer.Option(help="Of a sentence. Repeatable.")] = None,
    where: Where = None,
    within: Within = None,
    every: Annotated[bool, typer.Option("--all", help="All sentences.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take sentences out of an index: by their ids, or those that all of --where and --in mean.

    Prints how many were taken out, how many are left and the folder.
    """
    from retrieval.store.selection import Filter, parse_filter
    from retrieval.store.text_index import TextIndex

    chosen = Filter() if every else parse_filter(where or (), within or ())
    if (every and (id or where or within)) or (id and chosen):
        raise InputError("give --id, or --where and --in, or --all")
    if not id and chosen is None:
        raise InputError("say which sentences to delete: --id, --where, --in or --all")
    found = TextIndex.load(index)
    gone = found.delete(ids=id) if id else found.delete(where=chosen)
    count = found.count()
    if as_json:
        record = {"deleted": gone, "count": count, "folder": str(index)}
        print(json.dumps(record, ensure_ascii=False))
    else:
        print(gone, count, index, sep="\t")


def reindex(
    index: IndexFolder,
    kind: SearchKind = None,
    as_json: AsJson = False,
) -> None:
    """Decide anew how an index searches, and train that on all its sentences.

    Others may go on using and changing it. Without --kind it keeps what it was built with. Prints
    the number of sentences, the dim of their vectors and the folder; what was decided, and why, on
    stderr.
    """
    from retrieval.store.text_index import TextIndex

    found = TextIndex.load(index, at_once=False)  # what was trained may be damaged: here is help
    tell_search(found.reindex(kind))
    print_made(found.count(), found.manifest.dim, index, as_json)


def snapshot(
    index: IndexFolder,
    output: Annotated[Path, typer.Option(help="The folder of the snapshot, a new one.")],
    as_json: AsJson = False,
) -> None:
    """Copy an index as it is at this moment, while others may go on using and changing it.

    Prints the number of sentences, the dim of their vectors and the folder.
    """
    from retrieval.store.text_index import TextIndex

    found = TextIndex.load(index)
    taken = found.snapshot(output)
    print_made(taken.count, found.manifest.dim, output, as_json)


def restore(
    snapshot: Annotated[Path, typer.Argument(help="The folder of the snapshot.")],
    output: Annotated[Path, typer.Option(help="The folder of the index.")],
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make an index of a snapshot, once all of its files are found to be as they were written.

    Prints the number of sentences, the dim of their vectors and the folder.
    """
    from retrieval.store.text_index import TextIndex

    check_output(output, overwrite)
    made = TextIndex.restore(snapshot, output, overwrite=overwrite)
    print_made(made.count(), made.manifest.dim, output, as_json)
