"""Submissions to executors that know nothing of Runs, and report by job id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED
from apscheduler.runs import Outcome, Run, RunKind, RunState

if TYPE_CHECKING:
    from apscheduler.events import JobExecutionEvent
    from apscheduler.executors.base import Work
    from apscheduler.job import Job

_UNREPORTED = Outcome(RunState.FAILED, reason="its executor ended without a report of it")


class Submissions:
    """Open submissions by executor and job id, oldest first."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], list[Work]] = {}
        self._lock = RLock()

    def add(self, executor: str, work: Work) -> None:
        """Note a submission, before it is made: an inline executor reports at once."""
        with self._lock:
            self._open.setdefault((executor, work.job.id), []).append(work)

    def take(self, executor: str, work: Work) -> None:
        """Forget a submission that failed."""
        with self._lock:
            self._remove((executor, work.job.id), work)

    def take_oldest(self, executor: str, job_id: str) -> Work | None:
        """Take out the submission of a job that was made first."""
        return self.take_reported(executor, job_id, {})

    def take_reported(
        self, executor: str, job_id: str, outcomes: Mapping[float, Outcome]
    ) -> Work | None:
        """Take out the submission that outcomes are about, or else the oldest."""
        key = executor, job_id
        with self._lock:
            submissions = self._open.get(key, [])
            for work in submissions:
                if any(run.scheduled_at.timestamp() in outcomes for run in work.runs):
                    break
            else:
                if not submissions:
                    return None
                work = submissions[0]
            self._remove(key, work)
            return work

    def _remove(self, key: tuple[str, str], work: Work) -> None:
        submissions = self._open.get(key, [])
        if work in submissions:
            submissions.remove(work)
        if not submissions:
            self._open.pop(key, None)


def as_submitted(job: Job, runs: Sequence[Run]) -> Job:
    """Return the job that an executor is to get: for a recovery, one that is never too late.

    Such executors call `run_job`, which has nothing but the job's grace time to judge by.
    """
    if job.misfire_grace_time is None or all(run.kind is not RunKind.RECOVERY for run in runs):
        return job
    twin = job._twin()
    twin.misfire_grace_time = None
    return twin


def outcomes_of(events: Sequence[JobExecutionEvent]) -> dict[float, Outcome]:
    """Return what events say became of Runs, by the timestamps these were scheduled for."""
    return {event.scheduled_run_time.timestamp(): _outcome_of(event) for event in events}


def outcome_for(run: Run, outcomes: Mapping[float, Outcome]) -> Outcome:
    """Return what became of a Run."""
    return outcomes.get(run.scheduled_at.timestamp(), _UNREPORTED)


def _outcome_of(event: JobExecutionEvent) -> Outcome:
    if event.code == EVENT_JOB_MISSED:
        return Outcome(RunState.MISSED, reason="its executor reported it as missed")
    if event.code == EVENT_JOB_ERROR:
        return Outcome(RunState.FAILED, exception=event.exception, traceback=event.traceback)
    return Outcome(RunState.SUCCEEDED, value=event.retval)
