"""Executors that run jobs in worker threads, or in worker processes."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures import ThreadPoolExecutor as ThreadPool
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apscheduler import clock
from apscheduler._fork import disown_threads
from apscheduler.executors._invoke import await_alone, invoke
from apscheduler.executors._workqueue import WorkQueue
from apscheduler.executors.base import (
    BaseExecutor,
    Load,
    ManyRunsExecutor,
    Work,
    run_as_told,
    run_job,
)
from apscheduler.runs import Outcome, Run, RunState

if TYPE_CHECKING:
    from apscheduler.executors._processes import ProcessPool
    from apscheduler.job import Job
    from apscheduler.schedulers.base import BaseScheduler


class BasePoolExecutor(BaseExecutor):
    """Runs jobs on any executor of the kind that `concurrent.futures` defines.

    :param pool: that executor
    """

    @abstractmethod
    def __init__(self, pool: Executor) -> None:
        super().__init__()
        self._pool = pool

    def shutdown(self, wait: bool = True) -> None:
        self._pool.shutdown(wait)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        def report(future: Future[Any]) -> None:
            exc = CancelledError() if future.cancelled() else future.exception()
            if exc is not None:
                self._run_job_error(job.id, exc, exc.__traceback__)
            else:
                self._run_job_success(job.id, future.result())

        alias = job._jobstore_alias
        future = self._pool.submit(run_job, job, alias, run_times, self._logger.name)
        future.add_done_callback(report)


class _WorkerExecutor(BasePoolExecutor, ManyRunsExecutor):
    """What the thread and the process pool share: a queue of Works, and a life after shutdown."""

    def __init__(self, max_workers: int | str) -> None:
        self._max_workers = int(max_workers)
        super().__init__(self._new_pool())
        self._works = self._new_queue()

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        super().start(scheduler, alias)
        if self._works.closed:
            self._renew()

    def shutdown(self, wait: bool = True) -> None:
        self._works.close()
        super().shutdown(wait)

    def after_fork(self) -> None:
        super().after_fork()
        self._works.after_fork()
        self._abandon(self._pool)
        self._renew()

    def submit_runs(self, work: Work) -> None:
        self._works.put(work)

    def submit_all(self, works: Iterator[Work]) -> None:
        self._works.put_all(works)

    def room(self) -> int:
        return self._works.room()

    def load(self) -> Load:
        return self._works.load()

    def _renew(self) -> None:
        self._pool = self._new_pool()
        self._works = self._new_queue()

    def _new_queue(self) -> WorkQueue:
        return WorkQueue(self._max_workers, self._submit_drainer, self._call, self._refuse)

    @abstractmethod
    def _new_pool(self) -> Executor: ...

    @abstractmethod
    def _abandon(self, pool: Any) -> None: ...

    @abstractmethod
    def _submit_drainer(self, drain: Callable[[], None]) -> Future[None]: ...

    @abstractmethod
    def _call(self, work: Work, run: Run) -> Outcome: ...


class ThreadPoolExecutor(_WorkerExecutor):
    """Runs jobs in threads.

    What a job returns is awaited on an event loop of the scheduler's, if it can be. A job that
    has begun is never interrupted. At the end of the interpreter, running and queued jobs are
    finished first.

    :param max_workers: how many jobs run at once
    :param pool_kwargs: further arguments of `concurrent.futures.ThreadPoolExecutor`
    :raises ValueError: if ``max_workers`` is not a positive number
    """

    def __init__(
        self, max_workers: int | str = 10, pool_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self._pool_kwargs = dict(pool_kwargs or {})
        super().__init__(max_workers)

    def _new_pool(self) -> ThreadPool:
        return ThreadPool(self._max_workers, **self._pool_kwargs)

    def _abandon(self, pool: ThreadPool) -> None:
        disown_threads(pool)

    def _submit_drainer(self, drain: Callable[[], None]) -> Future[None]:
        return self._pool.submit(drain)

    def _call(self, work: Work, run: Run) -> Outcome:
        return invoke(work.job, run, work.clock.now, self._logger, self._await)

    def _await(self, awaitable: Awaitable[Any]) -> Any:
        assert self._scheduler is not None
        return self._scheduler._await(awaitable)


class ProcessPoolExecutor(_WorkerExecutor):
    """Runs jobs in processes.

    The job, what it returns and what it raises must be picklable, and its callable must be
    importable in the process. A process that dies costs the run that it was at, which ends failed
    and names the cause; the process is replaced. Processes are started as they are needed.

    :param max_workers: how many jobs run at once
    :param pool_kwargs: ``mp_context`` (by default processes are spawned, on every platform),
        ``initializer``, ``initargs`` and ``max_tasks_per_child``, which mean what they mean to
        `concurrent.futures.ProcessPoolExecutor`
    :raises ValueError: if ``max_workers`` is not a positive number
    """

    _pool: ProcessPool

    def __init__(
        self, max_workers: int | str = 10, pool_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        import multiprocessing

        self.pool_kwargs = dict(pool_kwargs or {})
        self.pool_kwargs.setdefault("mp_context", multiprocessing.get_context("spawn"))
        super().__init__(max_workers)

    def _new_pool(self) -> ProcessPool:
        from apscheduler.executors._processes import ProcessPool

        return ProcessPool(self._max_workers, **self.pool_kwargs)

    def _abandon(self, pool: ProcessPool) -> None:
        pool.after_fork()

    def _submit_drainer(self, drain: Callable[[], None]) -> Future[None]:
        return self._pool.threads.submit(drain)

    def _call(self, work: Work, run: Run) -> Outcome:
        from apscheduler.executors._processes import WorkerDiedError

        started_at = run.started_at or run.opened_at
        told = run.scheduled_at, started_at, run.id, run.attempt
        try:
            value, exception, traceback = self._pool.call(
                run_in_process, work.job, told, self._logger.name
            )
        except BaseException as exc:
            if isinstance(exc, WorkerDiedError):
                self._logger.warning(
                    "Process pool is broken; replacing pool with a fresh instance"
                )
            self._logger.error("Error running job %s", work.job.id, exc_info=exc)
            return Outcome(
                RunState.FAILED, started_at, work.clock.now(), exception=exc, reason=str(exc)
            )
        state = RunState.FAILED if exception is not None else RunState.SUCCEEDED
        # By the scheduler's clock, which need not be that of the process.
        return Outcome(state, started_at, work.clock.now(), value, exception, traceback)


def run_in_process(
    job: Job, told: tuple[datetime, datetime, str, int], logger_name: str
) -> tuple[Any, BaseException | None, str | None]:
    """Run a job in a worker process; return its value, or its exception and where it was raised.

    :param told: when the Run was scheduled and started, its id, and which attempt it is
    """
    from apscheduler.executors._processes import portable

    run = run_as_told(job, *told)
    outcome = invoke(job, run, clock.now, logging.getLogger(logger_name), await_alone)
    exception = None if outcome.exception is None else portable(outcome.exception)
    return outcome.value, exception, outcome.traceback
