"""The tables of the database as lines of JSON: the same of SQLite and PostgreSQL, into either.

Only tables of ours: a database of PostgreSQL may hold those of others, too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, URL, Connection, MetaData, Table, select
from sqlalchemy.exc import DatabaseError as SQLError

from bitext.errors import InputError
from bitext.text import as_input_error
from service.database.engine import WRITES, make_engine
from service.database.tables import all_tables
from service.database.upgrading import NONE, bring, version_of
from service.errors import DatabaseError

VERSIONS = "alembic_version"
"""The table in which Alembic keeps the version."""
ROWS = 1000
"""Put into a table at once."""


def dump(url: URL, folder: Path) -> str:
    """Write each table to ``TABLE.jsonl`` in ``folder``, all as of one moment; their version."""
    if _is_missing(url):
        return NONE
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                version = version_of(connection)
                for table in _tables(connection):
                    _dump_table(connection, table, folder / f"{table.name}.jsonl")
        return version
    except SQLError as error:
        raise _failure(url, error) from error
    finally:
        engine.dispose()


def load(url: URL, folder: Path, version: str) -> None:
    """Make the database what was dumped, in one transaction, and bring it to the last version.

    :raises InputError: if a line does not fit the table.
    """
    engine = make_engine(url, foreign_keys=False)
    try:
        with engine.execution_options(**{WRITES: True}).begin() as connection:
            _clear(connection)
            if version != NONE:
                bring(connection, version)
            for table in _tables(connection):
                _load_table(connection, table, folder / f"{table.name}.jsonl")
            bring(connection, "head")
    except SQLError as error:
        raise _failure(url, error) from error
    finally:
        engine.dispose()


def is_empty(url: URL) -> bool:
    """Whether no table of the database has a row."""
    if _is_missing(url):
        return True
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            tables = _tables(connection)
            return all(
                connection.execute(select(table).limit(1)).first() is None for table in tables
            )
    except SQLError as error:
        raise _failure(url, error) from error
    finally:
        engine.dispose()


def _is_missing(url: URL) -> bool:
    """Whether it is a file that is not there, which to connect would make."""
    return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()


def _failure(url: URL, error: SQLError) -> DatabaseError:
    reason = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return DatabaseError(f"database {url.render_as_string(hide_password=True)}: {reason[0]}")


def _tables(connection: Connection) -> list[Table]:
    """The tables there are, those that are referred to first."""
    found = _reflected(connection)
    tables = [table for table in found.sorted_tables if table.name != VERSIONS]
    for table in tables:
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True  # what was NULL becomes NULL, not JSON's null
    return tables


def _clear(connection: Connection) -> None:
    _reflected(connection).drop_all(connection)


def _reflected(connection: Connection) -> MetaData:
    """Our tables, as they are in the database, of whatever version."""
    ours = {*all_tables().tables, VERSIONS}
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name in ours)
    return found


def _dump_table(connection: Connection, table: Table, path: Path) -> None:
    rows = connection.execution_options(yield_per=ROWS).execute(select(table)).mappings()
    with as_input_error(path), open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            record = {key: _plain(value) for key, value in row.items()}
            file.write(json.dumps(record) + "\n")


def _load_table(connection: Connection, table: Table, path: Path) -> None:
    rows = (_row(table, record, path) for record in read_rows(path))
    while some := list(islice(rows, ROWS)):
        connection.execute(table.insert(), some)


def _row(table: Table, record: dict[str, Any], path: Path) -> dict[str, Any]:
    if set(record) != set(table.columns.keys()):
        raise InputError(f"{path.name} of the backup does not fit table '{table.name}'")
    return {
        key: _typed(value, table.columns[key].type.python_type) for key, value in record.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    return value.isoformat() if isinstance(value, datetime) else value


def _typed(value: Any, kind: type) -> Any:
    if value is None:
        return None
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    return datetime.fromisoformat(value) if kind is datetime else value


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table that was dumped; none if it was not there."""
    if path.is_file():
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                yield json.loads(line)
