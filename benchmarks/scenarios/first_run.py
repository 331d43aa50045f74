"""How long the first of many due jobs waits before it starts, in milliseconds."""

from __future__ import annotations

import asyncio
import time

from benchmarks.coroutines import CoroutineTally, paused
from benchmarks.measure import Figure, program
from benchmarks.workload import Tally, add_due_jobs, started


def first_in_a_thread(size: int) -> float:
    tally = Tally(size)
    starts: list[float] = []

    def job() -> None:
        starts.append(time.perf_counter())
        tally.count()

    scheduler = started(paused=True)
    add_due_jobs(scheduler, job, size, "interval")
    resumed = time.perf_counter()
    scheduler.resume()
    tally.wait()
    return min(starts) - resumed


async def first_on_a_loop(size: int) -> float:
    tally = CoroutineTally(size)
    starts: list[float] = []

    async def job() -> None:
        starts.append(time.perf_counter())
        await tally.count()

    scheduler = paused()
    add_due_jobs(scheduler, job, size, "interval")
    resumed = time.perf_counter()
    scheduler.resume()
    await tally.wait()
    return min(starts) - resumed


def measure(size: int, host: str) -> Figure:
    if host == "threads":
        return Figure(first_in_a_thread(size) * 1e3)
    return Figure(asyncio.run(first_on_a_loop(size)) * 1e3)


if __name__ == "__main__":
    program(measure)
