"""Half an hour of everything: does the service need more memory, files or threads as time goes on?

    python benchmarks/service/soak.py --minutes 30 --rate 10

Starts a service and sends it requests that are drawn at random, ``rate`` of them a second on
average: pairs to align, spans to project, texts to embed, searches, sentences that replace others
in an index, uploads, jobs that are submitted and removed, lists, metrics, requests that are wrong,
and clients that hang up while they are answered or follow a job. What is kept stays the same all
the time, so nothing has a reason to grow.

Every ten seconds memory (RSS, PSS), open files and threads of the service are read. Printed is for
each the median of the first minute after the warm-up and of the last one, and the slope by least
squares with its standard error, in which readings that deviate alike count as fewer (lag-1
autocorrelation). Something grows if the slope, less two errors, is more than a hundredth of the
start in an hour; it does not if the slope and two errors are less than a tenth; otherwise the
readings do not tell. Exits with 1 unless nothing grows and all answers had their right status.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import numpy as np
from numpy.typing import NDArray
from servers import HERE, Server, bitext_server

EVERY = 10.0
"""Seconds between two readings."""
GROWN, NOT_GROWN = 0.01, 0.1
"""Growth in an hour, as a share of the start: surely more than the first, surely less than the
second."""
KEPT = 2.0
"""Seconds for which we keep a connection; the service closes it after five."""
MEANWHILE = 64
"""Requests of ours at the same time, at most; more of them are left out, and counted."""
INDEX = "soak"
SENTENCES = 60
"""In that index, always."""


class Unexpected(Exception):
    """An answer had another status than it should."""


class Load:
    """Requests of all kinds; every method is one, or a few that belong together."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        texts: Sequence[str],
        seed: int,
        only: Sequence[str],
    ) -> None:
        self.done: Counter[str] = Counter()
        self.unexpected: Counter[str] = Counter()
        self._session = session
        self._texts = texts
        self._draw = random.Random(seed)
        self._job = ""
        self.mix: dict[Callable[[], Awaitable[Any]], int] = {
            self.align: 25, self.project: 8, self.embed: 15, self.retrieve: 15, self.replace: 4,
            self.upload: 6, self.job: 4, self.lists: 8, self.wrong: 9, self.follow: 3,
            self.hang_up: 3,
        }  # fmt: skip
        if only:
            self.mix = {what: self.mix[what] for what in (getattr(self, name) for name in only)}

    async def prepare(self) -> None:
        """An index, and a job that waits for ever, as there is no worker."""
        await self.ask("PUT", f"/v1/indexes/{INDEX}", {"centring": False}, (201,))
        await self.replace(range(SENTENCES))
        self._job = (await self._submit(await self._upload()))["id"]

    async def one(self) -> None:
        """One of them."""
        [what] = self._draw.choices(list(self.mix), list(self.mix.values()))
        try:
            await what()
            self.done[what.__name__] += 1
        except Unexpected as found:
            self.unexpected[str(found)] += 1
        except (OSError, aiohttp.ClientError, asyncio.TimeoutError) as error:
            self.unexpected[f"{what.__name__}: {type(error).__name__}"] += 1

    async def ask(
        self, method: str, path: str, body: Any = None, expected: Sequence[int] = (200,)
    ) -> Any:
        """The answer, read as JSON.

        :param body: what becomes JSON, or bytes as they are.
        :raises Unexpected: if it has another status.
        """
        async with self._session.request(method, path, **_sent(body)) as answer:
            content = await answer.read()
            if answer.status not in expected:
                raise Unexpected(f"{method} {path}: {answer.status} {content[:200]!r}")
            is_json = content and "json" in answer.headers.get("Content-Type", "")
            return json.loads(content) if is_json else content

    # --- what is good

    async def align(self) -> None:
        pairs = [{"source": self._text(), "target": self._text()} for _ in self._some(8)]
        await self.ask("POST", "/v1/align", {"pairs": pairs})

    async def project(self) -> None:
        source = self._text()
        span = {"start": 0, "end": min(4, len(source)), "label": "x"}
        body = {"source": source, "target": self._text(), "spans": [span]}
        await self.ask("POST", "/v1/project", body)

    async def embed(self) -> None:
        await self.ask("POST", "/v1/embeddings", {"input": [self._text() for _ in self._some(24)]})

    async def retrieve(self) -> None:
        body = {"index": self._draw.choice(("sample", INDEX)), "k": 3}
        queries = [self._text() for _ in self._some(6)]
        await self.ask("POST", "/retrieve", {**body, "queries": queries, "language": "en"})

    async def replace(self, ids: Sequence[int] | None = None) -> None:
        """Sentences in the place of others."""
        ids = ids or sorted(self._draw.sample(range(SENTENCES), 3))
        sentences = [{"id": id, "text": self._text()} for id in ids]
        body = {"sentences": sentences, "language": "en"}
        await self.ask("PUT", f"/v1/indexes/{INDEX}/sentences", body)

    async def upload(self) -> None:
        await self.ask("DELETE", f"/v1/uploads/{await self._upload()}", expected=(204,))

    async def job(self) -> None:
        """A job comes and goes."""
        upload = await self._upload()
        id = (await self._submit(upload))["id"]
        await self.ask("POST", f"/v1/jobs/{id}/cancel")
        await self.ask("DELETE", f"/v1/jobs/{id}", expected=(204,))
        await self.ask("DELETE", f"/v1/uploads/{upload}", expected=(204,))

    async def lists(self) -> None:
        names = ("jobs", "uploads", "models", "methods", "indexes")
        paths = [f"/v1/{name}" for name in names] + [
            "/metrics",
            "/ready",
            "/",
            "/openapi.json",
            "/info",
        ]
        await self.ask("GET", self._draw.choice(paths))

    # --- what is not

    async def wrong(self) -> None:
        """A request that is refused, for a reason of the client's."""
        text = self._text()
        path, body, status = self._draw.choice([
            ("/align", b"{", 400), ("/align", {"source": text}, 422), ("/align", b"\xff", 400),
            ("/align", {"source": text, "target": "x " * 2000}, 413),
            ("/align", {"source": text, "target": text, "method": "none"}, 422),
            ("/align", b'{"a":' * 500 + b"1" + b"}" * 500, 422),
            ("/retrieve", {"index": "none", "queries": [text]}, 404),
            ("/retrieve", {"index": INDEX, "queries": 1}, 422), ("/v1/none", {}, 404),
            ("/v1/embeddings", {"input": ["a"] * 3000}, 413),
            ("/v1/jobs", {"kind": "none", "settings": {}}, 422),
            ("/v1/jobs", {"kind": "train", "settings": {"data": {}}}, 422),
            ("/v1/jobs/0123456789abcdef/cancel", None, 404),
        ])  # fmt: skip
        await self.ask("POST", path, body, (status,))

    async def follow(self) -> None:
        """Follow a job for a while, and hang up."""
        async with self._session.get(f"/v1/jobs/{self._job}/events") as answer:
            await answer.content.readline()
            await asyncio.sleep(self._draw.uniform(0, 3))
            answer.close()

    async def hang_up(self) -> None:
        """Ask for much, and hang up before it is answered."""
        pairs = [{"source": self._text(), "target": self._text()} for _ in range(24)]
        asked = self.ask("POST", "/v1/align", {"pairs": pairs})
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asked, self._draw.uniform(0.001, 0.05))

    # ---

    def _text(self) -> str:
        return " ".join(self._draw.choices(self._texts, k=self._draw.choice((1, 1, 1, 2, 4))))

    def _some(self, most: int) -> range:
        return range(self._draw.randint(1, most))

    async def _upload(self) -> str:
        lines = "\n".join(self._text() for _ in range(self._draw.choice((1, 10, 1000))))
        made = await self.ask("POST", "/v1/uploads?name=x.txt", lines.encode(), (201,))
        return str(made["id"])

    async def _submit(self, upload: str) -> Any:
        settings = {"index": INDEX, "mode": "add", "file": f"upload:{upload}", "language": "en"}
        return await self.ask("POST", "/v1/jobs", {"kind": "index", "settings": settings}, (201,))


def _sent(body: Any) -> dict[str, Any]:
    if body is None:
        return {}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {"data": data, "headers": {"Content-Type": "application/json"}}


class Reading(NamedTuple):
    """What the service uses at a moment."""

    seconds: float
    rss: float
    pss: float
    files: int
    threads: int


UNITS = {"rss": "MiB", "pss": "MiB", "files": "", "threads": ""}


def read(server: Server, began: float) -> Reading:
    process = server.process
    memory = process.memory_full_info()
    return Reading(
        time.perf_counter() - began,
        memory.rss / 2**20,
        memory.pss / 2**20,
        process.num_fds(),
        process.num_threads(),
    )


async def soak(server: Server, load: Load, minutes: float, rate: float) -> list[Reading]:
    """Send requests at moments drawn at random, and read every ten seconds."""
    began = time.perf_counter()
    end = began + 60 * minutes
    readings: list[Reading] = []

    async def watch() -> None:
        while time.perf_counter() < end:
            readings.append(read(server, began))
            print(
                *(f"{value:.1f}" for value in readings[-1]), sep="\t", file=sys.stderr, flush=True
            )
            await asyncio.sleep(EVERY)

    watching = asyncio.create_task(watch())
    waits = random.Random(0)
    running: set[asyncio.Task[None]] = set()
    while time.perf_counter() < end:
        if len(running) < MEANWHILE:
            task = asyncio.create_task(load.one())
            running.add(task)
            task.add_done_callback(running.discard)
        else:
            load.done["left out"] += 1
        await asyncio.sleep(waits.expovariate(rate))
    await asyncio.gather(watching, *running)
    return readings


class Trend(NamedTuple):
    """A line through readings."""

    slope: float
    """In an hour."""
    error: float

    @classmethod
    def of(cls, hours: NDArray[np.float64], values: NDArray[np.float64]) -> Trend:
        """By least squares; neighbours that deviate alike count as fewer."""
        centred = hours - hours.mean()
        spread = float(centred @ centred)
        slope = float(centred @ values) / spread
        rest = values - values.mean() - slope * centred
        square = float(rest @ rest)
        if square < 1e-12:
            return cls(slope, 0.0)
        alike = min(0.99, max(0.0, float(rest[1:] @ rest[:-1]) / square))
        count = max(3.0, len(values) * (1 - alike) / (1 + alike))
        return cls(slope, math.sqrt(square / (count - 2) / spread * len(values) / count))


def report(readings: Sequence[Reading], warm: float) -> bool:
    """Print what each measure was and is; whether one grows, or may.

    :param warm: minutes that are left out.
    """
    table = np.array([one for one in readings if one.seconds >= 60 * warm])
    seconds = table[:, 0]
    verdicts = set()
    for name, values in zip(Reading._fields[1:], table.T[1:], strict=True):
        start = float(np.median(values[seconds < seconds[0] + 60]))
        last = float(np.median(values[seconds > seconds[-1] - 60]))
        trend = Trend.of(seconds / 3600, values)
        verdict = "cannot tell"
        if trend.slope - 2 * trend.error > GROWN * start:
            verdict = "GROWS"
        elif trend.slope + 2 * trend.error < NOT_GROWN * start:
            verdict = "no growth"
        verdicts.add(verdict)
        print(
            f"{name}: {start:.1f} to {last:.1f} {UNITS[name]}, most {values.max():.1f}, "
            f"{trend.slope:+.2f} ± {trend.error:.2f} an hour: {verdict}"
        )
    return verdicts != {"no growth"}


async def run(server: Server, given: argparse.Namespace) -> bool:
    lines = (HERE.parents[1] / "service/sample/sentences.tsv").read_text("utf-8").splitlines()
    texts = [line.split("\t")[1] for line in lines]
    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(keepalive_timeout=KEPT)
    async with aiohttp.ClientSession(server.url, connector=connector, timeout=timeout) as session:
        load = Load(session, texts, given.seed, given.only)
        await load.prepare()
        readings = await soak(server, load, given.minutes, given.rate)
    print(f"{sum(load.done.values())} requests in {given.minutes:g} minutes: {dict(load.done)}")
    print(f"not as expected: {dict(load.unexpected) or 'none'}")
    return report(readings, given.warm_up) or bool(load.unexpected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm-up", type=float, default=3, help="minutes that are left out")
    parser.add_argument("--rate", type=float, default=10, help="requests a second, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=(), help="of these kinds: who makes it grow")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and stop what was started
    with (
        tempfile.TemporaryDirectory() as folder,
        bitext_server(Path(folder) / "data", BITEXT_SAMPLE="true") as server,
    ):
        is_wrong = asyncio.run(run(server, given))
    sys.exit(is_wrong)


if __name__ == "__main__":
    main()
