"""Manual runs, beside the schedule; and what can be asked about Runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from loop_kit import (
    STORES,
    HandScheduler,
    Heard,
    HeldExecutor,
    RowStore,
    assert_at_rest,
    at,
    faulty,
    ran,
    slots_of,
)

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_SUBMITTED,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.runs import RunState
from apscheduler.schedulers import SchedulerNotRunningError

Make = Callable[..., HandScheduler]


@pytest.mark.parametrize("store", STORES)
def test_a_job_runs_now_and_its_schedule_is_as_it_was(make: Make, store: str) -> None:
    scheduler = make(jobstores={"default": STORES[store]()})
    scheduler.add_job(ran, "interval", seconds=10, id="a")
    scheduler.run_until(13)
    heard = Heard(scheduler, EVENT_JOB_EXECUTED | EVENT_JOB_SUBMITTED)
    run = scheduler.run_now("a")
    assert (run.state, run.kind, run.scheduled_at) == ("running", "manual", at(13))
    assert slots_of("a") == [10, 13]
    assert heard.codes == [EVENT_JOB_EXECUTED, EVENT_JOB_SUBMITTED]
    assert heard.events[1].scheduled_run_times == [at(13)]
    assert scheduler.get_job("a").next_run_time == at(20)
    assert scheduler.get_runs("a")[0].state is RunState.SUCCEEDED
    assert 'The manual run of job "a"' in scheduler.explain("a", at(13))
    scheduler.run_until(21)
    assert slots_of("a") == [10, 13, 20]
    assert_at_rest(scheduler)


def test_a_manual_run_beyond_the_overlap_limit_is_skipped(make: Make) -> None:
    executor = HeldExecutor()
    scheduler = make(executors={"default": executor})
    heard = Heard(scheduler, EVENT_JOB_MAX_INSTANCES)
    scheduler.add_job(ran, "interval", seconds=10, id="a", max_instances=2)
    scheduler.run_until(10)
    assert scheduler.run_now("a").state is RunState.RUNNING
    refused = scheduler.run_now("a")
    assert refused.state is RunState.SKIPPED
    assert refused.reason == "maximum number of running instances reached (2)"
    assert [event.scheduled_run_times for event in heard.events] == [[at(10)]]
    assert len(executor.held) == 2
    assert scheduler.get_runs("a", state="skipped") == [refused]


def test_a_manual_run_counts_among_the_instances_of_the_schedule(make: Make) -> None:
    executor = HeldExecutor()
    scheduler = make(executors={"default": executor})
    scheduler.add_job(ran, "interval", seconds=10, id="a")
    scheduler.rest()
    scheduler.run_now("a")
    scheduler.run_until(10)
    (skipped,) = scheduler.get_runs("a", state="skipped")
    assert skipped.scheduled_at == at(10)


@pytest.mark.parametrize("pause", ["scheduler", "job"])
def test_what_is_paused_can_be_run_now(make: Make, pause: str) -> None:
    scheduler = make()
    scheduler.add_job(ran, "interval", seconds=10, id="a")
    if pause == "scheduler":
        scheduler.pause()
    else:
        scheduler.pause_job("a")
    scheduler.run_now("a")
    assert slots_of("a") == [0]
    scheduler.run_until(30)
    assert slots_of("a") == [0]


def test_a_manual_run_that_fails_is_told_like_any_other(make: Make) -> None:
    def fails() -> None:
        raise ValueError("no luck")

    scheduler = make()
    heard = Heard(scheduler, EVENT_JOB_ERROR)
    scheduler.add_job(fails, "interval", seconds=10, id="a")
    scheduler.run_now("a")
    assert [str(event.exception) for event in heard.events] == ["no luck"]
    assert [run.state for run in scheduler.get_runs("a")] == ["failed"]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_a_manual_run_that_is_not_taken_has_failed_and_is_told(
    make: Make, error: type[Exception]
) -> None:
    executor = faulty(DebugExecutor, ["submit_runs"])()
    scheduler = make(executors={"default": executor})
    heard = Heard(scheduler, EVENT_JOB_ERROR)
    scheduler.add_job(ran, "interval", seconds=10, id="a")
    executor.faults.fail("submit_runs", error)
    scheduler.run_now("a")
    (run,) = scheduler.get_runs("a")
    assert (run.state, run.reason) == ("failed", "it was not submitted: out of order")
    assert len(heard.events) == 1
    scheduler.run_now("a")
    assert slots_of("a") == [0]
    assert_at_rest(scheduler)


def test_a_manual_run_for_which_there_is_no_executor_has_failed(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(ran, "interval", seconds=10, id="a", executor="none")
    scheduler.run_now("a")
    (run,) = scheduler.get_runs("a")
    assert run.state is RunState.FAILED
    assert "none" in str(run.reason)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_store_that_fails_to_open_a_manual_run_is_the_callers_error_and_blocks_nothing(
    make: Make, after: bool
) -> None:
    store = STORES["claiming"]()
    scheduler = make(jobstores={"default": store})
    scheduler.add_job(ran, "interval", seconds=10, id="a")
    store.faults.fail("open_run", ConnectionError, after=after)
    with pytest.raises(ConnectionError):
        scheduler.run_now("a")
    scheduler.run_until(25)
    assert slots_of("a") == [10, 20]
    assert_at_rest(scheduler)


def test_only_a_job_that_is_there_can_be_run_now(make: Make) -> None:
    scheduler = make(jobstores={"more": {"type": "memory"}})
    scheduler.add_job(ran, "interval", seconds=10, id="a", jobstore="more")
    with pytest.raises(JobLookupError):
        scheduler.run_now("b")
    with pytest.raises(JobLookupError):
        scheduler.run_now("a", jobstore="default")
    scheduler.run_now("a", jobstore="more")
    scheduler.shutdown()
    with pytest.raises(SchedulerNotRunningError):
        scheduler.run_now("a")


def test_threads_that_run_a_job_now_all_at_once_keep_its_limit(make: Make) -> None:
    executor = HeldExecutor()
    scheduler = make(executors={"default": executor})
    scheduler.add_job(ran, "interval", hours=10, id="a", max_instances=3)
    barrier = threading.Barrier(6)
    states: list[str] = []

    def run() -> None:
        barrier.wait(20)
        states.append(scheduler.run_now("a").state)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(states) == ["running"] * 3 + ["skipped"] * 3
    assert len(executor.held) == 3


def test_runs_are_listed_newest_first_and_by_job_state_and_time(make: Make) -> None:
    def fails() -> None:
        raise ValueError

    scheduler = make(jobstores={"more": RowStore()})
    scheduler.add_job(ran, "interval", seconds=10, id="a")
    scheduler.add_job(fails, "interval", seconds=15, id="b")
    scheduler.add_job(ran, "interval", seconds=20, id="c", jobstore="more")
    scheduler.run_until(40)

    def listed(**query: Any) -> list[tuple[str, float]]:
        return [
            (run.job_id, (run.scheduled_at - at(0)).total_seconds())
            for run in scheduler.get_runs(**query)
        ]

    everything = listed()
    assert [when for _, when in everything] == sorted(
        [10, 20, 30, 40, 15, 30, 20, 40], reverse=True
    )
    assert listed(job_id="a") == [("a", 40), ("a", 30), ("a", 20), ("a", 10)]
    assert listed(state="failed") == listed(state=RunState.FAILED) == [("b", 30), ("b", 15)]
    assert listed(since=at(40)) == everything[:2]
    assert listed(limit=3) == everything[:3]
    assert listed(job_id="a", since=at(15), limit=2) == [("a", 40), ("a", 30)]
    assert listed(job_id="nobody") == []
    assert listed(since=datetime(2030, 1, 1, 0, 0, 40)) == everything[:2]


def test_runs_are_kept_when_their_job_is_gone(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(ran, "date", run_date=at(10), id="once")
    scheduler.run_until(11)
    assert scheduler.get_job("once") is None
    assert [run.state for run in scheduler.get_runs("once")] == ["succeeded"]
    scheduler.remove_all_jobs()
    assert "succeeded" in scheduler.explain("once")


def test_removing_a_job_cancels_the_rest_of_its_batch_and_lets_its_running_run_end(
    make: Make,
) -> None:
    def remove_at_the_third() -> None:
        ran()
        if len(slots_of("a")) == 3:
            scheduler.remove_job("a")

    scheduler = make()
    scheduler.add_job(
        remove_at_the_third,
        "interval",
        seconds=1,
        next_run_time=at(-9),
        id="a",
        coalesce=False,
        misfire_grace_time=None,
    )
    scheduler.run_until(5)
    assert slots_of("a") == [-9, -8, -7]
    states = [run.state for run in scheduler.get_runs("a")]
    assert sorted(states) == ["cancelled"] * 7 + ["succeeded"] * 3
    assert "was cancelled: its job was removed" in scheduler.explain("a", at(-3))
    assert_at_rest(scheduler)
