"""What is kept of the past: changes of jobs, and how ended Runs go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, text

from apscheduler.jobstores._sql.database import Database
from apscheduler.jobstores._sql.dialects import AT_ONCE
from apscheduler.jobstores._sql.rows import (
    can_be_id,
    micros,
    micros_or_none,
    moment,
    moment_or_none,
)
from apscheduler.jobstores._sql.schema import ENDED
from apscheduler.runs import JobChange, JobChangeKind, Retention

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

#: How many changes are kept of a job.
CHANGES_PER_JOB = 100
#: How many jobs are looked at in search of a batch.
JOBS_AT_MOST = 2_000
_SUCCESSES = ("succeeded",)
_FAILURES = ("failed", "timed_out", "lost")


class History:
    """The past of the jobs of a store.

    :param opened: ids of jobs of which Runs were opened since they were last looked at; those
        of which any are stored are added in the order of their ids, a page at each `prune`
    """

    def __init__(self, database: Database, opened: set[str]) -> None:
        self._database = database
        self._opened = opened
        # The last id that has been added; None when there are no more.
        self._added_until: str | None = ""

    @property
    def _runs(self) -> Table:
        return self._database.tables.runs

    @property
    def _changes(self) -> Table:
        return self._database.tables.changes

    # -- changes --------------------------------------------------------------------------------

    def note(self, change: JobChange) -> None:
        """Keep a change, in place of the oldest one if need be."""
        table, c = self._changes, self._changes.c
        with self._database.begin() as connection:
            connection.execute(
                table.insert(),
                {
                    "job_id": change.job_id,
                    "at": micros(change.at),
                    "kind": change.kind.value,
                    "next_run_time": micros_or_none(change.next_run_time),
                },
            )
            first_too_many = connection.scalar(
                select(c.id)
                .where(c.job_id == change.job_id)
                .order_by(c.id.desc())
                .limit(1)
                .offset(CHANGES_PER_JOB)
            )
            if first_too_many is not None:
                connection.execute(
                    delete(table).where(c.job_id == change.job_id, c.id <= first_too_many)
                )

    def changes(self, job_id: str) -> list[JobChange]:
        """Return the changes of a job, oldest first."""
        if not can_be_id(job_id):
            return []
        c = self._changes.c
        statement = select(self._changes).where(c.job_id == job_id).order_by(c.id)
        with self._database.read() as connection:
            return [
                JobChange(
                    row.job_id,
                    moment(row.at),
                    JobChangeKind(row.kind),
                    moment_or_none(row.next_run_time),
                )
                for row in connection.execute(statement)
            ]

    # -- retention ------------------------------------------------------------------------------

    def prune(self, now: datetime, retention: Retention) -> int:
        """Delete a small batch of what need not be kept; return how many Runs that were."""
        before = None if retention.age is None else micros(now - retention.age)
        batch = self._database.dialect.prune_batch
        ids = [] if before is None else self._too_old(before, batch)
        if retention.runs_per_job is None:
            self._opened.clear()
        elif len(ids) < batch:
            self._add_stored()
            known = set(ids)
            ids += [
                run_id
                for run_id in self._too_many(retention.runs_per_job, batch - len(ids))
                if run_id not in known
            ]
        self._delete(self._runs, ids)
        if before is not None:
            self._prune_changes(before, batch)
        return len(ids)

    def _too_old(self, before: int, batch: int) -> list[str]:
        c = self._runs.c
        statement = (
            select(c.id)
            .where(c.opened_at < before, c.ended_at < before, self._not_needed)
            .order_by(c.opened_at, c.id)
            .limit(batch)
        )
        with self._database.read() as connection:
            return list(connection.scalars(statement))

    def _add_stored(self) -> None:
        """Look at jobs, too, of which Runs were opened before this store was started."""
        if self._added_until is None:
            return
        c = self._runs.c
        statement = (
            select(c.job_id)
            .distinct()
            .where(c.job_id > self._added_until)
            .order_by(c.job_id)
            .limit(AT_ONCE)
        )
        with self._database.read() as connection:
            page = connection.scalars(statement).all()
        self._opened.update(page)
        self._added_until = page[-1] if len(page) == AT_ONCE else None

    def _too_many(self, keep: int, batch: int) -> list[str]:
        """Return ended Runs beyond the number that is kept of a job."""
        c = self._runs.c
        crowded = (
            select(c.job_id)
            .where(c.job_id.in_(bindparam("ids", expanding=True)))
            .group_by(c.job_id)
            .having(func.count() > keep)
        )
        found: list[str] = []
        looked_at = 0
        with self._database.read() as connection:
            while self._opened and len(found) < batch and looked_at < JOBS_AT_MOST:
                ids = [self._opened.pop() for _ in range(min(len(self._opened), AT_ONCE))]
                looked_at += len(ids)
                for job_id in connection.scalars(crowded, {"ids": ids}).all():
                    room = batch - len(found)
                    too_many = self._beyond(connection, job_id, keep, room) if room else None
                    if too_many is None or len(too_many) == room:
                        self._opened.add(job_id)  # There may be more.
                    found += too_many or ()
        return found

    def _beyond(self, connection: Connection, job_id: str, keep: int, batch: int) -> list[str]:
        c = self._runs.c
        statement = (
            select(c.opened_at, c.id)
            .where(c.job_id == job_id, text(ENDED))
            .order_by(c.opened_at.desc(), c.id.desc())
            .limit(1)
            .offset(keep)
        )
        newest = connection.execute(statement).first()
        if newest is None:
            return []
        older = or_(
            c.opened_at < newest.opened_at,
            and_(c.opened_at == newest.opened_at, c.id <= newest.id),
        )
        return list(
            connection.scalars(
                select(c.id)
                .where(c.job_id == job_id, older, text(ENDED), self._not_needed)
                .order_by(c.opened_at, c.id)
                .limit(batch)
            )
        )

    @cached_property
    def _not_needed(self) -> Any:
        """Return the condition that a Run is not the last success or failure of a stored job."""
        c, newer = self._runs.c, self._runs.alias("newer").c
        jobs = self._database.tables.jobs

        def is_followed(states: Sequence[str]) -> Any:
            return and_(
                c.state.in_(states),
                exists().where(
                    newer.job_id == c.job_id,
                    newer.state.in_(states),
                    or_(
                        newer.opened_at > c.opened_at,
                        and_(newer.opened_at == c.opened_at, newer.id > c.id),
                    ),
                ),
            )

        return or_(
            c.state.in_(("cancelled", "skipped", "missed")),
            is_followed(_SUCCESSES),
            is_followed(_FAILURES),
            ~exists().where(jobs.c.id == c.job_id),
        )

    def _prune_changes(self, before: int, batch: int) -> None:
        """Delete what was done to jobs that are gone."""
        c, jobs = self._changes.c, self._database.tables.jobs
        statement = (
            select(c.id)
            .where(c.at < before, ~exists().where(jobs.c.id == c.job_id))
            .order_by(c.id)
            .limit(batch)
        )
        with self._database.read() as connection:
            ids = list(connection.scalars(statement))
        self._delete(self._changes, ids)

    def _delete(self, table: Any, ids: list[Any]) -> None:
        if ids:
            statement = delete(table).where(table.c.id.in_(bindparam("ids", expanding=True)))
            with self._database.begin() as connection:
                connection.execute(statement, {"ids": sorted(ids)})
