"""From making a scheduler to its first run, in milliseconds, with other jobs there already."""

from __future__ import annotations

from datetime import UTC

from apscheduler.schedulers.background import BackgroundScheduler
from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.workload import Tally, noop, random_schedules


def measure(size: int) -> Figure:
    """Start with ``size`` jobs that are not due, and one that is."""
    schedules = random_schedules(size, "interval")
    tally = Tally(1)
    with Stopwatch() as watch:
        scheduler = BackgroundScheduler(timezone=UTC)
        for schedule in schedules:
            scheduler.add_job(noop, **schedule)
        scheduler.add_job(tally.count, misfire_grace_time=None)
        scheduler.start()
        tally.wait()
    return Figure(watch.wall * 1e3)


if __name__ == "__main__":
    program(measure)
