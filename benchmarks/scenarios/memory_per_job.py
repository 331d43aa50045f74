"""Bytes that one more job in the memory store keeps allocated.

Counted is what Python's allocators have handed out and not got back once all jobs are added and
the garbage collector has run (`tracemalloc`): the job, its trigger and the store's own lists, not
the function, and not what the process holds before.
"""

from __future__ import annotations

import gc
import tracemalloc

from benchmarks.measure import Figure, program
from benchmarks.workload import noop, random_schedules, started


def measure(size: int, trigger: str) -> Figure:
    schedules = random_schedules(size, trigger)
    scheduler = started(paused=True)
    for schedule in schedules[:10]:  # what is made once, such as caches and imports
        scheduler.add_job(noop, **schedule)
    scheduler.remove_all_jobs()
    gc.collect()

    tracemalloc.start()
    for schedule in schedules:
        scheduler.add_job(noop, **schedule)
    gc.collect()
    allocated, _peak = tracemalloc.get_traced_memory()
    return Figure(allocated / size)


if __name__ == "__main__":
    program(measure)
