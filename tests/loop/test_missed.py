"""A slot is missed when nobody was there to start it in time, and `explain` says why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from loop_kit import (
    STORES,
    HandScheduler,
    Heard,
    RowStore,
    assert_at_rest,
    at,
    ran,
    slots_of,
)

from apscheduler.events import (
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
)
from apscheduler.executors.debug import DebugExecutor

Make = Callable[..., HandScheduler]


def be_paused(scheduler: HandScheduler) -> None:
    scheduler.pause()
    scheduler.run_until(30)
    scheduler.resume()


def be_away(scheduler: HandScheduler) -> None:
    scheduler.shutdown()
    scheduler.clock.advance(seconds=25)
    scheduler.start()


def start_paused(scheduler: HandScheduler) -> None:
    scheduler.shutdown()
    scheduler.start(paused=True)
    scheduler.run_until(30)
    scheduler.resume()


def have_the_clock_moved(scheduler: HandScheduler) -> None:
    scheduler.clock.jump(seconds=25)


def be_without_the_executor(scheduler: HandScheduler) -> None:
    scheduler.remove_executor("default")
    scheduler.run_until(30)
    scheduler.add_executor(DebugExecutor())


def be_without_the_store(scheduler: HandScheduler) -> None:
    store = scheduler._jobstores["default"]
    scheduler.remove_jobstore("default")
    scheduler.run_until(30)
    scheduler.add_jobstore(store)


def have_the_store_fail(scheduler: HandScheduler) -> None:
    store: Any = scheduler._jobstores["default"]
    store.faults.fail("get_due_jobs", ConnectionError, times=1000)
    scheduler.run_until(28)
    store.faults.mend()


CAUSES = [
    (be_away, "no scheduler was running"),
    (be_paused, "the scheduler was paused"),
    (start_paused, "the scheduler was paused"),
    (have_the_clock_moved, "the clock was moved by 0:00:25"),
    (be_without_the_executor, 'there was no executor "default"'),
    (be_without_the_store, "its job store did not belong to a running scheduler"),
    (have_the_store_fail, "its job store failed"),
]


@pytest.mark.parametrize(("leave", "cause"), CAUSES)
def test_what_comes_due_while_nobody_can_start_it_is_missed_for_that_cause(
    make: Make, leave: Callable[[HandScheduler], None], cause: str
) -> None:
    scheduler = make(jobstores={"default": STORES["rows"]()})
    heard = Heard(scheduler, EVENT_JOB_MISSED | EVENT_JOB_EXECUTED | EVENT_JOB_REMOVED)
    scheduler.add_job(ran, "date", run_date=at(20), id="once")
    scheduler.run_until(5)
    leave(scheduler)
    scheduler.run_until(50)
    assert slots_of("once") == []
    assert heard.codes == [EVENT_JOB_MISSED, EVENT_JOB_REMOVED]
    assert heard.events[0].scheduled_run_time == at(20)
    (run,) = scheduler.get_runs("once")
    assert (run.state, run.kind, run.reason) == ("missed", "gap", cause)
    assert scheduler.explain("once", at(20)) == (
        f'The run of job "once" scheduled at 2030-01-01 00:00:20 UTC was missed: {cause}; '
        f"a longer misfire_grace_time, or None, lets it run late."
    )
    assert_at_rest(scheduler)


@pytest.mark.parametrize(("leave", "cause"), CAUSES)
@pytest.mark.parametrize("grace", [None, 60])
def test_with_enough_grace_it_runs_late_instead(
    make: Make, leave: Callable[[HandScheduler], None], cause: str, grace: int | None
) -> None:
    scheduler = make(jobstores={"default": STORES["rows"]()})
    heard = Heard(scheduler, EVENT_JOB_MISSED)
    scheduler.add_job(ran, "date", run_date=at(20), id="once", misfire_grace_time=grace)
    scheduler.run_until(5)
    leave(scheduler)
    scheduler.run_until(50)
    assert slots_of("once") == [20]
    assert heard.events == []


@pytest.mark.parametrize(("late", "state"), [(5, "succeeded"), (6, "missed")])
def test_grace_is_exceeded_only_by_more_than_it(make: Make, late: int, state: str) -> None:
    scheduler = make()
    scheduler.pause()
    scheduler.add_job(ran, "date", run_date=at(10), id="once", misfire_grace_time=5)
    scheduler.run_until(10 + late)
    scheduler.resume()
    scheduler.rest()
    assert [run.state for run in scheduler.get_runs("once")] == [state]


def test_a_clock_that_is_set_back_neither_repeats_nor_loses_a_slot(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.run_until(25)
    scheduler.clock.jump(hours=-1)
    scheduler.rest()
    scheduler.clock.jump(hours=1)
    scheduler.run_until(45)
    assert slots_of("every") == [10, 20, 30, 40]


def test_a_job_that_is_added_for_a_past_time_is_missed_because_of_that(make: Make) -> None:
    scheduler = make()
    scheduler.run_until(1)
    scheduler.add_job(ran, "date", run_date=at(-20), id="once")
    scheduler.rest()
    (run,) = scheduler.get_runs("once")
    assert (run.state, run.reason) == ("missed", "it was scheduled for a time that had passed")


def test_the_log_names_the_remedy(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = make()
    scheduler.add_job(ran, "date", run_date=at(-20), id="once", name="Anna")
    with caplog.at_level(logging.WARNING):
        scheduler.rest()
    (record,) = [record for record in caplog.records if "missed" in record.message]
    assert record.name == "apscheduler.executors.default"
    assert 'Run time of job "Anna (trigger: date' in record.message
    assert "was missed by 0:00:20" in record.message
    assert "misfire_grace_time is 1 s; a longer one, or None, lets it run late" in record.message


def test_all_slots_of_a_short_gap_are_told_one_by_one_and_then_the_job_goes_on(
    make: Make,
) -> None:
    scheduler = make()
    heard = Heard(scheduler, EVENT_JOB_MISSED | EVENT_JOB_EXECUTED | EVENT_JOB_SUBMITTED)
    scheduler.add_job(
        ran, "interval", seconds=10, id="each", coalesce=False, misfire_grace_time=15
    )
    scheduler.pause()
    scheduler.run_until(60)
    scheduler.resume()
    scheduler.rest()
    missed = [event.scheduled_run_time for event in heard.of(EVENT_JOB_MISSED)]
    assert missed == [at(10), at(20), at(30), at(40)]
    assert slots_of("each") == [50, 60]
    (submitted,) = heard.of(EVENT_JOB_SUBMITTED)
    assert submitted.scheduled_run_times == [at(second) for second in range(10, 61, 10)]
    (gap,) = scheduler.get_runs("each", state="missed")
    assert (gap.first_scheduled_at, gap.scheduled_at, gap.count) == (at(10), at(40), 4)


def test_of_a_long_gap_the_first_thousand_slots_are_told_and_the_last(make: Make) -> None:
    scheduler = make()
    heard = Heard(scheduler, EVENT_JOB_MISSED | EVENT_JOB_SUBMITTED)
    scheduler.add_job(ran, "interval", seconds=1, id="each", coalesce=False)
    scheduler.pause()
    scheduler.clock.advance(days=400)
    scheduler.resume()
    scheduler.rest()
    missed = [event.scheduled_run_time for event in heard.of(EVENT_JOB_MISSED)]
    assert missed[:1000] == [at(second) for second in range(1, 1001)]
    assert len(missed) == 1001
    (gap,) = scheduler.get_runs("each", state="missed")
    assert (gap.first_scheduled_at, gap.scheduled_at) == (at(1), missed[-1])
    assert gap.count == (gap.scheduled_at - gap.first_scheduled_at) / timedelta(seconds=1) + 1
    (submitted,) = heard.of(EVENT_JOB_SUBMITTED)
    assert submitted.scheduled_run_times[:1001] == missed
    assert f"which stands for {gap.count:,} run times since" in scheduler.explain("each", at(500))
    assert slots_of("each")[-1] == 400 * 86400


def test_a_coalesced_gap_is_told_once(make: Make) -> None:
    scheduler = make()
    heard = Heard(scheduler, EVENT_JOB_MISSED | EVENT_JOB_SUBMITTED)
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.pause()
    scheduler.run_until(65)
    scheduler.resume()
    scheduler.run_until(66)
    assert heard.codes == [EVENT_JOB_MISSED, EVENT_JOB_SUBMITTED]
    assert heard.events[0].scheduled_run_time == at(60)
    assert "was missed: the scheduler was paused" in scheduler.explain("every", at(30))


def test_runs_of_a_paused_job_are_neither_run_nor_missed(make: Make) -> None:
    scheduler = make()
    heard = Heard(scheduler, EVENT_JOB_MISSED)
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.run_until(15)
    scheduler.pause_job("every")
    scheduler.run_until(45)
    scheduler.resume_job("every")
    scheduler.run_until(61)
    assert slots_of("every") == [10, 50, 60]
    assert heard.events == []
    assert scheduler.explain("every", at(30)) == (
        'Job "every" has no run for 2030-01-01 00:00:30 UTC: the job was paused at '
        "2030-01-01 00:00:15 UTC and resumed at 2030-01-01 00:00:45 UTC."
    )


def test_a_store_of_another_kind_keeps_its_rows_while_nobody_is_there(make: Make) -> None:
    store = RowStore()
    scheduler = make(jobstores={"default": store})
    scheduler.add_job(ran, "interval", seconds=10, id="every", misfire_grace_time=None)
    scheduler.run_until(15)
    scheduler.shutdown()
    scheduler.clock.advance(seconds=50)

    other = HandScheduler(clock=scheduler.clock, jobstores={"default": store})
    other.start()
    other.run_until(75)
    assert slots_of("every") == [10, 60, 70]
    (first,) = [run for run in other.get_runs("every") if run.scheduled_at == at(60)]
    assert (first.first_scheduled_at, first.count) == (at(20), 5)
    other.shutdown()
