"""A scheduler on an asyncio event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers._asyncloop import AsyncLoopScheduler
from apscheduler.schedulers._timer import run_on_host
from apscheduler.util import maybe_ref

run_in_event_loop = run_on_host


class AsyncIOScheduler(AsyncLoopScheduler):
    """Runs on an asyncio event loop: coroutine functions there, other functions in threads.

    Takes the options of `BaseScheduler`, and:

    :param event_loop: the event loop to run on, or a reference to it; by default the one that is
        running when the scheduler is started

    `shutdown` cancels the coroutines that are running, and so does `aclose` when its time is up.
    ``async with AsyncIOScheduler() as scheduler:`` starts the scheduler, and shuts it down when
    the block is left, after the jobs that are running have ended.
    """

    _eventloop: asyncio.AbstractEventLoop | None = None
    _timeout: asyncio.TimerHandle | None = None

    def _configure(self, config: dict[str, Any]) -> None:
        event_loop = maybe_ref(config.pop("event_loop", None))
        super()._configure(config)
        self._eventloop = event_loop

    def start(self, paused: bool = False, role: str = "scheduler") -> None:
        """Start on the event loop.

        :param paused: if true, run no job until `resume` is called
        :param role: see `BaseScheduler.start`
        :raises RuntimeError: if no event loop is running, and none was given
        """
        self._end_closing()
        if not self.running and (self._eventloop is None or self._eventloop.is_closed()):
            self._eventloop = asyncio.get_running_loop()
        super().start(paused, role)

    def _asyncio_loop(self) -> asyncio.AbstractEventLoop | None:
        return self._eventloop

    def _let_go(self) -> None:
        self._eventloop = None

    def _after_fork(self) -> None:
        super()._after_fork()
        self._eventloop = self._timeout = None

    def _call_on_host(self, call: Callable[[], object]) -> None:
        assert self._eventloop is not None
        self._eventloop.call_soon_threadsafe(call)

    def _set_timer(self, seconds: float) -> None:
        assert self._eventloop is not None
        self._timeout = self._eventloop.call_later(seconds, self._timer_fired)

    def _stop_timer(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _create_default_executor(self) -> BaseExecutor:
        from apscheduler.executors.asyncio import AsyncIOExecutor

        return AsyncIOExecutor()
