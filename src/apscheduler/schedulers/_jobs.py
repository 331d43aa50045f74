"""The face of a scheduler that adds, changes, finds and removes jobs."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any, TypeVar

from apscheduler import _engine
from apscheduler.events import (
    EVENT_ALL_JOBS_REMOVED,
    EVENT_JOB_ADDED,
    EVENT_JOB_MODIFIED,
    EVENT_JOB_REMOVED,
    JobEvent,
    SchedulerEvent,
)
from apscheduler.job import Job
from apscheduler.jobstores.base import ClaimingJobStore, ConflictingIdError, JobLookupError
from apscheduler.runs import JobChange, JobChangeKind, RunQuery, RunState
from apscheduler.schedulers._core import STATE_RUNNING, STATE_STOPPED, SchedulerCore
from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import _Undefined as Undefined
from apscheduler.util import convert_to_datetime, undefined

F = TypeVar("F", bound=Callable[..., Any])


class JobMethods(SchedulerCore):
    """Jobs, in the job stores of a running scheduler or pending in a stopped one."""

    _checked_defaults: tuple[dict[str, Any], dict[str, Any]] | None = None
    _create_trigger: Callable[[Any, dict[str, Any]], BaseTrigger]

    def add_job(
        self,
        func: Callable[..., Any] | str,
        trigger: BaseTrigger | str | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        id: str | None = None,
        name: str | None = None,
        misfire_grace_time: int | Undefined | None = undefined,
        coalesce: bool | Undefined = undefined,
        max_instances: int | Undefined = undefined,
        next_run_time: datetime | date | str | Undefined | None = undefined,
        jobstore: str = "default",
        executor: str = "default",
        replace_existing: bool = False,
        **trigger_args: Any,
    ) -> Job:
        """Add a job.

        On a stopped scheduler the job is pending, and gets to its job store when that starts.

        :param func: what to call, or a reference to it (``"package.module:name"``); a coroutine
            function is run on an event loop, whatever the scheduler
        :param trigger: when to call it: a trigger, or the name of one (``"date"``,
            ``"interval"``, ``"cron"``, ...) that is made with ``trigger_args``. By default the
            job runs once, at once
        :param args: positional arguments of the call
        :param kwargs: keyword arguments of the call
        :param id: unique within the job store; by default one is made up
        :param name: for people to read; by default that of the callable
        :param misfire_grace_time: by how many seconds a run may be late, because nobody was there
            to start it, and still be started; None for any number. 1 by default
        :param coalesce: whether one run stands for all that are due at once. True by default
        :param max_instances: how many runs of the job may overlap. 1 by default
        :param next_run_time: when to run first, instead of when the trigger says; without a time
            zone it is taken in that of the scheduler. None adds the job paused
        :param jobstore: alias of the job store that keeps the job
        :param executor: alias of the executor that runs it
        :param replace_existing: take the place of a job with the same id. If the trigger is the
            same, the job goes on where that one was
        :raises ConflictingIdError: if there is a job by that id, and ``replace_existing`` is not
            set
        :raises KeyError: if the scheduler runs and has no such job store
        :raises LookupError: if a reference leads nowhere, or there is no trigger by that name
        :raises TypeError: if an argument is of the wrong type
        :raises ValueError: if the arguments do not suit the callable
        """
        policy: dict[str, Any] = {}
        if misfire_grace_time is not undefined:
            policy["misfire_grace_time"] = misfire_grace_time
        if coalesce is not undefined:
            policy["coalesce"] = coalesce
        if max_instances is not undefined:
            policy["max_instances"] = max_instances
        if next_run_time is not undefined:
            policy["next_run_time"] = next_run_time
        job = Job._made(
            self,  # type: ignore[arg-type]  # every scheduler is a BaseScheduler
            id,
            self._create_trigger(trigger, trigger_args),
            executor,
            func,
            () if args is None else _converted("args", tuple, args),
            {} if kwargs is None else _converted("kwargs", dict, kwargs),
            name,
            policy,
            {} if self.state == STATE_STOPPED else self._approved_defaults(),
        )

        if self._is_stopped() and self._add_pending(job, jobstore, replace_existing):
            return job
        self._real_add_job(job, jobstore, replace_existing)
        return job

    def _add_pending(self, job: Job, jobstore: str, replace_existing: bool) -> bool:
        with self._jobstores_lock:
            if not self._is_stopped():
                return False  # It was started in the meantime.
            self._pending_jobs.append((job, jobstore, replace_existing))
        self._log(
            logging.INFO,
            "Adding job tentatively -- it will be properly scheduled when the scheduler starts",
        )
        return True

    def scheduled_job(
        self,
        trigger: BaseTrigger | str | None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        id: str | None = None,
        name: str | None = None,
        misfire_grace_time: int | Undefined | None = undefined,
        coalesce: bool | Undefined = undefined,
        max_instances: int | Undefined = undefined,
        next_run_time: datetime | date | str | Undefined | None = undefined,
        jobstore: str = "default",
        executor: str = "default",
        **trigger_args: Any,
    ) -> Callable[[F], F]:
        """Return a decorator that adds the function as a job, in place of one with the same id.

        The arguments are those of `add_job`. The function itself stays as it is.
        """

        def inner(func: F) -> F:
            self.add_job(
                func,
                trigger,
                args,
                kwargs,
                id,
                name,
                misfire_grace_time,
                coalesce,
                max_instances,
                next_run_time,
                jobstore,
                executor,
                True,
                **trigger_args,
            )
            return func

        return inner

    def modify_job(self, job_id: str, jobstore: str | None = None, **changes: Any) -> Job:
        """Change attributes of a job, all of them or, if one is refused, none.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :param changes: new values by attribute name
        :return: the job as it then is
        :raises JobLookupError: if there is no such job
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
                store.note(JobChange(job_id, now, kind, job.next_run_time))
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
        """
        return self.modify_job(job_id, jobstore, next_run_time=None)

    def resume_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """Let a job run again, at the times of its trigger from now on.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :return: the job as it then is, or None if its trigger has no time left: the job is then
            removed
        :raises JobLookupError: if there is no such job
        """
        job, _ = self._lookup_job(job_id, jobstore)
        next_run_time = _engine.first_fire_time(job.trigger, self._now())
        if next_run_time is not None:
            return self.modify_job(job_id, jobstore, next_run_time=next_run_time)
        self.remove_job(job_id, jobstore)
        return None

    def get_jobs(self, jobstore: str | None = None, pending: bool | None = None) -> list[Job]:
        """Return jobs, those of each job store by their next run time, paused ones last.

        :param jobstore: alias of the only job store to look in
        :param pending: has no meaning any more. A stopped scheduler answers with its pending
            jobs, a running one with those in its job stores
        """
        if pending is not None:
            warnings.warn(
                "The 'pending' option is deprecated: a stopped scheduler has only pending jobs, "
                "a running one has none. Leave it out",
                DeprecationWarning,
                stacklevel=2,
            )
        if self._is_stopped():
            return [job for job, alias, _ in list(self._pending_jobs) if jobstore in (None, alias)]
        return [
            job for alias in self._aliases(jobstore) for job in self._seam(alias).get_all_jobs()
        ]

    def get_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """Return a job, or None if there is no such job.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        """
        try:
            return self._lookup_job(job_id, jobstore)[0]
        except JobLookupError:
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
                removed = [job.id for job in store.get_all_jobs()]
                store.remove_all_jobs()
                now = self._clock.now()
                for job_id in removed:
                    store.note(JobChange(job_id, now, JobChangeKind.REMOVED))
                self._cancel_waiting(store, None)
                self._loop.holds(alias).clear()
        self._dispatch_event(SchedulerEvent(EVENT_ALL_JOBS_REMOVED, jobstore))

    # -- for subclasses, wrappers and the rest of the face --------------------------------------

    def _lookup_job(self, job_id: str, jobstore_alias: str | None) -> tuple[Job, str | None]:
        """Return a job and the alias of its job store, None if it is pending.

        :raises JobLookupError: if there is no such job
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
        raise JobLookupError(job_id)

    def _real_add_job(self, job: Job, jobstore_alias: str, replace_existing: bool) -> None:
        """Complete a job, put it into its job store and tell of it."""
        now = self._clock.now()
        keep_phase = not hasattr(job, "next_run_time")
        defaults = self._approved_defaults()
        if keep_phase:
            first = _engine.first_fire_time(job.trigger, now.astimezone(self.timezone))
            if first is not None and first.tzinfo is None:
                first = convert_to_datetime(first, self.timezone, "next_run_time")
            job.next_run_time = first
        job._complete(defaults)

        # No event of a job may overtake the one that announces it.
        heard = self._hears(EVENT_JOB_ADDED)
        announcing = heard and self.state == STATE_RUNNING
        holds = self._loop.holds(jobstore_alias)
        if announcing:
            holds.announce(job.id)
        try:
            self._store_job(job, jobstore_alias, replace_existing, keep_phase, now)
            holds.forget(job.id)
            if job.next_run_time is None and keep_phase:
                self._warn_exhausted(job)
            if heard:
                self._dispatch_event(JobEvent(EVENT_JOB_ADDED, job.id, jobstore_alias))
            self._log(logging.INFO, 'Added job "%s" to job store "%s"', job.name, jobstore_alias)
        finally:
            if announcing:
                holds.announced(job.id)
        self._wake_for(job)

    def _approved_defaults(self) -> dict[str, Any]:
        """Return the policy of jobs that have none of their own."""
        if self._checked_defaults is None or self._checked_defaults[0] != self._job_defaults:
            # Whether they are any good is only asked when a job needs them, and not for each job.
            approved = Job.__new__(Job)._approve(self._job_defaults)
            self._checked_defaults = dict(self._job_defaults), approved
        return self._checked_defaults[1]

    def _store_job(
        self, job: Job, alias: str, replace_existing: bool, keep_phase: bool, born: datetime
    ) -> None:
        store = self._seam(alias)
        job._jobstore_alias = alias
        try:
            try:
                store.add_job(job, born)
                # What was noted of another job by this id is no longer true of it.
                kind = JobChangeKind.ADDED if store.get_changes(job.id) else None
            except ConflictingIdError:
                if not replace_existing:
                    raise
                kept = self._replace_job(store, job, keep_phase, born)
                kind = None if kept else JobChangeKind.MODIFIED
        except BaseException:
            job._jobstore_alias = None
            raise
        if kind is not None:
            store.note(JobChange(job.id, born, kind, job.next_run_time))
        if job.next_run_time is None and not keep_phase:
            store.note(JobChange(job.id, born, JobChangeKind.PAUSED))

    def _replace_job(
        self, store: ClaimingJobStore, job: Job, keep_phase: bool, born: datetime
    ) -> bool:
        """Put a job in the place of another one; return whether it goes on where that one was."""
        stored = store.lookup_job(job.id)
        if keep_phase and stored is not None and _engine.keeps_phase(stored, job):
            job._apply({"trigger": stored.trigger, "next_run_time": stored.next_run_time})
            store.update_job(job)
            return True
        store.update_job(job, born)
        return False

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
            store.note(JobChange(job_id, self._clock.now(), JobChangeKind.REMOVED))
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

    def _aliases(self, jobstore: str | None) -> list[str]:
        """Return the aliases of all job stores, or of one if there is such a one."""
        return [alias for alias in list(self._jobstores) if jobstore in (None, alias)]

    def _wake_for(self, job: Job) -> None:
        if self.state == STATE_RUNNING and self._loop.must_wake_for(job.next_run_time):
            self.wakeup()

    def _warn_exhausted(self, job: Job) -> None:
        self._log(
            logging.WARNING,
            'The trigger of job "%s" (%s) has no fire time left: the job is kept, but it will not '
            "run until it is rescheduled",
            job.id,
            job.trigger,
        )
        if job._jobstore_alias is not None:
            self._seam(job._jobstore_alias).note(
                JobChange(job.id, self._clock.now(), JobChangeKind.EXHAUSTED)
            )


def _converted(name: str, convert: type[tuple[Any, ...] | dict[str, Any]], given: Any) -> Any:
    try:
        return convert(given)
    except (TypeError, ValueError) as error:
        wanted = "an iterable" if convert is tuple else "a mapping"
        raise type(error)(f"{name} must be {wanted} of arguments, got {given!r}") from error


def _kind_of(job: Job, approved: Mapping[str, Any]) -> JobChangeKind:
    if approved.get("next_run_time", ...) is None:
        return JobChangeKind.PAUSED
    if job.next_run_time is None and "next_run_time" in approved:
        return JobChangeKind.RESUMED
    return JobChangeKind.MODIFIED
