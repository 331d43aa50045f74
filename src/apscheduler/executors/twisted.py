"""An executor that runs jobs on the reactor of a `TwistedScheduler`, and in its threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from datetime import datetime
from threading import Condition
from typing import TYPE_CHECKING, Any, Final

from apscheduler.executors._invoke import ainvoke
from apscheduler.executors.asyncio import is_async
from apscheduler.executors.base import (
    Load,
    RunExecutor,
    ShuttingDownError,
    Work,
    run_coroutine_job,
    run_job,
)
from apscheduler.runs import Run

try:
    from twisted.internet.defer import Deferred
    from twisted.python import threadable
except ImportError as error:
    raise ImportError("TwistedExecutor needs Twisted: pip install apscheduler[twisted]") from error

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.schedulers.base import BaseScheduler

#: Seconds after which somebody who waits looks whether the reactor is still there.
LOOK_AGAIN: Final = 0.5


class TwistedExecutor(RunExecutor):
    """Runs coroutine functions in the reactor's thread, others in the threads of its pool.

    Belongs to a scheduler that has a reactor. A coroutine function may await Deferreds. What a
    plain function returns is awaited in the reactor's thread, if it can be; a Deferred can.
    """

    def __init__(self) -> None:
        super().__init__()
        self._closed = False
        self._busy = 0
        self._idle = Condition()
        self._has_run = False

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        super().start(scheduler, alias)
        host: Any = scheduler
        self._reactor = host._reactor
        self._closed = False

    def shutdown(self, wait: bool = True) -> None:
        """Take no more jobs; those that are running go on.

        :param wait: whether to wait for them; in the reactor's thread this has no effect, since
            they may need the reactor
        """
        self._closed = True
        is_in_reactor: Callable[[], bool] = threadable.isInIOThread
        if wait and self._busy and not is_in_reactor():
            with self._idle:
                while self._busy and self._reactor.running:
                    self._idle.wait(LOOK_AGAIN)

    def after_fork(self) -> None:
        super().after_fork()
        self._busy = 0
        self._idle = Condition()

    def load(self) -> Load:
        return Load(workers=None, busy=self._busy, queued=0)

    def submit_runs(self, work: Work) -> None:
        if self._closed:
            raise ShuttingDownError("the executor has been shut down")
        if self._reactor.running:
            self._has_run = True
        elif self._has_run:
            raise ShuttingDownError("the reactor has ended, and does not run a second time")
        with self._idle:
            self._busy += 1
        self._go_on(work, deque(work.runs))

    def _pool(self) -> Any:
        return self._reactor.getThreadPool()

    def _go_on(self, work: Work, runs: deque[Run]) -> None:
        """Let the Runs that are left of a Work run where they belong."""
        if not runs:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()
        elif is_async(work.job.func):
            self._reactor.callFromThread(self._run_on_reactor, work, runs)
        else:
            self._pool().callInThread(self._run_in_thread, work, runs)

    def _run_on_reactor(self, work: Work, runs: deque[Run]) -> None:
        self._finish_on_reactor(self._run_one(work, runs.popleft()), work, runs)

    def _run_in_thread(self, work: Work, runs: deque[Run]) -> None:
        while runs:
            context = copy_context()
            run = self._run_one(work, runs.popleft(), _on_reactor)
            if not context.run(_ends_at_once, run):
                # Somebody else can have the thread while it waits.
                self._reactor.callFromThread(context.run, self._finish_on_reactor, run, work, runs)
                return
        self._go_on(work, runs)

    def _finish_on_reactor(
        self, run: Coroutine[Any, Any, None], work: Work, runs: deque[Run]
    ) -> None:
        Deferred.fromCoroutine(run).addBoth(lambda _: self._go_on(work, runs))

    async def _run_one(
        self,
        work: Work,
        run: Run,
        await_: Callable[[Awaitable[Any]], Awaitable[Any]] | None = None,
    ) -> None:
        begun = work.begin(run)
        if begun is not None:
            outcome = await ainvoke(work.job, begun, work.clock.now, self._logger, await_)
            work.finish(begun, outcome)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        def succeeded(events: Any) -> None:
            self._run_job_success(job.id, events)

        def failed(failure: Any) -> None:
            self._run_job_error(job.id, failure.value, failure.tb)

        def run() -> None:
            coroutine = run_coroutine_job(*arguments)
            Deferred.fromCoroutine(coroutine).addCallbacks(succeeded, failed)

        def report(success: bool, result: Any) -> None:
            (succeeded if success else failed)(result)

        arguments = job, job._jobstore_alias, run_times, self._logger.name
        if is_async(job.func):
            self._reactor.callFromThread(run)
        else:
            self._pool().callInThreadWithCallback(report, run_job, *arguments)


class _Change:
    """Awaited, it suspends a coroutine, so that another thread can go on with it."""

    def __await__(self) -> Generator[_Change, None, None]:
        yield self


async def _on_reactor(awaitable: Awaitable[Any]) -> Any:
    await _Change()
    return await awaitable


def _ends_at_once(coroutine: Coroutine[Any, Any, None]) -> bool:
    """Let a coroutine run until it ends or wants to change threads; return whether it ended."""
    try:
        coroutine.send(None)
    except StopIteration:
        return True
    return False
