"""The commands ``bitext keys make``, ``list`` and ``revoke``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import UnknownNameError, choose_from

if TYPE_CHECKING:
    from service.database.engine import Database

DataDir = Annotated[
    Path | None, typer.Option(help="The data folder. [default: ~/.local/share/bitext]")
]
Url = Annotated[
    str | None, typer.Option("--database", help="A URL. [default: bitext.db in the data folder]")
]
SCOPES = ("metrics", "read", "write", "train")


def make(
    name: Annotated[str, typer.Argument(help="Whose it is, or what it is for.")],
    scope: Annotated[
        str, typer.Option(help="metrics, read, write or train; each includes those before it.")
    ] = "read",
    database: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it: once, it is not kept.

    A service that runs knows it a second later.
    """
    from service.access.scopes import Scope
    from service.access.storing import make_key

    if scope not in SCOPES:
        raise UnknownNameError(choose_from("scope", scope, SCOPES))
    print(make_key(_database(database, data_dir), name, Scope(scope)))


def list_keys(database: Url = None, data_dir: DataDir = None) -> None:
    """Print the keys, a line each: id, scope, made, revoked (or -), name."""
    from service.access.storing import all_keys

    for key in all_keys(_database(database, data_dir)):
        revoked = f"{key.revoked:%Y-%m-%dT%H:%M:%SZ}" if key.revoked else "-"
        print(
            key.id,
            key.scope.value,
            f"{key.created:%Y-%m-%dT%H:%M:%SZ}",
            revoked,
            key.name,
            sep="\t",
        )


def revoke(
    key: Annotated[str, typer.Argument(help="The id of a key, or its name.")],
    database: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Revoke a key for good.

    A service that runs refuses it five seconds later at the latest.
    """
    from service.access.storing import revoke_key

    done = revoke_key(_database(database, data_dir), key)
    print(f"revoked {done.id} ({done.name})")


def _database(url: str | None, data_dir: Path | None) -> Database:
    from service.database.engine import database_of
    from service.settings import Settings

    return database_of(Settings.load(os.environ, database=url, data_dir=data_dir))
