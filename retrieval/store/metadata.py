"""What a sentence may carry beside its text: a flat JSON object of bounded size."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from bitext.errors import InputError

Value = str | int | float | bool | None
Metadata = Mapping[str, Value]

MAX_KEYS = 64
MAX_BYTES = 16_384
"""Of the object, as JSON."""

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_LARGEST = 2**63 - 1  # SQLite's largest integer; a larger one would become a float


def dump_metadata(metadata: Metadata | None) -> str | None:
    """``metadata`` as JSON; ``None`` for none.

    :raises InputError: if it is not an object of at most ``MAX_KEYS`` plain values, or too large.
    """
    if not metadata:
        return None
    if not isinstance(metadata, Mapping):
        raise InputError(f"metadata must be an object, got {type(metadata).__name__}")
    if len(metadata) > MAX_KEYS:
        raise InputError(f"metadata may have {MAX_KEYS} keys, got {len(metadata)}")
    for key, value in metadata.items():
        check_key(key)
        check_value(key, value)
    text = json.dumps(dict(metadata), ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_BYTES:
        raise InputError(f"metadata may be {MAX_BYTES} bytes of JSON, got {len(text.encode())}")
    return text


def load_metadata(text: str | None) -> dict[str, Value] | None:
    """What :func:`dump_metadata` wrote."""
    return None if text is None else dict(json.loads(text))


def check_key(key: object) -> None:
    """:raises InputError: if ``key`` cannot be one."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InputError(
            "a metadata key has 1 to 64 letters, digits, '_', '.' or '-' and starts with a letter "
            f"or '_', got {key!r}"
        )


def check_value(key: str, value: object) -> None:
    """:raises InputError: if ``value`` is not a plain one that SQLite keeps as it is."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise InputError(f"metadata '{key}' has a number beyond 64 bits: {value}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"metadata '{key}' must be a finite number, got {value}")
    elif isinstance(value, str):
        check_text(f"metadata '{key}'", value)
        if "\0" in value:
            raise InputError(f"metadata '{key}' holds a NUL character")
    else:
        raise InputError(
            f"metadata '{key}' must be a string, a number, true, false or null, "
            f"got {type(value).__name__}"
        )


def check_text(what: str, text: str) -> None:
    """:raises InputError: if ``text`` holds what UTF-8 has no bytes for."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} holds half a surrogate pair at character {error.start + 1}"
        ) from None
