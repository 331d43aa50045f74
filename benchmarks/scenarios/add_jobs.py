"""Add jobs to a started scheduler on a database, all in one call, which 3.11.3 does not have."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Figure, program
from benchmarks.stored import Database, hourly, later


def measure(size: int, database: dict[str, Any], paused: bool = False) -> Figure:
    there = Database(**database)
    moments = later(size)
    scheduler = there.started(paused=paused)
    with there.stopwatch() as watch:
        scheduler.add_jobs([hourly(number, moment) for number, moment in enumerate(moments)])
    if len(scheduler.get_jobs()) != size:
        raise RuntimeError("some jobs are not there")
    return watch.rate(size)


if __name__ == "__main__":
    program(measure)
