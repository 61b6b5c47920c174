"""Settings that are read strictly: an unknown key is an error that says which ones there are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from bitext.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Strict(BaseModel):
    """Frozen settings without room for keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


LONGEST_NAME = 200


def _can_be_read(name: str) -> str:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        allowed = f"1 to {LONGEST_NAME} characters that can be printed"
        raise ValueError(f"expected {allowed}, got {name[:80]!r}")
    return name


Name = Annotated[str, AfterValidator(_can_be_read)]
"""Of a language, of a stage: what gets into logs and the names of files."""


Settings = TypeVar("Settings", bound=Strict)


def read_toml(path: str | Path, kind: type[Settings]) -> Settings:
    """Read a settings file: TOML, or JSON with the same keys where its name ends in ``.json``.

    :raises InputError: if the file is missing, is not TOML or JSON, or has a key or value that is
        not allowed; the sentence names the file and the key.
    """
    try:
        return kind.model_validate(parse_settings(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, kind)}") from None
    except ValueError as error:  # not UTF-8, or neither
        kind_of_file = "JSON" if Path(path).suffix == ".json" else "TOML"
        raise InputError(f"{path}: not a {kind_of_file} file: {error}") from None


def parse_settings(path: str | Path) -> dict[str, Any]:
    """The keys and values of a settings file.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it is neither.
    """
    text = Path(path).read_text(encoding="utf-8")
    if Path(path).suffix != ".json":
        return tomllib.loads(text)
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("expected an object")
    return found


def describe(error: ValidationError, kind: type[BaseModel]) -> str:
    """The first fault of ``error`` as one sentence: which key, what came, what is allowed."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(sorted(_fields_at(kind, first["loc"][:-1])))
        return f"{key}: unknown key; choose one of: {allowed}"
    if first["type"] == "value_error":  # a sentence of our own
        return f"{key}: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    got = "" if first["type"] == "missing" else f", got {first['input']!r}"
    return f"{key}: {first['msg']}{got}"


def _fields_at(kind: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys of the model that lies at ``path`` inside ``kind``."""
    for step in path:
        if isinstance(step, str) and step in kind.model_fields:
            kind = next(_models_in(kind.model_fields[step].annotation), kind)
    return list(kind.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
