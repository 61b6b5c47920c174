"""Keys in the database: made, listed, revoked."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from bitext.errors import InputError, UnknownNameError
from service.access.keys import Key
from service.access.scopes import GIVEN, Scope
from service.access.spelling import new_key, read_key
from service.access.tables import KeyRow
from service.database.engine import Database
from service.database.tables import now

MAX_NAME = 200


def make_key(database: Database, name: str, scope: Scope) -> str:
    """A new key, which is told here and never again.

    :raises InputError: if the name is empty or too long, or a key that is good has it.
    """
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InputError(f"the name of a key has 1 to {MAX_NAME} characters that can be printed")
    assert scope in GIVEN
    text = new_key()
    spelt = read_key(text)
    assert spelt is not None
    with database.write() as session:
        if _good_of_name(session, name):
            raise InputError(f"there is a key '{name}'; revoke it first, or take another name")
        session.add(
            KeyRow(id=spelt.id, name=name, scope=scope.value, digest=spelt.digest, created=now())
        )
    return text


def all_keys(database: Database) -> Sequence[Key]:
    """All keys, revoked ones too, oldest first."""
    with database.read() as session:
        rows = session.scalars(select(KeyRow).order_by(KeyRow.created, KeyRow.id)).all()
        return [_key(row) for row in rows]


def revoke_key(database: Database, id: str) -> Key:
    """Revoke the key with this id, or this name; to do it twice is to do it once.

    :raises UnknownNameError: if there is none.
    """
    with database.write() as session:
        row = session.get(KeyRow, id) or _good_of_name(session, id)
        if row is None:
            raise UnknownNameError(f"there is no key '{id}'; `bitext keys list` shows them")
        row.revoked = row.revoked or now()
        return _key(row)


def _good_of_name(session: Session, name: str) -> KeyRow | None:
    good = select(KeyRow).where(KeyRow.name == name, KeyRow.revoked.is_(None))
    return session.scalars(good).first()


def _key(row: KeyRow) -> Key:
    return Key(row.id, row.name, Scope(row.scope), row.digest, row.created, row.revoked)
