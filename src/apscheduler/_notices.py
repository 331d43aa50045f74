"""Turns what became of slots and Runs into the events and log lines of 3.x."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from apscheduler._engine import slots_between
from apscheduler._log import say
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_LOST,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
    JobExecutionEvent,
    JobSubmissionEvent,
    SchedulerEvent,
)
from apscheduler.executors.base import ShuttingDownError
from apscheduler.runs import SUCCEEDED, Outcome, Run, RunKind, RunState
from apscheduler.triggers._asked import trigger_of

if TYPE_CHECKING:
    from apscheduler.job import Job

#: For how many slots of a gap events are made one by one; one more tells of the last.
MAX_SLOTS_TOLD = 1000


class Audience(Protocol):
    """Who hears of it."""

    _logger: logging.Logger

    def _dispatch_event(self, event: SchedulerEvent) -> None: ...
    def _hears(self, code: int) -> bool: ...


class Notices:
    """Tells the listeners, and the log.

    Events are made only for somebody who listens. ``late`` collects those that a turn sends
    when it is done.
    """

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def anybody_hears_of_submissions(self) -> bool:
        """Tell whether it makes any difference to tell of what is handed to executors."""
        return (
            self._audience._hears(EVENT_JOB_SUBMITTED)
            or self._audience._hears(EVENT_JOB_REMOVED)
            or self._audience._logger.isEnabledFor(logging.INFO)
        )

    def anybody_hears_of(self, state: RunState) -> bool:
        """Tell whether it makes any difference to tell of the end of a Run."""
        return state is not SUCCEEDED or self._audience._hears(EVENT_JOB_EXECUTED)

    def closed(
        self, alias: str, job: Job, runs: Sequence[Run], late: list[SchedulerEvent]
    ) -> None:
        """Slots were answered without being opened."""
        for run in runs:
            if run.state is RunState.SKIPPED:
                say(
                    self._audience._logger,
                    logging.WARNING,
                    'Execution of job "%s" skipped: maximum number of running instances '
                    "reached (%d)",
                    job,
                    job.max_instances,
                )
                if self._audience._hears(EVENT_JOB_MAX_INSTANCES):
                    late.append(
                        JobSubmissionEvent(
                            EVENT_JOB_MAX_INSTANCES, job.id, alias, self._slots(job, run)
                        )
                    )
            else:
                self._missed(alias, job, run)

    def submitted(
        self, alias: str, job: Job, runs: Sequence[Run], late: list[SchedulerEvent]
    ) -> None:
        """Runs were handed to the job's executor, or missed: 3.x found that out only there."""
        if self._audience._hears(EVENT_JOB_SUBMITTED):
            slots = [slot for run in runs for slot in self._slots(job, run)]
            late.append(JobSubmissionEvent(EVENT_JOB_SUBMITTED, job.id, alias, slots))

    def removed(self, alias: str, job_id: str) -> None:
        """A job is gone."""
        say(self._audience._logger, logging.INFO, "Removed job %s", job_id)
        if self._audience._hears(EVENT_JOB_REMOVED):
            self._audience._dispatch_event(JobEvent(EVENT_JOB_REMOVED, job_id, alias))

    def ended(self, alias: str, run: Run, outcome: Outcome) -> None:
        """A Run has come to its end."""
        if run.state is RunState.SUCCEEDED:
            self._execution(EVENT_JOB_EXECUTED, alias, run, retval=outcome.value)
        elif run.state is RunState.MISSED:
            self._execution(EVENT_JOB_MISSED, alias, run)
        elif run.state is RunState.SKIPPED:
            self._audience._dispatch_event(
                JobSubmissionEvent(EVENT_JOB_MAX_INSTANCES, run.job_id, alias, [run.scheduled_at])
            )
        elif not self._is_old_news(run, outcome):
            error = outcome.exception or RuntimeError(run.reason)
            self._execution(
                EVENT_JOB_ERROR, alias, run, exception=error, traceback=outcome.traceback
            )

    def lapsed(self, alias: str, run: Run, late: list[SchedulerEvent]) -> None:
        """A Run was ended because its node is dead; ``run`` is what became of it."""
        say(
            self._audience._logger,
            logging.WARNING,
            'Run %s of job "%s", scheduled at %s on node %s, was %s: %s',
            run.id,
            run.job_id,
            run.scheduled_at,
            run.node or "?",
            run.state,
            run.reason,
        )
        if run.state is RunState.LOST:
            for code in (EVENT_JOB_LOST, EVENT_JOB_ERROR):
                if self._audience._hears(code):
                    error = RuntimeError(run.reason)
                    late.append(
                        JobExecutionEvent(
                            code, run.job_id, alias, run.scheduled_at, exception=error
                        )
                    )

    def _is_old_news(self, run: Run, outcome: Outcome) -> bool:
        """Tell whether a failed submission has been told of, or is only the end of everything."""
        return outcome.refused and (
            run.kind is RunKind.RECOVERY or isinstance(outcome.exception, ShuttingDownError)
        )

    def _missed(self, alias: str, job: Job, run: Run) -> None:
        logger = logging.getLogger(f"apscheduler.executors.{job.executor}")
        late_by = run.opened_at - run.scheduled_at
        if run.count == 1:
            say(
                logger,
                logging.WARNING,
                'Run time of job "%s" was missed by %s: %s. Its misfire_grace_time is %s s; a '
                "longer one, or None, lets it run late",
                job,
                late_by,
                run.reason,
                job.misfire_grace_time,
            )
        else:
            say(
                logger,
                logging.WARNING,
                '%d run times of job "%s" from %s to %s were missed, the last by %s: %s. Its '
                "misfire_grace_time is %s s; a longer one, or None, lets it run late",
                run.count,
                job,
                run.first_scheduled_at,
                run.scheduled_at,
                late_by,
                run.reason,
                job.misfire_grace_time,
            )
        if self._audience._hears(EVENT_JOB_MISSED):
            for slot in self._slots(job, run):
                self._audience._dispatch_event(
                    JobExecutionEvent(EVENT_JOB_MISSED, job.id, alias, slot)
                )

    def _execution(
        self,
        code: int,
        alias: str,
        run: Run,
        *,
        retval: object = None,
        exception: BaseException | None = None,
        traceback: str | None = None,
    ) -> None:
        self._audience._dispatch_event(
            JobExecutionEvent(
                code, run.job_id, alias, run.scheduled_at, retval, exception, traceback
            )
        )

    def _slots(self, job: Job, run: Run) -> list[datetime]:
        """Return the run times that 3.x would have listed."""
        if run.count == 1 or job.coalesce:
            return [run.scheduled_at]
        return slots_between(trigger_of(job), run, MAX_SLOTS_TOLD)
