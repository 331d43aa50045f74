"""A scheduler, a job and a Work, no more of each than an executor needs."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.clock import SYSTEM_CLOCK, Clock
from apscheduler.executors._coroutines import CoroutineThread
from apscheduler.job import Job
from apscheduler.runs import Outcome, Run, RunKind, RunState, started
from apscheduler.util import obj_to_ref

#: How many seconds a test waits for what must happen.
PATIENCE = 20
DUE = datetime(2026, 3, 1, 12, tzinfo=UTC)


class House:
    """What stands around an executor: hears what it reports, and awaits for it."""

    def __init__(self, eventloop: Any = None) -> None:
        self.events: list[Any] = []
        self.reports: list[tuple[Any, ...]] = []
        self.coroutines = CoroutineThread()
        if eventloop is not None:
            self._eventloop = eventloop

    def _create_lock(self) -> Any:
        return threading.RLock()

    def _dispatch_event(self, event: Any) -> None:
        self.events.append(event)

    def _await(self, awaitable: Awaitable[Any]) -> Any:
        return self.coroutines.run(awaitable)

    def _submission_succeeded(self, *report: Any) -> None:
        self.reports.append(("succeeded", *report))

    def _submission_failed(self, *report: Any) -> None:
        self.reports.append(("failed", *report))


class Submission:
    """A Work that keeps what it is told, and lets a test wait for it."""

    def __init__(
        self, func: Callable[..., Any], *args: Any, runs: int = 1, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.job = make_job(func, *args)
        self.runs = [make_run(number) for number in range(runs)]
        self.clock = clock
        self.begun: list[str] = []
        self.withdrawn: set[str] = set()
        self._ends: queue.SimpleQueue[tuple[Run, Outcome]] = queue.SimpleQueue()

    def begins_with_a_write(self, run: Run) -> bool:
        return False

    def begin(self, run: Run) -> Run | None:
        self.begun.append(run.id)
        return None if run.id in self.withdrawn else started(run, self.clock.now())

    def finish(self, run: Run, outcome: Outcome) -> None:
        self._ends.put((run, outcome))

    def end(self) -> tuple[Run, Outcome]:
        """Wait for the next Run that ends."""
        return self._ends.get(timeout=PATIENCE)

    def outcome(self) -> Outcome:
        return self.end()[1]

    def ends(self) -> list[tuple[str, RunState]]:
        """Return what has been reported so far, beside what was asked for."""
        ends = []
        while not self._ends.empty():
            run, outcome = self._ends.get()
            ends.append((run.id, outcome.state))
        return ends


def make_job(func: Callable[..., Any], *args: Any, **options: Any) -> Job:
    job = Job.__new__(Job)
    try:
        reference = obj_to_ref(func)
    except (TypeError, ValueError):
        reference = None
    state = {
        "id": "a",
        "func": func,
        "func_ref": reference,
        "trigger": None,
        "executor": "default",
        "args": args,
        "kwargs": {},
        "name": "job a",
        "misfire_grace_time": 1,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": None,
        "_jobstore_alias": "default",
    }
    for attribute, value in (state | options).items():
        setattr(job, attribute, value)
    return job


def make_run(number: int = 0, **changes: Any) -> Run:
    due = DUE + timedelta(minutes=number)
    fields = {
        "id": f"run-{number}",
        "job_id": "a",
        "state": RunState.WAITING if number else RunState.RUNNING,
        "kind": RunKind.SLOT,
        "scheduled_at": due,
        "first_scheduled_at": due,
        "opened_at": due,
        "batch": "run-0",
        "job_name": "job a",
        "jobstore": "default",
        "executor": "default",
        "node": "node",
        "incarnation": "",
    }
    return Run(**fields | changes)


class Records(logging.Handler):
    """Keeps what is logged while it is attached."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def until(condition: Callable[[], Any]) -> None:
    """Wait for what gives no signal of its own."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.001)
