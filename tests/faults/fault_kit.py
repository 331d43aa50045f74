"""What jobs note here, and whether that is all that they should have done."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from apscheduler import current_run
from apscheduler.executors._invoke import CurrentRun
from apscheduler.runs import Run
from apscheduler.schedulers.base import BaseScheduler

#: For how many seconds anything is waited for.
PATIENCE = 30.0
#: Where a file need not be written to a disk: what fails here is no machine.
MEMORY = Path("/dev/shm")

#: The Runs that have begun, in order.
RAN: list[CurrentRun] = []
_change = threading.Condition()


def ran() -> None:
    """What jobs do here: note which Run of theirs begins."""
    with _change:
        RAN.append(current_run())
        _change.notify_all()


def wait_until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until something holds that nobody tells of."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.01)


def wait_for_runs(number: int) -> None:
    """Wait until so many more Runs have begun than have by now."""
    with _change:
        wanted = len(RAN) + number
        if not _change.wait_for(lambda: len(RAN) >= wanted, PATIENCE):
            raise AssertionError(f"{len(RAN)} runs have begun, not {wanted}")


@contextmanager
def sqlite_url() -> Iterator[str]:
    """Lend the URL of an SQLite file that is not there yet."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield f"sqlite:///{folder}/jobs.sqlite"


def slots_of(job_id: str) -> list[datetime]:
    """Return which slots of a job have run, in order."""
    return sorted(run.scheduled_at for run in RAN if run.job_id == job_id)


def assert_every_slot_is_answered_once(
    scheduler: BaseScheduler, job_id: str, first: datetime, step: timedelta, last: datetime
) -> None:
    """No slot has run twice, none is without answer, and what is on record is what has run."""
    attempts = sorted(
        (run for run in scheduler.get_runs(job_id, limit=10_000) if run.kind != "manual"),
        key=lambda run: (run.first_scheduled_at, run.attempt),
    )
    started = Counter(run.run_id for run in RAN if run.job_id == job_id)
    assert max(started.values(), default=1) == 1
    # What could not begin here may have been left to whoever could begin it.
    answers = {run.first_scheduled_at: run for run in attempts}
    runs = list(answers.values())
    for run in attempts:
        if run is not answers[run.first_scheduled_at]:
            assert (run.state, run.id in started) == ("cancelled", False), run
            assert run.reason == "its job store failed when it was to begin", run
    following = first
    for run in runs:
        assert run.first_scheduled_at == following, (run, following)
        assert run.scheduled_at == run.first_scheduled_at + step * (run.count - 1), run
        assert (run.state == "succeeded") == (run.id in started), run
        following = run.scheduled_at + step
    assert following > last, f"the slots of {job_id} from {following} on are without answer"
    assert set(started) <= {run.id for run in scheduler.get_runs(job_id, limit=10_000)}


def live_runs(scheduler: BaseScheduler) -> list[Run]:
    return [
        run
        for state in ("running", "waiting")
        for run in scheduler.get_runs(state=state, limit=10_000)
    ]
