"""The queue: who has a job, who may change it, and what becomes of those whose worker dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url, update
from test_database import fresh_postgres

from bitext.errors import MismatchError, TooLargeError
from service.database.engine import Database
from service.database.tables import now
from service.errors import UnknownJobError, UnknownUploadError
from service.jobs.queueing import Claim, LostError, Queue
from service.jobs.tables import JobRow


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    urls: Iterator[URL] = (
        fresh_postgres()
        if request.param == "postgresql"
        else iter([make_url(f"sqlite:///{tmp_path}/bitext.db")])
    )
    made = Database(next(urls))
    yield made
    made.close()
    next(urls, None)


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, lease=600, max_crashes=2)


def claimed(queue: Queue, worker: str = "a", **which: bool) -> Claim | None:
    row = queue.claim(worker, **{"gpu": True, "others": True, **which})
    return None if row is None else Claim(row.id, worker, row.attempts)


def add(queue: Queue, **more: Any) -> str:
    return queue.submit("mine", {"k": 4}, **more).id


def expire(database: Database, id: str) -> None:
    """The worker of a job has been silent for too long."""
    with database.write() as session:
        session.execute(
            update(JobRow).where(JobRow.id == id).values(lease=now().replace(year=2000))
        )


def test_a_job_goes_from_queued_to_done(queue: Queue) -> None:
    id = add(queue, name="first")
    assert queue.get(id).state == "queued"
    claim = claimed(queue)
    assert claim == (id, "a", 1)
    running = queue.get(id)
    assert (running.state, running.attempts, running.name) == ("running", 1, "first")
    assert queue.renew(claim, {"done": 1}) == "running"
    assert queue.get(id).progress == {"done": 1}
    queue.end(claim, "done")
    done = queue.get(id)
    assert (done.state, done.worker, done.lease, done.error) == ("done", None, None, None)
    assert done.started is not None
    assert done.finished is not None
    assert done.created <= done.started <= done.finished


def test_every_change_has_a_higher_version(queue: Queue) -> None:
    id = add(queue)
    seen = [queue.get(id).version]
    claim = claimed(queue)
    assert claim is not None
    for act in (lambda: queue.renew(claim, {"done": 1}), lambda: queue.cancel(id),
                lambda: queue.end(claim, "cancelled"), lambda: queue.retry(id)):  # fmt: skip
        act()
        seen.append(queue.get(id).version)
    assert seen == sorted(set(seen))
    before = queue.get(id).version
    again = claimed(queue)
    assert again is not None
    queue.renew(again)  # nobody needs to know of it
    assert queue.get(id).version == before + 1


def test_jobs_are_claimed_in_order_and_each_once(queue: Queue) -> None:
    ids = [add(queue) for _ in range(3)]
    claims = [claimed(queue, worker) for worker in ("a", "b", "a", "b")]
    assert [claim and claim.job for claim in claims] == [*ids, None]


def test_threads_that_claim_at_once_share_the_jobs(queue: Queue) -> None:
    ids = {add(queue) for _ in range(12)}
    found: list[str] = []

    def work(worker: str) -> None:
        while (claim := claimed(queue, worker)) is not None:
            found.append(claim.job)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(ids)


def test_one_job_at_a_time_has_the_gpu(queue: Queue) -> None:
    first, second, plain = add(queue, gpu=True), add(queue, gpu=True), add(queue)
    claim = claimed(queue)
    assert claim is not None
    assert claim.job == first
    other = claimed(queue, "b")
    assert other is not None
    assert other.job == plain  # though it came later
    assert claimed(queue, "c") is None
    queue.end(claim, "done")
    last = claimed(queue, "b")
    assert last is not None
    assert last.job == second


def test_a_worker_claims_only_what_it_has_room_for(queue: Queue) -> None:
    gpu, plain = add(queue, gpu=True), add(queue)
    assert claimed(queue, gpu=False, others=False) is None
    only = claimed(queue, gpu=False)
    assert only is not None
    assert only.job == plain
    only = claimed(queue, others=False)
    assert only is not None
    assert only.job == gpu


def test_a_worker_that_lost_its_lease_changes_nothing(queue: Queue, database: Database) -> None:
    id = add(queue)
    old = claimed(queue, "a")
    assert old is not None
    expire(database, id)
    assert queue.reap() == 1
    new = claimed(queue, "b")
    assert new == (id, "b", 2)
    for act in (lambda: queue.renew(old), lambda: queue.end(old, "done"),
                lambda: queue.release(old)):  # fmt: skip
        with pytest.raises(LostError):
            act()
    assert queue.get(id).state == "running"
    queue.end(new, "done")
    assert queue.get(id).state == "done"


def test_the_same_worker_with_an_old_attempt_changes_nothing(queue: Queue) -> None:
    id = add(queue)
    old = claimed(queue)
    assert old is not None
    queue.release(old)
    assert claimed(queue) == (id, "a", 2)
    with pytest.raises(LostError):
        queue.end(old, "failed", "too late")


def test_a_job_is_left_to_a_worker_that_renews(queue: Queue, database: Database) -> None:
    id = add(queue)
    claim = claimed(queue)
    assert claim is not None
    expire(database, id)
    queue.renew(claim)
    assert queue.reap() == 0
    queue.end(claim, "done")


def test_a_job_that_kills_its_workers_fails_in_the_end(queue: Queue, database: Database) -> None:
    id = add(queue)
    for _ in range(2):
        assert claimed(queue) is not None
        expire(database, id)
        queue.reap()
    failed = queue.get(id)
    assert (failed.state, failed.attempts) == ("failed", 2)
    assert failed.error == "its worker died, 2 times (BITEXT_MAX_CRASHES)"
    assert queue.retry(id).crashes == 0


def test_a_worker_that_stops_gives_jobs_back_without_blame(queue: Queue) -> None:
    id = add(queue)
    for attempt in (1, 2, 3):
        claim = claimed(queue)
        assert claim == (id, "a", attempt)
        queue.release(claim)
    assert queue.get(id).state == "queued"


def test_cancelling(queue: Queue, database: Database) -> None:
    waiting = add(queue)
    assert queue.cancel(waiting).state == "cancelled"
    assert queue.cancel(waiting).state == "cancelled"  # asked twice
    running = add(queue)
    claim = claimed(queue)
    assert claim is not None
    assert claim.job == running
    assert queue.cancel(running).state == "cancelling"
    assert queue.renew(claim) == "cancelling"
    queue.end(claim, "cancelled")
    lost = add(queue)
    assert claimed(queue) is not None
    queue.cancel(lost)
    expire(database, lost)
    queue.reap()
    assert queue.get(lost).state == "cancelled"
    with pytest.raises(MismatchError, match=f"job {(done := finished(queue))} is done"):
        queue.cancel(done)


def finished(queue: Queue) -> str:
    id = add(queue)
    claim = claimed(queue)
    assert claim is not None
    queue.end(claim, "done")
    return id


def test_only_what_has_not_succeeded_is_tried_again(queue: Queue) -> None:
    done = finished(queue)
    with pytest.raises(MismatchError, match="is done; only failed and cancelled"):
        queue.retry(done)
    id = add(queue)
    claim = claimed(queue)
    assert claim is not None
    queue.end(claim, "failed", "no such file")
    again = queue.retry(id)
    assert (again.state, again.error, again.finished) == ("queued", None, None)


def test_only_what_has_ended_is_forgotten(queue: Queue) -> None:
    id = add(queue)
    with pytest.raises(MismatchError, match="is queued; cancel it first"):
        queue.delete(id)
    queue.cancel(id)
    queue.delete(id)
    with pytest.raises(UnknownJobError, match=f"there is no job '{id}'"):
        queue.get(id)
    with pytest.raises(UnknownJobError):
        queue.delete(id)


def test_there_are_only_so_many_open_jobs(queue: Queue) -> None:
    add(queue, limit=1)
    with pytest.raises(TooLargeError, match="1 jobs wait or run"):
        add(queue, limit=1)


def test_pages_go_from_the_latest_to_the_first(queue: Queue) -> None:
    ids = [add(queue) for _ in range(5)]
    queue.cancel(ids[1])
    assert [row.id for row in queue.page(limit=2)] == [ids[4], ids[3]]
    assert [row.id for row in queue.page(limit=2, after=ids[3])] == [ids[2], ids[1]]
    assert [row.id for row in queue.page(state="cancelled")] == [ids[1]]
    assert queue.page(kind="train") == []
    with pytest.raises(UnknownJobError):
        queue.page(after="nothing")


def test_a_job_needs_its_uploads(queue: Queue) -> None:
    with pytest.raises(UnknownUploadError):
        add(queue, uploads=["gone"])
    assert queue.page() == []


@pytest.mark.parametrize("character", ["\0", "\ud800"], ids=["NUL", "surrogate"])
def test_what_postgresql_cannot_keep_is_replaced(queue: Queue, character: str) -> None:
    id = add(queue)
    claim = claimed(queue)
    assert claim is not None
    queue.end(claim, "failed", f"the log ends in {character}")
    assert queue.get(id).error == "the log ends in \ufffd"
    with pytest.raises(UnknownJobError, match="there is no job"):
        queue.get(f"a{character}")
