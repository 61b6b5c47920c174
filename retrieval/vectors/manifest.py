"""The manifest beside every file of vectors: what they are, so that unlike ones never meet.

A manifest is a small JSON file, replaced last: whatever it does not name is not there. It carries a
digest of its own fields, so that an edit by hand, which would quietly change what the vectors are
taken for, is refused as well.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, StringConstraints
from pydantic import ValidationError as PydanticError
from pydantic_core import ErrorDetails

from bitext.errors import InputError, MismatchError
from bitext.text import atomic_write

MANIFEST_FILE = "manifest.json"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    """A frozen record that takes no other keys and converts no types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Space(Strict):
    """Where a vector comes from: only vectors of one space can be compared."""

    model: str
    """Name or folder of the model, as it was asked for."""
    fingerprint: str
    """Short hash of its weights and tokenizer: this, not the name, tells models apart."""
    revision: str | None
    layer: NonNegativeInt
    pooling: str
    prefix: str = ""
    """Written before every text, such as ``query: `` (E5)."""
    centre: str | None
    """Digest of the means taken away from the vectors; ``None`` where none was."""


class Manifest(Space):
    """What a file of vectors holds."""

    format: Literal["bitext vectors 1"] = "bitext vectors 1"
    dim: PositiveInt
    dtype: Literal["float32", "float16"] = "float32"
    """Of the numbers on disk, little-endian."""
    count: NonNegativeInt
    checksum: Sha256
    """SHA-256 of the first ``count`` rows of the vector file."""


Record = TypeVar("Record", bound=Strict)


def check_same_space(built: Space, given: Space, *, where: str, what: str) -> None:
    """Refuse ``given`` where vectors of ``built`` are.

    The same weights under another name are the same model; other weights under the same name are
    not.

    :param where: what was built, such as ``index sample``.
    :param what: what came, such as ``the query``.
    :raises MismatchError: naming the first thing that differs, and both its values.
    """
    for field in ("fingerprint", "layer", "pooling", "prefix", "centre"):
        ours, theirs = getattr(built, field), getattr(given, field)
        if ours == theirs:
            continue
        if field == "prefix":
            ours, theirs = (value and repr(value) for value in (ours, theirs))
        if field == "fingerprint" and built.model != given.model:
            ours, theirs = f"{built.model} ({ours})", f"{given.model} ({theirs})"
            field = "model"
        raise MismatchError(
            f"{where} was built with {field} {_shown(ours)}, {what} has {field} {_shown(theirs)}"
        )


def write_manifest(folder: Path, manifest: Strict) -> None:
    """Replace the manifest of ``folder`` in one step."""
    fields = manifest.model_dump()
    with atomic_write(folder / MANIFEST_FILE) as file:
        json.dump({**fields, "digest": _digest(fields)}, file, ensure_ascii=False, indent=2)
        file.write("\n")


def read_manifest(folder: Path, kind: type[Record]) -> Record:
    """Read and check the manifest of ``folder``.

    :param kind: the record it must hold.
    :raises InputError: naming the folder, or the manifest and the field that is wrong.
    """
    path = folder / MANIFEST_FILE
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    if not path.is_file():
        raise InputError(
            f"{folder} has no {MANIFEST_FILE}: bitext did not write it, or not all of it"
        )
    try:
        fields = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path} must hold a JSON object, not {type(fields).__name__}")
    digest = fields.pop("digest", None)
    try:
        record = kind.model_validate(fields)
    except PydanticError as error:
        raise InputError(f"{path}, {_first(error.errors()[0])}") from None
    if digest != _digest(fields):  # of what is there: a field that is new has no say in old files
        raise InputError(
            f"{path}, field 'digest': it does not match the other fields; was one edited?"
        )
    return record


def check_bytes(path: Path, expected: int, *, exactly: bool = True) -> None:
    """Tell a truncated file at once, before anything reads it.

    :param exactly: refuse a longer file too.
    :raises InputError: naming the file and both sizes.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing")
    size = path.stat().st_size
    if size < expected:
        raise InputError(f"{path} is truncated: {size} bytes, its manifest says {expected}")
    if exactly and size > expected:
        raise InputError(f"{path} is too long: {size} bytes, its manifest says {expected}")


def check_sum(path: Path, found: str, expected: str) -> None:
    """:raises InputError: if the checksums of the file ``path`` differ."""
    if found != expected:
        raise InputError(
            f"{path} is damaged: its SHA-256 is {found[:12]}…, field 'checksum' of its manifest "
            f"says {expected[:12]}…"
        )


def sum_file(path: Path) -> str:
    """SHA-256 of a file, read a piece at a time."""
    checksum = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            checksum.update(piece)
    return checksum.hexdigest()


def _digest(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _shown(value: object) -> str:
    return "none" if value in (None, "") else str(value)


def _first(error: ErrorDetails) -> str:
    """What pydantic found, as one clause.

    Example: ``field 'dim': input should be a valid integer, got 'many'``
    """
    field = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"field '{field}': there is no such field"
    if error["type"] == "missing":
        return f"field '{field}': it is missing"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"field '{field}': {message}, got {error['input']!r}"
