"""Jobs that are all due at once, run by several processes that share them.

The figure is the sum of what they run and record in a second; no job may run twice.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.stored import Database, Ledger, due_now, fill, let_ticks
from benchmarks.workload import PATIENCE

CONTEXT = get_context("spawn")


def node(database: Database, gate: Any, end: Any, results: Any) -> None:
    """Take part with a scheduler; report the numbers of the jobs that ran here, and the CPU."""
    numbers: list[int] = []
    let_ticks(numbers.append)
    scheduler = database.started(paused=True)
    gate.wait(PATIENCE)
    with Stopwatch() as watch:
        scheduler.resume()
        end.wait(PATIENCE)
    scheduler.shutdown()
    results.put((numbers, watch.cpu))


def measure(size: int, database: dict[str, Any], nodes: int) -> Figure:
    """Share ``size`` jobs between so many nodes."""
    there = Database(**database)
    fill(there, due_now(size))
    ledger = Ledger(there)
    gate, end, results = CONTEXT.Barrier(nodes + 1), CONTEXT.Event(), CONTEXT.Queue()
    processes = [
        CONTEXT.Process(target=node, args=(there, gate, end, results)) for _ in range(nodes)
    ]
    for process in processes:
        process.start()
    gate.wait(PATIENCE)
    with there.stopwatch() as watch:
        ledger.wait(due=datetime.now(UTC), pause=0.01)
    end.set()
    reports = [results.get(timeout=PATIENCE) for _ in range(nodes)]
    for process in processes:
        process.join(PATIENCE)

    runs = Counter(number for numbers, _cpu in reports for number in numbers)
    if runs != Counter(range(size)):
        raise RuntimeError(f"{len(runs)} of {size} jobs have run, in {runs.total()} runs")
    ledger.check(size)
    cpu = watch.cpu + sum(cpu for _numbers, cpu in reports)
    return Figure(size / watch.wall, cpu / size * 1e6)


if __name__ == "__main__":
    program(measure)
