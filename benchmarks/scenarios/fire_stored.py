"""Run jobs from a database that are all due at once, until all that came of it is written.

That is: claimed, run, given their next run time, and recorded by a library that keeps runs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from benchmarks.measure import Figure, program
from benchmarks.stored import Database, Ledger, due_now, expect_ticks, fill


def measure(size: int, database: dict[str, Any], count: str = "runs") -> Figure:
    """Give runs per second; with ``count="cpu"`` the processor time of a run in microseconds."""
    there = Database(**database)
    fill(there, due_now(size))
    tally = expect_ticks(size)
    scheduler = there.started(paused=True)
    ledger = Ledger(there)
    with there.stopwatch() as watch:
        resumed = datetime.now(UTC)
        scheduler.resume()
        tally.wait()
        ledger.wait(due=resumed)
    ledger.check(size)
    return Figure(watch.cpu_per(size), watch.cpu_per(size)) if count == "cpu" else watch.rate(size)


if __name__ == "__main__":
    program(measure)
