"""Jobs as rows: added, found, changed and removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import and_, bindparam, case, func, not_, null, or_, select
from sqlalchemy.exc import IntegrityError

from apscheduler.job import Job
from apscheduler.jobstores import _pickled
from apscheduler.jobstores._sql.database import Database
from apscheduler.jobstores._sql.dialects import AT_ONCE
from apscheduler.jobstores._sql.quarantine import Reader
from apscheduler.jobstores._sql.rows import (
    can_be_id,
    check_job,
    chunks,
    micros_or_none,
    moment_of_seconds,
    seconds,
)
from apscheduler.jobstores.base import (
    ConflictingIdError,
    JobLookupError,
    QuarantinedJob,
    UnreadableJobError,
)
from apscheduler.runs import JobQuery, replace

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

#: How many ids a statement is asked to leave out; more are left out of its answer.
LEFT_OUT_AT_MOST = 10_000
#: How many jobs are read at a time where a limit is sought for.
PAGE = 1000
#: How often jobs are added that conflict with others which are gone a moment later.
ADDED_AT_MOST = 5
_id = attrgetter("id")


class Jobs:
    """The jobs of a store.

    :param shared: whether the table has more than the columns of 3.x
    :param edited: called in the transaction of each edit that others may want to hear of
    """

    def __init__(
        self,
        database: Database,
        reader: Reader,
        protocol: int,
        shared: bool,
        edited: Callable[[Connection], None],
    ) -> None:
        self._database = database
        self._reader = reader
        self._protocol = protocol
        self._shared = shared
        self.edited = edited
        self._table = jobs = database.tables.jobs
        c = jobs.c
        columns = [c.id, c.next_run_time, c.job_state]
        if shared:
            columns += [c.incarnation, c.born, c.last_slot, c.executor, c.revision, c.digest]
            columns.append(c.options)
        self.columns = columns
        self._content_columns = [c.id, c.job_state, c.options if shared else null()]

    @cached_property
    def _ground(self) -> Any:
        """The condition that a row is as it was read."""
        c = self._table.c
        ground = c.job_state == bindparam("as_read")
        if not self._shared:
            return ground
        return and_(
            ground,
            func.coalesce(c.revision, 0) == bindparam("revision_as_read"),
            func.coalesce(c.incarnation, "") == bindparam("incarnation_as_read"),
        )

    @cached_property
    def _order(self) -> tuple[Any, ...]:
        c = self._table.c
        return (
            case((c.next_run_time.is_(None), 1), else_=0),
            c.next_run_time,
            self._database.dialect.by_id(c.id),
        )

    # -- questions ------------------------------------------------------------------------------

    def row(self, connection: Connection, job_id: str) -> Any:
        """Return the row of a job, or None."""
        if not can_be_id(job_id):
            return None
        questions = self._database.dialect.questions
        question = questions.job(*[column.name for column in self.columns])
        row = questions.ask(connection, question, {"id_": job_id}).first()
        # In a table of 3.x, "a" may equal "A".
        return row if row is not None and row.id == job_id else None

    def lookup(self, job_id: str) -> Job | None:
        with self._database.read() as connection:
            row = self.row(connection, job_id)
        return None if row is None else self._reader.read(row)

    def select(self, *conditions: Any) -> list[Job]:
        """Return the jobs for which some conditions hold, paused ones last."""
        # They may be very many. So no more is asked for than they are made from, and they are put
        # in order here: a database that sorts carries along all that is asked for.
        statement = select(*self._content_columns).where(*conditions)
        with self._database.read() as connection:
            rows = [*connection.execute(statement).all()]
        # Each row is let go of when it has been read: the garbage collector looks again and again
        # at what is kept. To ask one for a column by its name takes longer than all its columns.
        rows.reverse()
        read, jobs = self._reader.read_content, []
        while rows:
            job = read(*rows.pop())
            if job is not None:
                jobs.append(job)
        jobs.sort(key=_id)
        jobs.sort(key=_when)
        return jobs

    def next_run_time(self) -> datetime | None:
        """Return when the first job runs that can be read."""
        c = self._table.c
        while True:
            statement = (
                select(*self.columns)
                .where(c.next_run_time.is_not(None), c.id.not_in(self._reader.unreadable))
                .order_by(c.next_run_time, c.id)
                .limit(1)
            )
            with self._database.read() as connection:
                row = connection.execute(statement).first()
            if row is None:
                return None
            if self._reader.read(row) is not None:
                return moment_of_seconds(row.next_run_time)

    def find(self, query: JobQuery) -> list[Job]:
        """Return the jobs that are asked for, without reading the others."""
        found: list[Job] = []
        if query.ids is not None:
            query = replace(query, ids=frozenset(filter(can_be_id, query.ids)))
        for job in self._candidates(query):
            if query.limit is not None and len(found) >= query.limit:
                break
            if query.wants(job):
                found.append(job)
        return found

    def _candidates(self, query: JobQuery) -> Iterator[Job]:
        if query.ids is not None and len(query.ids) > AT_ONCE:
            # Too many for one statement: they are put in order here.
            jobs = [
                job
                for ids in chunks(sorted(query.ids), AT_ONCE)
                for job in self.select(self._table.c.id.in_(ids), *self._conditions(query))
            ]
            jobs.sort(key=_when)
            yield from jobs
            return
        conditions = self._conditions(query)
        if query.ids is not None:
            conditions.append(self._table.c.id.in_(sorted(query.ids)))
        after: tuple[float | None, str] | None = None
        if query.after is not None:
            moment, job_id = query.after
            after = None if moment is None else seconds(moment), job_id
        size = PAGE if query.limit is None else min(PAGE, query.limit + 1)
        while True:
            statement = select(*self.columns).where(*conditions).order_by(*self._order).limit(size)
            if after is not None:
                statement = statement.where(self._comes_after(*after))
            with self._database.read() as connection:
                rows = connection.execute(statement).all()
            for row in rows:
                job = self._reader.read(row)
                if job is not None:
                    yield job
            if len(rows) < size:
                return
            after = rows[-1].next_run_time, rows[-1].id
            size = PAGE

    def _conditions(self, query: JobQuery) -> list[Any]:
        c = self._table.c
        conditions: list[Any] = []
        if query.executor is not None and self._shared:
            # It is not known of rows that 3.x has written.
            conditions.append(or_(c.executor == query.executor, c.executor.is_(None)))
        if query.before is not None:
            conditions.append(c.next_run_time < seconds(query.before))
        if query.paused is not None:
            paused = c.next_run_time.is_(None)
            conditions.append(paused if query.paused else not_(paused))
        return conditions

    def _comes_after(self, next_run_time: float | None, job_id: str) -> Any:
        c = self._table.c
        later = self._database.dialect.by_id(c.id) > job_id
        if next_run_time is None:
            return and_(c.next_run_time.is_(None), later)
        return or_(
            c.next_run_time > next_run_time,
            and_(c.next_run_time == next_run_time, later),
            c.next_run_time.is_(None),
        )

    def unreadable_rows(self) -> list[Any]:
        """Return what is stored now of jobs that could not be read."""
        rows: list[Any] = []
        with self._database.read() as connection:
            for ids in chunks(sorted(self._reader.unreadable), AT_ONCE):
                statement = select(*self.columns).where(self._table.c.id.in_(ids))
                rows += connection.execute(statement).all()
        return rows

    def release_changed(self) -> None:
        """Let jobs be tried again that could not be read and have been changed."""
        if self._reader.unreadable:
            rows = self.unreadable_rows()
            self._reader.release_changed({row.id: _pickled.digest(row.job_state) for row in rows})

    def quarantined(self) -> list[QuarantinedJob]:
        """Return the jobs that cannot be read, each tried once more."""
        rows = self.unreadable_rows()
        self._reader.release_changed({})
        self._reader.release_runs()
        for row in rows:
            self._reader.read(row)
        return self._reader.listed()

    # -- edits ----------------------------------------------------------------------------------

    def add(self, jobs: Sequence[Job], born: datetime | None) -> None:
        """Insert jobs, all or none."""
        rows = sorted((self._new_row(job, born) for job in jobs), key=lambda row: str(row["id"]))
        for row, following in pairwise(rows):
            if row["id"] == following["id"]:
                raise ConflictingIdError(row["id"])
        for attempt in range(1, ADDED_AT_MOST + 1):
            try:
                self._insert(rows)
                break
            except IntegrityError:
                for part in chunks(rows, AT_ONCE):
                    taken = self.select_ids([row["id"] for row in part])
                    if taken:
                        raise ConflictingIdError(min(taken)) from None
                # Whoever had one of the ids has been removed since.
                if attempt == ADDED_AT_MOST:
                    raise
        for job in jobs:
            self._reader.release(job.id)

    def _insert(self, rows: Sequence[dict[str, Any]]) -> None:
        with self._database.begin() as connection:
            for part in chunks(rows, PAGE):
                self._database.dialect.insert_jobs(connection, part)
            self.edited(connection)

    def select_ids(self, ids: Sequence[str]) -> set[str]:
        """Return which of some ids are taken."""
        statement = select(self._table.c.id).where(self._table.c.id.in_(ids))
        with self._database.read() as connection:
            return set(connection.scalars(statement))

    def update(self, job: Job, born: datetime | None) -> None:
        """Store a job in place of the one by its id, whatever that is."""
        c = self._table.c
        if not can_be_id(job.id):
            raise JobLookupError(job.id)
        values = self._content(job)
        if self._shared:
            values["revision"] = func.coalesce(c.revision, 0) + 1
            values |= self._anew(born)
        with self._database.begin() as connection:
            statement = self._table.update().where(c.id == job.id).values(values)
            if not self._is_there(connection, job.id) or not (
                connection.execute(statement).rowcount
            ):
                raise JobLookupError(job.id)
            self.edited(connection)
        self._reader.release(job.id)

    def replace(self, job: Job, keeps_phase: Callable[[Job], bool], born: datetime) -> bool:
        """Store a job in place of the one by its id; return whether that one's phase was kept."""
        while True:
            row = self._wanted_row(job.id)
            stored = self._reader.read(row)
            kept = stored is not None and keeps_phase(stored)
            if self._write_over(row, job, None if kept else born):
                return kept

    def modify(self, job_id: str, change: Callable[[Job], None], born: datetime | None) -> Job:
        """Apply a change to the job as it is now."""
        while True:
            row = self._wanted_row(job_id)
            job = self.readable(row)
            change(job)
            if self._write_over(row, job, born):
                return job

    def readable(self, row: Any) -> Job:
        """Return the job of a row.

        :raises UnreadableJobError: if it cannot be read
        """
        job = self._reader.read(row)
        if job is None:
            verdict = self._reader.verdict(row.id)
            raise UnreadableJobError(row.id, verdict.reason if verdict else "it has changed")
        return job

    def touch(self, connection: Connection, row: Any) -> bool:
        """Move the ground of decisions about a job; return whether it was still there."""
        statement = (
            self._table.update()
            .where(self._table.c.id == bindparam("id_"), self._ground)
            .values(revision=bindparam("revision_"))
        )
        values = {"revision_": (row.revision or 0) + 1, **self._as_read(row)}
        return connection.execute(statement, values).rowcount == 1

    def touch_all(self, connection: Connection, ids: Sequence[str]) -> None:
        """Move the ground of decisions about jobs, whatever it is."""
        c = self._table.c
        statement = (
            self._table.update()
            .where(c.id == bindparam("id_"))
            .values(revision=func.coalesce(c.revision, 0) + 1)
        )
        connection.execute(statement, [{"id_": job_id} for job_id in sorted(ids)])

    def remove(self, job_id: str) -> None:
        if not can_be_id(job_id):
            raise JobLookupError(job_id)
        with self._database.begin() as connection:
            statement = self._table.delete().where(self._table.c.id == job_id)
            if not self._is_there(connection, job_id) or not (
                connection.execute(statement).rowcount
            ):
                raise JobLookupError(job_id)
        self._reader.release(job_id)

    def _is_there(self, connection: Connection, job_id: str) -> bool:
        """Tell whether what equals an id for the database is that id, until the end of this."""
        dialect, c = self._database.dialect, self._table.c
        if dialect.compares_exactly:
            return True
        statement = select(c.id).where(c.id == job_id)
        if dialect.locks_rows:
            statement = statement.with_for_update()
        found: str | None = connection.scalar(statement)
        return found == job_id

    def remove_all(self) -> None:
        with self._database.begin() as connection:
            connection.execute(self._table.delete())
        for job_id in self._reader.unreadable:
            self._reader.release(job_id)

    def _wanted_row(self, job_id: str) -> Any:
        with self._database.read() as connection:
            row = self.row(connection, job_id)
        if row is None:
            raise JobLookupError(job_id)
        return row

    def _write_over(self, row: Any, job: Job, born: datetime | None) -> bool:
        """Store a job in place of a row, if that is as it was read; return whether it was."""
        values = self._content(job)
        if self._shared:
            values["revision"] = (row.revision or 0) + 1
            values |= self._anew(born)
        statement = (
            self._table.update()
            .where(self._table.c.id == bindparam("id_"), self._ground)
            .values({name: bindparam(f"{name}_") for name in values})
        )
        parameters = {f"{name}_": value for name, value in values.items()}
        with self._database.begin() as connection:
            written = connection.execute(statement, {**parameters, **self._as_read(row)}).rowcount
            if written:
                self.edited(connection)
        if written:
            self._reader.release(row.id)
        return bool(written)

    def _as_read(self, row: Any) -> dict[str, Any]:
        ground = {"id_": row.id, "as_read": row.job_state}
        if self._shared:
            ground["revision_as_read"] = row.revision or 0
            ground["incarnation_as_read"] = row.incarnation or ""
        return ground

    def _new_row(self, job: Job, born: datetime | None) -> dict[str, Any]:
        row = {"id": job.id, **self._content(job)}
        if self._shared:
            row |= {
                "incarnation": uuid4().hex,
                "born": micros_or_none(born),
                "last_slot": None,
                "revision": 1,
            }
        return row

    def _anew(self, born: datetime | None) -> dict[str, Any]:
        """Return what begins a new incarnation, if one is to begin."""
        if born is None:
            return {}
        return {"incarnation": uuid4().hex, "born": micros_or_none(born), "last_slot": None}

    def _content(self, job: Job) -> dict[str, Any]:
        check_job(job.id, job.executor)
        state = _pickled.dump(job, self._protocol)
        next_run_time = job.next_run_time
        content: dict[str, Any] = {
            "next_run_time": None if next_run_time is None else seconds(next_run_time),
            "job_state": state,
        }
        if self._shared:
            content["executor"] = job.executor
            content["digest"] = _pickled.digest(state)
            content["options"] = _pickled.dump_options(job)
        return content


def _when(job: Job) -> float:
    """Return a number by which jobs are put in order, paused ones last."""
    moment = job.next_run_time
    return float("inf") if moment is None else moment.timestamp()
