"""An executor that runs jobs in line."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING

from apscheduler.executors._invoke import invoke
from apscheduler.executors.base import RunExecutor, Work, run_job
from apscheduler.runs import Outcome, RunState

if TYPE_CHECKING:
    from apscheduler.job import Job


class DebugExecutor(RunExecutor):
    """Runs each job at once, in the thread that submits it.

    In the main thread, a `KeyboardInterrupt` or `SystemExit` of a job ends the Run as failed, and
    is raised again.
    """

    def submit_runs(self, work: Work) -> None:
        assert self._scheduler is not None
        interrupt: BaseException | None = None
        for run in work.runs:
            started = work.begin(run)
            if started is None:
                continue
            if interrupt is not None:
                reason = "the run before it was interrupted"
                work.finish(started, Outcome(RunState.CANCELLED, reason=reason))
                continue
            outcome = invoke(
                work.job, started, work.clock.now, self._logger, self._scheduler._await
            )
            work.finish(started, outcome)
            if isinstance(outcome.exception, (KeyboardInterrupt, SystemExit)) and (
                threading.current_thread() is threading.main_thread()
            ):
                interrupt = outcome.exception
        if interrupt is not None:
            raise interrupt

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        try:
            events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
        except BaseException as exc:
            self._run_job_error(job.id, exc, exc.__traceback__)
        else:
            self._run_job_success(job.id, events)
