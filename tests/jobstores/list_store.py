"""A job store as somebody may have written it for 3.x: the eight methods, and a list."""

from __future__ import annotations

import pickle
from datetime import datetime
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError


class ListJobStore(BaseJobStore):
    """Keeps pickled jobs, and hands out a copy at each reading.

    ``calls`` lists the methods that were called. ``fail`` maps a method to what it raises, and
    ``fail_after`` to what it raises when it has done its work.
    """

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.calls: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.fail_after: dict[str, Exception] = {}

    def lookup_job(self, job_id: str) -> Job | None:
        self._enter("lookup_job")
        return next((job for job in self._jobs() if job.id == job_id), None)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        self._enter("get_due_jobs")
        return [job for job in self._jobs() if job.next_run_time and job.next_run_time <= now]

    def get_next_run_time(self) -> datetime | None:
        self._enter("get_next_run_time")
        return next((job.next_run_time for job in self._jobs()), None)

    def get_all_jobs(self) -> list[Job]:
        self._enter("get_all_jobs")
        return self._jobs()

    def add_job(self, job: Job) -> None:
        self._enter("add_job")
        if self._position(job.id) is not None:
            raise ConflictingIdError(job.id)
        self.rows.append(self._row(job))
        self._leave("add_job")

    def update_job(self, job: Job) -> None:
        self._enter("update_job")
        self.rows[self._existing(job.id)] = self._row(job)
        self._leave("update_job")

    def remove_job(self, job_id: str) -> None:
        self._enter("remove_job")
        del self.rows[self._existing(job_id)]
        self._leave("remove_job")

    def remove_all_jobs(self) -> None:
        self._enter("remove_all_jobs")
        self.rows.clear()

    def _enter(self, method: str) -> None:
        self.calls.append(method)
        if method in self.fail:
            raise self.fail[method]

    def _leave(self, method: str) -> None:
        if method in self.fail_after:
            raise self.fail_after[method]

    def _row(self, job: Job) -> Any:
        return pickle.dumps(job.__getstate__())

    def _job(self, row: Any) -> Job:
        job = Job.__new__(Job)
        job.__setstate__(pickle.loads(row))
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        return job

    def _jobs(self) -> list[Job]:
        jobs = [self._job(row) for row in self.rows]
        return sorted(jobs, key=_by_next_run_time)

    def _position(self, job_id: str) -> int | None:
        ids = [self._job(row).id for row in self.rows]
        return ids.index(job_id) if job_id in ids else None

    def _existing(self, job_id: str) -> int:
        position = self._position(job_id)
        if position is None:
            raise JobLookupError(job_id)
        return position


class ObjectListJobStore(ListJobStore):
    """Keeps the jobs themselves, as a store in memory does."""

    def _row(self, job: Job) -> Any:
        return job

    def _job(self, row: Any) -> Job:
        assert isinstance(row, Job)
        return row


def _by_next_run_time(job: Job) -> tuple[float, str]:
    return job.next_run_time.timestamp() if job.next_run_time else float("inf"), job.id
