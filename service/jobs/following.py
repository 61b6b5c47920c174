"""A job as a stream of events: what it is, what it says and measures, as it happens.

Three events: ``job``, the whole job whenever it has changed; ``log``, some lines; ``measurement``,
one object. The id of an event says how much of all three came before: ``VERSION.LOG.MEASURED``, so
that whoever was cut off goes on from there.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
from fastapi.sse import format_sse_event
from sqlalchemy.exc import SQLAlchemyError

from service.errors import DatabaseError, UnknownJobError
from service.jobs.looking import Series
from service.jobs.service import Jobs
from service.jobs.tables import ENDED

logger = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between two looks."""
BEAT = 15.0
"""Seconds of silence after which a comment shows that the line is still there."""
RETRY = 2000
"""Milliseconds that a client waits before it connects again."""
_ID = re.compile(r"(\d{1,18})\.(\d{1,18})\.(\d{1,18})")


class Place(NamedTuple):
    """How much somebody has seen: the job's version, bytes of the log, measurements."""

    version: int = 0
    log: int = 0
    measured: int = 0

    def __str__(self) -> str:
        return f"{self.version}.{self.log}.{self.measured}"

    @classmethod
    def parse(cls, id: str | None) -> Place:
        """The place that ``Last-Event-ID`` names; the beginning, if it names none."""
        match = _ID.fullmatch(id or "")
        return cls(*map(int, match.groups())) if match else cls()


class News(NamedTuple):
    """What has happened since a place, and where that leads."""

    events: list[bytes]
    place: Place
    ended: bool


def look(jobs: Jobs, id: str, place: Place, measured: Series) -> News:
    """What has happened since ``place``; for a thread.

    :param measured: of the job, for all looks of one who follows.
    :raises UnknownJobError: if there is no such job any more.
    """
    row = jobs.row(id)  # before the files: what it was when it ended, they say, too
    ended = row.state in ENDED
    events = []
    while (found := jobs.log(id, place.log, ended=ended)).next > place.log:
        place = place._replace(log=found.next)
        events.append(_event("log", {"lines": found.lines, "next": found.next}, place))
    fresh, total = measured.after(place.measured)
    for one in fresh:
        place = place._replace(measured=place.measured + 1)
        events.append(_event("measurement", one, place))
    # An attempt that goes on from a checkpoint measures again what came after it.
    place = place._replace(measured=total)
    if row.version > place.version:
        place = place._replace(version=row.version)
        events.append(_event("job", jobs.info(row).model_dump(), place))
    return News(events, place, ended)


async def follow(
    jobs: Jobs, id: str, place: Place, may_stay: Callable[[], Awaitable[bool]] | None = None
) -> AsyncIterator[bytes]:
    """The events of a job from ``place`` on, until it has ended or is removed.

    :param may_stay: whether who follows it still may.
    """
    yield f"retry: {RETRY}\n\n".encode()
    said = time.monotonic()
    measured = Series(jobs.folder(id))
    while True:
        try:
            if may_stay is not None and not await may_stay():
                return
            news = await anyio.to_thread.run_sync(look, jobs, id, place, measured)
        except UnknownJobError:
            return
        except (DatabaseError, SQLAlchemyError):
            logger.warning("a follower of job %s is let go: the database does not answer", id)
            return  # to come again, and be told so by a status
        place = news.place
        if news.events:
            said = time.monotonic()
            yield b"".join(news.events)
        elif time.monotonic() - said >= BEAT:
            said = time.monotonic()
            yield b": still here\n\n"
        if news.ended:
            return
        await anyio.sleep(LOOK)


def _event(name: str, data: Any, place: Place) -> bytes:
    written = json.dumps(data, ensure_ascii=False)
    return bytes(format_sse_event(data_str=written, event=name, id=str(place)))
