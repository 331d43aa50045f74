"""A scheduler in a greenlet."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from apscheduler.executors._greenlets import (
    Event,
    Greenlet,
    GreenletExit,
    RLock,
    call_aside,
    call_in,
    get_hub,
    getcurrent,
    is_here,
    post,
    sleep,
    spawn,
)
from apscheduler.executors.base import BaseExecutor
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

#: Seconds for which due jobs are handed over before other greenlets get a turn.
SLICE = 0.005


class GeventScheduler(BlockingScheduler):
    """Runs in a greenlet, and jobs in greenlets beside it.

    Takes the options of `BaseScheduler`. gevent need not have patched anything. The methods may be
    called from any greenlet and any thread, and let other greenlets go on while they wait.
    """

    _event: Any = None
    _greenlet: Greenlet | None = None
    _hub: Any = None

    def start(self, *args: Any, **kwargs: Any) -> Greenlet:
        """Start, and return the greenlet, which ends when the scheduler has been shut down.

        :param paused: if true, run no job until `resume` is called
        :param role: see `BaseScheduler.start`
        """
        self._renew_event()
        event = self._event
        if not self.running:
            self._hub = get_hub()
        BaseScheduler.start(self, *args, **kwargs)
        # A listener may have shut it down meanwhile, and started it anew.
        if self._event is event and not self._loop.company.is_client:
            self._greenlet = spawn(self._main_loop)
        return self._greenlet

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        super().shutdown(wait, timeout)
        greenlet, self._greenlet = self._greenlet, None
        # A job or listener in that very greenlet ends it by returning. Another thread need not
        # wait, and had better not, because the greenlet's may be waiting for it.
        if greenlet not in (None, getcurrent()) and (wait or is_here(self._hub)):
            call_in(self._hub, greenlet.join)

    def wakeup(self) -> None:
        event = self._event
        if event is not None and not event.is_set():
            if is_here(self._hub):
                event.set()
            else:
                post(self._hub, event.set)

    def _renew_event(self) -> None:
        if not self.running and (self._event is None or self._event.is_set()):
            self._event = _Bell()

    def _turn(self) -> float | None:
        return self._loop.turn(budget=SLICE)

    def _after_fork(self) -> None:
        super()._after_fork()
        # Greenlets go on in a child. That of the loop ends by itself, as its event is not this.
        self._greenlet = self._hub = None

    def _is_alive(self) -> bool:
        return self._greenlet is not None and not self._greenlet.ready()

    def _lets_pass(self, interrupt: BaseException) -> bool:
        # `threading` may take this greenlet for a thread of its own.
        return isinstance(interrupt, GreenletExit) or bool(self._hub.main_hub)

    def _wait_until_idle(self, timeout: float | None, but: str | None) -> None:
        call_aside(super()._wait_until_idle, timeout, but)

    def _shut_down_executor(self, executor: BaseExecutor, wait: bool) -> None:
        # Those of others may wait for greenlets, which only the thread of these can do.
        if wait and isinstance(executor, (ThreadPoolExecutor, ProcessPoolExecutor)):
            call_aside(executor.shutdown, wait)
        else:
            super()._shut_down_executor(executor, wait)

    def _create_lock(self) -> AbstractContextManager[Any]:
        lock: AbstractContextManager[Any] = RLock()
        return lock

    def _create_default_executor(self) -> BaseExecutor:
        from apscheduler.executors.gevent import GeventExecutor

        return GeventExecutor()


class _Bell(Event):  # type: ignore[misc]
    """An event that lets other greenlets go first also if it has been set before."""

    def wait(self, timeout: float | None = None) -> Any:
        if self.is_set():
            sleep(0)
        return super().wait(timeout)
