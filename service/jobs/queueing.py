"""The queue: jobs that wait, whose they are while they run, and how they ended.

A worker *claims* a job for the seconds of a *lease* and renews that while it works. Every change
that it makes names the number of its attempt: a worker that was thought dead, and whose job another
has claimed since, changes nothing any more. One statement claims, and the database lets two of
them never have the same row.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, delete, func, literal, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bitext.errors import MismatchError, TooLargeError
from service.database.engine import Database
from service.database.tables import Moment, now
from service.errors import UnknownJobError, UnknownUploadError
from service.jobs.tables import ACTIVE, ENDED, InputRow, JobRow

Progress = dict[str, Any]


class Claim(NamedTuple):
    """That a worker has a job, for the so-manieth time that anybody has it."""

    job: str
    worker: str
    attempt: int


class LostError(Exception):
    """The job is another worker's by now, or was ended."""


class Queue:
    """Jobs in the database. Every method is one transaction."""

    def __init__(self, database: Database, *, lease: float = 30.0, max_crashes: int = 5) -> None:
        """
        :param lease: seconds.
        :param max_crashes: of worker or process, after which a job has failed.
        """
        self._database = database
        self._lease = timedelta(seconds=lease)
        self._max_crashes = max_crashes

    # --- of those who want something done

    def submit(
        self,
        kind: str,
        settings: dict[str, Any],
        *,
        name: str | None = None,
        gpu: bool = False,
        uploads: Collection[str] = (),
        limit: int | None = None,
    ) -> JobRow:
        """Add a job; it is in the database, on the disk, when this returns.

        :param uploads: which ones it reads; they stay while it may run.
        :param limit: of jobs that wait or run.
        :raises TooLargeError: if there are as many.
        :raises UnknownUploadError: if an upload was removed meanwhile.
        """
        with _refusing_gone_uploads(), self._database.write() as session:
            self._check_room(session, limit)
            row = JobRow(
                id=secrets.token_hex(8), kind=kind, name=name, settings=settings, gpu=gpu,
                state="queued", version=1, created=now(), attempts=0, crashes=0,
            )  # fmt: skip
            session.add(row)
            session.flush()
            session.add_all(InputRow(job=row.id, upload=upload) for upload in set(uploads))
        return row

    def get(self, id: str) -> JobRow:
        """:raises UnknownJobError: if there is none of that id."""
        with self._database.read() as session:
            return _found(session, id)

    def page(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[JobRow]:
        """Jobs, the latest first.

        :param after: the id of the last job of the page before.
        """
        with self._database.read() as session:
            query = select(JobRow).order_by(JobRow.created.desc(), JobRow.id.desc()).limit(limit)
            if state is not None:
                query = query.where(JobRow.state == state)
            if kind is not None:
                query = query.where(JobRow.kind == kind)
            if after is not None:
                last = _found(session, after)
                earlier = JobRow.created < last.created
                as_early = and_(JobRow.created == last.created, JobRow.id < last.id)
                query = query.where(or_(earlier, as_early))
            return session.scalars(query).all()

    def cancel(self, id: str) -> JobRow:
        """Take a waiting job away, or have a running one stopped by its worker.

        :raises MismatchError: if it has ended otherwise.
        """
        with self._database.write() as session:
            waiting = _change(session, JobRow.state == "queued", id, state="cancelled",
                              finished=now())  # fmt: skip
            if not waiting and not _change(
                session, JobRow.state == "running", id, state="cancelling"
            ):
                row = _found(session, id)
                if row.state not in ("cancelling", "cancelled"):
                    raise MismatchError(f"job {id} is {row.state}; it cannot be cancelled any more")
            return _found(session, id)

    def retry(self, id: str, *, limit: int | None = None) -> JobRow:
        """Have a job that failed or was cancelled go on where it was.

        :raises MismatchError: if it is in another state, or an upload is gone.
        :raises TooLargeError: if there are ``limit`` jobs that wait or run.
        """
        with self._database.write() as session:
            self._check_room(session, limit)
            changed = _change(
                session, JobRow.state.in_(("failed", "cancelled")), id,
                state="queued", crashes=0, error=None, finished=None, worker=None, lease=None,
            )  # fmt: skip
            row = _found(session, id)
            if not changed:
                raise MismatchError(f"job {id} is {row.state}; only failed and cancelled ones are "
                                    "tried again")  # fmt: skip
            return row

    def delete(self, id: str) -> None:
        """Forget a job that has ended.

        :raises MismatchError: if it has not.
        """
        with self._database.write() as session:
            where = (JobRow.id == id, JobRow.state.in_(ENDED))
            if not session.execute(delete(JobRow).where(*where)).rowcount:  # type: ignore[attr-defined]
                row = _found(session, id)
                raise MismatchError(f"job {id} is {row.state}; cancel it first")

    # --- of workers

    def claim(self, worker: str, *, gpu: bool, others: bool) -> JobRow | None:
        """The job that has waited longest and now is the worker's; ``None`` if there is none.

        :param gpu: whether it may be one for the GPU, of which one runs at a time anywhere.
        :param others: whether it may be another.
        """
        kinds = [
            JobRow.gpu.is_(value) for value, wanted in ((True, gpu), (False, others)) if wanted
        ]
        if not kinds:
            return None
        try:
            with self._database.write() as session:
                return self._claim(session, worker, or_(*kinds))
        except IntegrityError:  # of two that claim a GPU job at once, one
            return None

    def renew(self, claim: Claim, progress: Progress | None = None) -> str:
        """Keep a claim for another lease; the state of the job, which others change.

        :param progress: what it is now, if it has changed.
        :raises LostError: if it is not the worker's any more.
        """
        with self._database.write() as session:
            values: dict[str, Any] = {"lease": self._later(session)}
            if progress is not None:
                values |= {"progress": progress, "version": JobRow.version + 1}
            found = session.execute(
                update(JobRow).where(_is_of(claim)).values(values).returning(JobRow.state)
            ).scalar()
            if found is None:
                raise LostError(claim)
            return found

    def end(self, claim: Claim, state: str, error: str | None = None) -> None:
        """:raises LostError: if it is not the worker's any more."""
        self._leave(claim, state=state, error=error, finished=now())

    def release(self, claim: Claim, *, crashed: str | None = None) -> None:
        """Give a job back, to be gone on with; one that is to be cancelled is.

        :param crashed: how its process died, if it did. After some times the job has failed.
        :raises LostError: if it is not the worker's any more.
        """
        with self._database.write() as session:
            row = session.scalar(select(JobRow).where(_is_of(claim)).with_for_update())
            if row is None:
                raise LostError(claim)
            self._free(session, row, crashed)

    def reap(self) -> int:
        """Free the jobs whose worker has been silent for longer than a lease; how many."""
        with self._database.write() as session:
            silent = and_(JobRow.state.in_(ACTIVE), JobRow.lease < _moment(session))
            rows = session.scalars(select(JobRow).where(silent).with_for_update(skip_locked=True))
            found = rows.all()
            for row in found:
                self._free(session, row, "its worker died")
            return len(found)

    # ---

    def _claim(self, session: Session, worker: str, kinds: ColumnElement[bool]) -> JobRow | None:
        busy = select(JobRow.id).where(JobRow.gpu.is_(True), JobRow.state.in_(ACTIVE))
        free = or_(JobRow.gpu.is_(False), ~busy.correlate(None).exists())
        first = (
            select(JobRow.id)
            .where(JobRow.state == "queued", kinds, free)
            .order_by(JobRow.created, JobRow.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return session.scalar(
            update(JobRow)
            .where(JobRow.id == first.scalar_subquery(), JobRow.state == "queued")
            .values(
                state="running",
                worker=worker,
                lease=self._later(session),
                attempts=JobRow.attempts + 1,
                started=func.coalesce(JobRow.started, literal(now(), Moment())),
                version=JobRow.version + 1,
            )
            .returning(JobRow)
        )

    def _leave(self, claim: Claim, **values: Any) -> None:
        with self._database.write() as session:
            values |= {"worker": None, "lease": None, "version": JobRow.version + 1}
            done = session.execute(update(JobRow).where(_is_of(claim)).values(values))
            if not done.rowcount:  # type: ignore[attr-defined]
                raise LostError(claim)

    def _free(self, session: Session, row: JobRow, crashed: str | None) -> None:
        row.worker, row.lease, row.version = None, None, row.version + 1
        row.crashes += crashed is not None
        if row.state == "cancelling":
            row.state, row.finished = "cancelled", now()
        elif row.crashes >= self._max_crashes:
            row.state, row.finished = "failed", now()
            row.error = f"{crashed}, {row.crashes} times (BITEXT_MAX_CRASHES)"
        else:
            row.state = "queued"

    def _check_room(self, session: Session, limit: int | None) -> None:
        if limit is None:
            return
        open_ones = select(func.count()).where(JobRow.state.not_in(ENDED))
        if session.scalar(open_ones) >= limit:  # type: ignore[operator]
            raise TooLargeError(
                f"{limit} jobs wait or run, as many as there may be (BITEXT_MAX_JOBS)"
            )

    def _later(self, session: Session) -> datetime:
        return _moment(session) + self._lease


@contextmanager
def _refusing_gone_uploads() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise UnknownUploadError("an upload that the job names was just removed") from None


def _is_of(claim: Claim) -> ColumnElement[bool]:
    return and_(
        JobRow.id == claim.job,
        JobRow.worker == claim.worker,
        JobRow.attempts == claim.attempt,
        JobRow.state.in_(ACTIVE),
    )


def _change(session: Session, where: ColumnElement[bool], id: str, **values: Any) -> bool:
    values["version"] = JobRow.version + 1
    done = session.execute(update(JobRow).where(JobRow.id == id, where).values(values))
    return bool(done.rowcount)  # type: ignore[attr-defined]


def _found(session: Session, id: str) -> JobRow:
    row = session.get(JobRow, id, populate_existing=True)
    if row is None:
        raise UnknownJobError(f"there is no job '{id[:80]}'")
    return row


def _moment(session: Session) -> datetime:
    """By one clock: the server's, where workers on several machines share it."""
    if session.get_bind().dialect.name == "postgresql":
        found: datetime = session.scalar(text("SELECT clock_timestamp()"))
        return found.astimezone(timezone.utc)
    return now()
