"""Ask for the newest 100 runs of one job among many others, in milliseconds.

The figure is the 95th percentile over questions about one job after another.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import MetaData, Table, create_engine, select, text

from benchmarks.measure import Figure, Stopwatch, percentile, program
from benchmarks.stored import Database, Ledger, expect_ticks, fill

RUNS_OF_A_JOB = 1000
SECOND = 10**6
QUESTIONS = 100


def measure(size: int, database: dict[str, Any]) -> Figure:
    """Keep ``size`` runs, a thousand of each job, which took turns."""
    there = Database(**database)
    keep_runs(there, size)
    jobs = max(1, size // RUNS_OF_A_JOB)
    expected = min(100, size // jobs)
    scheduler = there.started(paused=True)
    scheduler.get_runs("another", limit=100)  # what is built once
    answers = []
    for question in range(QUESTIONS):
        with Stopwatch() as watch:
            runs = scheduler.get_runs(f"job-{question * 37 % jobs}", limit=100)
        answers.append(watch.wall)
        if len(runs) != expected or runs[0].opened_at <= runs[-1].opened_at:
            raise RuntimeError(f"{len(runs)} runs are found instead of {expected}, newest first")
    return Figure(percentile(answers, 0.95) * 1e3)


def keep_runs(database: Database, count: int) -> None:
    """Write runs like one that has happened, into the same table, one a second until now."""
    now = datetime.now(UTC)
    fill(database, [now])
    tally = expect_ticks(1)
    scheduler = database.started()
    tally.wait()
    ledger = Ledger(database)
    ledger.wait(due=now)
    scheduler.shutdown()

    engine = create_engine(database.url)
    table = Table("apscheduler_jobs_runs", MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        specimen = dict(connection.execute(select(table)).one()._mapping)
        jobs = max(1, count // RUNS_OF_A_JOB)
        end = specimen["ended_at"]
        for first in range(0, count, 10_000):
            numbers = range(first, min(first + 10_000, count))
            rows = [
                like(specimen, number % jobs, end - (count - number) * SECOND)
                for number in numbers
            ]
            connection.execute(table.insert(), rows)
        if engine.dialect.name != "sqlite":
            connection.execute(text(f"ANALYZE {table.name}"))  # as it does itself, in time


def like(specimen: dict[str, Any], job: int, moment: int) -> dict[str, Any]:
    """Return the row of a run of another job that came and went at a moment (in microseconds)."""
    run_id = f"{moment:014x}{specimen['id'][14:]}"
    times = ("scheduled_at", "first_scheduled_at", "opened_at", "started_at", "ended_at")
    return {
        **specimen,
        **dict.fromkeys(times, moment),
        "id": run_id,
        "batch": run_id,
        "job_id": f"job-{job}",
        "slot_key": f"{specimen['incarnation']}:{moment}:1",
    }


if __name__ == "__main__":
    program(measure)
