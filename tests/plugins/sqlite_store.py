"""A job store as somebody may have written it for 3.x: eight methods on a database file."""

from __future__ import annotations

import pickle
import sqlite3
import threading
from datetime import UTC, datetime
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError


class SqliteJobStore(BaseJobStore):
    """Keeps jobs in a database, by a connection that only the thread that made it may use.

    ``callers`` maps each method to the threads it was called in.

    :param path: the database file
    :param per_thread: whether each thread that asks makes a connection of its own; otherwise
        there is one, made in the thread that starts the scheduler
    """

    def __init__(self, path: str, per_thread: Any = False) -> None:
        super().__init__()
        self.path = path
        self.per_thread = per_thread
        self.callers: dict[str, set[threading.Thread]] = {}
        self._own: Any = threading.local() if per_thread else type("One", (), {})()

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        self._connection("start").execute(
            "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, due REAL, state BLOB NOT NULL)"
        )

    def shutdown(self) -> None:
        self._connection("shutdown").close()
        self._own.connection = None

    def lookup_job(self, job_id: str) -> Job | None:
        rows = self._read("lookup_job", "WHERE id = ?", job_id)
        return rows[0] if rows else None

    def get_due_jobs(self, now: datetime) -> list[Job]:
        return self._read("get_due_jobs", "WHERE due <= ? ORDER BY due", now.timestamp())

    def get_next_run_time(self) -> datetime | None:
        (due,) = (
            self._connection("get_next_run_time").execute("SELECT min(due) FROM jobs").fetchone()
        )
        return None if due is None else datetime.fromtimestamp(due, UTC)

    def get_all_jobs(self) -> list[Job]:
        jobs = self._read("get_all_jobs", "ORDER BY due")
        self._fix_paused_jobs_sorting(jobs)
        return jobs

    def add_job(self, job: Job) -> None:
        try:
            self._write("add_job", "INSERT INTO jobs (due, state, id) VALUES (?, ?, ?)", job)
        except sqlite3.IntegrityError:
            raise ConflictingIdError(job.id) from None

    def update_job(self, job: Job) -> None:
        if not self._write("update_job", "UPDATE jobs SET due = ?, state = ? WHERE id = ?", job):
            raise JobLookupError(job.id)

    def remove_job(self, job_id: str) -> None:
        with self._connection("remove_job") as connection:
            if not connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,)).rowcount:
                raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        with self._connection("remove_all_jobs") as connection:
            connection.execute("DELETE FROM jobs")

    def _connection(self, method: str) -> sqlite3.Connection:
        self.callers.setdefault(method, set()).add(threading.current_thread())
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = sqlite3.connect(self.path)
        return connection

    def _read(self, method: str, rest: str, *values: Any) -> list[Job]:
        rows = self._connection(method).execute(f"SELECT state FROM jobs {rest}", values)
        return [self._job(state) for (state,) in rows.fetchall()]

    def _write(self, method: str, statement: str, job: Job) -> int:
        due = job.next_run_time and job.next_run_time.timestamp()
        state = pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL)
        with self._connection(method) as connection:
            return connection.execute(statement, (due, state, job.id)).rowcount

    def _job(self, state: bytes) -> Job:
        job = Job.__new__(Job)
        job.__setstate__(pickle.loads(state))
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        return job
