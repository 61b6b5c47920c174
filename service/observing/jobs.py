"""How many jobs there are in each state."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select

from service.database.engine import Database
from service.jobs.tables import STATES, JobRow


def count_jobs(database: Database) -> Mapping[str, int]:
    """Jobs by state, also of those in which there is none."""
    with database.read() as session:
        counted = select(JobRow.state, func.count()).group_by(JobRow.state)
        found = dict(session.execute(counted).tuples().all())
    return {state: found.get(state, 0) for state in STATES}
