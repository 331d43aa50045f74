"""A scheduler that takes over the thread it is started in."""

from __future__ import annotations

import threading
from threading import TIMEOUT_MAX
from typing import Any

from apscheduler.schedulers.base import BaseScheduler

#: Turns do not follow each other more closely, in seconds, unless something is due already: to
#: wake for each of a thousand jobs a second costs more than the jobs.
MIN_SLEEP = 0.003


class Bell:
    """What wakes the one thread that waits for it, at once if it was rung before.

    It has the methods of `threading.Event`, which serves any number of threads, and makes a new
    lock for each wait: that costs more than many a turn. A lock can also be let go of by a signal
    handler that interrupts the very thread which waits.
    """

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        # By the module's name: gevent may have put another kind there since this was imported.
        self._silence = threading.Lock()
        self._silence.acquire()

    def is_set(self) -> bool:
        """Tell whether it was rung since it was last waited for."""
        return not self._silence.locked()

    def set(self) -> None:
        """Ring."""
        try:
            self._silence.release()
        except RuntimeError:
            pass  # It has been rung already.

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is rung, or has been, for so many seconds at most; return whether it was.

        It is silent then.
        """
        return self._silence.acquire(True, -1 if timeout is None else timeout)

    def clear(self) -> None:
        """Silence it, as programs do that wait for it in a loop of their own."""
        self._silence.acquire(False)


class BlockingScheduler(BaseScheduler):
    """Runs in the thread that calls `start`, which returns when the scheduler is shut down.

    Takes the options of `BaseScheduler`.
    """

    _event: Bell | threading.Event | None = None
    _looping = False

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start, and return only when the scheduler has been shut down.

        ``KeyboardInterrupt`` and ``SystemExit`` pass through, and leave the scheduler running.

        :param paused: if true, run no job until `resume` is called
        :param role: see `BaseScheduler.start`; a client returns at once
        """
        self._renew_event()
        super().start(*args, **kwargs)
        if not self._loop.company.is_client:
            self._main_loop()

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        super().shutdown(wait, timeout)
        self.wakeup()

    def wakeup(self) -> None:
        if self._event is not None:
            self._event.set()

    def _renew_event(self) -> None:
        """Make a new event, so that a loop that waits for the old one knows it is not meant."""
        event = self._event
        if not self.running and (event is None or isinstance(event, Bell) or event.is_set()):
            self._event = Bell()

    def _main_loop(self) -> None:
        """Wait and process, in turn, until the scheduler is shut down."""
        event = self._event
        assert event is not None
        seconds: float | None = TIMEOUT_MAX
        self._looping = True
        try:
            while self.running and self._event is event:
                event.wait(self._sleep_for(seconds))
                event.clear()  # A subclass may have put an event of another kind in its place.
                if self.running and self._event is event:
                    seconds = self._process_jobs_safely()
        finally:
            # A job in line may have started the scheduler anew, with another loop.
            if self._event is event:
                self._looping = False

    def _sleep_for(self, seconds: float | None) -> float:
        if seconds is None or seconds > self._max_sleep:
            return self._max_sleep
        return max(seconds, MIN_SLEEP) if seconds else 0.0

    def _after_fork(self) -> None:
        super()._after_fork()
        self._event = None
        self._looping = False

    def _is_alive(self) -> bool:
        return self._looping
