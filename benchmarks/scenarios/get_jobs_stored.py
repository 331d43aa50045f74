"""List all jobs of a database, in milliseconds."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Figure, program
from benchmarks.stored import Database, fill, later


def measure(size: int, database: dict[str, Any]) -> Figure:
    there = Database(**database)
    fill(there, later(size))
    scheduler = there.started(paused=True)
    with there.stopwatch() as watch:
        jobs = scheduler.get_jobs()
    if len(jobs) != size:
        raise RuntimeError(f"{len(jobs)} jobs are there")
    return Figure(watch.wall * 1e3, watch.cpu_per(size))


if __name__ == "__main__":
    program(measure)
