"""One turn of the loop, and what the options of a job mean for it."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest
from contract_kit import (
    FAR,
    LONG_AGO,
    DictJobStore,
    HeldExecutor,
    SteppingTrigger,
    add,
    fail,
    leave,
    noop,
    now,
)

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
)
from apscheduler.jobstores.memory import MemoryJobStore


def minutes(count):
    return timedelta(minutes=count)


def test_a_turn_returns_none_where_there_is_nothing_to_wait_for(turns):
    turns.start()
    assert turns._process_jobs() is None
    turns.add_job(noop, "interval", hours=1, next_run_time=None)
    assert turns._process_jobs() is None


def test_a_turn_returns_the_seconds_until_the_earliest_job_of_all_stores(turns):
    turns.add_jobstore(MemoryJobStore(), "more")
    turns.start()
    turns.add_job(noop, run_date=now() + minutes(20))
    turns.add_job(noop, run_date=now() + minutes(10), jobstore="more")
    assert 590 < turns._process_jobs() <= 600


def test_a_turn_does_not_cap_what_it_returns(turns):
    turns.start()
    turns.add_job(noop, run_date=now() + timedelta(days=10))
    assert 863_990 < turns._process_jobs() <= 864_000
    turns.remove_all_jobs()
    turns.add_job(noop, run_date=FAR.replace(year=9998))
    assert turns._process_jobs() <= threading.TIMEOUT_MAX


def test_a_turn_never_returns_less_than_zero(turns):
    turns.add_executor(HeldExecutor())
    turns.start()
    turns.add_job(
        noop,
        SteppingTrigger(now() - minutes(9), minutes(1)),
        misfire_grace_time=None,
        coalesce=False,
    )
    assert 0 <= turns._process_jobs() <= 60


def test_a_paused_scheduler_takes_no_turn(turns, heard):
    turns.start(paused=True)
    turns.add_job(noop)
    events = heard(turns)
    assert turns._process_jobs() is None
    assert events.events == []


def test_a_recurring_job_gets_its_next_run(turns):
    turns.start()
    start = now() - timedelta(seconds=90)
    job = turns.add_job(
        noop, "interval", minutes=1, start_date=start, next_run_time=start, misfire_grace_time=None
    )
    turns._process_jobs()
    assert job.next_run_time == start + minutes(2)


def test_a_one_shot_is_removed_from_its_store(turns, heard):
    turns.add_jobstore(MemoryJobStore(), "more")
    turns.start()
    events = heard(turns)
    turns.add_job(noop, id="a", jobstore="more")
    turns._process_jobs()
    assert [(e.job_id, e.jobstore) for e in events.of(EVENT_JOB_REMOVED)] == [("a", "more")]
    assert turns.get_jobs() == []


def test_a_job_is_run_for_its_arguments(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(add, args=[1], kwargs={"b": 5})
    turns._process_jobs()
    assert events.of(EVENT_JOB_EXECUTED)[0].retval == 6


@pytest.mark.parametrize("exception", [fail, leave])
def test_a_job_that_raises_costs_no_other_job(turns, heard, exception):
    turns.start()
    events = heard(turns)
    turns.add_executor(HeldExecutor(), "held")
    turns.add_job(exception, id="bad", executor="held")
    turns.add_job(noop, id="good", executor="held")
    turns._process_jobs()
    turns._lookup_executor("held").release()
    assert [event.job_id for event in events.of(EVENT_JOB_ERROR)] == ["bad"]
    assert [event.job_id for event in events.of(EVENT_JOB_EXECUTED)] == ["good"]


def test_coalesced_runs_are_one_with_the_latest_time(turns, heard):
    turns.start()
    events = heard(turns)
    start = now() - timedelta(minutes=10, seconds=30)
    turns.add_job(
        noop,
        "interval",
        minutes=1,
        start_date=start,
        next_run_time=start,
        misfire_grace_time=None,
        coalesce=True,
    )
    turns._process_jobs()
    assert [e.scheduled_run_time for e in events.of(EVENT_JOB_EXECUTED)] == [start + minutes(10)]
    assert events.of(EVENT_JOB_SUBMITTED)[0].scheduled_run_times == [start + minutes(10)]


def test_runs_that_are_not_coalesced_run_one_by_one_in_order(turns, heard):
    turns.start()
    events = heard(turns)
    start = now() - timedelta(minutes=4, seconds=30)
    turns.add_job(
        noop, SteppingTrigger(start, minutes(1)), misfire_grace_time=None, coalesce=False
    )
    turns._process_jobs()
    times = [start + minutes(count) for count in range(5)]
    assert [event.scheduled_run_time for event in events.of(EVENT_JOB_EXECUTED)] == times
    assert [event.scheduled_run_times for event in events.of(EVENT_JOB_SUBMITTED)] == [times]


def test_a_run_later_than_its_grace_is_missed(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(noop, run_date=now() - minutes(1), misfire_grace_time=59, id="late")
    turns.add_job(noop, run_date=now() - minutes(1), misfire_grace_time=100, id="in time")
    turns.add_job(noop, run_date=LONG_AGO, misfire_grace_time=None, id="patient")
    turns._process_jobs()
    assert [event.job_id for event in events.of(EVENT_JOB_MISSED)] == ["late"]
    assert sorted(e.job_id for e in events.of(EVENT_JOB_EXECUTED)) == ["in time", "patient"]
    assert turns.get_jobs() == []


def test_a_run_that_came_due_while_the_scheduler_was_down_is_missed(turns, heard):
    turns.add_jobstore(DictJobStore())
    turns.start(paused=True)
    turns.add_job(noop, run_date=now() - minutes(1), id="late")
    turns.shutdown()
    turns.start()
    events = heard(turns)
    turns._process_jobs()
    assert [event.job_id for event in events.of(EVENT_JOB_MISSED)] == ["late"]


def test_grace_counts_for_each_run_time_of_a_batch(turns, heard):
    turns.start()
    events = heard(turns)
    start = now() - timedelta(minutes=4, seconds=30)
    turns.add_job(noop, SteppingTrigger(start, minutes(1)), misfire_grace_time=100, coalesce=False)
    turns._process_jobs()
    assert [e.scheduled_run_time for e in events.of(EVENT_JOB_MISSED)] == [
        start + minutes(count) for count in range(3)
    ]
    assert [e.scheduled_run_time for e in events.of(EVENT_JOB_EXECUTED)] == [
        start + minutes(3),
        start + minutes(4),
    ]


@pytest.fixture
def held(turns, heard):
    """An executor that runs nothing before `release`, and the events of its scheduler."""
    executor = HeldExecutor()
    turns.add_executor(executor)
    turns.start()
    return executor, heard(turns)


def due_again(scheduler, job):
    scheduler.modify_job(job.id, next_run_time=now())
    scheduler._process_jobs()


def test_a_job_that_runs_still_is_skipped_beyond_max_instances(turns, held, caplog):
    executor, events = held
    job = turns.add_job(noop, "interval", hours=1, next_run_time=now(), max_instances=2)
    turns._process_jobs()
    due_again(turns, job)
    assert events.of(EVENT_JOB_MAX_INSTANCES) == []
    due_again(turns, job)
    (refused,) = events.of(EVENT_JOB_MAX_INSTANCES)
    assert refused.job_id == job.id
    assert len(refused.scheduled_run_times) == 1
    assert len(executor.held) == len(events.of(EVENT_JOB_SUBMITTED)) == 2
    (message,) = [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ]
    assert message.startswith('Execution of job "noop (trigger: interval[1:00:00]')
    assert message.endswith("skipped: maximum number of running instances reached (2)")
    assert job.next_run_time > now()


def test_a_finished_run_makes_room_for_another_instance(turns, held):
    executor, events = held
    job = turns.add_job(noop, "interval", hours=1, next_run_time=now())
    turns._process_jobs()
    executor.release()
    due_again(turns, job)
    executor.release()
    assert len(events.of(EVENT_JOB_EXECUTED)) == 2
    assert events.of(EVENT_JOB_MAX_INSTANCES) == []


def test_a_batch_counts_as_one_instance(turns, held):
    executor, events = held
    start = now() - timedelta(minutes=4, seconds=30)
    job = turns.add_job(
        noop,
        SteppingTrigger(start, minutes(1)),
        misfire_grace_time=None,
        coalesce=False,
        max_instances=2,
    )
    turns._process_jobs()
    due_again(turns, job)
    assert events.of(EVENT_JOB_MAX_INSTANCES) == []
    assert len(events.of(EVENT_JOB_SUBMITTED)) == 2
    executor.release()
    assert len(events.of(EVENT_JOB_EXECUTED)) == 6


@pytest.mark.parametrize("left", [True, False])
def test_a_run_that_reports_an_error_instead_of_events_makes_room(turns, held, caplog, left):
    executor, events = held
    job = turns.add_job(noop, "interval", hours=1, next_run_time=now(), id="a")
    turns._process_jobs()
    executor.held.clear()
    if left:
        executor._run_job_error("a", ValueError("broke"), None)
    due_again(turns, job)
    assert (events.of(EVENT_JOB_MAX_INSTANCES) == []) is left
    assert ("Error running job a" in caplog.messages) is left


def test_an_error_of_submission_is_logged_and_the_turn_goes_on(turns, heard, caplog):
    turns.add_executor(HeldExecutor(limit=0))
    turns.add_executor(HeldExecutor(), "good")
    turns.start()
    events = heard(turns)
    turns.add_job(noop, "interval", hours=1, next_run_time=now(), id="bad", name="bad")
    turns.add_job(noop, "interval", hours=1, next_run_time=now(), id="good", executor="good")
    turns._process_jobs()
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    message = record.getMessage()
    assert message.startswith('Error submitting job "bad (trigger: interval[1:00:00]')
    assert message.endswith('to executor "default"')
    assert record.exc_info[0] is RuntimeError
    assert [event.job_id for event in events.of(EVENT_JOB_SUBMITTED)] == ["good"]
    assert turns.get_job("bad").next_run_time > now()


@pytest.mark.differs("a submission that fails is told to listeners")
def test_an_error_of_submission_is_an_event(turns, heard):
    turns.add_executor(HeldExecutor(limit=0))
    turns.start()
    events = heard(turns)
    turns.add_job(noop, id="bad")
    turns._process_jobs()
    assert [event.job_id for event in events.of(EVENT_JOB_ERROR)] == ["bad"]


@pytest.mark.differs("a job without its executor waits, it is not deleted")
def test_a_job_with_an_unknown_executor_stays(turns, heard, caplog):
    turns.start()
    events = heard(turns)
    turns.add_job(noop, run_date=now(), executor="nowhere", id="a", misfire_grace_time=None)
    events.clear()
    turns._process_jobs()
    assert events.events == []
    assert turns.get_job("a") is not None
    turns.add_executor(HeldExecutor(), "nowhere")
    turns._process_jobs()
    assert [event.job_id for event in events.of(EVENT_JOB_SUBMITTED)] == ["a"]


def test_a_store_that_fails_is_logged_asked_again_and_costs_no_other_store(turns, heard, caplog):
    store = DictJobStore()
    turns.configure(jobstore_retry_interval=5, timezone="UTC")
    turns.add_jobstore(store, "bad")
    turns.start()
    events = heard(turns)
    store.failure = ConnectionError("store is down")
    turns.add_job(noop, id="a")
    assert turns._process_jobs() <= 5
    assert [event.job_id for event in events.of(EVENT_JOB_EXECUTED)] == ["a"]
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith(
        "Error getting due jobs from job store 'bad': store is down"
    )


@pytest.mark.differs("an error of one trigger does not end the turn")
def test_a_trigger_that_raises_costs_no_other_job(turns, heard):
    class Broken(SteppingTrigger):
        def get_next_fire_time(self, previous, at):
            raise ZeroDivisionError

    turns.start()
    events = heard(turns)
    turns.add_job(noop, Broken(), next_run_time=now(), id="1")
    turns.add_job(noop, id="2", misfire_grace_time=None)
    turns._process_jobs()
    assert "2" in [event.job_id for event in events.of(EVENT_JOB_EXECUTED)]


@pytest.mark.differs("a job may remove itself under an inline executor")
def test_a_job_may_remove_itself(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(lambda: turns.remove_job("a"), "interval", hours=1, next_run_time=now(), id="a")
    turns._process_jobs()
    assert len(events.of(EVENT_JOB_EXECUTED)) == 1
    assert turns.get_jobs() == []


def test_a_job_may_add_another(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(lambda: turns.add_job(noop, id="b") and None, id="a")
    turns._process_jobs()
    turns._process_jobs()
    assert [event.job_id for event in events.of(EVENT_JOB_EXECUTED)] == ["a", "b"]


def test_due_jobs_run_by_time(turns, heard):
    turns.start()
    events = heard(turns)
    for name, age in [("a", 1), ("b", 3), ("c", 2)]:
        turns.add_job(noop, run_date=now() - minutes(age), misfire_grace_time=None, id=name)
    turns._process_jobs()
    assert [event.job_id for event in events.of(EVENT_JOB_EXECUTED)] == ["b", "c", "a"]
