"""An executor that runs jobs on the event loop of an `AsyncIOScheduler`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Executor
from contextvars import Context, copy_context
from datetime import datetime
from functools import partial
from inspect import CO_COROUTINE, CORO_CREATED, getcoroutinestate, iscoroutinefunction
from types import CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from apscheduler import _fork
from apscheduler.clock import monotonic
from apscheduler.executors._coroutines import await_on
from apscheduler.executors._invoke import ainvoke, invoke
from apscheduler.executors.base import (
    Load,
    RunExecutor,
    ShuttingDownError,
    Work,
    run_coroutine_job,
    run_job,
)
from apscheduler.runs import Outcome, Run, RunState, started
from apscheduler.util import iscoroutinefunction_partial

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.schedulers.base import BaseScheduler

#: Seconds for which jobs that wait for nothing are run one after the other, before other tasks of
#: the event loop get a turn.
SLICE = 0.002
CANCELLED = "its task was cancelled"
SHUT_DOWN = "its executor was shut down"


class AsyncIOExecutor(RunExecutor):
    """Runs coroutine functions on the scheduler's event loop, and others in its default executor.

    Belongs to a scheduler that has an event loop. What a plain function returns is awaited on the
    loop too, if it can be.
    """

    _eventloop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        # Tasks of jobs that are waiting for something.
        self._pending_futures: set[asyncio.Future[Any]] = set()
        # What has not begun, in the contexts in which it was submitted, and who will see to it.
        self._queue: deque[tuple[Work, Context]] = deque()
        self._next: _Driver | None = None
        self._closed = False

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        super().start(scheduler, alias)
        self._eventloop = self._loop_of(scheduler)
        self._pending_futures = set()
        self._queue = deque()
        self._next = None
        self._closed = False

    def shutdown(self, wait: bool = True) -> None:
        """Cancel what is running.

        A plain function that has begun goes on in its thread, but nobody hears of its end.

        :param wait: without effect, since the loop would have to wait for itself; to wait for what
            is running, close the scheduler with `AsyncIOScheduler.aclose`
        """
        self._closed = True
        if not self._pending_futures and not self._queue:
            return
        # These, whoever starts the executor anew before the event loop comes to it.
        pending, queue = self._pending_futures, self._queue
        if self._eventloop.is_running() and not self._is_on_loop():
            self._eventloop.call_soon_threadsafe(_cancel_all, pending, queue)
        else:
            _cancel_all(pending, queue)

    def after_fork(self) -> None:
        super().after_fork()
        _fork.keep((self._pending_futures, self._queue, self._next))
        self._pending_futures = set()
        self._queue = deque()
        self._closed = True

    def load(self) -> Load:
        begun = len(self._pending_futures)
        return Load(workers=None, busy=begun + len(self._queue), queued=0)

    def submit_runs(self, work: Work) -> None:
        if self._closed:
            raise ShuttingDownError("the executor has been shut down")
        if self._is_on_loop():
            self._enqueue(work)
            return
        try:
            self._eventloop.call_soon_threadsafe(self._receive, work)
        except RuntimeError as exc:
            raise ShuttingDownError(str(exc)) from exc

    def _receive(self, work: Work) -> None:
        try:
            if self._closed:
                _cancelled(work, iter(work.runs))
            else:
                self._enqueue(work)
        except Exception as exc:
            self._refuse(work, exc)

    def _enqueue(self, work: Work) -> None:
        self._queue.append((work, copy_context()))
        self._call_driver()

    def _call_driver(self) -> None:
        if self._next is None and self._queue:
            self._next = _Driver(self)

    async def _drive(self, driver: _Driver) -> None:
        """Run what is queued, until something has to wait: from then on this is its task.

        A task for each job costs more than many a job. So those that wait for nothing share one;
        each still runs in a context of its own.
        """
        self._next = None
        until = monotonic() + SLICE
        try:
            while self._queue:
                work, context = self._queue.popleft()
                steps = self._run(work)
                try:
                    awaited = context.run(steps.send, None)
                except StopIteration:
                    # One that has cancelled its own task must not hit the next, not even if it
                    # has thought better of it: a task does not forget.
                    if driver.was_cancelled or monotonic() > until:
                        return
                    continue
                self._call_driver()
                driver.set_name(f"apscheduler job {work.job.id}")
                self._pending_futures.add(driver)
                try:
                    await _Rest(steps, context, awaited)
                finally:
                    self._pending_futures.discard(driver)
                return
        except (KeyboardInterrupt, SystemExit) as interrupt:
            # It is for the loop. Out of a task it would be told of once more when the task is
            # thrown away.
            self._eventloop.call_soon(_raise, interrupt)
        finally:
            self._call_driver()

    async def _run(self, work: Work) -> None:
        try:
            call = self._call_on_loop if self._is_async(work.job.func) else self._call_in_thread
        except Exception as exc:  # of an attribute of the function
            self._refuse(work, exc)
            return
        runs = iter(work.runs)
        for run in runs:
            if work.begins_with_a_write(run):
                begun = await asyncio.to_thread(work.begin, run)
            else:
                begun = work.begin(run)
            if begun is None:
                continue
            try:
                outcome = await call(work, begun)
            except GeneratorExit:  # the loop was closed, and this task with it
                outcome = Outcome(RunState.CANCELLED, begun.started_at, reason=CANCELLED)
            work.finish(begun, outcome)
            if outcome.state is RunState.CANCELLED:
                break
        _cancelled(work, runs)

    def _call_on_loop(self, work: Work, run: Run) -> Coroutine[Any, Any, Outcome]:
        return ainvoke(work.job, run, work.clock.now, self._logger)

    async def _call_in_thread(self, work: Work, run: Run) -> Outcome:
        try:
            threads = self._threads()
            return await self._eventloop.run_in_executor(threads, self._call_now, work, run)
        except asyncio.CancelledError as exc:
            return Outcome(RunState.CANCELLED, run.started_at, exception=exc, reason=CANCELLED)
        except Exception as exc:
            if self._closed:  # between two Runs of a batch
                return Outcome(RunState.CANCELLED, exception=exc, reason=SHUT_DOWN)
            reason = f"it was not submitted: {exc}"
            return Outcome(RunState.FAILED, exception=exc, reason=reason, refused=True)

    def _call_now(self, work: Work, run: Run) -> Outcome:
        now = work.clock.now
        # It may have waited for its thread.
        return invoke(work.job, started(run, now()), now, self._logger, self._await)

    def _await(self, awaitable: Awaitable[Any]) -> Any:
        return await_on(self._eventloop, awaitable)

    # -- for executors on loops that are asyncio's underneath -----------------------------------

    def _loop_of(self, scheduler: Any) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = scheduler._eventloop
        return loop

    def _threads(self) -> Executor | None:
        """Return where plain functions run, None for the default executor of the loop."""
        return None

    def _is_async(self, func: Callable[..., Any]) -> bool:
        return is_async(func)

    def _is_on_loop(self) -> bool:
        return asyncio._get_running_loop() is self._eventloop

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        def report(future: asyncio.Future[Any]) -> None:
            self._pending_futures.discard(future)
            exc = asyncio.CancelledError() if future.cancelled() else future.exception()
            if exc is not None:
                self._run_job_error(job.id, exc, exc.__traceback__)
            else:
                self._run_job_success(job.id, future.result())

        arguments = job, job._jobstore_alias, run_times, self._logger.name
        future: asyncio.Future[Any]
        if self._is_async(job.func):
            future = self._eventloop.create_task(run_coroutine_job(*arguments))
        else:
            future = self._eventloop.run_in_executor(self._threads(), run_job, *arguments)
        future.add_done_callback(report)
        self._pending_futures.add(future)


class _Driver(asyncio.Task[None]):
    """A task of `AsyncIOExecutor._drive`, which tells if it is cancelled before its first step."""

    def __init__(self, executor: AsyncIOExecutor) -> None:
        self._executor = executor
        self.was_cancelled = False
        super().__init__(executor._drive(self), loop=executor._eventloop)

    def cancel(self, msg: Any | None = None) -> bool:
        self.was_cancelled = True
        coroutine = self.get_coro()
        assert isinstance(coroutine, CoroutineType)
        if getcoroutinestate(coroutine) == CORO_CREATED:
            # The coroutine will never see this.
            if self._executor._next is self:
                self._executor._next = None
                _cancel_queued(self._executor._queue)
        elif self.get_loop().is_closed():
            # Nothing else will end it any more.
            coroutine.close()
            return False
        return super().cancel(msg)


class _Rest:
    """What is left of a coroutine that has been begun elsewhere, to be awaited."""

    def __init__(self, steps: Coroutine[Any, Any, None], context: Context, awaited: Any) -> None:
        self._steps = steps
        self._context = context
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        run, steps, awaited = self._context.run, self._steps, self._awaited
        while True:
            try:
                try:
                    answer = yield awaited
                except BaseException as error:
                    awaited = run(steps.throw, error)
                else:
                    awaited = run(steps.send, answer)
            except StopIteration:
                return


def is_async(func: Callable[..., Any]) -> bool:
    """Tell whether calling ``func`` makes a coroutine, and so takes no time."""
    if isinstance(func, (FunctionType, MethodType)):
        # Nearly always; to look closer takes several times as long. A method may be of anything.
        code = getattr(func, "__code__", None)
        if code is not None and code.co_flags & CO_COROUTINE:
            return True
    func = innermost(func)
    return iscoroutinefunction_partial(func) or iscoroutinefunction(type(func).__call__)


def innermost(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a partial, or a partial of one, calls in the end."""
    while isinstance(func, partial):
        func = func.func
    return func


def _cancel_all(pending: set[asyncio.Future[Any]], queue: deque[tuple[Work, Context]]) -> None:
    for future in list(pending):
        future.cancel()
    pending.clear()
    _cancel_queued(queue)


def _cancel_queued(queue: deque[tuple[Work, Context]]) -> None:
    while queue:
        work, _ = queue.popleft()
        _cancelled(work, iter(work.runs))


def _raise(error: BaseException) -> None:
    raise error


def _cancelled(work: Work, runs: Iterator[Run]) -> None:
    for run in runs:
        begun = work.begin(run)
        if begun is not None:
            work.finish(begun, Outcome(RunState.CANCELLED, reason=CANCELLED))
