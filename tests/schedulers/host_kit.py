"""The hosts, each behind the same few methods, and jobs that wait for a signal."""

from __future__ import annotations

import asyncio
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from twisted.internet.selectreactor import SelectReactor

from apscheduler.events import (
    EVENT_ALL,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
)
from apscheduler.executors.base import BaseExecutor
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.schedulers.tornado import TornadoScheduler
from apscheduler.schedulers.twisted import TwistedScheduler

#: How many seconds a test waits for what must happen.
PATIENCE = 20


class Gate:
    """A job that runs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.left = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.let_go.wait(PATIENCE)
        self.left.set()


class Ears:
    """A listener from which a test takes what it has heard, and waits for what it has not."""

    def __init__(self, scheduler: BaseScheduler, mask: int = EVENT_ALL) -> None:
        self._heard: SimpleQueue[Any] = SimpleQueue()
        scheduler.add_listener(self._heard.put, mask)

    def next(self) -> Any:
        return self._heard.get(timeout=PATIENCE)

    def rest(self) -> list[int]:
        """Return the codes of what has been heard by now."""
        codes = []
        while True:
            try:
                codes.append(self._heard.get_nowait().code)
            except Empty:
                return codes


class Host(ABC):
    """A scheduler of one kind, and whatever it needs to wait in."""

    scheduler: BaseScheduler
    #: Name of the thread in which coroutine functions run by default.
    coroutines_run_in = "APScheduler-coroutines"

    def __init__(self, cls: type[Any], **options: Any) -> None:
        self.scheduler = cls(**{"timezone": "UTC", **options})
        self.started = Ears(self.scheduler, EVENT_SCHEDULER_STARTED)
        self.stopped = Ears(self.scheduler, EVENT_SCHEDULER_SHUTDOWN)
        self.ended = Ears(self.scheduler, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

    @abstractmethod
    def start(self, **options: Any) -> None:
        """Start the scheduler; return, or raise, when it is started."""

    def shutdown(self, **options: Any) -> None:
        """Shut the scheduler down; return when it is."""
        self.scheduler.shutdown(**options)
        self.stopped.next()

    def close(self) -> None:
        if self.scheduler.running:
            self.shutdown(wait=False)

    def run(self, func: Callable[[], Any], **options: Any) -> Any:
        """Let a job run at once, and return the event of its end."""
        self.scheduler.add_job(func, misfire_grace_time=None, **options)
        return self.ended.next()


class BackgroundHost(Host):
    def __init__(self, **options: Any) -> None:
        super().__init__(BackgroundScheduler, **options)

    def start(self, **options: Any) -> None:
        self.scheduler.start(**options)


class BlockingHost(Host):
    """Is blocked in a thread of the test."""

    thread: threading.Thread | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(BlockingScheduler, **options)

    def start(self, **options: Any) -> None:
        came: SimpleQueue[BaseException | None] = SimpleQueue()
        self.scheduler.add_listener(lambda event: came.put(None), EVENT_SCHEDULER_STARTED)

        def block() -> None:
            try:
                self.scheduler.start(**options)
            except Exception as exc:
                came.put(exc)

        self.thread = threading.Thread(target=block, name="blocked")
        self.thread.start()
        exc = came.get(timeout=PATIENCE)
        if exc is not None:
            raise exc

    def shutdown(self, **options: Any) -> None:
        super().shutdown(**options)
        assert self.thread is not None
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


class AsyncIOHost(Host):
    """Has an event loop in a thread of the test."""

    scheduler_class: type[Any] = AsyncIOScheduler
    coroutines_run_in = "event loop"

    def __init__(self, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="event loop")
        self._thread.start()
        # On the loop, since one kind of scheduler looks for it when it is made.
        self.on_loop(lambda: Host.__init__(self, self.scheduler_class, **options))

    def on_loop(self, func: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return func()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE)

    def start(self, **options: Any) -> None:
        self.on_loop(lambda: self.scheduler.start(**options))

    def close(self) -> None:
        super().close()
        asyncio.run_coroutine_threadsafe(self.loop.shutdown_default_executor(), self.loop).result(
            PATIENCE
        )
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class TornadoHost(AsyncIOHost):
    """Has an IO loop of Tornado in a thread of the test."""

    scheduler_class = TornadoScheduler


class TwistedHost(Host):
    """Has a reactor of its own, which is not the global one, in a thread of the test."""

    coroutines_run_in = "reactor"

    def __init__(self, **options: Any) -> None:
        self.reactor = SelectReactor()
        super().__init__(TwistedScheduler, **{"reactor": self.reactor, **options})
        self._thread = threading.Thread(
            target=self.reactor.run, kwargs={"installSignalHandlers": False}, name="reactor"
        )
        self._thread.start()

    def on_loop(self, func: Callable[[], Any]) -> Any:
        answers: SimpleQueue[Any] = SimpleQueue()

        def call() -> None:
            try:
                answers.put((func(), None))
            except Exception as exc:
                answers.put((None, exc))

        self.reactor.callFromThread(call)
        answer, exc = answers.get(timeout=PATIENCE)
        if exc is not None:
            raise exc
        return answer

    def start(self, **options: Any) -> None:
        self.on_loop(lambda: self.scheduler.start(**options))

    def close(self) -> None:
        super().close()
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


HOSTS: dict[str, type[Any]] = {
    "background": BackgroundHost,
    "blocking": BlockingHost,
    "asyncio": AsyncIOHost,
    "tornado": TornadoHost,
    "twisted": TwistedHost,
}
# Not beside the others: a process has one Qt, and the tests of Qt start one for each binding.
if "APSCHEDULER_TEST_QT" in os.environ:
    from qt_host import QtHost

    HOSTS["qt"] = QtHost
EXECUTORS: dict[str, Callable[[], BaseExecutor]] = {
    "threads": ThreadPoolExecutor,
    "in line": DebugExecutor,
}


def own_threads() -> set[threading.Thread]:
    """Return the threads that belong to schedulers and their pools."""
    return {
        thread
        for thread in threading.enumerate()
        if thread.name.startswith(("APScheduler", "ThreadPoolExecutor", "blocked"))
    }
