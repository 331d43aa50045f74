"""One turn: what it does, in which order, and what it tells."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

import pytest
from loop_kit import (
    RAN,
    HandScheduler,
    Heard,
    HeldExecutor,
    assert_at_rest,
    at,
    ran,
    slots_of,
)

from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor

Make = Callable[..., HandScheduler]
PATIENCE = 20

ADDED, STARTED = events.EVENT_JOB_ADDED, events.EVENT_SCHEDULER_STARTED
EXECUTED, REMOVED = events.EVENT_JOB_EXECUTED, events.EVENT_JOB_REMOVED
SUBMITTED, MISSED = events.EVENT_JOB_SUBMITTED, events.EVENT_JOB_MISSED
ERROR, MAX_INSTANCES = events.EVENT_JOB_ERROR, events.EVENT_JOB_MAX_INSTANCES
OF_JOBS = EXECUTED | ERROR | MISSED | SUBMITTED | MAX_INSTANCES | REMOVED


class Gate:
    """A job that runs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.let_go.wait(PATIENCE)


def test_a_one_shot_that_runs_in_line_is_executed_then_removed_and_its_submission_told_last() -> (
    None
):
    scheduler = HandScheduler()
    heard = Heard(scheduler)
    scheduler.add_job(ran, id="once")
    scheduler.start()
    scheduler.rest()
    codes = [code for code in heard.codes if code >= ADDED or code == STARTED]
    assert codes == [ADDED, STARTED, EXECUTED, REMOVED, SUBMITTED]
    scheduler.shutdown()


def test_submissions_and_refusals_of_a_turn_are_told_last_in_the_order_of_the_jobs(
    make: Make,
) -> None:
    scheduler = make(executors={"held": HeldExecutor()})
    for job_id, executor in (("a", "default"), ("b", "held"), ("c", "default")):
        scheduler.add_job(ran, "interval", seconds=10, id=job_id, executor=executor)
    scheduler.add_job(ran, "date", run_date=at(20), id="d")
    scheduler.run_until(15)
    heard = Heard(scheduler, OF_JOBS)
    scheduler.run_until(20)
    assert [(event.code, event.job_id) for event in heard.events] == [
        (EXECUTED, "a"),
        (EXECUTED, "c"),
        (EXECUTED, "d"),
        (REMOVED, "d"),
        (SUBMITTED, "a"),
        (MAX_INSTANCES, "b"),
        (SUBMITTED, "c"),
        (SUBMITTED, "d"),
    ]


def test_each_event_says_which_job_of_which_store_and_which_time_it_is_about(make: Make) -> None:
    def fails() -> None:
        raise failure

    failure = ValueError("no luck")
    scheduler = make(jobstores={"more": {"type": "memory"}}, executors={"held": HeldExecutor()})
    scheduler.add_job(lambda: 42, "date", run_date=at(10), id="returns", jobstore="more")
    scheduler.add_job(fails, "date", run_date=at(10), id="fails", jobstore="more")
    scheduler.add_job(ran, "date", run_date=at(-10), id="late", jobstore="more")
    scheduler.add_job(ran, "interval", seconds=10, id="crowded", jobstore="more", executor="held")
    heard = Heard(scheduler, OF_JOBS)
    scheduler.run_until(20)
    told = {(event.code, event.job_id): event for event in heard.events}
    assert {event.jobstore for event in heard.events} == {"more"}

    executed = told[EXECUTED, "returns"]
    assert (executed.scheduled_run_time, executed.retval) == (at(10), 42)
    assert (executed.exception, executed.traceback) == (None, None)
    error = told[ERROR, "fails"]
    assert (error.scheduled_run_time, error.retval, error.exception) == (at(10), None, failure)
    assert "in fails" in error.traceback
    assert "ValueError: no luck" not in error.traceback
    missed = told[MISSED, "late"]
    assert missed.scheduled_run_time == at(-10)
    assert (missed.retval, missed.exception, missed.traceback) == (None, None, None)
    assert told[SUBMITTED, "returns"].scheduled_run_times == [at(10)]
    assert told[SUBMITTED, "late"].scheduled_run_times == [at(-10)]
    assert told[SUBMITTED, "crowded"].scheduled_run_times == [at(10)]
    assert told[MAX_INSTANCES, "crowded"].scheduled_run_times == [at(20)]


def test_a_coalesced_run_is_submitted_for_the_last_of_its_slots_alone(make: Make) -> None:
    scheduler = make()
    heard = Heard(scheduler, OF_JOBS)
    scheduler.add_job(
        ran, "interval", seconds=1, next_run_time=at(-99), id="a", misfire_grace_time=None
    )
    scheduler.rest()
    assert heard.codes == [EXECUTED, SUBMITTED]
    assert heard.events[1].scheduled_run_times == [at(0)]
    (run,) = scheduler.get_runs("a")
    assert (run.first_scheduled_at, run.scheduled_at, run.count) == (at(-99), at(0), 100)
    assert "which stands for 100 run times since" in scheduler.explain("a", at(-50))


def test_a_batch_is_opened_a_hundred_at_a_time_and_runs_in_order(make: Make) -> None:
    scheduler = make()
    heard = Heard(scheduler, SUBMITTED)
    scheduler.add_job(
        ran,
        "interval",
        seconds=1,
        next_run_time=at(-249),
        id="a",
        misfire_grace_time=None,
        coalesce=False,
    )
    scheduler.rest()
    assert slots_of("a") == list(range(-249, 1))
    assert [len(event.scheduled_run_times) for event in heard.events] == [100, 100, 50]
    assert heard.events[1].scheduled_run_times == [at(second) for second in range(-149, -49)]
    runs = scheduler.get_runs("a", limit=1000)
    assert len({run.batch for run in runs}) <= 3
    assert_at_rest(scheduler)


def test_a_batch_is_one_instance_and_is_continued_when_it_ends(make: Make) -> None:
    executor = HeldExecutor()
    scheduler = make(executors={"default": executor})
    scheduler.add_job(
        ran,
        "interval",
        seconds=1,
        next_run_time=at(-249),
        id="a",
        misfire_grace_time=None,
        coalesce=False,
        max_instances=3,
    )
    heard = Heard(scheduler, MAX_INSTANCES | MISSED)
    sizes = []
    while len(sizes) < 3:
        scheduler.rest()
        ((job, run_times),) = executor.held
        sizes.append(len(run_times))
        live = scheduler.get_runs("a", state="running", limit=1000)
        assert len({run.batch for run in live}) == 1
        executor.held.clear()
        executor._run_job_success(
            job.id,
            [events.JobExecutionEvent(EXECUTED, "a", "default", time) for time in run_times],
        )
    assert sizes == [100, 100, 50]
    assert heard.events == []


def test_members_of_a_batch_never_overlap_however_many_workers_there_are(make: Make) -> None:
    inside = threading.Lock()
    ended: SimpleQueue[Any] = SimpleQueue()

    def alone() -> None:
        assert inside.acquire(blocking=False)
        ran()
        inside.release()

    scheduler = make(executors={"default": ThreadPoolExecutor(4)})
    scheduler.add_listener(ended.put, EXECUTED | ERROR)
    scheduler.add_job(
        alone,
        "interval",
        seconds=1,
        next_run_time=at(-149),
        id="a",
        misfire_grace_time=None,
        coalesce=False,
        max_instances=4,
    )
    scheduler.rest()
    codes = [ended.get(timeout=PATIENCE).code for _ in range(100)]
    scheduler.shutdown()
    assert set(codes) == {EXECUTED}
    assert slots_of("a")[:100] == list(range(-149, -49))


def test_a_run_that_waits_for_a_busy_worker_is_never_missed(make: Make) -> None:
    gate = Gate()
    scheduler = make(executors={"default": ThreadPoolExecutor(1)})
    told: SimpleQueue[Any] = SimpleQueue()
    scheduler.add_listener(told.put, EXECUTED | MISSED | ERROR)
    scheduler.add_job(gate, "date", run_date=at(10), id="long")
    scheduler.add_job(ran, "date", run_date=at(11), id="once", misfire_grace_time=1)
    scheduler.run_until(10)
    assert gate.entered.wait(PATIENCE)
    scheduler.run_until(600)
    health = scheduler.health(stuck_after=300)
    load = health.executors["default"]
    assert (load.workers, load.busy, load.queued) == (1, 1, 1)
    assert [run.id for run in scheduler.get_runs("long")] == list(load.stuck)
    assert not health.ok
    assert health.overdue == ()

    gate.let_go.set()
    assert [told.get(timeout=PATIENCE).code for _ in range(2)] == [EXECUTED, EXECUTED]
    scheduler.shutdown()
    assert slots_of("once") == [11]
    assert "started 0:09:49 late and succeeded" in scheduler.explain("once", at(11))


def test_a_turn_runs_the_earliest_first(make: Make) -> None:
    scheduler = make(job_defaults={"misfire_grace_time": None})
    scheduler.pause()
    for job_id, second in (("c", 3), ("a", 5), ("b", 1), ("d", 3)):
        scheduler.add_job(ran, "date", run_date=at(second), id=job_id)
    scheduler.run_until(10)
    scheduler.resume()
    scheduler.rest()
    assert [job_id for job_id, _ in RAN] == ["b", "c", "d", "a"]


def test_more_jobs_than_are_claimed_at_a_time_all_run_in_one_turn(make: Make) -> None:
    scheduler = make()
    for number in range(2500):
        scheduler.add_job(ran, "date", run_date=at(10), id=f"{number:04}")
    scheduler.clock.advance(seconds=10)
    assert scheduler._process_jobs() is None
    assert [job_id for job_id, _ in RAN] == [f"{number:04}" for number in range(2500)]
    assert_at_rest(scheduler)


@pytest.mark.parametrize("store", ["default", "more"])
def test_a_job_may_change_any_job_while_a_turn_is_under_way(make: Make, store: str) -> None:
    def meddle() -> None:
        ran()
        scheduler.remove_job("removed")
        scheduler.pause_job("paused")
        scheduler.modify_job("later", next_run_time=at(12))
        scheduler.add_job(ran, "date", run_date=at(10), id="new", jobstore=store)
        scheduler.remove_job("meddler")

    scheduler = make(jobstores={"more": {"type": "memory"}})
    scheduler.add_job(meddle, "interval", seconds=10, id="meddler", jobstore=store)
    for job_id in ("removed", "paused", "later"):
        scheduler.add_job(ran, "interval", seconds=10, id=job_id, jobstore=store)
    # The turn has claimed them all already when the job runs, so this time they run.
    scheduler.run_until(11)
    once = {"meddler", "removed", "paused", "later", "new"}
    assert sorted(job_id for job_id, _ in RAN) == sorted(once)
    scheduler.run_until(35)
    assert slots_of("later") == [10, 12, 22, 32]
    assert [len(slots_of(job_id)) for job_id in once - {"later"}] == [1] * 4
    assert_at_rest(scheduler)


def test_the_answer_of_a_turn_is_how_long_nothing_needs_doing(make: Make) -> None:
    scheduler = make()
    assert scheduler._process_jobs() is None
    scheduler.add_job(ran, "date", run_date=at(1e6), id="far")
    assert scheduler._process_jobs() == 1e6
    scheduler.add_job(ran, "interval", seconds=7, id="near")
    assert scheduler._process_jobs() == 7
    scheduler.clock.advance(seconds=3)
    assert scheduler._process_jobs() == 4
    scheduler.pause()
    assert scheduler._process_jobs() is None
    scheduler.resume()
    assert scheduler._process_jobs() == 4
    scheduler.pause_job("near")
    assert scheduler._process_jobs() == 1e6 - 3


def test_a_scheduler_of_somebody_elses_needs_only_to_call_process_jobs() -> None:
    class Polling(HandScheduler):
        def wakeup(self) -> None:
            """It comes by every second anyway."""

    scheduler = Polling()
    scheduler.add_job(ran, "interval", seconds=3, id="a")
    scheduler.start()
    for _ in range(10):
        scheduler.clock.advance(seconds=1)
        scheduler._process_jobs()
    assert slots_of("a") == [3, 6, 9]
    assert scheduler.health().ok
    scheduler.shutdown()


def test_runs_bear_witness_to_a_whole_life(make: Make) -> None:
    class Slow(DebugExecutor):
        def submit_runs(self, work: Any) -> None:
            scheduler.clock.advance(seconds=2)
            super().submit_runs(work)

    def job() -> None:
        (seen,) = scheduler.get_runs("a", state="running")
        seen_running.append(seen)
        scheduler.clock.advance(seconds=3)

    seen_running: list[Any] = []
    scheduler = make(executors={"default": Slow()})
    scheduler.add_job(job, "date", run_date=at(10), id="a", name="Anna")
    scheduler.run_until(10)
    (seen,) = seen_running
    (run,) = scheduler.get_runs()
    assert (seen.id, seen.started_at, seen.ended_at) == (run.id, at(12), None)
    assert (run.job_id, run.job_name, run.jobstore, run.executor) == (
        "a",
        "Anna",
        "default",
        "default",
    )
    assert (run.state, run.kind, run.attempt, run.count) == ("succeeded", "slot", 1, 1)
    assert (run.scheduled_at, run.opened_at, run.started_at, run.ended_at) == (
        at(10),
        at(10),
        at(12),
        at(15),
    )
    assert (run.reason, run.error) == (None, None)
    assert scheduler.explain("a") == (
        'The run of job "a" scheduled at 2030-01-01 00:00:10 UTC started 2.0 s late and succeeded '
        "after 3.0 s; the job is gone: its schedule ended, or all jobs were removed."
    )
    assert scheduler.clock.now() - at(10) == timedelta(seconds=5)
