"""Small real jobs and triggers for tests of the inside, on a time line that begins at `NOON`."""

from __future__ import annotations

import gc
import tracemalloc
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from typing import Any

from apscheduler.job import Job
from apscheduler.runs import Run, RunKind, RunState
from apscheduler.triggers.base import BaseTrigger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a moment on the time line."""
    return NOON + timedelta(seconds=seconds)


class At(BaseTrigger):
    """Fires at given moments, and can calculate nothing."""

    def __init__(self, moments: Iterable[datetime]) -> None:
        self.moments = sorted(moments, key=datetime.timestamp)
        self.timestamps = [moment.timestamp() for moment in self.moments]

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        if previous_fire_time is None:
            position = bisect_left(self.timestamps, now.timestamp())
        else:
            position = bisect_right(self.timestamps, previous_fire_time.timestamp())
        return self.moments[position] if position < len(self.moments) else None

    def __str__(self) -> str:
        return f"at[{len(self.moments)}]"


def slots(*seconds: float) -> At:
    """Return a trigger that fires at moments on the time line."""
    return At(at(number) for number in seconds)


class Stuck(BaseTrigger):
    """Answers with the same moment whatever it is asked."""

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return NOON

    def __str__(self) -> str:
        return "stuck"


class House:
    """What a job needs of a scheduler."""

    timezone: tzinfo = UTC


def nothing(*args: Any, **kwargs: Any) -> None:
    """Be called."""


def make_job(
    trigger: BaseTrigger | None = None,
    *,
    id: str = "j",
    func: Callable[..., Any] = nothing,
    name: str | None = None,
    misfire_grace_time: int | None = 1,
    coalesce: bool = True,
    max_instances: int = 1,
    next_run_time: datetime | None = NOON,
    executor: str = "default",
) -> Job:
    house: Any = House()
    return Job(
        house,
        id=id,
        func=func,
        args=(),
        kwargs={},
        name=name,
        trigger=trigger or slots(0),
        executor=executor,
        misfire_grace_time=misfire_grace_time,
        coalesce=coalesce,
        max_instances=max_instances,
        next_run_time=next_run_time,
    )


_numbers = count()


def make_run(
    *,
    id: str | None = None,
    job_id: str = "j",
    state: RunState = RunState.RUNNING,
    kind: RunKind = RunKind.SLOT,
    scheduled_at: datetime = NOON,
    **fields: Any,
) -> Run:
    run_id = f"run-{next(_numbers):06}" if id is None else id
    given = {
        "first_scheduled_at": scheduled_at,
        "opened_at": scheduled_at,
        "batch": run_id,
        "job_name": "nothing",
        "jobstore": "default",
        "executor": "default",
        "node": "n",
        "incarnation": "1",
    }
    return Run(run_id, job_id, state, kind, scheduled_at, **{**given, **fields})


def growth(work: Callable[[int], None], times: int) -> int:
    """Return by how many bytes memory grows while ``work`` is done so often for a second time."""
    tracemalloc.start()
    try:
        for number in range(times):
            work(number)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(times, 2 * times):
            work(number)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        return after - before
    finally:
        tracemalloc.stop()
