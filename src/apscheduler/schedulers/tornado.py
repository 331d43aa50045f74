"""A scheduler on the IO loop of Tornado."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers._asyncloop import AsyncLoopScheduler
from apscheduler.schedulers._timer import run_on_host
from apscheduler.util import maybe_ref

try:
    from tornado.ioloop import IOLoop
except ImportError as error:
    raise ImportError(
        "TornadoScheduler needs Tornado: pip install apscheduler[tornado]"
    ) from error

run_in_ioloop = run_on_host


class TornadoScheduler(AsyncLoopScheduler):
    """Runs on a Tornado IO loop: coroutine functions there, other functions in threads.

    Takes the options of `BaseScheduler`, and:

    :param io_loop: the IO loop to run on, or a reference to it; by default the current one, when
        the scheduler is made or, if another one is running by then, when it is started

    `shutdown` lets coroutines that are running go on. ``await scheduler.aclose()`` waits for them
    first, and so does ``async with TornadoScheduler() as scheduler:`` when the block is left.
    """

    _ioloop: Any = None
    _timeout: object | None = None
    _was_given = False

    def _configure(self, config: dict[str, Any]) -> None:
        io_loop = maybe_ref(config.pop("io_loop", None))
        super()._configure(config)
        self._was_given = io_loop is not None
        self._ioloop = _current() if io_loop is None else io_loop

    def start(self, paused: bool = False, role: str = "scheduler") -> None:
        """Start on the IO loop, which may be running or run later.

        :param paused: if true, run no job until `resume` is called
        :param role: see `BaseScheduler.start`
        """
        self._end_closing()
        if not self.running and self._is_left_behind():
            self._ioloop = _current()
        super().start(paused, role)

    def _is_left_behind(self) -> bool:
        """Tell whether the IO loop is not the one that the program has come to run."""
        loop = self._asyncio_loop()
        if loop is None or loop.is_closed():
            return True
        is_elsewhere = asyncio._get_running_loop() is not None and not loop.is_running()
        return is_elsewhere and not self._was_given

    def wakeup(self) -> None:
        if self._ioloop is None:
            raise SchedulerNotRunningError
        super().wakeup()

    @property
    def _eventloop(self) -> asyncio.AbstractEventLoop | None:
        """Where an `AsyncIOExecutor` looks."""
        return self._asyncio_loop()

    def _asyncio_loop(self) -> asyncio.AbstractEventLoop | None:
        loop: asyncio.AbstractEventLoop | None = getattr(self._ioloop, "asyncio_loop", None)
        return loop

    def _after_fork(self) -> None:
        super()._after_fork()
        self._ioloop = self._timeout = None

    def _call_on_host(self, call: Callable[[], object]) -> None:
        self._ioloop.add_callback(call)

    def _set_timer(self, seconds: float) -> None:
        self._timeout = self._ioloop.add_timeout(timedelta(seconds=seconds), self._timer_fired)

    def _stop_timer(self) -> None:
        if self._timeout is not None:
            self._ioloop.remove_timeout(self._timeout)
            self._timeout = None

    def _create_default_executor(self) -> BaseExecutor:
        from apscheduler.executors.tornado import TornadoExecutor

        return TornadoExecutor()


def _current() -> Any:
    with warnings.catch_warnings():
        # Some versions of Python warn if no event loop is running yet, which is as it should be.
        warnings.simplefilter("ignore", DeprecationWarning)
        return IOLoop.current()
