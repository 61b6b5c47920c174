"""``bitext serve --check``: what a service with these settings would find, without starting one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bitext.errors import BitextError, InputError
from service.settings import Settings
from service.sources import Given

if TYPE_CHECKING:
    from service.indexes import Indexes
    from service.translators import Translators

DEFAULT = "default"
GIGABYTE = 10**9


class Found(NamedTuple):
    """What was looked at, and how it is; or what is wrong with it."""

    what: str
    """A kind and a name, such as ``model bundled``."""
    state: str
    is_problem: bool = False

    @property
    def sentence(self) -> str:
        """What is wrong, with what it is about."""
        kind = self.what.partition(" ")[0]
        return self.state if self.state.startswith(kind) else f"{self.what}: {self.state}"


def describe(settings: Settings, given: dict[str, Given]) -> Iterator[tuple[str, str, str]]:
    """Each setting: its name, its value without secrets, and who gave it."""
    for field in type(settings).model_fields:
        source = given[field].source if field in given else DEFAULT
        yield field, _shown(field, getattr(settings, field)), source


def look(settings: Settings) -> Iterator[Found]:
    """Look at everything the settings name, one after the other."""
    for name, folder in _folders(settings).items():
        yield _found(f"folder {name}", partial(_folder, folder))
    yield _found("database", partial(_database, settings))
    for model in settings.model_names:
        yield _found(f"model {model}", partial(_model, model, settings))
    yield from _translators(settings)
    yield from _indexes(settings)
    yield _found("address", partial(_port, settings))


def _found(what: str, look: Callable[[], str]) -> Found:
    try:
        return Found(what, look())
    except BitextError as error:
        return Found(what, str(error), is_problem=True)


def _shown(field: str, value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if field == "database":
        return _without_password(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_password(url: str) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "***"  # whatever it is, a password may be in it


def _folders(settings: Settings) -> dict[str, Path]:
    """The folders that the service writes to, by name."""
    return {
        "data": settings.data_dir.expanduser(),
        "indexes": settings.indexes,
        "snapshots": settings.snapshots,
        "uploads": settings.uploads,
        "jobs": settings.jobs,
        "translation-models": settings.translators,
    }


def _folder(folder: Path) -> str:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InputError(f"{there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"this user may not write to {there}")
    state = "there" if there == folder else "will be made"
    return f"{folder}: {state}, {_free(there) / GIGABYTE:.1f} GB free"


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _database(settings: Settings) -> str:
    from service.database.engine import url_of
    from service.database.upgrading import versions

    url = url_of(settings)
    name = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite":
        file = Path(str(url.database))
        if not file.exists():  # to connect would make it
            return f"{name}: will be made; {_folder(file.parent)}"
    found = versions(url)
    if found.there == found.wanted:
        return f"{name}: version {found.there}"
    return f"{name}: version {found.there}, will be brought to {found.wanted}"


def _model(name: str, settings: Settings) -> str:
    """What can be told of a model without loading it."""
    from encoders.checkpoint import ModelKey
    from encoders.hub import find_folder

    folder = find_folder(name)
    key = ModelKey(name, None, settings.dtype, settings.device).settled()
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not size:
        raise InputError(f"{folder} has no weights (*.safetensors)")
    return f"{folder}: {size / 10**6:.0f} MB, {key.dtype} on {key.device}"


def _translators(settings: Settings) -> Iterator[Found]:
    from encoders.shelf import Shelf
    from service.translators import Translators

    translators = Translators(settings, Shelf)  # an empty one: nothing is loaded
    for name, place in translators.places().items():
        yield _found(f"translation model {name}", partial(_translator, translators, name, place))


def _translator(translators: Translators, name: str, place: str) -> str:
    """What can be told of a translation model without loading it."""
    from encoders.hub import find_folder

    folder = find_folder(place)
    size = sum(file.stat().st_size for file in folder.glob("model.*"))
    if not size:
        raise InputError(f"{folder} has no weights (model.safetensors, model.bin)")
    languages = translators.languages(name)
    return f"{folder}: {size / 10**6:.0f} MB, {languages or 'languages unknown'}"


def _indexes(settings: Settings) -> Iterator[Found]:
    """What the service would find at the first request to each index."""
    from service.indexes import Indexes

    indexes = Indexes(settings)
    for name in indexes.names():
        yield _found(f"index {name}", partial(_index, indexes, name))


def _index(indexes: Indexes, name: str) -> str:
    index = indexes.get(name)
    return f"{index.count()} sentences of model {index.manifest.model}"


def _port(settings: Settings) -> str:
    from service.listening import listen

    listen(settings.host, settings.port).close()
    free = "a free one" if settings.port == 0 else "free"
    return f"{settings.host}, {settings.port}: {free}"
