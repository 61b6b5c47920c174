"""What the commands that read sentences share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from bitext.errors import InputError, TooLongError
from bitext.text import as_input_error, atomic_bytes, name_of, ordinary, read_sentences

if TYPE_CHECKING:
    from retrieval.index.kinds import Choice

Item = TypeVar("Item")


class Line(NamedTuple):
    number: int  # in its file, from 1
    text: str


def check_output(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already; --overwrite replaces it")


def check_file(output: Path, read: Iterable[str]) -> None:
    """Whether a file can be written there, before anything that takes long.

    :param read: what the command reads, which its result must not take the place of.
    :raises InputError: if it cannot, or is one of these files.
    """
    ordinary(output, Path.is_file, "a file")
    for path in read:
        if os.path.realpath(path) == os.path.realpath(output):
            raise InputError(f"{output} is read: write the result to another file")


@contextmanager
def packed_file(output: Path) -> Iterator[Callable[[str], object]]:
    """What takes text for a file, plain or packed as its name says, which appears when whole."""
    from bitext.resumable import packer

    pack = packer(output)
    with atomic_bytes(output) as file:

        def write(text: str) -> None:
            with as_input_error(output):
                file.write(pack(text))

        yield write


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
