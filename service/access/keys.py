"""Keys that are known, and whether one that came is among them.

All of them are held in memory and read again every few seconds, so that a request costs no query
and a flood of wrong keys no more than one a second.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import anyio
import anyio.to_thread

from service.access.scopes import Scope
from service.access.spelling import read_key
from service.errors import DatabaseError

logger = logging.getLogger(__name__)

FRESH = 5.0
"""Seconds until the keys are read again: a revoked one is refused after that at the latest."""
AT_ONCE = 1.0
"""The same where a key is not among them: it may have been made a moment ago."""
LAST = 60.0
"""Seconds that keys are believed while the database does not answer."""
PATIENCE = 2.0
"""Seconds that a request waits for the database."""
NOBODY = bytes(32)
"""Compared with where the id is unknown, so that this takes as long; no secret has this digest."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, without its secret."""

    id: str
    name: str
    """What people call it."""
    scope: Scope
    digest: bytes
    created: datetime
    revoked: datetime | None = None


class KeyRing:
    """The keys that are good now.

    :param load: reads all of them; called in a thread.
    """

    def __init__(
        self, load: Callable[[], Sequence[Key]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._clock = clock
        self._lock = anyio.Lock()
        self._own = anyio.CapacityLimiter(2)  # threads; others may have all there are for all
        self._keys: Mapping[str, Key] = {}
        self._read = float("-inf")
        self._tried = float("-inf")

    async def find(self, text: str) -> Key | None:
        """The key that ``text`` is, if it is good.

        :raises DatabaseError: if the database has not answered for a minute.
        """
        spelt = read_key(text)
        if spelt is None:
            return None
        await self._refresh(FRESH)
        if spelt.id not in self._keys:
            await self._refresh(AT_ONCE)
        key = self._keys.get(spelt.id)
        is_same = hmac.compare_digest(NOBODY if key is None else key.digest, spelt.digest)
        return key if is_same else None

    async def has(self, id: str) -> bool:
        """Whether a key that was found is still good.

        :raises DatabaseError: if the database has not answered for a minute.
        """
        await self._refresh(FRESH)
        return id in self._keys

    async def _refresh(self, older: float) -> None:
        """Read the keys again if they were read longer ago than ``older`` seconds.

        One request does so; those that come meanwhile use what there is.
        """
        if self._clock() - self._read <= older or self._clock() - self._tried <= AT_ONCE:
            return self._check_age()
        if self._lock.locked() and self._clock() - self._read <= LAST:
            return None
        async with self._lock:
            if self._clock() - self._read > older:
                await self._read_again()
        return self._check_age()

    async def _read_again(self) -> None:
        self._tried = self._clock()
        try:
            with anyio.fail_after(PATIENCE):
                keys = await anyio.to_thread.run_sync(
                    self._load, abandon_on_cancel=True, limiter=self._own
                )
        except Exception:  # whatever a database may raise
            logger.exception("the keys could not be read")
            return
        self._keys = {key.id: key for key in keys if key.revoked is None}
        self._read = self._tried

    def _check_age(self) -> None:
        if self._clock() - self._read > LAST:
            raise DatabaseError("the database with the keys does not answer; try again")
