"""Decisions and Runs, as the tests of a job store need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

from apscheduler.job import Job
from apscheduler.jobstores.base import ClaimingJobStore, SharedJobStore
from apscheduler.runs import Due, Plan, Run, RunKind, RunState, Transition, replace

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
#: How many seconds another thread may take for what it does at once.
PATIENCE = 20
#: The next run time that `deciding_too_late` decides on.
DECIDED_TOO_LATE = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)

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


def decides_under_lock(store: ClaimingJobStore) -> bool:
    """Tell whether the rows that are being decided about are locked."""
    return isinstance(store, SharedJobStore) and store.decides_under_lock


@contextmanager
def moving(
    store: ClaimingJobStore, move: Callable[[ClaimingJobStore], None]
) -> Iterator[Callable[[], None]]:
    """Lend what lets something happen in the middle of a decision.

    Where that has to wait for the decision, it is begun then, and has happened in the end.
    """
    with ThreadPoolExecutor(1) as other:
        begun: list[Future[None]] = []

        def begin() -> None:
            if decides_under_lock(store):
                begun.append(other.submit(move, store))
            else:
                move(store)

        yield begin
        for future in begun:
            future.result(PATIENCE)


@contextmanager
def deciding_too_late(
    store: ClaimingJobStore, move: Callable[[ClaimingJobStore], None]
) -> Iterator[Callable[[Due], Plan | None]]:
    """Lend a decision that is taken only after something has happened to its job.

    Where the job is locked meanwhile, that happens after the decision.
    """
    moved = False
    with moving(store, move) as begin:

        def decide(due: Due) -> Plan | None:
            nonlocal moved
            if moved:
                return None
            moved = True
            run = replace(run_of(due), id="too late")
            begin()
            return Plan(DECIDED_TOO_LATE, due.slot, (run,))

        yield decide


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
