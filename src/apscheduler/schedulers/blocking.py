"""A scheduler that takes over the thread it is started in."""

from __future__ import annotations

from threading import TIMEOUT_MAX, Event
from typing import Any

from apscheduler.schedulers.base import BaseScheduler


class BlockingScheduler(BaseScheduler):
    """Runs in the thread that calls `start`, which returns when the scheduler is shut down.

    Takes the options of `BaseScheduler`.
    """

    _event: Event | None = None

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start, and return only when the scheduler has been shut down.

        ``KeyboardInterrupt`` and ``SystemExit`` pass through, and leave the scheduler running.

        :param paused: if true, run no job until `resume` is called
        """
        if self._event is None or self._event.is_set():
            self._event = Event()
        super().start(*args, **kwargs)
        self._main_loop()

    def shutdown(self, wait: bool = True, timeout: float | None = None) -> None:
        super().shutdown(wait, timeout)
        self.wakeup()

    def wakeup(self) -> None:
        if self._event is not None:
            self._event.set()

    def _main_loop(self) -> None:
        """Wait and process, in turn, until the scheduler is shut down."""
        event = self._event
        assert event is not None
        seconds: float | None = TIMEOUT_MAX
        while self.running:
            event.wait(self._max_sleep if seconds is None else min(seconds, self._max_sleep))
            event.clear()
            if self.running:
                seconds = self._process_jobs_safely()
