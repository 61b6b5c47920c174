"""How much one key, or without keys one address, may send a minute.

Each has a bucket that holds a minute's worth and fills steadily: a burst is let through, a stream
is held to the rate, and how long to wait is known exactly. (``limits``, the usual library, counts
by the clock on the wall, starts a thread for each count it keeps in memory, and cannot charge for
what is known only afterwards.)
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

MINUTE = 60.0
MAX_BUCKETS = 100_000
"""Of those that have not been seen for longest, the buckets are forgotten; they are mostly full."""
NETWORK = 64
"""Bits of an IPv6 address that tell clients apart: one client has all addresses of such a net."""


@dataclass(slots=True)
class _Bucket:
    level: float
    seen: float


class Verdict(NamedTuple):
    """Whether a request may pass."""

    wait: float
    """Seconds until it may; 0: now."""
    headers: dict[str, str]
    """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers)."""


class Quota:
    """``limit`` units a minute for each of many."""

    def __init__(self, name: str, limit: int, clock: Callable[[], float]) -> None:
        self.name = name
        self.limit = limit
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, who: str, units: float) -> None:
        """Take ``units`` away, also more than there are: the bucket is then in debt."""
        self._bucket(who).level -= units

    def left(self, who: str) -> int:
        """Whole units that are left."""
        return max(0, math.floor(self._bucket(who).level + 1e-9))

    def wait(self, who: str, units: float = 1) -> float:
        """Seconds until ``units`` will be there."""
        missing = units - self._bucket(who).level
        return max(0.0, missing * MINUTE / self.limit) if missing > 1e-9 else 0.0

    def _bucket(self, who: str) -> _Bucket:
        """The bucket of ``who``, filled up to this moment."""
        now = self._clock()
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = _Bucket(self.limit, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(who)
        filled = bucket.level + (now - bucket.seen) * self.limit / MINUTE
        bucket.level, bucket.seen = min(float(self.limit), filled), now
        return bucket


class Rates:
    """Requests and characters a minute; 0: as many as one likes."""

    def __init__(
        self, requests: int, characters: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._requests = Quota("requests", requests, clock) if requests else None
        self._characters = Quota("characters", characters, clock) if characters else None
        self._quotas = [quota for quota in (self._requests, self._characters) if quota]

    @property
    def is_on(self) -> bool:
        return bool(self._quotas)

    def admit(self, who: str) -> Verdict:
        """Take one request of ``who``, if all quotas have something left."""
        wait = max((quota.wait(who) for quota in self._quotas), default=0.0)
        if wait == 0 and self._requests is not None:
            self._requests.take(who, 1)
        return Verdict(wait, self._headers(who))

    def charge(self, who: str, characters: int) -> None:
        """Take the characters that a request turned out to have."""
        if self._characters is not None:
            self._characters.take(who, characters)

    def _headers(self, who: str) -> dict[str, str]:
        if not self._quotas:
            return {}
        policies = [f'"{quota.name}";q={quota.limit};w={MINUTE:.0f}' for quota in self._quotas]
        states = [
            f'"{quota.name}";r={quota.left(who)};t={math.ceil(quota.wait(who, quota.limit))}'
            for quota in self._quotas
        ]
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


@lru_cache(maxsize=4096)
def client_of(address: str | None) -> str:
    """Who is at ``address``: an IPv4 address, or the network of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return f"address {address}"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return f"address {found.ipv4_mapped}"
        return f"address {ipaddress.ip_network((int(found), NETWORK), strict=False)}"
    return f"address {found}"


_INSIDE = bytes(range(0x80, 0xC0))
"""The bytes that a character of UTF-8 goes on with."""


def characters_in(body: bytes) -> int:
    """Characters that begin in ``body``, a piece of UTF-8."""
    return len(body.translate(None, _INSIDE))
