"""Stores, jobs and rows, for tests that look below the surface of the SQL job store."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import Due, Plan
from apscheduler.testing import ManualScheduler
from apscheduler.testing.decisions import opening
from apscheduler.triggers.interval import IntervalTrigger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TABLE = "apscheduler_jobs"
COLUMNS_3X = ["id", "next_run_time", "job_state"]

#: What 3.11.3 makes of an empty SQLite file.
LAYOUT_3X = f"""
CREATE TABLE {TABLE} (
    id VARCHAR(191) NOT NULL, next_run_time FLOAT, job_state BLOB NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX ix_{TABLE}_next_run_time ON {TABLE} (next_run_time);
"""


def work(*args: Any, **kwargs: Any) -> None:
    """Be called: a function that a job can refer to."""


def job(id: str, next_run_time: datetime | None = NOON, **attributes: Any) -> Job:
    """Return a job as a scheduler hands it to a job store."""
    ordinary = {
        "func": work,
        "trigger": IntervalTrigger(hours=1, start_date=NOON, timezone=UTC),
        "executor": "default",
        "args": (),
        "kwargs": {},
        "name": "work",
        "misfire_grace_time": 1,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": next_run_time,
    }
    return Job(ManualScheduler(timezone=UTC), id, **{**ordinary, **attributes})


def started(url: str, **options: Any) -> SQLAlchemyJobStore:
    """Return a store that is started."""
    store = SQLAlchemyJobStore(url, **options)
    store.start(ManualScheduler(timezone=UTC), "store")
    return store


def claimed(
    store: SQLAlchemyJobStore,
    now: datetime = NOON,
    decide: Callable[[Due], Plan | None] = opening,
) -> list[str]:
    """Claim all that is due; return the ids of the jobs."""
    return [due.job.id for due, _ in store.claim(now, decide, 1000, ()).won]


class File:
    """An SQLite file, looked at from outside of the store."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "jobs.sqlite"
        self.url = f"sqlite:///{self.path}"

    def run(self, script: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)

    def ask(self, question: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(question, values).fetchall()

    def columns(self, table: str = TABLE) -> list[str]:
        return [row[1] for row in self.ask(f"PRAGMA table_info({table})")]

    def write_as_3x(self, id: str, **changes: Any) -> None:
        """Write a row as 3.11.3 does when it updates a job: two columns, and nothing else."""
        ((state,),) = self.ask(f"SELECT job_state FROM {TABLE} WHERE id = ?", id)
        parts = pickle.loads(state) | changes
        self.ask(
            f"UPDATE {TABLE} SET next_run_time = ?, job_state = ? WHERE id = ?",
            parts["next_run_time"] and parts["next_run_time"].timestamp(),
            pickle.dumps(parts, pickle.HIGHEST_PROTOCOL),
            id,
        )
