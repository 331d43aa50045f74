"""The face of a scheduler that finds jobs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import dropwhile, islice
from typing import Any

from apscheduler.clock import UTC
from apscheduler.job import Job
from apscheduler.jobstores.base import (
    JobLookupError,
    QuarantinedJob,
    SharedJobStore,
    UnreadableJobError,
)
from apscheduler.runs import JobQuery, replace
from apscheduler.schedulers._core import SchedulerCore

#: When a job runs of which nobody has asked its trigger yet.
_SOME_TIME = datetime.max.replace(tzinfo=UTC)


class FindMethods(SchedulerCore):
    """Jobs as they are, in the job stores of a running scheduler or pending in a stopped one."""

    _moment: Callable[[str, datetime | str | None], datetime | None]

    def get_jobs(
        self,
        jobstore: str | None = None,
        pending: bool | None = None,
        *,
        ids: Iterable[str] | None = None,
        executor: str | None = None,
        before: datetime | str | None = None,
        paused: bool | None = None,
        limit: int | None = None,
        after: Job | None = None,
    ) -> list[Job]:
        """Return jobs, those of each job store by their next run time, paused ones last.

        A job store that is shared loads only those that are asked for. Pending jobs are in the
        order in which they were added.

        :param jobstore: alias of the only job store to look in
        :param pending: has no meaning any more. A stopped scheduler answers with its pending
            jobs, a running one with those in its job stores
        :param ids: only jobs with one of these ids
        :param executor: only jobs that name the executor by this alias
        :param before: only jobs that run before this moment; without a time zone it is taken in
            that of the scheduler
        :param paused: True for only the jobs that are paused, False for only those that are not
        :param limit: how many at most
        :param after: only what comes after this job: the last one of the page before
        :raises TypeError: if a value is of the wrong type
        :raises ValueError: if ``limit`` is not positive, or if ``after`` is given without
            ``jobstore`` to a scheduler with several job stores
        """
        if pending is not None:
            warnings.warn(
                "The 'pending' option is deprecated: a stopped scheduler has only pending jobs, "
                "a running one has none. Leave it out",
                DeprecationWarning,
                stacklevel=2,
            )
        query = _query(ids, executor, self._moment("before", before), paused, limit, after)
        if self._is_stopped():
            jobs = [job for job, alias, _ in list(self._pending_jobs) if jobstore in (None, alias)]
            return jobs if query is None else _among_pending(jobs, query, after)
        aliases = self._aliases(jobstore)
        if query is None:
            return [job for alias in aliases for job in self._seam(alias).get_all_jobs()]
        if after is not None and len(aliases) > 1:
            raise ValueError(
                f"after needs a jobstore: each of the {len(aliases)} job stores has its jobs in "
                f"an order of its own. Ask them one by one"
            )
        found: list[Job] = []
        for alias in aliases:
            found += self._seam(alias).find_jobs(query)
        return found[:limit]

    def get_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """Return a job, or None if there is no such job, or none that can be read here.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        """
        try:
            return self._lookup_job(job_id, jobstore)[0]
        except (JobLookupError, UnreadableJobError):
            return None

    def get_quarantined_jobs(self, jobstore: str | None = None) -> list[QuarantinedJob]:
        """Return the jobs that cannot be read here, and why; they are kept, and do not run here.

        Only a job store that can be shared tells of them. A stopped scheduler knows of none.

        :param jobstore: alias of the only job store to look in
        """
        if self._is_stopped():
            return []
        stores = [self._lookup_jobstore(alias) for alias in self._aliases(jobstore)]
        return [
            job
            for store in stores
            if isinstance(store, SharedJobStore)
            for job in store.get_quarantined_jobs()
        ]

    # -- for subclasses, wrappers and the rest of the face --------------------------------------

    def _lookup_job(self, job_id: str, jobstore_alias: str | None) -> tuple[Job, str | None]:
        """Return a job and the alias of its job store, None if it is pending.

        :raises JobLookupError: if there is no such job
        :raises UnreadableJobError: if there is one that cannot be read here
        """
        if self._is_stopped():
            for job, _, _ in list(self._pending_jobs):
                if job.id == job_id:
                    return job, None
        else:
            for alias in self._aliases(jobstore_alias):
                found = self._seam(alias).lookup_job(job_id)
                if found is not None:
                    return found, alias
            for unreadable in self.get_quarantined_jobs(jobstore_alias):
                if unreadable.job_id == job_id:
                    raise UnreadableJobError(job_id, unreadable.reason)
        raise JobLookupError(job_id)

    def _aliases(self, jobstore: str | None) -> list[str]:
        """Return the aliases of all job stores, or of one if there is such a one."""
        return [alias for alias in list(self._jobstores) if jobstore in (None, alias)]


def check_limit(limit: Any) -> None:
    """Refuse what says nothing of how many to return."""
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be an int, got {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")


def _query(
    ids: Any, executor: Any, before: datetime | None, paused: Any, limit: Any, after: Any
) -> JobQuery | None:
    """Return which jobs are asked for, None for all."""
    if all(given is None for given in (ids, executor, before, paused, limit, after)):
        return None
    if ids is not None:
        ids = _ids_given(ids)
    if executor is not None and not isinstance(executor, str):
        raise TypeError(f"executor must be the alias of an executor or None, got {executor!r}")
    if paused is not None and not isinstance(paused, bool):
        raise TypeError(f"paused must be True, False or None for either, got {paused!r}")
    if limit is not None:
        check_limit(limit)
    if after is None:
        place = None
    elif isinstance(after, Job):
        place = getattr(after, "next_run_time", _SOME_TIME), after.id
    else:
        raise TypeError(
            f"after must be a Job, the last one of the page before, or None, got {after!r}"
        )
    return JobQuery(ids, executor, before, paused, limit, place)


def _ids_given(ids: Any) -> frozenset[str]:
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise TypeError(f"ids must be a list, or the like, of job ids, got {ids!r}")
    given = list(ids)
    for job_id in given:
        if not isinstance(job_id, str):
            raise TypeError(f"ids must be those of jobs, which are strings, got {job_id!r}")
    return frozenset(given)


def _among_pending(jobs: Iterable[Job], query: JobQuery, after: Job | None) -> list[Job]:
    if after is not None:
        jobs = islice(dropwhile(lambda job: job.id != after.id, jobs), 1, None)
        query = replace(query, after=None)
    return list(islice((job for job in jobs if query.wants(_scheduled(job))), query.limit))


def _scheduled(job: Job) -> Job:
    """Return a pending job as what may be asked for when it runs."""
    if hasattr(job, "next_run_time"):
        return job
    twin = job._twin()
    twin.next_run_time = _SOME_TIME
    return twin
