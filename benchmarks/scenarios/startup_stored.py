"""From making a scheduler to its first run, in milliseconds, with other jobs in its database."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.stored import Database, expect_ticks, fill, later, tick


def measure(size: int, database: dict[str, Any]) -> Figure:
    """Start with ``size`` jobs that are not due, and one that is."""
    there = Database(**database)
    fill(there, later(size))
    start(there)  # What a first run imports is no part of this.
    return Figure(start(there) * 1e3)


def start(database: Database) -> float:
    """Return how many seconds it takes."""
    tally = expect_ticks(1)
    with Stopwatch() as watch:
        scheduler = database.scheduler()
        scheduler.add_job(tick, args=[0])
        scheduler.start()
        tally.wait()
    scheduler.shutdown()
    return watch.wall


if __name__ == "__main__":
    program(measure)
