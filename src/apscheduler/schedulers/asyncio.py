"""A scheduler on an asyncio event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from functools import wraps
from threading import Thread
from typing import Any, Self

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers._core import seconds_given
from apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler
from apscheduler.util import maybe_ref

#: Seconds for which due jobs are handed over before other tasks of the event loop get a turn.
SLICE = 0.005


def run_in_event_loop(method: Callable[..., Any]) -> Callable[..., None]:
    """Let a method be called from any thread, and carried out on the event loop."""

    @wraps(method)
    def schedule(self: AsyncIOScheduler, *args: Any, **kwargs: Any) -> None:
        loop = self._eventloop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(lambda: method(self, *args, **kwargs))

    return schedule


class AsyncIOScheduler(BaseScheduler):
    """Runs on an asyncio event loop: coroutine functions there, other functions in threads.

    Takes the options of `BaseScheduler`, and:

    :param event_loop: the event loop to run on, or a reference to it; by default the one that is
        running when the scheduler is started

    ``async with AsyncIOScheduler() as scheduler:`` starts the scheduler, and shuts it down when
    the block is left, after the jobs that are running have ended.
    """

    _eventloop: asyncio.AbstractEventLoop | None = None
    _timeout: asyncio.TimerHandle | None = None
    _closing = False
    _woken = False

    def __init__(self, gconfig: Mapping[str, Any] = {}, **options: Any) -> None:
        self._listening: set[asyncio.Future[Any]] = set()
        super().__init__(gconfig, **options)

    def _configure(self, config: dict[str, Any]) -> None:
        event_loop = maybe_ref(config.pop("event_loop", None))
        super()._configure(config)
        self._eventloop = event_loop

    def start(self, paused: bool = False) -> None:
        """Start on the event loop.

        :param paused: if true, run no job until `resume` is called
        :raises RuntimeError: if no event loop is running, and none was given
        """
        if self._eventloop is None or self._eventloop.is_closed():
            self._eventloop = asyncio.get_running_loop()
        self._woken = False
        self._context = copy_context()
        super().start(paused)

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        """Stop, as soon as the event loop comes to it; coroutines that are running are cancelled.

        :param wait: has no effect here, since waiting would keep the event loop from finishing
            what is waited for; use `aclose`
        :param timeout: likewise
        :raises SchedulerNotRunningError: if the scheduler is stopped
        """
        if timeout is not None:
            seconds_given("timeout", timeout)
        loop = self._enter_closing()
        if loop is None or loop.is_closed():
            self._shut_down()
        else:
            loop.call_soon_threadsafe(self._shut_down)

    async def aclose(self, timeout: float | None = None) -> None:
        """Take no more jobs, wait for those that are running to end, and shut down.

        Called from inside a job, it does not wait for that job.

        :param timeout: for how many seconds to wait at most, before what still runs is cancelled;
            None for as long as it takes
        :raises SchedulerNotRunningError: if the scheduler is stopped
        """
        if timeout is not None:
            timeout = seconds_given("timeout", timeout)
        self._enter_closing()
        self._loop.stopping = True
        loop = asyncio.get_running_loop()
        idle = loop.create_future()

        def wait(inside: str | None) -> None:
            self._loop.runner.wait_until_idle(timeout, but=inside)
            try:
                loop.call_soon_threadsafe(end_waiting)
            except RuntimeError:
                pass  # The event loop was closed, and nobody waits any more.

        def end_waiting() -> None:
            if not idle.done():
                idle.set_result(None)

        # A thread of its own: those of the event loop may all be busy with what is waited for.
        Thread(target=wait, args=(self._loop.runner.here(),), daemon=True).start()
        try:
            await idle
        finally:
            self._shut_down()

    def _enter_closing(self) -> asyncio.AbstractEventLoop | None:
        if self.state == STATE_STOPPED or self._closing:
            raise SchedulerNotRunningError
        self._closing = True
        return self._eventloop

    def _shut_down(self) -> None:
        self._stop_timer()
        self._closing = False
        super().shutdown(wait=False)
        self._eventloop = None

    def wakeup(self) -> None:
        # Once is enough, however many jobs are added before the event loop comes to it.
        if not self._woken and self._eventloop is not None and not self._eventloop.is_closed():
            self._woken = True
            # Not in the context of a job that may have caused it: the turn is no part of its Run.
            self._eventloop.call_soon_threadsafe(self._process_on_loop, context=self._context)

    def _process_on_loop(self) -> None:
        self._woken = False
        self._stop_timer()
        if self.running and not self._closing and self._eventloop is not None:
            delay = self._max_sleep
            try:
                seconds = self._process_jobs_safely()
                if seconds is not None:
                    delay = min(seconds, self._max_sleep)
            finally:
                # Also after an interrupt: the event loop may be run on.
                if self.running and not self._closing:
                    self._timeout = self._eventloop.call_later(
                        delay, self._timer_fired, context=self._context
                    )

    def _timer_fired(self) -> None:
        self._timeout = None
        self.wakeup()

    def _stop_timer(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _is_alive(self) -> bool:
        return self._eventloop is not None and not self._eventloop.is_closed()

    def _turn(self) -> float | None:
        return self._loop.turn(budget=SLICE)

    def _await_listener(self, answer: Awaitable[Any]) -> None:
        loop = self._eventloop
        if loop is None or loop.is_closed():
            self._await(answer)
        else:
            loop.call_soon_threadsafe(self._start_listener, answer)

    def _start_listener(self, answer: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(answer)
        # The event loop itself keeps only a weak reference.
        self._listening.add(task)
        task.add_done_callback(self._listener_ended)

    def _listener_ended(self, task: asyncio.Future[Any]) -> None:
        self._listening.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log(logging.ERROR, "Error notifying listener", exc_info=task.exception())

    def _create_default_executor(self) -> BaseExecutor:
        from apscheduler.executors.asyncio import AsyncIOExecutor

        return AsyncIOExecutor()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.running and not self._closing:
            await self.aclose()
        while self._closing:
            await asyncio.sleep(0.005)
