"""Lateness, in milliseconds, of jobs that share every instant: 1,000 intervals of one second.

The figure is the 99th percentile over all runs; every slot must have its run.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from benchmarks.measure import Figure, Stopwatch, percentile, program
from benchmarks.workload import PATIENCE, Tally, started

JOBS = 1000


def measure(size: int) -> Figure:
    """Fire for ``size`` seconds."""
    tally = Tally(JOBS * size)
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    origin = first.timestamp()
    lateness: list[float] = []

    def job(own_runs: list[None]) -> None:
        lateness.append(time.time() - origin - len(own_runs))
        own_runs.append(None)
        tally.count()

    scheduler = started(coalesce=False)
    for _ in range(JOBS):
        scheduler.add_job(
            job,
            "interval",
            seconds=1,
            start_date=first,
            end_date=first + timedelta(seconds=size - 1),
            args=[[]],
        )
    time.sleep(max(0.0, origin - 0.5 - time.time()))
    with Stopwatch() as watch:
        tally.wait(size + PATIENCE)
    return Figure(percentile(lateness, 0.99) * 1e3, watch.cpu_per(JOBS * size))


if __name__ == "__main__":
    program(measure)
