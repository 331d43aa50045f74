"""What every executor has in common, and the contract for executors of third parties."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cache
from traceback import format_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from apscheduler import clock
from apscheduler.clock import UTC, Clock
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
)
from apscheduler.executors._invoke import ainvoke, await_alone, invoke
from apscheduler.runs import Outcome, Run, RunKind, RunState, value

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.schedulers.base import BaseScheduler


class MaxInstancesReachedError(Exception):
    """A job already has as many instances running as it may.

    :param job: the job that was submitted
    """

    def __init__(self, job: Job) -> None:
        super().__init__(
            f'Job "{job.id}" has already reached its maximum number of instances '
            f"({job.max_instances})"
        )


class ShuttingDownError(RuntimeError):
    """An executor takes no more work, because it or the interpreter is on its way out.

    :param message: what the executor said
    :param interpreter: whether it is the interpreter that is ending
    """

    def __init__(self, message: str, interpreter: bool = False) -> None:
        super().__init__(message)
        self.interpreter = interpreter


class Work(Protocol):
    """One submission to an executor: a Run, or the members of a batch, of one job.

    `begin` and `finish` never raise, and may be called in any thread.

    :ivar job: what to call
    :ivar runs: one Run, or the members of a batch in the order in which they are to run
    :ivar clock: the scheduler's clock
    """

    job: Job

    @property
    def runs(self) -> Sequence[Run]: ...

    @property
    def clock(self) -> Clock: ...

    def begins_with_a_write(self, run: Run) -> bool:
        """Tell whether `begin` may keep the caller waiting: an event loop must not be."""

    def begin(self, run: Run) -> Run | None:
        """Return ``run`` as started, or None if it was cancelled meanwhile and is to be skipped.

        An executor calls this right before it runs the job.
        """

    def finish(self, run: Run, outcome: Outcome) -> None:
        """Report the end of a Run; called exactly once for each Run that was begun."""


@value
class Load:
    """How busy an executor is.

    :ivar workers: how many submissions it runs at once; None if there is no limit
    :ivar busy: how many are being run
    :ivar queued: how many wait for a worker
    """

    workers: int | None
    busy: int
    queued: int


class BaseExecutor(ABC):
    """Runs the jobs that a scheduler submits, and counts how many of each are running.

    A subclass implements `_do_submit_job`, and calls one of `_run_job_success` and
    `_run_job_error` for each submission that it has taken.
    """

    _scheduler: BaseScheduler | None = None
    _lock: AbstractContextManager[Any] | None = None
    _logger: logging.Logger = logging.getLogger("apscheduler.executors")
    _alias: str | None = None

    def __init__(self) -> None:
        self._instances: defaultdict[str, int] = defaultdict(int)
        self._pid = os.getpid()

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        """Get ready to take jobs.

        :param scheduler: the scheduler that is starting this executor
        :param alias: the name under which the scheduler knows it
        """
        if self._pid != os.getpid():
            self.after_fork()
        self._scheduler = scheduler
        self._lock = scheduler._create_lock()
        self._alias = alias
        self._logger = logging.getLogger(f"apscheduler.executors.{alias}")

    def shutdown(self, wait: bool = True) -> None:  # noqa: B027
        """Take no more jobs.

        :param wait: whether to return only when the running and queued ones have ended
        """

    def after_fork(self) -> None:
        """Let go, in a child process that was just forked off, of what belongs to the parent.

        That is everything that was running, and every lock and connection. An extension must not
        wait, take a lock or log. `start` may follow.
        """
        self._pid = os.getpid()
        self._instances.clear()
        if self._lock is not None and self._scheduler is not None:
            self._lock = self._scheduler._create_lock()

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Run a job once for each of ``run_times``, one after the other.

        :param job: the job
        :param run_times: aware datetimes for which the runs were scheduled
        :raises MaxInstancesReachedError: if as many submissions of the job are running already as
            its ``max_instances`` allows
        """
        assert self._lock is not None, "This executor has not been started yet"
        with self._lock:
            if self._instances.get(job.id, 0) >= job.max_instances:
                raise MaxInstancesReachedError(job)
            # Before it is submitted: an inline job has ended when that returns.
            self._instances[job.id] += 1
            try:
                self._do_submit_job(job, run_times)
            except BaseException:
                self._count_down(job.id)
                raise

    def room(self) -> int | None:
        """Return how many more submissions can start within about a second; None: any number."""
        return None

    def load(self) -> Load | None:
        """Return how busy this executor is, None if it cannot tell."""
        return None

    @abstractmethod
    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Arrange for `run_job` to be called, and for its result to be reported."""

    def _run_job_success(self, job_id: str, events: list[JobExecutionEvent]) -> None:
        """Report a submission that has run, with the events that `run_job` returned."""
        self._count_down(job_id)
        scheduler: Any = self._scheduler
        succeeded = getattr(scheduler, "_submission_succeeded", None)
        if succeeded is not None:
            succeeded(self._alias, job_id, events)
        for event in events:
            scheduler._dispatch_event(event)

    def _run_job_error(
        self, job_id: str, exc: BaseException, traceback: TracebackType | None = None
    ) -> None:
        """Report a submission that could not be run, or whose result could not be had."""
        self._count_down(job_id)
        self._logger.error("Error running job %s", job_id, exc_info=(type(exc), exc, traceback))
        failed = getattr(self._scheduler, "_submission_failed", None)
        if failed is not None:
            text = "".join(format_tb(traceback)) if traceback is not None else None
            failed(self._alias, job_id, exc, text)

    def _count_down(self, job_id: str) -> None:
        assert self._lock is not None
        with self._lock:
            left = self._instances.get(job_id, 0) - 1
            if left > 0:
                self._instances[job_id] = left
            else:
                self._instances.pop(job_id, None)


class RunExecutor(BaseExecutor):
    """An executor that is handed Runs, and reports on each of them."""

    @abstractmethod
    def submit_runs(self, work: Work) -> None:
        """Take one submission, without counting instances.

        Every Run that begins is reported, also if the executor fails. If this raises an
        `Exception`, the whole submission was refused: nothing of it runs or is reported.

        :raises ShuttingDownError: if no work is taken any more
        """

    def _refuse(self, work: Work, cause: BaseException) -> None:
        """Report a submission that was taken, but can never be run."""
        self._logger.error("Error running job %s", work.job.id, exc_info=cause)
        reason = f"it was not submitted: {cause!r}"
        outcome = Outcome(RunState.FAILED, exception=cause, reason=reason, refused=True)
        for run in work.runs:
            begun = work.begin(run)
            if begun is not None:
                work.finish(begun, outcome)


class ManyRunsExecutor(RunExecutor):
    """One for which it is easier to take many submissions at a time than one by one."""

    @abstractmethod
    def submit_all(self, works: Iterator[Work]) -> None:
        """Take several submissions, all of them or, if this raises, none.

        They have been taken when they are out of the iterator, also if an interrupt comes then.

        :raises ShuttingDownError: if no work is taken any more
        """


_METHODS_OF_3X = frozenset(("submit_job", "_do_submit_job", "_run_job_success", "_run_job_error"))
_METHODS_FOR_ONE = _METHODS_OF_3X | {"submit_runs"}


def takes_runs(executor: BaseExecutor) -> TypeGuard[RunExecutor]:
    """Tell whether `RunExecutor.submit_runs` may be used in place of `submit_job`.

    Not so where somebody has redefined one of the methods through which 3.x drives an executor,
    in a subclass or on the instance: that redefinition is to be called.
    """
    return _class_takes_runs(type(executor)) and _METHODS_OF_3X.isdisjoint(vars(executor))


@cache
def _class_takes_runs(cls: type[BaseExecutor]) -> bool:
    for space in map(vars, cls.__mro__):
        if "submit_runs" in space:
            return space["submit_runs"] is not RunExecutor.submit_runs
        if not _METHODS_OF_3X.isdisjoint(space):
            return False
    return False


def takes_many(executor: BaseExecutor) -> TypeGuard[ManyRunsExecutor]:
    """Tell whether `ManyRunsExecutor.submit_all` may be used in place of `submit_runs`.

    Not so where somebody has redefined what would be called otherwise.
    """
    return _class_takes_many(type(executor)) and _METHODS_FOR_ONE.isdisjoint(vars(executor))


@cache
def _class_takes_many(cls: type[BaseExecutor]) -> bool:
    for space in map(vars, cls.__mro__):
        if "submit_all" in space:
            return True
        if not _METHODS_FOR_ONE.isdisjoint(space):
            return False
    return False


def run_job(
    job: Job, jobstore_alias: str | None, run_times: list[datetime], logger_name: str
) -> list[JobExecutionEvent]:
    """Run a job once for each of ``run_times``, and return an event for each.

    A run that is later than the job's ``misfire_grace_time`` is left out as missed. What the
    function returns is awaited if it can be.

    :param job: the job
    :param jobstore_alias: alias of its job store, for the events
    :param run_times: aware datetimes for which the runs were scheduled
    :param logger_name: name of the logger of the executor
    """
    logger = logging.getLogger(logger_name)
    now = _clock_of(job).now
    events = []
    for run_time in run_times:
        event = _missed(job, jobstore_alias, run_time, now(), logger)
        if event is None:
            run = run_as_told(job, run_time, now())
            outcome = invoke(job, run, now, logger, await_alone)
            event = _ended(job, jobstore_alias, run_time, outcome)
        events.append(event)
    return events


async def run_coroutine_job(
    job: Job, jobstore_alias: str | None, run_times: list[datetime], logger_name: str
) -> list[JobExecutionEvent]:
    """Do the same as `run_job` on the running event loop."""
    logger = logging.getLogger(logger_name)
    now = _clock_of(job).now
    events = []
    for run_time in run_times:
        event = _missed(job, jobstore_alias, run_time, now(), logger)
        if event is None:
            run = run_as_told(job, run_time, now())
            outcome = await ainvoke(job, run, now, logger)
            event = _ended(job, jobstore_alias, run_time, outcome)
        events.append(event)
    return events


def _clock_of(job: Job) -> Clock:
    """Return the clock of a job's scheduler, or that in force here, as in a worker process."""
    scheduler = getattr(job, "_scheduler", None)
    # A stand-in for a scheduler, as tests of executors have it, may answer with anything.
    known: Clock | None = getattr(scheduler, "__dict__", {}).get("_clock")
    return clock.ambient() if known is None else known


def _missed(
    job: Job,
    jobstore_alias: str | None,
    run_time: datetime,
    now: datetime,
    logger: logging.Logger,
) -> JobExecutionEvent | None:
    if job.misfire_grace_time is None:
        return None
    late = now - run_time.astimezone(UTC)
    if late <= timedelta(seconds=job.misfire_grace_time):
        return None
    logger.warning('Run time of job "%s" was missed by %s', job, late)
    return JobExecutionEvent(EVENT_JOB_MISSED, job.id, jobstore_alias, run_time)


def _ended(
    job: Job, jobstore_alias: str | None, run_time: datetime, outcome: Outcome
) -> JobExecutionEvent:
    code = EVENT_JOB_EXECUTED if outcome.state is RunState.SUCCEEDED else EVENT_JOB_ERROR
    return JobExecutionEvent(
        code,
        job.id,
        jobstore_alias,
        run_time,
        outcome.value,
        outcome.exception,
        outcome.traceback,
    )


def run_as_told(
    job: Job,
    scheduled_at: datetime,
    started_at: datetime,
    run_id: str = "",
    attempt: int = 1,
) -> Run:
    """Return so much of a Run as its function can learn, where the Run itself is not at hand.

    In a worker process it has been left behind; an executor of a third party is not told of it,
    and then it has no id.
    """
    return Run(
        id=run_id,
        job_id=job.id,
        state=RunState.RUNNING,
        kind=RunKind.SLOT,
        scheduled_at=scheduled_at,
        first_scheduled_at=scheduled_at,
        opened_at=started_at,
        batch=run_id,
        job_name=job.name,
        jobstore="",
        executor=job.executor,
        node="",
        incarnation="",
        attempt=attempt,
        started_at=started_at,
    )
