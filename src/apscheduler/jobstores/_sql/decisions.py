"""What a claim asks for, and its decisions as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apscheduler.jobstores import _pickled
from apscheduler.jobstores._sql.rows import RunRow, micros, seconds
from apscheduler.runs import Due, Plan, value


@value
class Asked:
    """What a claim asks for."""

    now: float
    decide: Callable[[Due], Plan | None]
    executors: frozenset[str] | None
    # Those that the statement leaves out, and those that are left out of its answer.
    without: list[str]
    withheld: frozenset[str]


@value
class Decision:
    """A decision as it is to be written.

    ``state`` is None where the job's row is deleted.
    """

    row: Any
    due: Due
    plan: Plan
    state: bytes | None
    runs: list[RunRow]


@value
class Mend:
    """What a row says of its job, put right; None as next run time if the job is paused."""

    row: Any
    next_run_time: float | None
    executor: str


def update_row(decision: Decision) -> tuple[Any, ...]:
    """Return what is written into the row of a job that goes on, as `JOB_UPDATE`."""
    row, plan, state = decision.row, decision.plan, decision.state
    assert state is not None
    assert plan.next_run_time is not None
    return (
        row.id,
        seconds(plan.next_run_time),
        state,
        micros(plan.last_slot),
        decision.due.job.executor,
        (row.revision or 0) + 1,
        _pickled.digest(state),
    )
