"""Executors and job stores written for 3.x: they know nothing of Runs, and all is on record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from queue import SimpleQueue
from typing import Any

import pytest
from loop_kit import (
    CONTRACT,
    HandScheduler,
    Heard,
    HeldExecutor,
    RowStore,
    assert_at_rest,
    assert_every_slot_ran_once,
    at,
    ran,
    slots_of,
)

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
)
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.executors.debug import DebugExecutor
from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore

Make = Callable[..., HandScheduler]
PATIENCE = 20


def fails() -> None:
    raise ValueError("no luck")


class InLine(BaseExecutor):
    """Has run the job before it answers."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        try:
            events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
        except BaseException as exc:
            self._run_job_error(job.id, exc, exc.__traceback__)
        else:
            self._run_job_success(job.id, events)


class Threaded(InLine):
    """Runs each submission in a thread of its own."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        submit = super()._do_submit_job
        threading.Thread(target=submit, args=(job, run_times)).start()


@pytest.mark.parametrize("kind", [InLine, Threaded])
def test_what_a_foreign_executor_runs_is_on_record_as_it_went(
    make: Make, kind: type[BaseExecutor]
) -> None:
    scheduler = make(executors={"default": kind()})
    ended: SimpleQueue[Any] = SimpleQueue()
    scheduler.add_listener(ended.put, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.add_job(ran, "interval", seconds=10, id="every", misfire_grace_time=None)
    scheduler.add_job(fails, "date", run_date=at(10), id="bad", misfire_grace_time=None)
    for seconds, count in ((10, 2), (20, 1)):
        scheduler.run_until(seconds)
        told = {ended.get(timeout=PATIENCE).job_id for _ in range(count)}
        assert "every" in told
    assert_every_slot_ran_once(scheduler, "every", [10, 20], most_late=0)
    (bad,) = scheduler.get_runs("bad")
    assert bad.state == "failed"
    assert bad.error is not None
    assert bad.error.endswith("ValueError: no luck")
    assert_at_rest(scheduler)


@pytest.mark.parametrize("kind", [InLine, Threaded])
def test_each_end_is_told_once(make: Make, kind: type[BaseExecutor]) -> None:
    scheduler = make(executors={"default": kind()})
    heard = Heard(scheduler, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    settled = threading.Semaphore(0)
    scheduler.add_listener(lambda event: settled.release(), EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.add_job(ran, "date", run_date=at(5), id="good", misfire_grace_time=None)
    scheduler.add_job(fails, "date", run_date=at(5), id="bad", misfire_grace_time=None)
    scheduler.run_until(6)
    for _ in range(2):
        assert settled.acquire(timeout=PATIENCE)
    assert sorted((event.job_id, event.code) for event in heard.events) == [
        ("bad", EVENT_JOB_ERROR),
        ("good", EVENT_JOB_EXECUTED),
    ]


def held(make: Make, **options: Any) -> tuple[HandScheduler, HeldExecutor]:
    executor = HeldExecutor()
    scheduler = make(executors={"default": executor})
    scheduler.add_job(ran, "interval", seconds=10, id="a", **options)
    return scheduler, executor


def event(code: int, seconds: float, **details: Any) -> JobExecutionEvent:
    return JobExecutionEvent(code, "a", "default", at(seconds), **details)


def test_a_foreign_executor_gets_a_whole_batch_and_reports_each_of_its_runs(make: Make) -> None:
    scheduler, executor = held(make, coalesce=False, misfire_grace_time=None)
    scheduler.pause()
    scheduler.run_until(50)
    scheduler.resume()
    scheduler.rest()
    ((_, run_times),) = executor.held
    assert run_times == [at(second) for second in (10, 20, 30, 40, 50)]
    failure = ValueError("no luck")
    executor._run_job_success(
        "a",
        [
            event(EVENT_JOB_EXECUTED, 10),
            event(EVENT_JOB_MISSED, 20),
            event(EVENT_JOB_ERROR, 30, exception=failure, traceback=""),
            event(EVENT_JOB_EXECUTED, 50),
        ],
    )
    runs = sorted(scheduler.get_runs("a"), key=lambda run: run.scheduled_at)
    assert [run.state for run in runs] == [
        "succeeded",
        "missed",
        "failed",
        "failed",
        "succeeded",
    ]
    assert runs[1].reason == "its executor reported it as missed"
    assert runs[2].error == "ValueError: no luck"
    assert runs[3].reason == "its executor ended without a report of it"
    assert_at_rest(scheduler)


def test_reports_are_matched_by_run_time_in_whatever_order_they_come(make: Make) -> None:
    scheduler, executor = held(make, max_instances=3)
    scheduler.run_until(30)
    assert len(executor.held) == 3
    for second in (20, 30, 10):
        executor._run_job_success("a", [event(EVENT_JOB_EXECUTED, second)])
        ended = scheduler.get_runs("a", state="succeeded")
        assert at(second) in {run.scheduled_at for run in ended}
    assert_at_rest(scheduler)


def test_a_submission_that_failed_is_taken_to_be_the_oldest(make: Make) -> None:
    scheduler, executor = held(make, max_instances=3)
    heard = Heard(scheduler, EVENT_JOB_ERROR)
    scheduler.run_until(20)
    failure = OSError("the worker is gone")
    executor._run_job_error("a", failure)
    (run,) = scheduler.get_runs("a", state="failed")
    assert run.scheduled_at == at(10)
    assert [(told.scheduled_run_time, told.exception) for told in heard.events] == [
        (at(10), failure)
    ]
    assert [run.scheduled_at for run in scheduler.get_runs("a", state="running")] == [at(20)]


def test_a_run_that_a_foreign_executor_loses_shows_as_stuck_and_holds_its_instance(
    make: Make,
) -> None:
    scheduler, executor = held(make)
    heard = Heard(scheduler, EVENT_JOB_MAX_INSTANCES)
    scheduler.run_until(31)
    executor.held.clear()
    assert [told.scheduled_run_times for told in heard.events] == [[at(20)], [at(30)]]
    health = scheduler.health(stuck_after=20)
    (lost,) = scheduler.get_runs("a", state="running")
    assert health.executors["default"].stuck == (lost.id,)
    assert not health.ok
    assert scheduler.health(stuck_after=30).ok


@pytest.mark.parametrize("report", ["success", "error"])
def test_a_report_that_nobody_waits_for_changes_nothing(make: Make, report: str) -> None:
    scheduler, executor = held(make)
    scheduler.run_until(10)
    executor._run_job_success("a", [event(EVENT_JOB_EXECUTED, 10)])
    before = scheduler.get_runs()
    if report == "success":
        executor._run_job_success("a", [event(EVENT_JOB_EXECUTED, 10)])
    else:
        executor._run_job_error("a", ValueError("again"))
    assert scheduler.get_runs() == before
    scheduler.run_until(20)
    assert len(executor.held) == 2


def test_a_redefined_hook_of_an_executor_of_ours_is_called(make: Make) -> None:
    class Reporting(DebugExecutor):
        def _run_job_success(self, job_id: str, events: list[JobExecutionEvent]) -> None:
            reported.append((job_id, [event.scheduled_run_time for event in events]))
            super()._run_job_success(job_id, events)

    reported: list[Any] = []
    scheduler = make(executors={"default": Reporting()})
    scheduler.add_job(ran, "interval", seconds=10, id="a", misfire_grace_time=None)
    scheduler.run_until(25)
    assert reported == [("a", [at(10)]), ("a", [at(20)])]
    assert_every_slot_ran_once(scheduler, "a", [10, 20], most_late=0)
    assert_at_rest(scheduler)


@pytest.mark.parametrize("method", ["update_job", "get_due_jobs", "remove_job", "lookup_job"])
def test_a_redefined_method_of_a_store_of_ours_is_called(make: Make, method: str) -> None:
    called: list[Any] = []

    def redefined(self: Any, *args: Any) -> Any:
        called.append(args)
        return getattr(MemoryJobStore, method)(self, *args)

    store = type("Redefined", (MemoryJobStore,), {method: redefined})()
    scheduler = make(jobstores={"default": store})
    scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.add_job(ran, "date", run_date=at(10), id="once")
    scheduler.run_until(25)
    scheduler.get_job("every")
    assert called
    assert (slots_of("every"), slots_of("once")) == ([10, 20], [10])
    assert_at_rest(scheduler)


def test_a_store_of_3x_may_keep_the_objects_that_it_was_given(make: Make) -> None:
    store = type("Foreign", (MemoryJobStore,), {name: _passing(name) for name in CONTRACT})()
    scheduler = make(jobstores={"default": store})
    job = scheduler.add_job(ran, "interval", seconds=10, id="every")
    scheduler.run_until(25)
    assert job.next_run_time == at(30)
    assert scheduler.get_job("every") is job
    assert_every_slot_ran_once(scheduler, "every", [10, 20], most_late=0)


def _passing(name: str) -> Callable[..., Any]:
    method = getattr(MemoryJobStore, name)
    return lambda self, *args: method(self, *args)


def test_a_store_of_3x_is_asked_under_the_lock_of_its_scheduler_and_jobs_run_without_it(
    make: Make,
) -> None:
    class Watched(RowStore):
        def update_job(self, job: Job) -> None:
            asked_with.append(is_locked())
            super().update_job(job)

    def is_locked() -> bool:
        taken: SimpleQueue[bool] = SimpleQueue()

        def take() -> None:
            if scheduler._jobstores_lock.acquire(blocking=False):
                scheduler._jobstores_lock.release()
                taken.put(False)
            else:
                taken.put(True)

        threading.Thread(target=take).start()
        return taken.get(timeout=PATIENCE)

    def job() -> None:
        ran_with.append(is_locked())

    asked_with: list[bool] = []
    ran_with: list[bool] = []
    globals()["_job_of_a_test"] = job
    job.__qualname__ = "_job_of_a_test"
    scheduler: Any = make(jobstores={"default": Watched()})
    scheduler.add_job(f"{__name__}:_job_of_a_test", "interval", seconds=10, id="a")
    scheduler.run_until(25)
    assert (asked_with, ran_with) == ([True, True], [False, False])


def test_a_row_that_somebody_else_removes_or_adds_is_noticed_at_the_next_turn(
    make: Make,
) -> None:
    store = RowStore()
    scheduler = make(jobstores={"default": store})
    scheduler.add_job(ran, "interval", seconds=10, id="mine")
    scheduler.run_until(15)
    row = {**store.rows.pop("mine"), "id": "theirs", "next_run_time": at(20)}
    store.rows["theirs"] = row
    scheduler.run_until(31)
    assert slots_of("mine") == [10]
    assert slots_of("theirs") == [20, 30]
    assert_at_rest(scheduler)
