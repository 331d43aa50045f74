"""Add jobs to a started scheduler, one by one.

A paused scheduler shows the cost of adding alone; a running one is also told of every new job.
"""

from __future__ import annotations

from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.workload import noop, random_schedules, started


def measure(size: int, trigger: str = "interval", paused: bool = True) -> Figure:
    schedules = random_schedules(size, trigger)
    scheduler = started(paused=paused)
    with Stopwatch() as watch:
        for schedule in schedules:
            scheduler.add_job(noop, **schedule)
    if len(scheduler.get_jobs()) != size:
        raise RuntimeError("some jobs are not there")
    return watch.rate(size)


if __name__ == "__main__":
    program(measure)
