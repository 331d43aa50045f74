"""What schedulers share that live in an event loop which somebody else runs.

Such a host has one thread in which it does everything, and can do two things: be called there
soon, from any thread, and be called there later. A turn is therefore short, and asks for another
one at once when there is more to do; whoever shares the thread comes in between.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial, wraps
from threading import Thread
from typing import Any

from apscheduler._aside import Waiter
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers._core import STATE_STOPPED, seconds_given
from apscheduler.schedulers.base import BaseScheduler

#: Seconds for which due jobs are handed over before others in the event loop get a turn.
SLICE = 0.001


def run_on_host(method: Callable[..., Any]) -> Callable[..., None]:
    """Let a method be called from any thread, and carried out in the thread of the event loop."""

    @wraps(method)
    def schedule(self: TimerScheduler, *args: Any, **kwargs: Any) -> None:
        if self._is_alive():
            self._call_on_host(partial(method, self, *args, **kwargs))

    return schedule


class TimerScheduler(BaseScheduler):
    """Takes turns on a timer of its host; a subclass knows the host."""

    _closing = False
    _woken = False

    @abstractmethod
    def _call_on_host(self, call: Callable[[], object]) -> None:
        """Call soon in the host's thread; may be called from any thread, if there is a host."""

    @abstractmethod
    def _set_timer(self, seconds: float) -> None:
        """Call `_timer_fired` in the host's thread, which this is, after so many seconds."""

    @abstractmethod
    def _stop_timer(self) -> None:
        """Do not call it any more; called in the host's thread."""

    @abstractmethod
    def _is_alive(self) -> bool:
        """Tell whether there is a host, and it can still be called."""

    def __init__(self, gconfig: Mapping[str, Any] = {}, **options: Any) -> None:
        self._waiters: dict[str, Waiter] = {}
        super().__init__(gconfig, **options)

    def start(self, paused: bool = False, role: str = "scheduler") -> None:
        """Start, and return; jobs run as soon as the event loop does.

        :param paused: if true, run no job until `resume` is called
        :param role: see `BaseScheduler.start`
        """
        self._woken = False
        self._context = copy_context()
        super().start(paused, role)

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        super().shutdown(wait, timeout)
        while self._waiters:
            self._waiters.popitem()[1].close()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._closing = self._woken = False
        self._waiters = {}

    def wakeup(self) -> None:
        # Once is enough, however many jobs are added before the event loop comes to it.
        if not self._woken and self._is_alive():
            self._woken = True
            self._call_on_host(self._take_turn)

    def _timer_fired(self) -> None:
        self._take_turn()

    def _take_turn(self) -> None:
        # Not in the context of a job that may have caused it: the turn is no part of its Run. And
        # in a copy, for a turn may be entered twice: a listener can run an event loop of its own.
        self._context.copy().run(self._process_on_host)

    def _process_on_host(self) -> None:
        self._woken = False
        self._stop_timer()
        if self._may_turn():
            delay = self._max_sleep
            try:
                seconds = self._process_jobs_safely()
                if seconds is not None:
                    delay = min(seconds, self._max_sleep)
            finally:
                # Also after an interrupt: the event loop may be run on.
                if self._may_turn():
                    self._set_timer(delay)

    def _may_turn(self) -> bool:
        return (
            self.running
            and not self._closing
            and not self._loop.company.is_client
            and self._is_alive()
        )

    def _waiter(self, alias: str) -> Waiter:
        waiter = self._waiters.get(alias)
        if waiter is None:
            waiter = self._waiters[alias] = Waiter(self._call_on_host)
        return waiter

    def _come_again(self, seconds: float | None) -> None:
        if self._may_turn():
            self._stop_timer()
            self._set_timer(self._max_sleep if seconds is None else min(seconds, self._max_sleep))

    def _call_listeners(self, tell: Callable[[], None]) -> None:
        if self.state != STATE_STOPPED and self._is_alive():
            self._call_on_host(partial(self._context.copy().run, tell))
        else:
            tell()

    def _turn(self) -> float | None:
        return self._loop.turn(budget=SLICE)


class LoopScheduler(TimerScheduler):
    """Is shut down by its event loop, as soon as that comes to it.

    To wait in the thread of the event loop would keep it from finishing what is waited for.
    """

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        """Stop, as soon as the event loop comes to it; until then the scheduler counts as running.

        :param wait: has no effect here, since waiting would keep the event loop from finishing
            what is waited for; use `aclose`
        :param timeout: likewise
        :raises SchedulerNotRunningError: if the scheduler is stopped, or about to be
        """
        if timeout is not None:
            seconds_given("timeout", timeout)
        if self._has_stopped_in_fork():
            return
        self._enter_closing()
        if self._is_alive():
            self._call_on_host(self._shut_down)
        else:
            self._shut_down()

    def _close_when_idle(self, timeout: float | None, idle: Callable[[], None]) -> None:
        """Take no more jobs, and call from another thread when those that run have ended."""
        if timeout is not None:
            timeout = seconds_given("timeout", timeout)
        self._enter_closing()
        self._loop.stopping = True
        inside = self._loop.runner.here()

        def wait() -> None:
            self._loop.runner.wait_until_idle(timeout, but=inside)
            idle()

        # A thread of its own: those of the event loop may all be busy with what is waited for.
        Thread(target=wait, daemon=True).start()

    def _enter_closing(self) -> None:
        self._end_closing()
        if self.state == STATE_STOPPED or self._closing:
            raise SchedulerNotRunningError
        self._closing = True

    def _end_closing(self) -> None:
        """Do what an event loop was asked for that has ended before it came to it."""
        if self._closing and not self._is_alive():
            self._shut_down()

    def _shut_down(self) -> None:
        self._stop_timer()
        self._closing = False
        super().shutdown(wait=False)
        self._let_go()

    def _let_go(self) -> None:
        """Forget the host, if another one may come with the next start."""
