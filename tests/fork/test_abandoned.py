"""What goes on in a child although it began in the parent: it changes nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler import _fork
from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.testing import ManualScheduler, VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)


class Watched(MemoryJobStore):
    """Notes when it is asked for what waits, and gives its jobs to nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def claim_waiting(self, *args: Any) -> Any:
        self.asked += 1
        return super().claim_waiting(*args)

    def after_fork(self) -> Any:
        return ()


def forked_in(job: Callable[[ManualScheduler], object]) -> tuple[ManualScheduler, Watched]:
    """Let a job find itself in a child, as a fork in it would."""
    second, clock = Watched(), VirtualClock(START)
    scheduler = ManualScheduler(
        clock=clock,
        executors={"default": DebugExecutor()},
        jobstores={"default": MemoryJobStore(), "second": second},
    )
    scheduler.start()
    scheduler.add_job(lambda: job(scheduler), "interval", seconds=10, id="forks")
    second.asked = 0
    clock.advance(seconds=10)
    scheduler._process_jobs()
    return scheduler, second


def test_a_turn_in_which_the_process_was_forked_asks_no_other_store_in_the_child() -> None:
    scheduler, second = forked_in(lambda scheduler: scheduler._after_fork())
    assert second.asked == 0
    assert not scheduler.running


def test_a_run_in_which_the_process_was_forked_does_not_end_in_the_child() -> None:
    heard: list[Any] = []

    def fork(scheduler: ManualScheduler) -> None:
        scheduler._after_fork()
        scheduler.add_listener(heard.append)

    scheduler, _ = forked_in(fork)
    assert [event.job_id for event in heard if hasattr(event, "retval")] == []
    assert scheduler.get_runs() == []
    assert [job.id for job in scheduler.get_jobs()] == ["forks"]


def test_when_one_hook_fails_the_others_are_called_all_the_same() -> None:
    class Failing:
        def _after_fork(self) -> None:
            raise OSError("no")

    class Noting:
        called = False

        def _after_fork(self) -> None:
            self.called = True

    failing, noting = Failing(), Noting()
    before = dict(_fork._watched)
    _fork._watched.clear()
    try:
        _fork.watch(failing)
        _fork.watch(noting)
        error = None
        try:
            _fork._after_fork_in_child()
        except OSError as raised:
            error = raised
    finally:
        _fork._watched.clear()
        _fork._watched.update(before)
    assert noting.called
    assert str(error) == "no"


def test_what_is_gone_hears_of_no_fork() -> None:
    class Passing:
        def _after_fork(self) -> None:
            raise AssertionError

    passing = Passing()
    key = id(passing)
    _fork.watch(passing)
    assert key in _fork._watched
    del passing
    gc.collect()
    assert key not in _fork._watched
