"""What the commands that read sentences share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from bitext.errors import InputError, TooLongError
from bitext.text import name_of, read_sentences

if TYPE_CHECKING:
    from retrieval.index.kinds import Choice

Item = TypeVar("Item")


class Line(NamedTuple):
    number: int  # in its file, from 1
    text: str


def check_output(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already; --overwrite replaces it")


def numbered(file: str, skip_empty: bool) -> Iterator[Line]:
    """The lines with their numbers; an empty one is refused, or left out and counted."""
    skipped = 0
    for number, text in enumerate(read_sentences(file), start=1):
        if text.strip():
            yield Line(number, text)
        elif skip_empty:
            skipped += 1
        else:
            raise InputError(
                f"{name_of(file)}, line {number} is empty; --skip-empty leaves such lines out"
            )
    if skipped:
        print(f"{name_of(file)}: {skipped} empty lines left out", file=sys.stderr)


def peeked(items: Iterator[Item], file: str) -> Iterator[Item]:
    """Read the first item at once, so that bad input shows before a model is loaded."""
    for first in items:
        return chain([first], items)
    raise InputError(f"{name_of(file)} has only empty lines")


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Put the file before the number of a sentence in it."""
    from retrieval.vectors.encoding import NothingThereError

    try:
        yield
    except NothingThereError as error:
        raise InputError(f"{file}, {error}") from None
    except TooLongError as error:
        raise error.called(f"{file}, {error.name}") from None


def tell_search(choice: Choice) -> None:
    """How an index searches, and why, on stderr."""
    print(f"search: {choice.kind}, as {choice.reason}", file=sys.stderr)


def print_made(count: int, dim: int, folder: Path, as_json: bool) -> None:
    if as_json:
        record = {"count": count, "dim": dim, "folder": str(folder)}
        print(json.dumps(record, ensure_ascii=False))
    else:
        print(count, dim, folder, sep="\t")
