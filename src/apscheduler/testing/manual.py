"""A scheduler that does nothing by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.testing.clock import VirtualClock

#: How often jobs may make new jobs due at one and the same moment.
MAX_TURNS = 10_000


class ManualScheduler(BaseScheduler):
    """Runs jobs in the calling thread, and only when told that time has passed.

    For tests: no threads, no waiting, and each run at exactly its time. Takes the options of
    `BaseScheduler`; ``clock`` is a new `VirtualClock` by default, and the default executor runs
    jobs in line.
    """

    clock: VirtualClock

    def _configure(self, config: dict[str, Any]) -> None:
        clock = config.setdefault("clock", VirtualClock())
        if not isinstance(clock, VirtualClock):
            raise TypeError(
                f"the clock of a ManualScheduler must be a VirtualClock, got {clock!r}"
            )
        self.clock = clock
        super()._configure(config)

    def wakeup(self) -> None:
        """Do nothing: what is due runs at the next call of `run_due` or `advance`."""

    def run_due(self) -> None:
        """Run all that is due, without letting time pass.

        :raises SchedulerNotRunningError: if the scheduler is not started
        :raises RuntimeError: if jobs keep making new jobs that are due at once
        """
        self._come_to_rest()

    def advance(self, delta: timedelta | None = None, **parts: float) -> None:
        """Let time pass, and run each job at its time.

        :param delta: how much
        :param parts: or the arguments of a `timedelta`, such as ``days=30``
        :raises SchedulerNotRunningError: if the scheduler is not started
        :raises ValueError: if that is negative
        """
        target = VirtualClock(self.clock.now())
        target.advance(delta, **parts)
        self.advance_to(target.now())

    def advance_to(self, moment: datetime) -> None:
        """Let time pass until a moment, and run each job at its time.

        :param moment: aware datetime
        :raises SchedulerNotRunningError: if the scheduler is not started
        :raises ValueError: if it has passed, or has no time zone
        """
        target = VirtualClock(self.clock.now())
        target.advance_to(moment)
        seconds = self._come_to_rest()
        while self.clock.now() < target.now():
            left = target.now() - self.clock.now()
            self.clock.advance(left if seconds is None else min(left, timedelta(seconds=seconds)))
            if self.running:  # A job may have shut the scheduler down.
                seconds = self._come_to_rest()

    def _come_to_rest(self) -> float | None:
        if not self.running:
            raise SchedulerNotRunningError
        for _ in range(MAX_TURNS):
            seconds = self._process_jobs()
            if seconds is None or seconds > 0 or not self.running:
                return seconds if self.running else None
        raise RuntimeError(
            f"jobs were still due after {MAX_TURNS} turns at {self.clock.now()}: does a job add "
            f"another one that is due at once, again and again?"
        )

    def _create_default_executor(self) -> BaseExecutor:
        return DebugExecutor()
