"""An executor fails: what it did not take is told and, if nothing else would run it, recovered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from threading import Event
from typing import Any

import pytest
from loop_kit import (
    ERRORS,
    RAN,
    Faults,
    HandScheduler,
    HealthLog,
    Heard,
    assert_at_rest,
    assert_every_slot_ran_once,
    at,
    faulty,
    late,
    ran,
    slots_of,
)

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.base import (
    BaseExecutor,
    MaxInstancesReachedError,
    ShuttingDownError,
    Work,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.testing import ManualScheduler

Make = Callable[..., HandScheduler]

OurExecutor = faulty(DebugExecutor, ["submit_runs", "load", "room", "start", "shutdown"])


class ForeignExecutor(faulty(DebugExecutor, ["load", "shutdown"])):  # type: ignore[misc]
    """One of 3.x: it is handed a job and its run times."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self.faults.around(
            "submit", lambda: super(ForeignExecutor, self)._do_submit_job(job, run_times)
        )


KINDS = {"ours": (OurExecutor, "submit_runs"), "foreign": (ForeignExecutor, "submit")}


def busy(make: Make, kind: str) -> tuple[HandScheduler, Faults, str]:
    RAN.clear()
    cls, submit = KINDS[kind]
    executor = cls()
    scheduler = make(executors={"default": executor})
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.add_job(ran, "interval", seconds=10, id="each", coalesce=False)
    scheduler.add_job(ran, "date", run_date=at(20), id="once")
    scheduler.rest()
    return scheduler, executor.faults, submit


@pytest.mark.parametrize("error", [*ERRORS, ShuttingDownError])
@pytest.mark.parametrize("kind", KINDS)
def test_whichever_submission_fails_is_told_of_once_and_the_rest_runs(
    make: Make, kind: str, error: type[Exception]
) -> None:
    scheduler, faults, submit = busy(make, kind)
    scheduler.run_until(41)
    calls = faults.calls[submit]
    assert calls == 9

    for nth in range(1, calls + 1):
        scheduler, faults, submit = busy(make, kind)
        heard = Heard(scheduler, EVENT_JOB_ERROR)
        failure = error("no room")
        faults.fail(submit, failure, nth=nth)
        log = HealthLog(scheduler, faults)
        scheduler.run_until(41)

        assert all(health.running for health in log.when_failed())
        (failed,) = scheduler.get_runs(state="failed")
        assert failed.reason == "it was not submitted: no room"
        assert failed.started_at is None
        if error is ShuttingDownError:
            assert heard.events == []
        else:
            (told,) = heard.events
            assert (told.job_id, told.exception) == (failed.job_id, failure)
            assert told.scheduled_run_time == failed.scheduled_at
        slots = {"every": [10, 20, 30, 40], "each": [10, 20, 30, 40], "once": [20]}
        if failed.job_id != "once":
            slots[failed.job_id].remove((failed.scheduled_at - at(0)).total_seconds())
        for job_id, wanted in slots.items():
            assert_every_slot_ran_once(
                scheduler, job_id, wanted, most_late=1.0 if job_id == "once" else 0
            )
        assert_at_rest(scheduler)


@pytest.mark.parametrize("kind", KINDS)
def test_a_one_shot_is_submitted_again_at_growing_intervals_until_it_is_taken(
    make: Make, kind: str
) -> None:
    cls, submit = KINDS[kind]
    executor = cls()
    scheduler = make(executors={"default": executor})
    heard = Heard(scheduler, EVENT_JOB_ERROR)
    scheduler.add_job(ran, "date", run_date=at(10), id="once")
    scheduler.rest()
    executor.faults.fail(submit, MemoryError, times=10_000)
    log = HealthLog(scheduler, executor.faults)
    scheduler.run_until(250)
    tried = [when for when, _, failed in log.said if failed]
    assert tried == [10, 11, 13, 17, 25, 41, 73, 133, 193]
    assert "is waiting until 2030-01-01 00:04:13" in scheduler.explain("once", at(10))
    assert len(heard.events) == 1

    executor.faults.mend()
    scheduler.run_until(300)
    assert slots_of("once") == [10]
    (last,) = scheduler.get_runs("once", state="succeeded")
    assert (last.kind, last.attempt, late(last)) == ("recovery", 10, 243)
    assert len(heard.events) == 1
    assert_at_rest(scheduler)


@pytest.mark.parametrize("hours", [-3, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_one_shot_that_is_submitted_again_does_not_wait_for_a_clock_that_is_set(
    make: Make, kind: str, hours: int
) -> None:
    cls, submit = KINDS[kind]
    executor = cls()
    scheduler = make(executors={"default": executor})
    scheduler.add_job(ran, "date", run_date=at(10), id="once")
    scheduler.rest()
    executor.faults.fail(submit, MemoryError, times=5)
    scheduler.run_until(26)
    scheduler._clock.jump(hours=hours)
    tried = executor.faults.calls[submit]
    scheduler.rest()
    assert executor.faults.calls[submit] == tried + 1
    assert slots_of("once") == [10]
    scheduler.run_until(hours * 3600 + 60)
    assert executor.faults.calls[submit] == tried + 1
    assert_at_rest(scheduler)


def test_a_recovery_is_not_started_while_its_executor_is_gone_but_when_it_is_back(
    make: Make,
) -> None:
    executor = OurExecutor()
    scheduler = make(executors={"other": executor})
    scheduler.add_job(ran, "date", run_date=at(10), id="once", executor="other")
    scheduler.rest()
    executor.faults.fail("submit_runs", times=10_000)
    scheduler.run_until(12)
    scheduler.remove_executor("other")
    scheduler.run_until(40)
    assert RAN == []
    scheduler.add_executor(DebugExecutor(), "other")
    scheduler.run_until(101)
    assert slots_of("once") == [10]
    assert_at_rest(scheduler)


@pytest.mark.parametrize("kind", KINDS)
def test_an_executor_that_runs_a_job_and_then_fails_does_not_run_it_again(
    make: Make, kind: str
) -> None:
    cls, submit = KINDS[kind]
    executor = cls()
    scheduler = make(executors={"default": executor})
    executor.faults.fail(submit, RuntimeError, after=True, times=3)
    scheduler.add_job(ran, "date", run_date=at(10), id="once")
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.run_until(45)
    assert (slots_of("once"), slots_of("every")) == ([10], [10, 20, 30, 40])
    assert {run.state for run in scheduler.get_runs()} == {"succeeded"}
    assert_at_rest(scheduler)


class Crowded(BaseExecutor):
    """A foreign executor that counts for itself, and has had enough."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise MaxInstancesReachedError(job)


def test_an_executor_that_refuses_because_of_instances_makes_the_run_skipped(make: Make) -> None:
    scheduler = make(executors={"default": Crowded()})
    heard = Heard(scheduler, EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.run_until(25)
    assert [run.state for run in scheduler.get_runs("every")] == ["skipped", "skipped"]
    assert heard.codes == [EVENT_JOB_MAX_INSTANCES] * 2
    assert [event.scheduled_run_times for event in heard.events] == [[at(10)], [at(20)]]
    assert "was skipped: maximum number of running instances reached (1)" in scheduler.explain(
        "every", at(20)
    )
    assert_at_rest(scheduler)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_executor_that_cannot_say_how_busy_it_is_does_not_keep_health_from_answering(
    make: Make, kind: str, error: type[Exception]
) -> None:
    scheduler, faults, _ = busy(make, kind)
    faults.fail("load", error, times=10_000)
    health = scheduler.health()
    assert health.running
    assert (health.executors["default"].workers, health.executors["default"].busy) == (None, None)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_executor_that_fails_to_shut_down_does_not_keep_the_scheduler_from_it(
    make: Make, kind: str, error: type[Exception]
) -> None:
    scheduler, faults, _ = busy(make, kind)
    faults.fail("shutdown", error)
    scheduler.shutdown()
    assert faults.fired == ["shutdown"]
    assert not scheduler.health().running

    scheduler.start()
    scheduler.add_job(ran, "interval", seconds=10, id="again")
    scheduler.run_until(11)
    assert slots_of("again") == [10]
    assert_at_rest(scheduler)


def test_an_executor_that_fails_to_start_is_not_added(make: Make) -> None:
    scheduler = make()
    executor: Any = OurExecutor()
    executor.faults.fail("start", MemoryError)
    with pytest.raises(MemoryError):
        scheduler.add_executor(executor, "other")
    scheduler.add_executor(executor, "other")
    scheduler.add_job(ran, "interval", seconds=10, id="every", executor="other")
    scheduler.run_until(11)
    assert slots_of("every") == [10]


@pytest.mark.parametrize("kind", KINDS)
def test_an_executor_that_fails_holds_up_no_job_of_another(make: Make, kind: str) -> None:
    cls, submit = KINDS[kind]
    bad = cls()
    scheduler = make(executors={"bad": bad})
    bad.faults.fail(submit, MemoryError, times=10_000)
    scheduler.add_job(ran, "interval", seconds=10, id="a", executor="bad")
    scheduler.add_job(ran, "interval", seconds=10, id="b")
    scheduler.run_until(35)
    assert (slots_of("a"), slots_of("b")) == ([], [10, 20, 30])
    assert [run.state for run in scheduler.get_runs("a")] == ["failed"] * 3


def test_a_one_shot_that_waits_to_be_tried_again_can_be_removed() -> None:
    class Full(DebugExecutor):
        def submit_runs(self, work: Work) -> None:
            raise RuntimeError("full")

    scheduler = ManualScheduler(timezone="UTC", executors={"default": Full()})
    scheduler.start()
    scheduler.add_job(ran, id="once")
    scheduler.run_due()
    assert scheduler.get_job("once") is None
    scheduler.remove_job("once")
    assert [run.state for run in scheduler.get_runs("once")] == ["cancelled", "failed"]
    with pytest.raises(JobLookupError):
        scheduler.remove_job("once")


class Packed(ThreadPoolExecutor):
    """Takes many submissions at a time, and refuses them as it is told."""

    error: BaseException | None = None
    then: BaseException | None = None

    def submit_all(self, works: Iterator[Work]) -> None:
        if self.error is not None:
            raise self.error
        super().submit_all(works)
        if self.then is not None:
            raise self.then


@pytest.mark.parametrize("error", [RuntimeError("no room"), KeyboardInterrupt("no room")])
def test_of_many_that_are_refused_at_once_each_is_told_of_and_those_of_others_run(
    make: Make, error: BaseException
) -> None:
    packed = Packed(1)
    packed.error = error
    scheduler = make(executors={"default": DebugExecutor(), "crowd": packed})
    for number in range(3):
        scheduler.add_job(ran, "date", run_date=at(10), executor="crowd", id=f"crowd{number}")
        scheduler.add_job(ran, "interval", seconds=10, id=f"other{number}")
    heard = Heard(scheduler, EVENT_JOB_ERROR)
    scheduler.rest()
    scheduler.clock.advance(seconds=10)
    if isinstance(error, Exception):
        scheduler._process_jobs()
    else:
        with pytest.raises(type(error)):
            scheduler._process_jobs()

    failed = scheduler.get_runs(state="failed")
    assert {run.job_id for run in failed} == {"crowd0", "crowd1", "crowd2"}
    assert {run.reason for run in failed} == {"it was not submitted: no room"}
    assert sorted(event.job_id for event in heard.events) == ["crowd0", "crowd1", "crowd2"]
    ran_jobs = {run.job_id for run in scheduler.get_runs(state="succeeded")}
    assert ran_jobs == {"other0", "other1", "other2"}


def test_an_interrupt_when_many_have_been_taken_lets_each_run_once(make: Make) -> None:
    packed = Packed(1)
    packed.then = KeyboardInterrupt()
    scheduler = make(executors={"crowd": packed})
    for number in range(3):
        scheduler.add_job(ran, "date", run_date=at(10), executor="crowd", id=f"crowd{number}")
    scheduler.rest()
    scheduler.clock.advance(seconds=10)
    with pytest.raises(KeyboardInterrupt):
        scheduler._process_jobs()

    assert scheduler._loop.runner.wait_until_idle(10)
    runs = scheduler.get_runs()
    assert sorted(run.job_id for run in runs) == ["crowd0", "crowd1", "crowd2"]
    assert {str(run.state) for run in runs} == {"succeeded"}


def test_a_job_in_line_may_wait_for_what_was_claimed_with_it(make: Make) -> None:
    begun = Event()
    met: list[bool] = []
    scheduler = make(executors={"default": DebugExecutor(), "crowd": ThreadPoolExecutor(1)})
    scheduler.add_job(begun.set, "date", run_date=at(9), executor="crowd")
    scheduler.add_job(lambda: met.append(begun.wait(10)), "date", run_date=at(10))
    scheduler.rest()
    scheduler.clock.advance(seconds=10)
    scheduler._process_jobs()
    assert met == [True]
