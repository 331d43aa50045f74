"""Run jobs that are all due at once on the default pool of threads."""

from __future__ import annotations

from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.workload import Tally, add_due_jobs, started


def measure(size: int, trigger: str) -> Figure:
    tally = Tally(size)
    scheduler = started(paused=True)
    add_due_jobs(scheduler, tally.count, size, trigger)
    with Stopwatch() as watch:
        scheduler.resume()
        tally.wait()
    return watch.rate(size)


if __name__ == "__main__":
    program(measure)
