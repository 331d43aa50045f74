"""An executor that runs jobs on the IO loop of a `TornadoScheduler`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from apscheduler.executors.asyncio import AsyncIOExecutor, innermost
from apscheduler.util import asint

try:
    from tornado.gen import is_coroutine_function
except ImportError as error:
    raise ImportError("TornadoExecutor needs Tornado: pip install apscheduler[tornado]") from error

if TYPE_CHECKING:
    from apscheduler.schedulers.base import BaseScheduler


class TornadoExecutor(AsyncIOExecutor):
    """Runs coroutine functions on the scheduler's IO loop, and others in threads of its own.

    Belongs to a scheduler that has an IO loop. What a plain function returns is awaited on the
    loop too, if it can be.

    :param max_workers: how many plain functions run at once; None leaves that to the thread pool
    """

    def __init__(self, max_workers: int | str | None = 10) -> None:
        super().__init__()
        self._max_workers = asint(max_workers)
        self.executor = ThreadPoolExecutor(self._max_workers)

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        if self._closed:
            self.executor = ThreadPoolExecutor(self._max_workers)
        super().start(scheduler, alias)

    def after_fork(self) -> None:
        super().after_fork()
        # The threads of the pool are in the other process.
        self._closed = True

    def shutdown(self, wait: bool = True) -> None:
        """Take no more jobs; coroutines and functions that are running go on.

        :param wait: whether to wait for the functions; on the IO loop itself this has no effect,
            since they may need the loop
        """
        self._closed = True
        may_wait = bool(self._pending_futures) and self._eventloop.is_running()
        self.executor.shutdown(wait and may_wait and not self._is_on_loop())

    def _loop_of(self, scheduler: Any) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = scheduler._ioloop.asyncio_loop
        return loop

    def _threads(self) -> Executor:
        return self.executor

    def _is_async(self, func: Callable[..., Any]) -> bool:
        return super()._is_async(func) or is_coroutine_function(innermost(func))
