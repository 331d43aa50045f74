"""Jobs and schedulers that several scenarios have in common."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler

PATIENCE = 300.0
"""Seconds after which a scenario whose jobs have not all run is given up."""


def noop() -> None:
    """Do nothing: the whole cost of a run is then the scheduler's."""


def started(*, paused: bool = False, coalesce: bool = True) -> BackgroundScheduler:
    """Return a started scheduler in memory that drops no run for being late."""
    scheduler = BackgroundScheduler(
        timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": coalesce}
    )
    scheduler.start(paused=paused)
    return scheduler


def random_schedules(count: int, trigger: str) -> list[dict[str, Any]]:
    """Return ``add_job`` arguments for intervals of an hour and more, or for daily cron jobs."""
    draw = random.Random(1)
    if trigger == "interval":
        return [
            {"trigger": "interval", "seconds": draw.randrange(3600, 10**6)} for _ in range(count)
        ]
    return [
        {"trigger": "cron", "hour": draw.randrange(24), "minute": draw.randrange(60)}
        for _ in range(count)
    ]


def add_due_jobs(
    scheduler: BaseScheduler, func: Callable[[], object], count: int, trigger: str
) -> None:
    """Add jobs that are all due at once: one-shots, or intervals that come back in an hour."""
    due = datetime.now(UTC)
    for _ in range(count):
        if trigger == "date":
            scheduler.add_job(func, "date", run_date=due)
        else:
            scheduler.add_job(func, "interval", hours=1, next_run_time=due)


class Tally:
    """Counts runs and tells when the last one has happened.

    :param expected: number of runs to wait for
    """

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._runs = itertools.count(1)
        self._all = threading.Event()

    def count(self) -> None:
        """Note one run; the job function of scenarios that only need to know the end."""
        if next(self._runs) == self._expected:
            self._all.set()

    def wait(self, patience: float = PATIENCE) -> None:
        """Block until all runs have happened.

        :param patience: seconds after which it is an error that they have not
        """
        if not self._all.wait(patience):
            raise RuntimeError(f"not all of {self._expected} runs happened in {patience:g} s")
