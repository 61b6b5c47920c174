"""Giving back the disk space of sentences that were deleted or replaced."""

from __future__ import annotations

from pathlib import Path

from bitext.text import as_input_error, sync_folder
from retrieval.store.row_file import appending, read_places, row_path
from retrieval.store.sentences import SentenceStore
from retrieval.store.tables import State
from retrieval.vectors.files import BLOCK_ROWS, append_rows

DEAD_ROWS = 4096
"""As many rows may be dead, however few live."""
DEAD_SHARE = 0.25
"""Of the rows of a larger vector file that may be dead."""


def is_due(state: State, count: int) -> bool:
    """Whether so many rows are dead that copying the ``count`` living ones is worth it."""
    return state.rows - count > max(DEAD_ROWS, state.rows * DEAD_SHARE)


def compact(store: SentenceStore, folder: Path, dim: int) -> None:
    """Copy the living vectors to a file of the next generation, and let that take over.

    What is in the index stays what it is, and so does its version. A reader that has not yet seen
    all removals may have to load it anew, for their record is shortened.
    """
    with store.writing() as (reader, writer):
        old = reader.state()
        # What was trained must learn of all that went since.
        log_from = min(old.version, old.search_version) if old.trained else old.version
        new = old._replace(generation=old.generation + 1, rows=0, log_from=log_from, search_rows=0)
        source, target = row_path(folder, old.generation), row_path(folder, new.generation)
        with as_input_error(target):
            target.write_bytes(b"")
        after = -1
        with appending(target, 0, dim) as file:
            while places := reader.places_after(after, BLOCK_ROWS):
                after = places[-1].id
                [(ids, vectors)] = read_places(source, places, old.rows, dim)
                append_rows(file, vectors, dim)
                writer.move({number: new.rows + n for n, number in enumerate(ids.tolist())})
                new = new._replace(rows=new.rows + len(ids))
        sync_folder(folder)
        writer.forget_removals(log_from)
        writer.save(new)
    source.unlink(missing_ok=True)
    store.shrink()
