"""Processor time per run, in microseconds, when runs are spread evenly over time.

As many jobs as runs per second, each an interval of one second with its own offset.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.workload import started


def measure(size: int, per_second: int) -> Figure:
    """Watch for ``size`` seconds, after one second of getting into step."""
    runs: list[None] = []

    def job() -> None:
        runs.append(None)

    scheduler = started(coalesce=False)
    first = datetime.now(UTC) + timedelta(seconds=1 + per_second / 2000)
    for position in range(per_second):
        offset = timedelta(seconds=position / per_second)
        scheduler.add_job(job, "interval", seconds=1, start_date=first + offset)
    time.sleep(max(0.0, first.timestamp() + 1 - time.time()))

    already = len(runs)
    with Stopwatch() as watch:
        time.sleep(size)
        happened = len(runs) - already
    scheduler.remove_all_jobs()
    if happened < 0.9 * size * per_second:
        raise RuntimeError(f"only {happened} of {size * per_second} runs happened in time")
    return Figure(watch.cpu_per(happened), watch.cpu_per(happened))


if __name__ == "__main__":
    program(measure)
