"""Schedulers whose jobs are in a database, and what their scenarios have in common."""

from __future__ import annotations

import os
import pickle
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from benchmarks.measure import Stopwatch
from benchmarks.workload import PATIENCE, Tally


def nothing(_number: int) -> None:
    """Do nothing: the whole cost of a run is then the scheduler's."""


_work: Callable[[int], object] = nothing


def tick(number: int) -> None:
    """Do what `let_ticks` has set; this is the job, which a database can only hold by its name."""
    _work(number)


def let_ticks(work: Callable[[int], object]) -> None:
    """Set what the jobs of this process do, each with its number."""
    global _work
    _work = work


def expect_ticks(count: int) -> Tally:
    """Let the jobs of this process count their runs."""
    tally = Tally(count)
    let_ticks(lambda _number: tally.count())
    return tally


@dataclass(frozen=True)
class Database:
    """An empty database that is there for one measurement.

    :param url: for `sqlalchemy.create_engine`
    :param journal: the journal mode that both sides are to use; None leaves it to the store
    :param server: number of the process that serves it, or is the parent of those which do
    """

    url: str
    journal: str | None = None
    server: int | None = None

    def store(self) -> SQLAlchemyJobStore:
        """Return a job store as a program makes it."""
        if self.journal is None:
            return SQLAlchemyJobStore(url=self.url)
        return SQLAlchemyJobStore(engine=self.journalled())

    def journalled(self) -> Engine:
        """Return an engine that sets the journal mode of SQLite, and writes through to the disk.

        A database lost to a power cut would have its last slots run twice.
        """
        engine = create_engine(self.url)

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            connection.execute(f"PRAGMA journal_mode = {self.journal}")
            connection.execute("PRAGMA synchronous = FULL")

        return engine

    def scheduler(self) -> BackgroundScheduler:
        """Return a scheduler on this database that drops no run for being late."""
        return BackgroundScheduler(
            timezone=UTC,
            jobstores={"default": self.store()},
            job_defaults={"misfire_grace_time": None},
        )

    def started(self, *, paused: bool = False) -> BackgroundScheduler:
        """Return a started scheduler on this database."""
        scheduler = self.scheduler()
        scheduler.start(paused=paused)
        return scheduler

    def stopwatch(self) -> Stopwatch:
        """Return a stopwatch that also counts the processor time of the server."""
        return Stopwatch() if self.server is None else ServedStopwatch(self.server)


class ServedStopwatch(Stopwatch):
    """A stopwatch that adds the processor time of a server, as Linux tells it.

    :param server: number of the process, whose children count too
    """

    def __init__(self, server: int) -> None:
        self._server = server

    def __enter__(self) -> Stopwatch:
        self._served_before = seconds_of(self._server)
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self.cpu += seconds_of(self._server) - self._served_before


def seconds_of(process: int) -> float:
    """Return the processor time of a process and its children, also of those that have ended."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            content = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        # The name of the program, in brackets, may hold anything.
        fields = content.rpartition(")")[2].split()
        if process in (int(stat.parent.name), int(fields[1])):
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def due_now(count: int) -> list[datetime]:
    """Return the moments of jobs that are all due at once."""
    return [datetime.now(UTC)] * count


def later(count: int) -> list[datetime]:
    """Return the moments of jobs none of which is due within the next hour."""
    draw, now = random.Random(1), datetime.now(UTC)
    return [now + timedelta(seconds=draw.randrange(3600, 10**6)) for _ in range(count)]


def hourly(number: int, moment: datetime) -> dict[str, Any]:
    """Return the arguments of ``add_job`` for a job that comes back an hour after ``moment``."""
    return {
        "func": tick,
        "trigger": "interval",
        "hours": 1,
        "args": [number],
        "next_run_time": moment,
    }


def fill(database: Database, moments: Sequence[datetime]) -> None:
    """Put in hourly jobs that come next at these moments, as a process that is gone has left them.

    They are numbered from 0.
    """
    scheduler = database.started(paused=True)
    if hasattr(scheduler, "add_jobs"):
        scheduler.add_jobs([hourly(number, moment) for number, moment in enumerate(moments)])
        scheduler.shutdown()
        return
    # To add them one by one takes minutes, and a paused scheduler of 3.11.3 that is shut down
    # loses the runs that are due.
    specimen = scheduler.add_job(**hourly(0, datetime.now(UTC) + timedelta(hours=1)))
    scheduler.remove_job(specimen.id)
    scheduler.shutdown()
    multiply(database.store(), specimen.__getstate__(), moments)


def multiply(
    store: SQLAlchemyJobStore, specimen: dict[str, Any], moments: Sequence[datetime]
) -> None:
    """Write jobs like one into the table of a store, in the form of 3.11."""
    rows = []
    for number, moment in enumerate(moments):
        state = {**specimen, "id": f"{number:032x}", "args": (number,), "next_run_time": moment}
        rows.append(
            {
                "id": state["id"],
                "next_run_time": moment.timestamp(),
                "job_state": pickle.dumps(state, store.pickle_protocol),
            }
        )
    with store.engine.begin() as connection:
        connection.execute(store.jobs_t.insert(), rows)
    store.engine.dispose()


class Ledger:
    """What the database itself says of jobs and runs, beside any scheduler.

    :param database: a database in which a store has made its tables
    """

    def __init__(self, database: Database) -> None:
        self.engine = create_engine(database.url)
        self._keeps_runs = inspect(self.engine).has_table("apscheduler_jobs_runs")

    def wait(self, due: datetime, pause: float = 0.001) -> None:
        """Block until no job is due from then, and no run is open.

        :param pause: seconds between two looks
        """
        deadline = time.monotonic() + PATIENCE
        open_work = ["SELECT 1 FROM apscheduler_jobs WHERE next_run_time <= :due LIMIT 1"]
        if self._keeps_runs:
            # As literals, since an index on open runs alone is not used otherwise.
            open_work.append(
                "SELECT 1 FROM apscheduler_jobs_runs WHERE state IN ('waiting', 'running') LIMIT 1"
            )
        for statement in map(text, open_work):
            while self._ask(statement, {"due": due.timestamp()}) is not None:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"not all is written after {PATIENCE:g} s")
                time.sleep(pause)

    def check(self, count: int) -> None:
        """Raise an error unless so many jobs each have one successful run, if runs are kept."""
        if self._keeps_runs:
            for what in ("*", "DISTINCT job_id"):
                statement = f"SELECT count({what}) FROM apscheduler_jobs_runs"
                found = self._ask(text(f"{statement} WHERE state = 'succeeded'"), {})
                if found != count:
                    raise RuntimeError(f"{found} runs are recorded of {count} (count {what})")

    def _ask(self, statement: Any, parameters: dict[str, object]) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(statement, parameters).scalar()
