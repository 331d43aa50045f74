"""Processor time that a scheduler with nothing due takes, in milliseconds per minute."""

from __future__ import annotations

import time

from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.workload import noop, random_schedules, started


def measure(size: int, jobs: int) -> Figure:
    """Watch for ``size`` seconds."""
    scheduler = started()
    for schedule in random_schedules(jobs, "interval"):
        scheduler.add_job(noop, **schedule)
    time.sleep(0.5)  # the turns that adding has caused
    with Stopwatch() as watch:
        time.sleep(size)
    return Figure(watch.cpu * 1e3 * 60 / watch.wall)


if __name__ == "__main__":
    program(measure)
