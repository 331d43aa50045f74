"""Lateness, in milliseconds, of one-shots that come at 200 a second; the median of all."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from benchmarks.measure import Figure, Stopwatch, percentile, program
from benchmarks.workload import PATIENCE, Tally, started

PER_SECOND = 200


def measure(size: int) -> Figure:
    """Fire so many one-shots."""
    tally = Tally(size)
    lateness: list[float] = []

    def job(due: float) -> None:
        lateness.append(time.time() - due)
        tally.count()

    scheduler = started()
    first = datetime.now(UTC) + timedelta(seconds=1 + size / 5000)
    for position in range(size):
        due = first + timedelta(seconds=position / PER_SECOND)
        scheduler.add_job(job, "date", run_date=due, args=[due.timestamp()])
    time.sleep(max(0.0, first.timestamp() - 0.1 - time.time()))
    with Stopwatch() as watch:
        tally.wait(size / PER_SECOND + PATIENCE)
    return Figure(percentile(lateness, 0.5) * 1e3, watch.cpu_per(size))


if __name__ == "__main__":
    program(measure)
