"""The face of a scheduler that changes and removes jobs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from apscheduler import _engine
from apscheduler.events import (
    EVENT_ALL_JOBS_REMOVED,
    EVENT_JOB_MODIFIED,
    EVENT_JOB_REMOVED,
    JobEvent,
    SchedulerEvent,
)
from apscheduler.job import Job
from apscheduler.jobstores.base import ClaimingJobStore, JobLookupError
from apscheduler.runs import JobChange, JobChangeKind, JobQuery, RunQuery, RunState
from apscheduler.schedulers._adding import AddMethods
from apscheduler.triggers.base import BaseTrigger

#: How many jobs are noted one by one as removed, where each note is a transaction.
NOTED_AT_MOST = 100


class JobMethods(AddMethods):
    """Jobs, in the job stores of a running scheduler or pending in a stopped one."""

    def modify_job(self, job_id: str, jobstore: str | None = None, **changes: Any) -> Job:
        """Change attributes of a job, all of them or, if one is refused, none.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :param changes: new values by attribute name
        :return: the job as it then is
        :raises JobLookupError: if there is no such job
        :raises UnreadableJobError: if the job cannot be read here
        """
        job, alias = self._lookup_job(job_id, jobstore)
        if alias is None:
            job._modify(**changes)
        else:
            approved = job._approve(changes)
            now = self._clock.now()
            born = now if "next_run_time" in approved else None
            kind = _kind_of(job, approved)
            store = self._seam(alias)
            job = store.modify_job(job_id, lambda stored: stored._apply(approved), born)
            if "next_run_time" in approved or "trigger" in approved:
                self._loop.leftovers.note(alias, JobChange(job_id, now, kind, job.next_run_time))
            self._loop.holds(alias).forget(job_id)
        self._dispatch_event(JobEvent(EVENT_JOB_MODIFIED, job_id, alias))
        self._wake_for(job)
        return job

    def reschedule_job(
        self,
        job_id: str,
        jobstore: str | None = None,
        trigger: BaseTrigger | str | None = None,
        **trigger_args: Any,
    ) -> Job:
        """Give a job another trigger, and compute its next run time from it.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :param trigger: a trigger, or the name of one; by default the job runs once, at once
        :param trigger_args: arguments of the trigger that is made if a name is given
        :return: the job as it then is
        :raises JobLookupError: if there is no such job
        :raises UnreadableJobError: if the job cannot be read here
        """
        new_trigger = self._create_trigger(trigger, trigger_args)
        next_run_time = _engine.first_fire_time(new_trigger, self._now())
        job = self.modify_job(job_id, jobstore, trigger=new_trigger, next_run_time=next_run_time)
        if next_run_time is None:
            self._warn_exhausted(job)
        return job

    def pause_job(self, job_id: str, jobstore: str | None = None) -> Job:
        """Let a job not run until it is resumed.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :return: the job as it then is
        :raises JobLookupError: if there is no such job
        :raises UnreadableJobError: if the job cannot be read here
        """
        return self.modify_job(job_id, jobstore, next_run_time=None)

    def resume_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """Let a job run again, at the times of its trigger from now on.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :return: the job as it then is, or None if its trigger has no time left: the job is then
            removed
        :raises JobLookupError: if there is no such job
        :raises UnreadableJobError: if the job cannot be read here
        """
        job, _ = self._lookup_job(job_id, jobstore)
        next_run_time = _engine.first_fire_time(job.trigger, self._now())
        if next_run_time is not None:
            return self.modify_job(job_id, jobstore, next_run_time=next_run_time)
        self.remove_job(job_id, jobstore)
        return None

    def remove_job(self, job_id: str, jobstore: str | None = None) -> None:
        """Remove a job. Its waiting Runs are cancelled; those that are running go on.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :raises JobLookupError: if there is no such job
        """
        alias = self._remove_job(job_id, jobstore)
        self._log(logging.INFO, "Removed job %s", job_id)
        self._dispatch_event(JobEvent(EVENT_JOB_REMOVED, job_id, alias))

    def remove_all_jobs(self, jobstore: str | None = None) -> None:
        """Remove all jobs; a stopped scheduler forgets its pending ones.

        :param jobstore: alias of the only job store to empty
        """
        with self._jobstores_lock:
            stopped = self._is_stopped()
            if stopped:
                self._pending_jobs = [
                    entry for entry in self._pending_jobs if jobstore and entry[1] != jobstore
                ]
        if not stopped:
            for alias in self._aliases(jobstore):
                store = self._seam(alias)
                removed = _noteworthy(store)
                store.remove_all_jobs()
                now = self._clock.now()
                for job_id in removed:
                    self._loop.leftovers.note(alias, JobChange(job_id, now, JobChangeKind.REMOVED))
                self._cancel_waiting(store, None)
                self._loop.holds(alias).clear()
        self._dispatch_event(SchedulerEvent(EVENT_ALL_JOBS_REMOVED, jobstore))

    # -- for subclasses, wrappers and the rest of the face --------------------------------------

    def _remove_job(self, job_id: str, jobstore: str | None) -> str:
        """Remove a job, and return the alias of the job store that it was in or meant for."""
        with self._jobstores_lock:
            if self._is_stopped():
                for entry in self._pending_jobs:
                    if entry[0].id == job_id and jobstore in (None, entry[1]):
                        self._pending_jobs.remove(entry)
                        return entry[1]
                raise JobLookupError(job_id)
        for alias in self._aliases(jobstore):
            store = self._seam(alias)
            try:
                store.remove_job(job_id)
            except JobLookupError:
                continue
            self._loop.leftovers.note(
                alias, JobChange(job_id, self._clock.now(), JobChangeKind.REMOVED)
            )
            self._cancel_waiting(store, job_id)
            self._loop.holds(alias).forget(job_id)
            return alias
        # Of a one-shot that could not be submitted nothing is left but the Run that waits.
        for alias in self._aliases(jobstore):
            if self._cancel_waiting(self._seam(alias), job_id):
                return alias
        raise JobLookupError(job_id)

    def _cancel_waiting(self, store: ClaimingJobStore, job_id: str | None) -> bool:
        """Cancel the Runs that wait; return whether there were any."""
        now = self._clock.now()
        waiting = store.get_runs(RunQuery(job_id, RunState.WAITING, limit=sys.maxsize))
        cancelled = store.apply([_engine.cancel(now, run, _engine.JOB_REMOVED) for run in waiting])
        return any(cancelled)


def _noteworthy(store: ClaimingJobStore) -> list[str]:
    """Return the ids of the jobs of which is noted that all of them were removed."""
    if not store.blocking:
        return [job.id for job in store.get_all_jobs()]
    jobs = store.find_jobs(JobQuery(limit=NOTED_AT_MOST + 1))
    return [job.id for job in jobs] if len(jobs) <= NOTED_AT_MOST else []


def _kind_of(job: Job, approved: Mapping[str, Any]) -> JobChangeKind:
    if approved.get("next_run_time", ...) is None:
        return JobChangeKind.PAUSED
    if job.next_run_time is None and "next_run_time" in approved:
        return JobChangeKind.RESUMED
    return JobChangeKind.MODIFIED
