"""Many clients at once, in a process of its own: asyncio and aiohttp.

Each client sends one request after the other over a connection that it keeps, until the time is up.
The requests are the lines of a file (bodies as JSON), shared out in turn. Prints one JSON object:

    python benchmarks/service/load_client.py URL BODIES --clients 64 --seconds 10
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np

HEADERS = {"Content-Type": "application/json"}


class Tally:
    """What came back, and how long it took."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []  # of answers with status 200
        self.retry_after: Counter[str] = Counter()

    def add(self, status: int, seconds: float, retry_after: str | None) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(seconds)
        if retry_after is not None:
            self.retry_after[retry_after] += 1

    def summary(self, took: float, cpu: float) -> dict[str, object]:
        ms = np.array(self.seconds or [np.nan]) * 1000
        return {
            "clients_cpu": round(cpu, 3),
            "seconds": round(took, 3),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "retry_after": dict(self.retry_after),
            "rate": round(self.statuses[200] / took, 2),
            "p50": round(float(np.percentile(ms, 50)), 2),
            "p99": round(float(np.percentile(ms, 99)), 2),
            "longest": round(float(ms.max()), 2),
        }


async def one_client(
    session: aiohttp.ClientSession, url: str, bodies: Iterator[bytes], tally: Tally, end: float
) -> None:
    while (began := time.perf_counter()) < end:
        async with session.post(url, data=next(bodies), headers=HEADERS) as answer:
            await answer.read()
            took = time.perf_counter() - began
            tally.add(answer.status, took, answer.headers.get("Retry-After"))


async def load(url: str, bodies: list[bytes], clients: int, seconds: float) -> dict[str, object]:
    """Requests by ``clients`` at once, after one that warms up and is not counted."""
    tally = Tally()
    turn = itertools.cycle(bodies)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await one_client(session, url, turn, Tally(), time.perf_counter() + 1e-3)
        began, cpu = time.perf_counter(), time.process_time()
        everyone = (one_client(session, url, turn, tally, began + seconds) for _ in range(clients))
        await asyncio.gather(*everyone)
        return tally.summary(time.perf_counter() - began, time.process_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    bodies = options.bodies.read_bytes().splitlines()
    print(json.dumps(asyncio.run(load(options.url, bodies, options.clients, options.seconds))))


if __name__ == "__main__":
    main()
