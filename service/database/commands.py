"""The commands ``bitext database upgrade`` and ``bitext database status``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import URL

DataDir = Annotated[
    Path | None, typer.Option(help="The data folder. [default: ~/.local/share/bitext]")
]
Url = Annotated[
    str | None, typer.Option("--database", help="A URL. [default: bitext.db in the data folder]")
]


def upgrade(database: Url = None, data_dir: DataDir = None) -> None:
    """Bring the tables to the version of this bitext, as serve and worker do when they start.

    Prints the version before and the version now.
    """
    from service.database import upgrading

    before = upgrading.upgrade(_url(database, data_dir))
    print(before.there, before.wanted, sep="\t")


def status(database: Url = None, data_dir: DataDir = None) -> None:
    """Print the version of the database and the one that is wanted; exit 1 if they differ."""
    from service.database import upgrading

    found = upgrading.versions(_url(database, data_dir))
    print(found.there, found.wanted, sep="\t")
    if found.there != found.wanted:
        raise SystemExit(1)


def _url(database: str | None, data_dir: Path | None) -> URL:
    from service.database.engine import url_of
    from service.settings import Settings

    return url_of(Settings.load(os.environ, database=database, data_dir=data_dir))
