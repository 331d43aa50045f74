"""The longest time, in milliseconds, that an event loop stands still while many jobs are due.

A task asks to be woken every millisecond. The figure is the longest it had to wait beyond that
between ``resume()`` and the last run.
"""

from __future__ import annotations

import asyncio

from benchmarks.coroutines import CoroutineTally, paused
from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.workload import add_due_jobs

TICK = 0.001


async def fire(size: int, trigger: str) -> Figure:
    tally = CoroutineTally(size)
    scheduler = paused()
    add_due_jobs(scheduler, tally.count, size, trigger)

    longest = 0.0
    loop = asyncio.get_running_loop()
    with Stopwatch() as watch:
        scheduler.resume()
        asleep_since = loop.time()
        while not tally.finished.is_set():
            await asyncio.sleep(TICK)
            awake_at = loop.time()
            longest = max(longest, awake_at - asleep_since - TICK)
            asleep_since = awake_at
    return Figure(longest * 1e3, watch.cpu_per(size))


def measure(size: int, trigger: str = "interval") -> Figure:
    return asyncio.run(fire(size, trigger))


if __name__ == "__main__":
    program(measure)
