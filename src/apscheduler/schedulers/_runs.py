"""The face of a scheduler that tells of Runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.clock import UTC
from apscheduler.health import ExecutorHealth, Health, OverdueJob, StoreHealth
from apscheduler.jobstores.base import JobLookupError
from apscheduler.runs import Run, RunQuery, RunState
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers._core import (
    STATE_PAUSED,
    STATE_RUNNING,
    STATE_STOPPED,
    SchedulerCore,
    seconds_given,
)
from apscheduler.util import convert_to_datetime

if TYPE_CHECKING:
    from apscheduler.job import Job

#: Seconds by which a due job may lack an answer before it is called overdue.
OVERDUE_AFTER = 1.0


class RunMethods(SchedulerCore):
    """History, explanation, manual runs and health."""

    _lookup_job: Callable[[str, str | None], tuple[Job, str | None]]

    def get_runs(
        self,
        job_id: str | None = None,
        state: RunState | str | None = None,
        since: datetime | str | None = None,
        limit: int = 100,
    ) -> list[Run]:
        """Return what has run, is running, or was not run, the newest first.

        :param job_id: only Runs of this job; they are kept when the job is gone
        :param state: only Runs in this state, such as ``"failed"``
        :param since: only Runs that were scheduled at or after this moment; without a time zone
            it is taken in that of the scheduler
        :param limit: how many at most
        :raises ValueError: if there is no such state, or ``limit`` is not positive
        :raises TypeError: if a value is of the wrong type
        """
        if job_id is not None and not isinstance(job_id, str):
            raise TypeError(f"job_id must be a string or None, got {job_id!r}")
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"limit must be an int, got {limit!r}")
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        query = RunQuery(
            job_id,
            None if state is None else _run_state(state),
            self._moment("since", since),
            limit,
        )
        # What has begun on this node is known here first.
        ours = {run.id: run for run in self._loop.runner.running()}
        runs = [
            ours.get(run.id, run) if run.state is RunState.RUNNING else run
            for alias in list(self._jobstores)
            for run in self._seam(alias).get_runs(query)
        ]
        runs.sort(key=lambda run: (run.opened_at, run.id), reverse=True)
        return runs[:limit]

    def explain(self, job_id: str, at: datetime | str | None = None) -> str:
        """Say in one sentence what became of a job's run time, or what is next for the job.

        :param job_id: id of the job, which need not exist any more
        :param at: the run time that is asked about; without a time zone it is taken in that of
            the scheduler. Leave it out to ask about the latest one
        :raises JobLookupError: if nothing is known of such a job
        """
        moment = self._moment("at", at)
        try:
            job: Job | None = self._lookup_job(job_id, None)[0]
        except JobLookupError:
            job = None
        runs = self.get_runs(job_id, limit=10_000)
        changes = [
            change
            for alias in list(self._jobstores)
            for change in self._seam(alias).get_changes(job_id)
        ]
        if job is None and not runs and not changes:
            raise JobLookupError(job_id)
        from apscheduler._explain import explain

        return explain(job_id, job, runs, changes, moment, self._clock.now())

    def _moment(self, name: str, given: datetime | str | None) -> datetime | None:
        try:
            moment = convert_to_datetime(given, self.timezone, name)
            # Two times of one zone are compared by their wall clocks.
            return None if moment is None else moment.astimezone(UTC)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{name} must be a datetime, a text such as 2026-03-01 14:30:00, or None, got "
                f"{given!r}"
            ) from error

    def run_now(self, job_id: str, jobstore: str | None = None) -> Run:
        """Run a job once, now, beside its schedule; works also while the job is paused.

        :param job_id: id of the job
        :param jobstore: alias of its job store; by default all are searched
        :return: the Run, `running` or, if ``max_instances`` runs of the job are live already,
            `skipped`
        :raises JobLookupError: if there is no such job
        :raises SchedulerNotRunningError: if the scheduler is not started
        """
        if self._is_stopped():
            raise SchedulerNotRunningError
        _, alias = self._lookup_job(job_id, jobstore)
        if alias is None:
            raise JobLookupError(job_id)
        return self._loop.run_now(alias, job_id)

    def health(self, stuck_after: float = 3600.0) -> Health:
        """Return how the scheduler really is.

        :param stuck_after: seconds after which a Run that has not ended counts as stuck
        :raises TypeError: if ``stuck_after`` is not a number
        :raises ValueError: if it is not positive
        """
        stuck_after = seconds_given("stuck_after", stuck_after, positive=True)
        now = self._clock.now()
        return Health(
            running=self.state != STATE_STOPPED and self._is_alive(),
            paused=self.state == STATE_PAUSED,
            last_turn=self._loop.last_turn,
            loop_lag=self._loop_lag(now),
            stores={alias: self._store_health(alias) for alias in list(self._jobstores)},
            executors={
                alias: self._executor_health(alias, now - timedelta(seconds=stuck_after))
                for alias in list(self._executors)
            },
            overdue=tuple(self._overdue(now)) if self.state != STATE_STOPPED else (),
        )

    def _is_alive(self) -> bool:
        """Tell whether what drives the loop is still there."""
        return True

    def _loop_lag(self, now: datetime) -> timedelta:
        # Of a turn that is not done it counts since when it goes on.
        since = self._loop.promise if self._loop.promised else self._loop.last_turn
        if self.state != STATE_RUNNING or since is None:
            return timedelta(0)
        return max(now - since, timedelta(0))

    def _store_health(self, alias: str) -> StoreHealth:
        trouble = self._loop.troubles.get(alias)
        if trouble is not None:
            return StoreHealth(trouble.error, trouble.since, trouble.failures)
        for hold, failures in self._loop.holds(alias).failures():
            if hold.store_error is not None:
                return StoreHealth(hold.store_error, None, failures)
        return StoreHealth()

    def _executor_health(self, alias: str, stuck_since: datetime) -> ExecutorHealth:
        try:
            load = self._executors[alias].load()
        except Exception as error:
            self._log(
                logging.ERROR, 'Error asking executor "%s" for its load', alias, exc_info=error
            )
            load = None
        stuck = tuple(
            run.id
            for run in self._loop.runner.running()
            if run.executor == alias
            and run.started_at is not None
            and run.started_at < stuck_since
        )
        if load is None:
            return ExecutorHealth(None, None, None, stuck)
        return ExecutorHealth(load.workers, load.busy, load.queued, stuck)

    def _overdue(self, now: datetime) -> list[OverdueJob]:
        overdue: list[OverdueJob] = []
        for alias in list(self._jobstores):
            try:
                jobs = self._seam(alias).get_due_jobs(now - timedelta(seconds=OVERDUE_AFTER))
            except Exception:
                continue  # That is told as the health of the store.
            holds = self._loop.holds(alias)
            for job in jobs:
                if job.next_run_time is not None:
                    why = holds.get(job.id)
                    reason = why.reason if why else self._why_late(alias)
                    overdue.append(OverdueJob(job.id, alias, job.next_run_time, reason))
        return overdue

    def _why_late(self, alias: str) -> str:
        if self.state == STATE_PAUSED:
            return "the scheduler is paused"
        if alias in self._loop.troubles:
            return "its job store fails"
        return "the scheduler has not come to it yet"


def _run_state(state: RunState | str) -> RunState:
    try:
        return RunState(state)
    except ValueError:
        known = ", ".join(RunState)
        raise ValueError(f"state must be one of {known}, got {state!r}") from None
