"""A job store fails, at any call and in any way: the loop goes on, and says so meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from loop_kit import (
    CONTRACT,
    ERRORS,
    RAN,
    SEAM,
    STORES,
    Faults,
    HandScheduler,
    HealthLog,
    Heard,
    assert_at_rest,
    assert_every_slot_ran_once,
    at,
    late,
    ran,
    slots_of,
)

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.jobstores.memory import MemoryJobStore

Make = Callable[..., HandScheduler]

#: The calls that a loop makes on each kind of store while jobs come and go.
CALLS = [
    ("claiming", "claim"),
    ("claiming", "claim_waiting"),
    ("claiming", "apply"),
    ("claiming", "next_wake"),
    ("rows", "get_due_jobs"),
    ("rows", "get_next_run_time"),
    ("rows", "update_job"),
    ("rows", "remove_job"),
    ("objects", "get_due_jobs"),
    ("objects", "get_next_run_time"),
    ("objects", "update_job"),
    ("objects", "remove_job"),
]
EVERY, EACH, ONCE = range(10, 61, 10), range(7, 61, 7), [25]


def busy(make: Make, kind: str) -> tuple[HandScheduler, Faults]:
    """Return a scheduler with jobs of several kinds, none of which is ever late."""
    RAN.clear()
    store = STORES[kind]()
    scheduler = make(jobstores={"default": store}, job_defaults={"misfire_grace_time": None})
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.add_job(ran, "interval", seconds=7, id="each", coalesce=False)
    scheduler.add_job(ran, "date", run_date=at(25), id="once")
    scheduler.rest()
    store.faults.calls.clear()
    return scheduler, store.faults


def assert_all_ran(scheduler: HandScheduler, most_late: float) -> None:
    assert_every_slot_ran_once(scheduler, "every", EVERY, most_late=most_late)
    assert_every_slot_ran_once(scheduler, "each", EACH, most_late=most_late)
    assert_every_slot_ran_once(scheduler, "once", ONCE, most_late=most_late)
    assert_at_rest(scheduler)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(("kind", "method"), CALLS)
def test_whichever_call_fails_once_each_slot_runs_once_and_soon_and_health_tells(
    make: Make, kind: str, method: str, error: type[Exception], after: bool
) -> None:
    scheduler, faults = busy(make, kind)
    scheduler.run_until(60)
    calls = faults.calls[method]
    assert calls
    assert_all_ran(scheduler, most_late=0)

    for nth in range(1, calls + 1):
        scheduler, faults = busy(make, kind)
        faults.fail(method, error, nth=nth, after=after)
        log = HealthLog(scheduler, faults)
        scheduler.run_until(61)

        assert faults.fired == [method], nth
        (told,) = log.when_failed()
        assert told.running, nth
        assert told.stores["default"].error == f"{error.__name__}: out of order", nth
        assert not told.ok
        assert_all_ran(scheduler, most_late=0.5)


@pytest.mark.parametrize(("kind", "method"), CALLS)
def test_a_call_that_fails_for_a_while_is_made_again_at_growing_intervals(
    make: Make, kind: str, method: str
) -> None:
    scheduler, faults = busy(make, kind)
    scheduler.run_until(24)
    faults.fail(method, OSError, times=10_000)
    log = HealthLog(scheduler, faults)
    scheduler.run_until(124)
    failed_at = [when for when, _, failed in log.said if failed]
    assert 10 <= len(faults.fired) <= 60
    assert max(later - earlier for earlier, later in pairwise(failed_at)) <= 10

    faults.mend()
    scheduler.run_until(144)
    for job_id, step in (("every", 10), ("each", 7)):
        slots = [slot for name, slot in RAN if name == job_id]
        assert len(slots) == len(set(slots))
        runs = scheduler.get_runs(job_id, limit=10_000)
        for slot in range(step, 144, step):
            answers = [
                run for run in runs if run.first_scheduled_at <= at(slot) <= run.scheduled_at
            ]
            assert len(answers) == 1, (job_id, slot)
    assert slots_of("every")[-1] == 140
    assert slots_of("once") == [25]
    assert_at_rest(scheduler)


@pytest.mark.parametrize(("kind", "method"), CALLS)
def test_while_a_call_goes_on_failing_health_never_says_that_all_is_well(
    make: Make, kind: str, method: str
) -> None:
    scheduler, faults = busy(make, kind)
    scheduler.run_until(24)
    faults.fail(method, OSError, times=10_000)
    log = HealthLog(scheduler, faults)
    scheduler.run_until(60)
    since = next(index for index, (_, _, failed) in enumerate(log.said) if failed)
    assert [when for when, health, _ in log.said[since:] if health.ok] == []
    assert all(health.stores["default"].error for _, health, _ in log.said[since:])
    assert all(health.running for _, health, _ in log.said)


@pytest.mark.parametrize("kind", STORES)
def test_a_store_that_is_away_altogether_is_asked_again_after_half_a_second_and_then_less_often(
    make: Make, kind: str
) -> None:
    scheduler, faults = busy(make, kind)
    scheduler.run_until(24.5)
    scheduler.clock.advance(seconds=0.5)
    for method in (*SEAM, *CONTRACT):
        faults.fail(method, ConnectionError, times=10_000)
    log = HealthLog(scheduler, faults)
    scheduler.run_until(66)

    asked = [when for when, _, failed in log.said if failed]
    assert len(faults.fired) == len(asked)
    assert asked == [25, 25.5, 26.5, 28.5, 32.5, 40.5, 50.5, 60.5]
    health = scheduler.health()
    assert health.stores["default"].failures == len(asked)
    assert health.stores["default"].failing_since == at(25)
    assert health.stores["default"].error == "ConnectionError: out of order"
    assert health.last_turn == at(66)
    assert health.loop_lag == timedelta(0)

    faults.mend()
    scheduler.run_until(71)
    assert slots_of("once") == [25]
    assert_at_rest(scheduler)


def test_the_longest_time_until_a_store_is_asked_again_can_be_set(make: Make) -> None:
    store = STORES["claiming"]()
    scheduler = make(jobstores={"default": store}, jobstore_retry_interval=2)
    store.faults.fail("claim", times=10_000)
    log = HealthLog(scheduler, store.faults)
    scheduler.run_until(9)
    assert [when for when, _, failed in log.said if failed] == [0, 0.5, 1.5, 3.5, 5.5, 7.5]


def test_what_comes_due_while_a_store_is_away_is_missed_for_that_reason(make: Make) -> None:
    store = STORES["claiming"]()
    scheduler = make(jobstores={"default": store})
    scheduler.add_job(ran, "interval", seconds=20, id="every", misfire_grace_time=2)
    scheduler.run_until(15)
    store.faults.fail("claim", ConnectionError, times=10_000)
    scheduler.run_until(26)
    store.faults.mend()
    scheduler.run_until(45)
    assert slots_of("every") == [40]
    assert "was missed: its job store failed" in scheduler.explain("every", at(20))


def test_a_store_that_fails_shorter_than_the_grace_time_makes_nothing_miss(make: Make) -> None:
    store = STORES["claiming"]()
    scheduler = make(jobstores={"default": store})
    scheduler.add_job(ran, "interval", seconds=10, id="every", misfire_grace_time=2)
    scheduler.run_until(9)
    scheduler.clock.advance(seconds=1)
    store.faults.fail("claim", ConnectionError, times=2)
    scheduler.run_until(21)
    assert slots_of("every") == [10, 20]
    assert late(scheduler.get_runs("every")[-1]) == 1.5


def test_one_store_that_fails_does_not_hold_up_another(make: Make) -> None:
    bad, good = STORES["claiming"](), MemoryJobStore()
    scheduler = make(jobstores={"default": bad, "other": good})
    scheduler.add_job(ran, "interval", seconds=10, id="held up", misfire_grace_time=None)
    scheduler.add_job(ran, "interval", seconds=10, id="free", jobstore="other")
    bad.faults.fail("claim", times=10_000)
    scheduler.run_until(35)
    assert (slots_of("held up"), slots_of("free")) == ([], [10, 20, 30])
    health = scheduler.health()
    assert health.stores["other"].error is None
    assert [(job.job_id, job.reason) for job in health.overdue] == [
        ("held up", "its job store fails")
    ]


def test_one_row_that_cannot_be_written_does_not_hold_up_the_others(make: Make) -> None:
    store = STORES["rows"]()
    scheduler = make(jobstores={"default": store}, job_defaults={"misfire_grace_time": None})
    scheduler.add_job(ran, "interval", seconds=10, id="bad")
    scheduler.add_job(ran, "interval", seconds=10, id="good")
    take = store.update_job

    def update_job(job: Any) -> None:
        if job.id == "bad":
            raise OSError("read-only row")
        take(job)

    store.update_job = update_job
    scheduler.run_until(35)
    assert (slots_of("bad"), slots_of("good")) == ([], [10, 20, 30])
    health = scheduler.health()
    assert [(job.job_id, job.reason) for job in health.overdue] == [
        ("bad", "its job store did not take it")
    ]
    assert health.stores["default"].error == "OSError: read-only row"

    del store.update_job
    scheduler.run_until(45)
    assert slots_of("bad") == [30, 40]
    assert_at_rest(scheduler)


def test_a_row_that_vanishes_while_it_is_claimed_is_nobodys_loss(make: Make) -> None:
    store = STORES["rows"]()
    scheduler = make(jobstores={"default": store})
    scheduler.add_job(ran, "interval", seconds=10, id="gone")
    scheduler.add_job(ran, "interval", seconds=10, id="here")
    take = store.update_job

    def update_job(job: Any) -> None:
        if job.id == "gone":
            store.rows.pop("gone", None)
        take(job)

    store.update_job = update_job
    scheduler.run_until(25)
    assert (slots_of("gone"), slots_of("here")) == ([], [10, 20])
    assert_at_rest(scheduler)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("kind", "method"), CALLS)
def test_whichever_call_fails_the_end_of_each_run_is_told_once(
    make: Make, kind: str, method: str, after: bool
) -> None:
    for nth in range(1, 16):
        scheduler, faults = busy(make, kind)
        heard = Heard(scheduler, EVENT_JOB_EXECUTED)
        faults.fail(method, OSError, nth=nth, after=after)
        scheduler.run_until(61)
        assert len(faults.fired) == (faults.calls[method] >= nth)
        told = [(event.job_id, event.scheduled_run_time) for event in heard.events]
        assert sorted(told) == sorted(RAN), nth


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_batch_runs_whole_and_in_order_whichever_of_its_records_cannot_be_written(
    make: Make, after: bool
) -> None:
    def resume_after_a_pause(nth: int) -> tuple[HandScheduler, int]:
        RAN.clear()
        store = STORES["claiming"]()
        scheduler = make(jobstores={"default": store}, job_defaults={"misfire_grace_time": None})
        scheduler.add_job(ran, "interval", seconds=5, id="each", coalesce=False)
        scheduler.pause()
        scheduler.run_until(31)
        scheduler.resume()
        store.faults.calls.clear()
        store.faults.fail("apply", ConnectionError, nth=nth, after=after)
        scheduler.run_until(51)
        return scheduler, store.faults.calls["apply"]

    _, calls = resume_after_a_pause(10_000)
    assert calls > 12
    for nth in range(1, calls + 1):
        scheduler, _ = resume_after_a_pause(nth)
        assert slots_of("each") == list(range(5, 51, 5)), nth
        runs = scheduler.get_runs("each", limit=100)
        assert [run.state for run in runs] == ["succeeded"] * 10, nth
        assert_at_rest(scheduler)


def test_two_writes_of_which_the_answers_were_lost_are_both_made_good_one_after_the_other(
    make: Make,
) -> None:
    store = STORES["rows"]()
    scheduler = make(jobstores={"default": store}, job_defaults={"misfire_grace_time": None})
    for job_id in ("a", "b"):
        scheduler.add_job(ran, "interval", seconds=10, id=job_id)
    scheduler.rest()
    store.faults.fail("update_job", ConnectionError, times=2, after=True)
    store.faults.fail("lookup_job", ConnectionError, nth=2)
    scheduler.run_until(31)
    assert store.faults.fired == ["update_job", "update_job", "lookup_job"]
    assert (slots_of("a"), slots_of("b")) == ([10, 20, 30], [10, 20, 30])
    assert_at_rest(scheduler)


def test_a_claim_of_which_the_answer_is_lost_leaves_nothing_running_for_ever(make: Make) -> None:
    store = STORES["claiming"]()
    scheduler = make(jobstores={"default": store}, job_defaults={"misfire_grace_time": None})
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.add_job(ran, "date", run_date=at(10), id="once")
    scheduler.run_until(9)
    scheduler.clock.advance(seconds=1)
    store.faults.fail("claim", ConnectionError, after=True)
    scheduler.run_until(45)
    assert slots_of("every")[-3:] == [20, 30, 40]
    assert scheduler.get_runs(state="running") == []
    for job_id in ("every", "once"):
        (answer,) = [run for run in scheduler.get_runs(job_id) if run.scheduled_at == at(10)]
        assert answer.state in ("succeeded", "lost"), job_id
