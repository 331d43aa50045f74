"""Run coroutine jobs that are all due at once on an event loop."""

from __future__ import annotations

import asyncio

from benchmarks.coroutines import CoroutineTally, paused
from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.workload import add_due_jobs


async def fire(size: int, trigger: str) -> Figure:
    tally = CoroutineTally(size)
    scheduler = paused()
    add_due_jobs(scheduler, tally.count, size, trigger)
    with Stopwatch() as watch:
        scheduler.resume()
        await tally.wait()
    return watch.rate(size)


def measure(size: int, trigger: str = "date") -> Figure:
    return asyncio.run(fire(size, trigger))


if __name__ == "__main__":
    program(measure)
