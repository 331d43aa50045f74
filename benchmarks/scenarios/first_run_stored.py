"""How long the first of many due jobs in a database waits before it starts, in milliseconds."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.measure import Figure, program
from benchmarks.stored import Database, due_now, fill, let_ticks
from benchmarks.workload import Tally


def measure(size: int, database: dict[str, Any]) -> Figure:
    there = Database(**database)
    fill(there, due_now(size))
    tally = Tally(size)
    starts: list[float] = []

    def note(_number: int) -> None:
        starts.append(time.perf_counter())
        tally.count()

    let_ticks(note)
    scheduler = there.started(paused=True)
    resumed = time.perf_counter()
    scheduler.resume()
    tally.wait()
    return Figure((min(starts) - resumed) * 1e3)


if __name__ == "__main__":
    program(measure)
