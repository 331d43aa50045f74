"""An executor that runs jobs in greenlets."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apscheduler.executors._greenlets import (
    Greenlet,
    GreenletExit,
    call_in,
    get_hub,
    getcurrent,
    is_here,
    joinall,
    post,
    sleep,
    spawn,
)
from apscheduler.executors._invoke import invoke
from apscheduler.executors.base import Load, RunExecutor, ShuttingDownError, Work, run_job
from apscheduler.runs import Outcome, Run, RunState

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.schedulers.base import BaseScheduler

KILLED = "its greenlet was killed"


class GeventExecutor(RunExecutor):
    """Runs each job in a greenlet of its own, of the thread in which the scheduler was started.

    What a job returns is awaited on an event loop of the scheduler's, if it can be, while other
    greenlets go on. gevent need not have patched anything.
    """

    _hub: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[Work, _WorkGreenlet | None] = {}
        self._closed = False

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        super().start(scheduler, alias)
        # It may be added to a running scheduler by another thread, in which nothing would run.
        self._hub = getattr(scheduler, "_hub", None) or get_hub()
        self._open = {}
        self._closed = False

    def shutdown(self, wait: bool = True) -> None:
        self._closed = True
        if wait and self._open:
            me = getcurrent()
            call_in(self._hub, lambda: self._join(me))

    def after_fork(self) -> None:
        super().after_fork()
        self._open = {}
        self._closed = True

    def _join(self, me: Any) -> None:
        while others := [task for task in self._open.values() if task is not me]:
            # What another thread has submitted has no greenlet before the hub comes to it.
            joinall([task for task in others if task is not None])
            sleep(0)

    def load(self) -> Load:
        return Load(workers=None, busy=len(self._open), queued=0)

    def submit_runs(self, work: Work) -> None:
        if self._closed:
            raise ShuttingDownError("the executor has been shut down")
        self._open[work] = None
        if is_here(self._hub):
            self._spawn(work)
        else:
            post(self._hub, self._spawn, work)

    def _spawn(self, work: Work) -> None:
        task = self._open[work] = _WorkGreenlet(self, work)
        task.link(self._ended)
        task.start()

    def _ended(self, task: _WorkGreenlet) -> None:
        try:
            # Empty, unless it was killed: before it began, or while it reported.
            task.cancel_rest(KILLED)
        finally:
            self._open.pop(task.work, None)

    def _call(self, work: Work, run: Run) -> Outcome:
        assert self._scheduler is not None
        return invoke(work.job, run, work.clock.now, self._logger, self._scheduler._await)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        def report(greenlet: Greenlet) -> None:
            try:
                events = greenlet.get()
                if isinstance(events, GreenletExit):
                    raise events
            except BaseException as exc:
                self._run_job_error(job.id, exc, exc.__traceback__)
            else:
                self._run_job_success(job.id, events)

        def start() -> None:
            spawn(run_job, job, alias, run_times, self._logger.name).link(report)

        alias = job._jobstore_alias
        if is_here(self._hub):
            start()
        else:
            post(self._hub, start)


class _WorkGreenlet(Greenlet):  # type: ignore[misc]
    """Runs one Work, and knows what is left of it to be reported."""

    def __init__(self, executor: GeventExecutor, work: Work) -> None:
        super().__init__()
        self.work = work
        self._executor = executor
        self._left = deque(work.runs)

    def _run(self) -> None:
        work, left = self.work, self._left
        while left:
            begun = work.begin(left[0])
            if begun is not None:
                outcome = self._executor._call(work, begun)
                work.finish(begun, outcome)
                if isinstance(outcome.exception, GreenletExit):
                    left.popleft()
                    self.cancel_rest(KILLED)
                    return
            left.popleft()

    def cancel_rest(self, reason: str) -> None:
        while self._left:
            begun = self.work.begin(self._left[0])
            if begun is not None:
                self.work.finish(begun, Outcome(RunState.CANCELLED, reason=reason))
            self._left.popleft()
