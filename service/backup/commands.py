"""The commands ``bitext backup create``, ``check`` and ``restore``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from bitext import __version__
from bitext.errors import InputError
from bitext.progress import report_progress
from bitext.text import STDIN, atomic_bytes, name_of

if TYPE_CHECKING:
    from service.backup.archive import Head, Sums
    from service.settings import Settings

DataDir = Annotated[
    Path | None, typer.Option(help="The data folder. [default: ~/.local/share/bitext]")
]
Config = Annotated[Path | None, typer.Option(help="A TOML file of settings. [default: none]")]
Source = Annotated[str, typer.Argument(help="The backup; - is standard input.")]


def create(
    file: Annotated[str, typer.Argument(help="The backup to write; - is standard output.")],
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Write all that a service keeps to one file, while it goes on: indexes and their snapshots,
    uploads, jobs with what they made, translation models, and the tables of the database.

    The file, tar in Zstandard, appears when it is whole. A job that is not done is in it without
    the files it has so far, and will be begun again; stderr says which. Prints the number of files,
    their bytes and the file.
    """
    from service.backup.archive import write_archive
    from service.backup.collecting import collect, staging

    settings = _settings(data_dir, config)
    with staging(settings) as stage:
        collected = collect(settings, stage)
        for job in collected.unfinished:
            print(f"bitext backup create: job {job} is not done: without files", file=sys.stderr)
        total = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file())
        head = _head(collected.version)
        with _output(file) as output, report_progress("bytes", total) as done:
            sums = write_archive(output, head, stage, done)
    _print(sums, file, to=sys.stderr if file == STDIN else None)


def check(file: Source) -> None:
    """Read a backup and see that every file in it is as it was written.

    Prints the number of files, their bytes, the version of bitext, and when it was made.
    """
    from service.backup.archive import read_archive

    with _input(file) as opened, report_progress("bytes") as done:
        head, sums = read_archive(opened, name_of(file), None, done)
    _print(sums, head.bitext, head.created)


def restore(
    file: Source,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace all that the service keeps.")
    ] = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Make the data of a service what a backup holds; service and workers are to be stopped.

    Everything is checked before anything is replaced. If the process is killed after that, the next
    service, or the next call, goes on to the end. Prints the number of files, their bytes and the
    data folder.
    """
    from service.backup.restoring import restore as put_back

    settings = _settings(data_dir, config)
    with _input(file) as opened, report_progress("bytes") as done:
        _, sums = put_back(opened, name_of(file), settings, overwrite=overwrite, done=done)
    _print(sums, settings.data_dir)


def _settings(data_dir: Path | None, config: Path | None) -> Settings:
    from service.settings import Settings

    return Settings.load(os.environ, config, data_dir=data_dir)


def _head(version: str) -> Head:
    from service.backup.archive import Head

    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Head(bitext=__version__, created=now, database=version)


@contextmanager
def _output(file: str) -> Iterator[IO[bytes]]:
    if file != STDIN:
        with atomic_bytes(file) as output:
            yield output
    elif sys.stdout.isatty():
        raise InputError("standard output is a terminal; name a file")
    else:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


@contextmanager
def _input(file: str) -> Iterator[IO[bytes]]:
    if file == STDIN:
        yield sys.stdin.buffer
        return
    try:
        opened = open(file, "rb")  # noqa: SIM115  # what is read may raise OSError too
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    with opened:
        yield opened


def _print(sums: Sums, *columns: object, to: IO[str] | None = None) -> None:
    size = sum(found.bytes for found in sums.values())
    print(len(sums), size, *columns, sep="\t", file=to)
