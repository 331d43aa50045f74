"""Two schedulers of one job store, whose time is in the hands of the test."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from apscheduler import current_run
from apscheduler.executors.base import RunExecutor, Work
from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import Outcome, Run, RunState
from apscheduler.testing import ManualScheduler, VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)
#: Which slot of which job ran on which node.
RAN: list[tuple[str, float, str]] = []


def ran() -> None:
    """What jobs do here: note which slot of which job runs, and where."""
    run = current_run()
    assert run is not None
    RAN.append((run.job_id, (run.scheduled_at - START).total_seconds(), Node.turning))


class Node(ManualScheduler):
    """A scheduler that shares a job store; it turns when it is told to."""

    #: Which one does what is done just now.
    turning = ""

    def _process_jobs(self) -> float | None:
        Node.turning = self.id
        return super()._process_jobs()

    @property
    def id(self) -> str:
        return self._loop.company.node_of("default")

    @property
    def store(self) -> SQLAlchemyJobStore:
        store = self._jobstores["default"]
        assert isinstance(store, SQLAlchemyJobStore)
        return store

    def do(self, sql: str, **values: Any) -> None:
        """Change what is stored behind everybody's back."""
        with self.store.engine.begin() as connection:
            connection.execute(text(sql), values)

    def is_taken_for_dead(self, node_id: str | None = None) -> None:
        """Let its lease end, or that of another one."""
        sql = "UPDATE apscheduler_jobs_nodes SET alive_until = 0 WHERE id = :id"
        self.do(sql, id=node_id or self.id)


class Company:
    """Makes schedulers of one file, with one clock."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory}/jobs.db"
        self.clock = VirtualClock(START)
        self.made: list[Node] = []

    def new(self, role: str = "scheduler", **options: Any) -> Node:
        store = SQLAlchemyJobStore(self.url)
        node = Node(jobstores={"default": store}, clock=self.clock, timezone=UTC, **options)
        self.made.append(node)
        node.start(role=role)
        return node

    def close(self) -> None:
        for node in self.made:
            if node.running:
                node.shutdown(wait=False)


class HoldingExecutor(RunExecutor):
    """Holds what it is given until it is told to run it.

    :param size: how much it can hold; None for any number
    """

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size
        self.works: deque[Work] = deque()
        self.begun: list[tuple[Work, Run]] = []

    def room(self) -> int | None:
        return None if self.size is None else self.size - len(self.works) - len(self.begun)

    def submit_runs(self, work: Work) -> None:
        self.works.append(work)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise AssertionError("nobody calls this of an executor that takes runs")

    def begin(self) -> list[Run]:
        """Let all that is held begin; return what did."""
        while self.works:
            work = self.works.popleft()
            for run in work.runs:
                if (begun := work.begin(run)) is not None:
                    self.begun.append((work, begun))
        return [run for _, run in self.begun]

    def end(self) -> None:
        """Let all that has begun end."""
        while self.begun:
            work, run = self.begun.pop(0)
            work.finish(run, Outcome(RunState.SUCCEEDED, run.started_at, work.clock.now()))
