"""A trigger fails, or answers nonsense: its job waits, all others go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from loop_kit import (
    ERRORS,
    RAN,
    START,
    FaultyTrigger,
    HandScheduler,
    HealthLog,
    Heard,
    assert_at_rest,
    assert_every_slot_ran_once,
    at,
    ran,
    slots_of,
)

from apscheduler.events import EVENT_ALL, EVENT_JOB_MISSED
from apscheduler.triggers.base import BaseTrigger

Make = Callable[..., HandScheduler]


def beside_good_ones(make: Make, **options: Any) -> tuple[HandScheduler, FaultyTrigger]:
    """Return a scheduler with a job whose trigger can fail, and jobs before and after it."""
    RAN.clear()
    scheduler = make(job_defaults={"misfire_grace_time": None})
    trigger = FaultyTrigger(3)
    scheduler.add_job(ran, "interval", seconds=3, id="a good one")
    scheduler.add_job(ran, trigger, id="bad", **options)
    scheduler.add_job(ran, "interval", seconds=3, id="good")
    scheduler.rest()
    trigger.faults.calls.clear()
    return scheduler, trigger


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("coalesce", [True, False])
def test_a_trigger_that_fails_once_delays_its_own_job_by_half_a_second_and_no_other(
    make: Make, coalesce: bool, error: type[Exception]
) -> None:
    scheduler, trigger = beside_good_ones(make, coalesce=coalesce)
    scheduler.run_until(30)
    calls = trigger.faults.calls["next"]
    for nth in range(1, calls + 1):
        scheduler, trigger = beside_good_ones(make, coalesce=coalesce)
        trigger.faults.fail("next", error, nth=nth)
        scheduler.run_until(31)
        assert trigger.faults.fired
        assert_every_slot_ran_once(scheduler, "bad", range(3, 31, 3), most_late=0.5)
        assert_every_slot_ran_once(scheduler, "good", range(3, 31, 3), most_late=0)
        assert_every_slot_ran_once(scheduler, "a good one", range(3, 31, 3), most_late=0)
        assert_at_rest(scheduler)


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("method", ["next", "last_due"])
@pytest.mark.parametrize("grace", [1, None])
@pytest.mark.parametrize("coalesce", [True, False])
def test_a_trigger_that_fails_while_a_backlog_is_worked_off_takes_nothing_with_it(
    make: Make, coalesce: bool, grace: int | None, method: str, listens: bool
) -> None:
    def resume_after_a_pause(nth: int, error: type[Exception]) -> tuple[HandScheduler, int]:
        scheduler, trigger = beside_good_ones(make, coalesce=coalesce, misfire_grace_time=grace)
        if listens:
            Heard(scheduler)
        scheduler.run_until(4)
        scheduler.pause()
        scheduler.run_until(29)
        trigger.faults.calls.clear()
        trigger.faults.fail(method, error, nth=nth)
        scheduler.resume()
        scheduler.run_until(46)
        return scheduler, trigger.faults.calls[method]

    _, calls = resume_after_a_pause(10_000, RuntimeError)
    for nth in range(1, calls + 1):
        scheduler, _ = resume_after_a_pause(nth, ERRORS[nth % len(ERRORS)])
        for job_id in ("a good one", "bad", "good"):
            slots = slots_of(job_id)
            assert len(slots) == len(set(slots)), (nth, job_id)
            assert set(range(33, 46, 3)) <= set(slots), (nth, job_id)
            runs = scheduler.get_runs(job_id, limit=1000)
            for slot in range(3, 46, 3):
                answers = [
                    run for run in runs if run.first_scheduled_at <= at(slot) <= run.scheduled_at
                ]
                assert [run.state.ended for run in answers] == [True], (nth, job_id, slot)
        assert_at_rest(scheduler)


@pytest.mark.parametrize("error", ERRORS)
def test_while_a_trigger_goes_on_failing_its_job_is_overdue_and_health_says_why(
    make: Make, error: type[Exception]
) -> None:
    scheduler, trigger = beside_good_ones(make)
    trigger.faults.fail("next", error, times=10_000)
    log = HealthLog(scheduler, trigger.faults)
    scheduler.run_until(60)

    tried_at = [when for when, _, failed in log.said if failed]
    assert tried_at == [3, 3.5, 4.5, 6.5, 10.5, 18.5, 28.5, 38.5, 48.5, 58.5]
    health = scheduler.health()
    assert health.running
    assert not health.ok
    (overdue,) = health.overdue
    assert (overdue.job_id, overdue.next_run_time) == ("bad", at(3))
    assert overdue.reason == f"its trigger failed: {error('out of order')!r}"
    assert health.stores["default"].error is None

    trigger.faults.mend()
    scheduler.run_until(70)
    assert slots_of("bad") == [66, 69]
    assert slots_of("good") == list(range(3, 70, 3))
    assert_at_rest(scheduler)


@pytest.mark.parametrize(
    "nonsense",
    [START, "tomorrow", 7, object()],
    ids=["a past time", "text", "a number", "an object"],
)
def test_a_trigger_that_answers_nonsense_holds_up_only_its_own_job_until_it_is_mended(
    make: Make, nonsense: Any
) -> None:
    scheduler, trigger = beside_good_ones(make)
    scheduler.run_until(4)
    trigger.nonsense = nonsense
    scheduler.run_until(20)
    assert slots_of("good") == slots_of("a good one") == [3, 6, 9, 12, 15, 18]
    health = scheduler.health()
    assert [job.job_id for job in health.overdue] == ["bad"]
    assert "its trigger failed" in health.overdue[0].reason

    trigger.nonsense = None
    scheduler.run_until(31)
    assert slots_of("bad")[-2:] == [27, 30]
    assert_at_rest(scheduler)


def test_a_trigger_that_fails_when_its_job_is_added_fails_only_that(make: Make) -> None:
    scheduler = make()
    trigger = FaultyTrigger(3)
    trigger.faults.fail("next", MemoryError)
    scheduler.add_job(ran, "interval", seconds=3, id="good")
    with pytest.raises(MemoryError):
        scheduler.add_job(ran, trigger, id="bad")
    assert [job.id for job in scheduler.get_jobs()] == ["good"]
    scheduler.run_until(10)
    assert slots_of("good") == [3, 6, 9]
    assert_at_rest(scheduler)


def test_a_job_whose_trigger_failed_too_long_ago_is_not_called_missed(make: Make) -> None:
    # The scheduler was there all the time: it is not the lateness that a grace time is about.
    scheduler, trigger = beside_good_ones(make, misfire_grace_time=1)
    heard = Heard(scheduler, EVENT_ALL)
    trigger.faults.fail("next", times=5)
    scheduler.run_until(20)
    assert slots_of("bad") == [18]
    assert heard.of(EVENT_JOB_MISSED) == []


def test_removing_a_job_whose_trigger_fails_ends_the_trouble(make: Make) -> None:
    scheduler, trigger = beside_good_ones(make)
    trigger.faults.fail("next", times=10_000)
    scheduler.run_until(10)
    scheduler.remove_job("bad")
    scheduler.run_until(20)
    assert_at_rest(scheduler)
    tried = len(trigger.faults.fired)
    scheduler.run_until(60)
    assert len(trigger.faults.fired) == tried


def test_a_new_trigger_is_asked_at_once_whatever_the_old_one_did(make: Make) -> None:
    scheduler, trigger = beside_good_ones(make)
    trigger.faults.fail("next", times=10_000)
    scheduler.run_until(20)
    scheduler.reschedule_job("bad", trigger="interval", seconds=1)
    scheduler.run_until(22)
    assert slots_of("bad") == [21, 22]
    assert_at_rest(scheduler)


class Once(BaseTrigger):
    """Fires once, and says so with a time that is past the last year in UTC."""

    def __init__(self, zone: str) -> None:
        self.never = datetime.max.replace(tzinfo=ZoneInfo(zone))

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return at(3) if previous is None else self.never


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another job"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_trigger_may_say_that_it_never_fires_again_by_the_end_of_the_calendar(
    make: Make, zone: str, beside: bool
) -> None:
    scheduler = make(timezone=zone)
    RAN.clear()
    trigger = Once(zone)
    scheduler.add_job(ran, trigger, id="once")
    if beside:
        scheduler.add_job(ran, "interval", seconds=3, id="good")
    scheduler.run_until(10)
    assert slots_of("once") == [3]
    assert scheduler.get_job("once").next_run_time == trigger.never
    assert_at_rest(scheduler)
