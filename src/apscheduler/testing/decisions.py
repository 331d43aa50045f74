"""Decisions and Runs, as the tests of a job store need them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

from apscheduler.job import Job
from apscheduler.jobstores.base import ClaimingJobStore
from apscheduler.runs import Due, Plan, Run, RunKind, RunState, Transition, replace

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

_numbers = count(1)


def opening(due: Due) -> Plan:
    """Decide that one Run is opened, and that the job runs again an hour later."""
    return Plan(due.slot + HOUR, due.slot, (run_of(due),))


def replace_next(plan: Plan, next_run_time: datetime) -> Plan:
    """Return the same decision with another next run time."""
    return Plan(next_run_time, plan.last_slot, plan.opened, plan.closed)


def starting(run: Run, job: Job | None) -> Transition:
    """Decide that a waiting Run begins."""
    return Transition(run, RunState.RUNNING)


def deciding_too_late(
    store: ClaimingJobStore, move: Callable[[ClaimingJobStore], None]
) -> Callable[[Due], Plan | None]:
    """Return a decision that is taken only after something has happened to its job."""
    moved = False

    def decide(due: Due) -> Plan | None:
        nonlocal moved
        if moved:
            return None
        moved = True
        run = replace(run_of(due), id="too late")
        move(store)
        return Plan(due.slot + 5 * SECOND, due.slot, (run,))

    return decide


def to_be_run_at(moment: datetime | None) -> Callable[[Job], None]:
    """Return a change of a job."""
    return lambda job: setattr(job, "next_run_time", moment)


def run_of(due: Due) -> Run:
    """Return the running Run of a slot."""
    return run_for(due.job, due.slot, due.incarnation)


def run_for(
    job: Job,
    scheduled_at: datetime,
    incarnation: str,
    kind: RunKind = RunKind.SLOT,
    state: RunState = RunState.RUNNING,
) -> Run:
    """Return a Run of a job, as it is when it is opened."""
    run_id = f"run{next(_numbers):08}"
    return Run(
        id=run_id,
        job_id=job.id,
        state=state,
        kind=kind,
        scheduled_at=scheduled_at,
        first_scheduled_at=scheduled_at,
        opened_at=scheduled_at,
        batch=run_id,
        job_name=job.name,
        jobstore="store",
        executor=job.executor,
        node="node",
        incarnation=incarnation,
    )
