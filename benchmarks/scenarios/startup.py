"""From making a scheduler to its first run, in milliseconds, with other jobs there already."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.workload import Tally, noop, random_schedules


def measure(size: int) -> Figure:
    """Start with ``size`` jobs that are not due, and one that is."""
    start([])  # What a first scheduler imports is no part of this.
    return Figure(start(random_schedules(size, "interval")) * 1e3)


def start(schedules: list[dict[str, Any]]) -> float:
    """Return how many seconds it takes."""
    tally = Tally(1)
    with Stopwatch() as watch:
        scheduler = BackgroundScheduler(timezone=UTC)
        for schedule in schedules:
            scheduler.add_job(noop, **schedule)
        scheduler.add_job(tally.count, misfire_grace_time=None)
        scheduler.start()
        tally.wait()
    return watch.wall


if __name__ == "__main__":
    program(measure)
