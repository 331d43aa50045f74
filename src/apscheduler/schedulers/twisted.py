"""A scheduler on a Twisted reactor."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf
from threading import TIMEOUT_MAX, Event, Thread
from typing import Any, Final

from apscheduler.clock import monotonic
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers._timer import LoopScheduler, run_on_host
from apscheduler.util import maybe_ref

try:
    from twisted.internet.defer import Deferred
except ImportError as error:
    raise ImportError(
        "TwistedScheduler needs Twisted: pip install apscheduler[twisted]"
    ) from error

run_in_reactor = run_on_host

#: By how many seconds the reactor may be late before it is suspected of not coming at all.
LATE: Final = 0.5


class TwistedScheduler(LoopScheduler):
    """Runs on a Twisted reactor: coroutine functions there, other functions in its threads.

    Takes the options of `BaseScheduler`, and:

    :param reactor: the reactor to run on, or a reference to it; by default the global one, which
        is installed if there is none yet

    `shutdown` lets coroutines that are running go on.
    """

    _reactor: Any = None
    _delayedcall: Any = None
    _has_run = False
    _watch: _Watch | None = None
    # By the monotonic clock, when the next turn is late.
    _late_at = inf

    def _configure(self, config: dict[str, Any]) -> None:
        reactor = maybe_ref(config.pop("reactor", None))
        super()._configure(config)
        if reactor is None:
            # Only here, so that a program may install another one before.
            from twisted.internet import reactor
        self._reactor = reactor

    def start(self, paused: bool = False, role: str = "scheduler") -> None:
        """Start, and return; jobs run as soon as the reactor does.

        :param paused: if true, run no job until `resume` is called
        :param role: see `BaseScheduler.start`
        """
        self._end_closing()
        self._reactor.callWhenRunning(self._reactor_runs)
        super().start(paused, role)
        # A listener may have shut it down meanwhile, or started it anew.
        if self.running and self._watch is None:
            self._watch = _Watch(self)

    def aclose(self, timeout: float | None = None) -> Deferred[None]:
        """Take no more jobs, wait for those that are running to end, and shut down.

        Called from inside a job, it does not wait for that job. As a trigger of the reactor's end,
        ``reactor.addSystemEventTrigger("before", "shutdown", scheduler.aclose)``, it lets the
        reactor wait as well.

        :param timeout: for how many seconds to wait at most; None for as long as it takes. What
            still runs then is left to the executors, as by `shutdown`
        :return: fires in the reactor's thread when the scheduler has been shut down
        :raises SchedulerNotRunningError: if the scheduler is stopped
        """
        closed: Deferred[None] = Deferred()

        def close() -> None:
            self._shut_down()
            closed.callback(None)

        self._close_when_idle(timeout, lambda: self._call_on_host(close))
        return closed

    def _is_alive(self) -> bool:
        # A reactor does not run a second time.
        return self._reactor is not None and bool(self._reactor.running or not self._has_run)

    def _reactor_runs(self) -> None:
        self._has_run = True

    def _let_go(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._delayedcall = self._watch = None

    def _call_on_host(self, call: Callable[[], object]) -> None:
        self._reactor.callFromThread(call)

    def _set_timer(self, seconds: float) -> None:
        self._late_at = monotonic() + seconds + LATE
        self._delayedcall = self._reactor.callLater(seconds, self._timer_fired)

    def _stop_timer(self) -> None:
        if self._delayedcall is not None:
            if self._delayedcall.active():
                self._delayedcall.cancel()
            self._delayedcall = None

    def _await_listener(self, answer: Awaitable[Any]) -> None:
        async def listen() -> None:
            try:
                await answer
            except Exception as error:
                self._log(logging.ERROR, "Error notifying listener", exc_info=error)

        if self._is_alive():
            self._reactor.callFromThread(lambda: Deferred.fromCoroutine(listen()))
        else:
            self._await(answer)

    def _create_default_executor(self) -> BaseExecutor:
        from apscheduler.executors.twisted import TwistedExecutor

        return TwistedExecutor()


class _Watch:
    """Wakes a scheduler whose timer does not.

    Timers of a reactor go by the wall clock: if that is set back, they come as much later.
    """

    def __init__(self, scheduler: TwistedScheduler) -> None:
        self._scheduler = scheduler
        self._over = Event()
        self._thread = Thread(target=self._keep, name="APScheduler-watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        scheduler = self._scheduler
        while not self._over.wait(min(scheduler._max_sleep, TIMEOUT_MAX)):
            if not scheduler._is_alive():
                return
            if monotonic() > scheduler._late_at:
                scheduler.wakeup()
