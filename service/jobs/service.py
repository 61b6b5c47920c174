"""Jobs as the service answers for them: submitted, looked at, removed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from service.database.engine import Database
from service.jobs.kinds import Plan, plan
from service.jobs.looking import Lines, artefacts, read_log
from service.jobs.naming import Names
from service.jobs.queueing import Queue
from service.jobs.tables import JobRow
from service.jobs.work import Work
from service.schemas.jobs import Artefact, JobInfo, JobList, JobRequest, Progress
from service.settings import Settings
from service.uploads import Uploads

PAGE = 50
"""Jobs on a page whose size was not asked for."""


class Jobs:
    """Every method is for a thread."""

    def __init__(self, settings: Settings, database: Database, uploads: Uploads) -> None:
        self._settings = settings
        self._uploads = uploads
        self._queue = Queue(database)
        self._names = Names(settings)

    def submit(self, request: JobRequest) -> JobInfo:
        """Add a job, once all its settings have been looked at.

        :raises BitextError: if one is not what it should be, or names what is not there.
        """
        work, planned = self._try(request.kind, request.settings)
        row = self._queue.submit(
            request.kind,
            request.settings,
            name=request.name,
            gpu=planned.gpu,
            uploads=work.uploads,
            limit=self._settings.max_jobs,
        )
        return self.info(row)

    def get(self, id: str) -> JobInfo:
        return self.info(self._queue.get(id))

    def row(self, id: str) -> JobRow:
        return self._queue.get(id)

    def page(
        self, state: str | None, kind: str | None, limit: int | None, after: str | None
    ) -> JobList:
        limit = limit or PAGE
        rows = self._queue.page(state=state, kind=kind, limit=limit + 1, after=after)
        jobs = [self.info(row) for row in rows[:limit]]
        return JobList(jobs=jobs, next=jobs[-1].id if len(rows) > limit else None)

    def cancel(self, id: str) -> JobInfo:
        return self.info(self._queue.cancel(id))

    def retry(self, id: str) -> JobInfo:
        """:raises BitextError: if what its settings name is not there any more."""
        row = self._queue.get(id)
        if row.state in ("failed", "cancelled"):
            self._try(row.kind, row.settings)
        return self.info(self._queue.retry(id, limit=self._settings.max_jobs))

    def delete(self, id: str) -> None:
        """Forget a job that has ended, and remove its files."""
        self._queue.delete(id)
        folder = self.folder(id)
        grave = folder.with_name(f".{id}.{secrets.token_hex(4)}.deleted")
        if folder.exists():
            shutil.rmtree(folder.rename(grave), ignore_errors=True)

    def log(self, id: str, after: int, *, ended: bool) -> Lines:
        """Lines of its log, as :func:`service.jobs.looking.read_log`, without our paths."""
        found = read_log(self.folder(id), after, ended=ended)
        return found._replace(lines=[self.told(id, line) for line in found.lines])

    def text(self, id: str, path: Path) -> Iterator[bytes]:
        """A file that tells of a job, without our paths."""
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            for line in file:
                yield self.told(id, line).encode()

    def told(self, id: str, text: str) -> str:
        """What a job says, without our paths."""
        return self._names.tell(text, self.folder(id))

    def folder(self, id: str) -> Path:
        return self._settings.jobs / id

    def info(self, row: JobRow) -> JobInfo:
        return JobInfo(
            id=row.id,
            kind=row.kind,
            name=row.name,
            state=row.state,
            created=row.created.isoformat(),
            started=_written(row.started),
            finished=_written(row.finished),
            attempts=row.attempts,
            progress=None if row.progress is None else Progress(**row.progress),
            error=None if row.error is None else self.told(row.id, row.error),
            settings=row.settings,
            artefacts=[
                Artefact(name=name, bytes=count)
                for name, count in artefacts(row.kind, self.folder(row.id)).items()
            ],
        )

    def _try(self, kind: str, settings: dict[str, Any]) -> tuple[Work, Plan]:
        work = Work(self._settings, self._uploads.find)
        return work, plan(kind, settings, work)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
