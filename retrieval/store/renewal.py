"""Deciding how an index searches, and training what that takes.

It is decided when sentences are first enough to train on, when a quarter has been added since, at a
compaction, and when somebody asks. Training reads a snapshot, so that others read and write
meanwhile; a short transaction then names what was made. Whoever loads the index takes in what
changed between.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retrieval.index.index import Index
from retrieval.index.kinds import LEAST, Choice, Kind, choose_kind
from retrieval.store.mirror import Mirror
from retrieval.store.row_file import PlacedRows, RowFile, row_path
from retrieval.store.search_folder import (
    put_in_place,
    remove,
    remove_leftovers,
    scratch,
    search_path,
)
from retrieval.store.sentences import SentenceStore
from retrieval.store.tables import EXACT, State

RENEW_ROWS = 4096
"""Rows that may be added, however few there were, before what was trained is written anew."""
RENEW_SHARE = 0.25
"""Of the rows there were."""


def choose(kind: str, count: int, dim: int) -> Choice:
    """How ``count`` vectors are searched if ``kind`` is asked for.

    Few are compared one by one: there is nothing to gain, and nothing to train on.
    """
    wanted = Kind.parse(kind)
    choice = choose_kind(count, dim) if wanted.name == "auto" else Choice(kind, "it was asked for")
    chosen = Kind.parse(choice.kind)
    if chosen.exact:
        return Choice(EXACT, choice.reason)
    if count < _least(chosen):
        few = f"'{chosen}' takes {_least(chosen):,} vectors to train, and there are {count:,}"
        return Choice(EXACT, few)
    return Choice(str(chosen), choice.reason)


def checked_kind(kind: str, dim: int) -> str:
    """``kind`` as it is spelt here.

    :raises UnknownNameError: if there is no such kind or setting.
    :raises InputError: if it does not go with vectors of ``dim``.
    """
    Index(dim, kind)
    return str(Kind.parse(kind))


def is_due(state: State, count: int) -> bool:
    """Whether it is time to decide anew how ``count`` sentences are searched."""
    kind = Kind.parse(state.kind)
    if kind.exact:
        return False
    if not state.trained and kind.name != "auto":
        return count >= _least(kind)
    added = state.rows - state.search_rows
    return added > max(RENEW_ROWS, RENEW_SHARE * state.search_rows)


def renew(
    store: SentenceStore, folder: Path, mirror: Mirror, dim: int, kind: str | None = None
) -> Choice | None:
    """Decide, train if need be, and let the result take over.

    :param kind: from now on, whatever it was, and trained anew; ``None`` to keep it, and what was
        trained as far as that serves.
    :return: what was decided; ``None`` if another process did so meanwhile.
    :raises MovedError: if the vectors were put into another file meanwhile.
    """
    with store.reading() as reader:
        seen, count = reader.state(), sum(reader.languages().values())
    asked = seen.kind if kind is None else kind
    choice = choose(asked, count, dim)
    wanted = seen._replace(kind=asked, chosen=choice.kind)
    if not wanted.trained:
        return choice if _name(store, folder, seen, wanted) else None
    if kind is None and choice.kind == seen.chosen and _serves(mirror):
        named = _follow(store, folder, mirror, seen, wanted)
    else:
        named = _train(store, folder, dim, wanted)
    return choice if named else None


def _serves(mirror: Mirror) -> bool:
    """Whether what was trained is still worth taking further."""
    with mirror.view():
        return mirror.index.rebuild_due is None


def _train(store: SentenceStore, folder: Path, dim: int, wanted: State) -> bool:
    """Make it of all sentences; whether it could be named."""
    with store.reading() as reader:
        seen, places = reader.state(), reader.all_places()
        file = RowFile(row_path(folder, seen.generation), seen.rows, dim)
    rows: Any = PlacedRows(file, places)
    with scratch(folder) as place:
        index = Index.build(rows, places.ids, wanted.chosen)
        index.save(place / "search")
        del index
        return _name(store, folder, seen, wanted, place / "search")


def _follow(store: SentenceStore, folder: Path, mirror: Mirror, seen: State, wanted: State) -> bool:
    """Write down what was trained with all that was added and removed since."""
    with mirror.view() as reader:
        now = reader.state()
        if not _is_same(seen, now):
            return False
        if now.version == now.search_version:
            return _name(store, folder, now, wanted)
        with scratch(folder) as place:
            mirror.index.save(place / "search")
            return _name(store, folder, now, wanted, place / "search")


def _name(
    store: SentenceStore, folder: Path, seen: State, wanted: State, made: Path | None = None
) -> bool:
    """Let ``made`` count, which holds the sentences of ``seen``; false if that is overtaken."""
    with store.writing() as (reader, writer):
        now = reader.state()
        if not _is_same(seen, now) or now.log_from > seen.version:
            return False
        remove_leftovers(folder, now)
        new = now._replace(
            kind=wanted.kind,
            chosen=wanted.chosen,
            search_version=seen.version,
            search_rows=seen.rows if now.generation == seen.generation else 0,
        )
        if made is not None:
            new = new._replace(search=now.search + 1)
            put_in_place(made, folder, new.search)
        writer.save(new)
    if new.search != now.search or not new.trained:
        remove(search_path(folder, now.search))
    return True


def _is_same(seen: State, now: State) -> bool:
    """Whether nobody else has decided since."""
    return (seen.kind, seen.search) == (now.kind, now.search)


def _least(kind: Kind) -> int:
    """Vectors that are worth it; a graph takes any number."""
    return kind.least() or LEAST
