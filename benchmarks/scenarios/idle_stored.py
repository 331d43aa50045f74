"""Processor time for one job a second among many in a database, in milliseconds per minute."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.measure import Figure, program
from benchmarks.stored import Database, fill, later, let_ticks, tick


def measure(size: int, database: dict[str, Any]) -> Figure:
    """Watch for 20 seconds if there are 100,000 others; less in proportion, but for one second."""
    there = Database(**database)
    fill(there, later(size))
    runs: list[int] = []
    let_ticks(runs.append)
    scheduler = there.started()
    scheduler.add_job(tick, "interval", seconds=1, args=[0])
    time.sleep(1.5)  # what starting and adding have caused, and the first run

    already = len(runs)
    with there.stopwatch() as watch:
        time.sleep(seconds := max(1, size // 5000))
        happened = len(runs) - already
    if happened < 0.9 * seconds - 1:
        raise RuntimeError(f"only {happened} of {seconds} runs happened in time")
    return Figure(watch.cpu * 1e3 * 60 / watch.wall)


if __name__ == "__main__":
    program(measure)
