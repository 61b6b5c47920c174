"""What a key looks like: ``bt_``, an id that may be shown, and a secret that may not."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

KEY = re.compile(r"bt_([0-9a-f]{8})_([0-9a-f]{64})")
"""An id of 32 bits and a secret of 256, which is found by programs that look for lost secrets."""


class Spelt(NamedTuple):
    """A key as it was sent."""

    id: str
    digest: bytes


def new_key() -> str:
    """A key that nobody has."""
    return f"bt_{secrets.token_hex(4)}_{secrets.token_hex(32)}"


def read_key(text: str) -> Spelt | None:
    """The id and the digest of ``text``; ``None`` if it is no key."""
    found = KEY.fullmatch(text)
    return Spelt(found[1], digest_of(text)) if found else None


def digest_of(key: str) -> bytes:
    """SHA-256, 32 bytes: all that is kept of a key.

    A password wants a slow hash because people choose it from few; of 2**256 secrets drawn by
    chance nobody can try a share worth speaking of, however fast the hash, and a slow one would be
    paid by every request.
    """
    return hashlib.sha256(key.encode("ascii")).digest()
