"""When the loop turns: at once if there is something to do, and else not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from loop_kit import (
    HandScheduler,
    HeldExecutor,
    RowStore,
    assert_at_rest,
    at,
    ran,
    slots_of,
)

from apscheduler.executors.base import BaseExecutor
from apscheduler.executors.debug import DebugExecutor

Make = Callable[..., HandScheduler]


def wakeups(scheduler: HandScheduler, do: Callable[[], object]) -> int:
    before = scheduler.wakeups
    do()
    return scheduler.wakeups - before


def test_adding_a_job_wakes_the_loop_only_if_it_is_the_next_to_run(make: Make) -> None:
    scheduler = make()
    scheduler.rest()

    def add(seconds: float) -> int:
        return wakeups(scheduler, lambda: scheduler.add_job(ran, "date", run_date=at(seconds)))

    assert add(100) == 1
    scheduler.rest()
    assert add(200) == 0
    assert add(100) == 0
    assert add(50) == 1
    scheduler.rest()
    assert add(60) == 0


def test_until_the_loop_has_turned_every_job_that_is_added_wakes_it(make: Make) -> None:
    scheduler = make()
    assert wakeups(scheduler, lambda: scheduler.add_job(ran, "date", run_date=at(9))) == 1


def test_a_job_that_is_added_paused_wakes_nobody(make: Make) -> None:
    scheduler = make()
    scheduler.rest()
    assert wakeups(scheduler, lambda: scheduler.add_job(ran, next_run_time=None)) == 0


def test_a_thousand_later_jobs_cost_no_turn(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(ran, "date", run_date=at(10), id="first")
    scheduler.run_until(1)
    turns = scheduler.turns
    for number in range(1000):
        scheduler.add_job(ran, "date", run_date=at(1000 + number))
    scheduler.run_until(9)
    assert scheduler.turns - turns == 2  # those that `run_until` begins and ends with
    assert scheduler.wakeups <= 2


def test_a_change_wakes_the_loop_only_if_it_makes_a_job_the_next_to_run(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(ran, "date", run_date=at(100), id="a")
    scheduler.add_job(ran, "date", run_date=at(200), id="b")
    scheduler.rest()

    def change(job_id: str, **changes: Any) -> int:
        return wakeups(scheduler, lambda: scheduler.modify_job(job_id, **changes))

    assert change("b", name="renamed") == 0
    assert change("b", next_run_time=at(300)) == 0
    assert change("b", next_run_time=at(50)) == 1
    scheduler.rest()
    assert wakeups(scheduler, lambda: scheduler.remove_job("b")) == 0
    assert wakeups(scheduler, lambda: scheduler.pause_job("a")) == 0


def test_a_paused_scheduler_is_woken_only_by_its_resumption(make: Make) -> None:
    scheduler = make()
    scheduler.rest()
    scheduler.pause()
    assert wakeups(scheduler, lambda: scheduler.add_job(ran, id="a")) == 0
    assert wakeups(scheduler, scheduler.resume) == 1
    scheduler.rest()
    assert slots_of("a") == [0]


def test_a_job_that_cannot_run_yet_does_not_make_the_loop_spin(make: Make) -> None:
    executor = HeldExecutor()
    scheduler = make(executors={"default": executor})
    scheduler.add_job(
        ran,
        "interval",
        seconds=1,
        next_run_time=at(-500),
        id="a",
        coalesce=False,
        misfire_grace_time=None,
    )
    scheduler.rest()
    assert len(executor.held[0][1]) == 100
    turns = scheduler.turns
    scheduler.run_until(60)
    assert scheduler.turns - turns <= 62
    assert len(executor.held) == 1


def test_a_store_that_keeps_failing_does_not_make_the_loop_spin(make: Make) -> None:
    class Down(RowStore):
        def get_due_jobs(self, now: object) -> list[Any]:
            raise ConnectionError("down")

    scheduler = make(jobstores={"default": Down()})
    scheduler.run_until(100)
    assert scheduler.turns <= 18


class Window(dict[str, BaseExecutor]):
    """A registry in which a turn comes right before an executor is entered."""

    def __init__(self, scheduler: HandScheduler) -> None:
        super().__init__(scheduler._executors)
        self._scheduler = scheduler

    def __setitem__(self, alias: str, executor: BaseExecutor) -> None:
        self._scheduler.rest()
        super().__setitem__(alias, executor)


def without_its_executor(make: Make, store: str = "memory") -> HandScheduler:
    scheduler = make(jobstores={"default": RowStore()} if store == "rows" else {})
    scheduler.add_job(
        ran, "interval", seconds=10, id="a", executor="late", misfire_grace_time=None
    )
    scheduler.add_job(ran, "interval", seconds=10, id="b")
    return scheduler


@pytest.mark.parametrize("store", ["memory", "rows"])
def test_a_job_whose_executor_does_not_exist_waits_and_is_called_overdue(
    make: Make, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = without_its_executor(make, store)
    with caplog.at_level(logging.WARNING):
        scheduler.run_until(60)
    assert slots_of("b") == [10, 20, 30, 40, 50, 60]
    assert scheduler.turns <= 10
    (warning,) = caplog.records
    assert 'there is no executor "late": it waits until one is added' in warning.message
    health = scheduler.health()
    assert not health.ok
    (overdue,) = health.overdue
    assert (overdue.job_id, overdue.jobstore, overdue.next_run_time, overdue.reason) == (
        "a",
        "default",
        at(10),
        'there is no executor "late"',
    )
    assert "has been due since 2030-01-01 00:00:10" in scheduler.explain("a")

    woken = wakeups(scheduler, lambda: scheduler.add_executor(DebugExecutor(), "late"))
    assert woken == 1
    scheduler.rest()
    assert slots_of("a") == [60]
    (run,) = scheduler.get_runs("a")
    assert run.count == 6
    assert_at_rest(scheduler)


def test_it_runs_as_well_when_it_is_given_another_executor(make: Make) -> None:
    scheduler = without_its_executor(make)
    scheduler.run_until(15)
    scheduler.modify_job("a", executor="default")
    scheduler.rest()
    assert slots_of("a") == [10]
    assert_at_rest(scheduler)


def test_it_runs_also_if_a_turn_comes_while_its_executor_is_being_added(make: Make) -> None:
    scheduler = without_its_executor(make)
    scheduler.run_until(15)
    scheduler._executors = Window(scheduler)
    scheduler.add_executor(DebugExecutor(), "late")
    scheduler.run_until(31)
    assert slots_of("a") == [10, 20, 30]
    assert_at_rest(scheduler)


def test_it_runs_also_if_its_executor_is_added_right_after_a_turn_has_looked_for_it(
    make: Make,
) -> None:
    class AddsIt(logging.Handler):
        """Answers the warning that the executor is missing."""

        def emit(self, record: logging.LogRecord) -> None:
            if "there is no executor" in record.getMessage():
                scheduler.add_executor(DebugExecutor(), "late")

    scheduler = without_its_executor(make)
    handler = AddsIt()
    scheduler._logger.addHandler(handler)
    try:
        scheduler.run_until(31)
    finally:
        scheduler._logger.removeHandler(handler)
    assert slots_of("a") == [10, 20, 30]
    assert_at_rest(scheduler)


def test_the_loop_that_is_late_says_by_how_much(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(ran, "interval", seconds=10, id="a")
    scheduler.run_until(15)
    scheduler.clock.advance(seconds=12)
    health = scheduler.health()
    assert health.loop_lag.total_seconds() == 7
    assert health.last_turn == at(15)
    (overdue,) = health.overdue
    assert (overdue.job_id, overdue.reason) == ("a", "the scheduler has not come to it yet")
    scheduler.rest()
    assert scheduler.health().loop_lag.total_seconds() == 0
    assert scheduler.health().ok
