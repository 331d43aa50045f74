"""What the schedulers on an event loop of asyncio share, whoever runs it."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Mapping
from typing import Any, Self

from apscheduler._fork import keep
from apscheduler.schedulers._timer import LoopScheduler


class AsyncLoopScheduler(LoopScheduler):
    """Can be awaited, and lets its coroutine listeners run as tasks."""

    def __init__(self, gconfig: Mapping[str, Any] = {}, **options: Any) -> None:
        self._listening: set[asyncio.Future[Any]] = set()
        super().__init__(gconfig, **options)

    @abstractmethod
    def _asyncio_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop, if there is one."""

    def _is_alive(self) -> bool:
        loop = self._asyncio_loop()
        return loop is not None and not loop.is_closed()

    def _after_fork(self) -> None:
        # If nobody else has them, they must not be closed in the parent and here.
        keep((self._asyncio_loop(), self._listening))
        self._listening = set()
        super()._after_fork()

    async def aclose(self, timeout: float | None = None) -> None:
        """Take no more jobs, wait for those that are running to end, and shut down.

        Called from inside a job, it does not wait for that job.

        :param timeout: for how many seconds to wait at most; None for as long as it takes. What
            still runs then is left to the executors, as by `shutdown`
        :raises SchedulerNotRunningError: if the scheduler is stopped
        """
        if self._has_stopped_in_fork():
            return
        loop = asyncio.get_running_loop()
        idle = loop.create_future()

        def end_waiting() -> None:
            if not idle.done():
                idle.set_result(None)

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(end_waiting)
            except RuntimeError:
                pass  # The event loop was closed, and nobody waits any more.

        self._close_when_idle(timeout, tell)
        try:
            await idle
        finally:
            self._shut_down()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.running and not self._closing:
            await self.aclose()
        while self._closing:
            await asyncio.sleep(0.005)

    def _await_listener(self, answer: Awaitable[Any]) -> None:
        loop = self._asyncio_loop()
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
