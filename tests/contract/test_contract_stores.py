"""The store contract, the memory store, and stores of a third party."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from contract_kit import FAR, LONG_AGO, DictJobStore, Greeter, TurnScheduler, add, ids, noop, now

from apscheduler.events import EVENT_JOB_ADDED, EVENT_JOB_EXECUTED, EVENT_JOB_REMOVED
from apscheduler.job import Job
from apscheduler.jobstores.base import (
    BaseJobStore,
    ConflictingIdError,
    JobLookupError,
    TransientJobError,
)
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.triggers.date import DateTrigger

STORES = pytest.mark.parametrize("store", [MemoryJobStore, DictJobStore], indirect=True)


@pytest.fixture
def store(request):
    store = request.param()
    store.start(None, "mine")
    return store


def job_for(when, job_id, func=noop):
    """A complete job, as a scheduler hands it to a store."""
    job = Job(
        TurnScheduler(timezone="UTC"),
        id=job_id,
        func=func,
        args=(),
        kwargs={},
        trigger=DateTrigger(when or FAR, "UTC"),
        executor="default",
        misfire_grace_time=1,
        coalesce=True,
        max_instances=1,
    )
    job.next_run_time = when
    return job


@pytest.mark.parametrize(
    ("error", "base", "text"),
    [
        (JobLookupError, KeyError, "No job by the id of x was found"),
        (ConflictingIdError, KeyError, "Job identifier (x) conflicts with an existing job"),
        (
            TransientJobError,
            ValueError,
            "Job (x) cannot be added to this job store because a reference to the callable "
            "could not be determined.",
        ),
    ],
)
def test_an_error_of_a_store_names_the_job(error, base, text):
    assert error.__bases__ == (base,)
    assert error("x").args == (text,)


def test_the_base_store_is_abstract_and_a_store_before_start_belongs_to_nobody():
    with pytest.raises(TypeError, match="abstract"):
        BaseJobStore()
    store = DictJobStore()
    assert (store._scheduler, store._alias) == (None, None)
    assert store._logger.name == "apscheduler.jobstores"


@STORES
def test_a_started_store_knows_its_scheduler_alias_and_logger(store):
    assert (store._scheduler, store._alias) == (None, "mine")
    assert store._logger.name == "apscheduler.jobstores.mine"


@pytest.mark.parametrize("cls", [MemoryJobStore, DictJobStore])
def test_a_store_prints_as_its_class(cls):
    assert repr(cls()) == f"<{cls.__name__}>"


@STORES
def test_a_store_orders_by_time_with_the_paused_last(store):
    times = [FAR, None, FAR + timedelta(microseconds=1), FAR - timedelta(microseconds=1), LONG_AGO]
    for number, when in enumerate(times):
        store.add_job(job_for(when, str(number)))
    assert ids(store.get_all_jobs()) == ["4", "3", "0", "2", "1"]
    assert store.get_next_run_time() == LONG_AGO
    assert ids(store.get_due_jobs(FAR)) == ["4", "3", "0"]
    assert store.get_due_jobs(LONG_AGO - timedelta(microseconds=1)) == []


@STORES
def test_a_store_orders_equal_times_by_id(store):
    for name in "bcad":
        store.add_job(job_for(FAR, name))
    assert ids(store.get_due_jobs(FAR)) == ids(store.get_all_jobs()) == ["a", "b", "c", "d"]


@STORES
def test_an_empty_store_has_nothing_due(store):
    assert store.get_due_jobs(FAR) == store.get_all_jobs() == []
    assert store.get_next_run_time() is None
    assert store.lookup_job("a") is None


@STORES
def test_a_store_with_paused_jobs_only_has_no_next_run_time(store):
    store.add_job(job_for(None, "a"))
    assert store.get_next_run_time() is None
    assert store.get_due_jobs(FAR) == []


@STORES
def test_a_store_updates_and_removes_by_id(store):
    for name in "abc":
        store.add_job(job_for(FAR, name))
    store.update_job(job_for(LONG_AGO, "b"))
    store.update_job(job_for(None, "a"))
    assert ids(store.get_all_jobs()) == ["b", "c", "a"]
    assert store.lookup_job("b").next_run_time == LONG_AGO
    store.remove_job("b")
    assert store.get_next_run_time() == FAR
    store.remove_all_jobs()
    assert store.get_all_jobs() == []


@STORES
def test_a_store_refuses_what_is_not_there_or_there_already(store):
    store.add_job(job_for(FAR, "a"))
    with pytest.raises(ConflictingIdError):
        store.add_job(job_for(LONG_AGO, "a"))
    with pytest.raises(JobLookupError):
        store.update_job(job_for(FAR, "b"))
    with pytest.raises(JobLookupError):
        store.remove_job("b")
    assert [(job.id, job.next_run_time) for job in store.get_all_jobs()] == [("a", FAR)]


def test_the_memory_store_keeps_the_very_job():
    store = MemoryJobStore()
    job = job_for(FAR, "a", func=lambda: None)
    store.add_job(job)
    assert store.lookup_job("a") is store.get_all_jobs()[0] is job
    other = job_for(LONG_AGO, "a")
    store.update_job(other)
    assert store.lookup_job("a") is other
    store.shutdown()
    assert store.get_all_jobs() == []


def test_mutable_arguments_persist_in_memory(turns):
    turns.start()

    def grow(items):
        items.append(len(items))

    turns.add_job(grow, "interval", hours=1, args=[[]], next_run_time=now(), id="a")
    turns._process_jobs()
    turns.modify_job("a", next_run_time=now())
    turns._process_jobs()
    assert turns.get_job("a").args == ([0, 1],)


@pytest.mark.parametrize(
    ("given", "sorted_"), [("012", "012"), ("PP1", "1PP"), ("PP", "PP"), ("1PP", "1PP"), ("", "")]
)
def test_a_leading_run_of_paused_jobs_is_moved_to_the_end(given, sorted_):
    jobs = [job_for(None if mark == "P" else FAR, mark) for mark in given]
    assert DictJobStore()._fix_paused_jobs_sorting(jobs) is None
    assert "".join(ids(jobs)) == sorted_


@pytest.fixture
def dicted(turns):
    """A running scheduler over a store that keeps pickled states in a dict."""
    store = DictJobStore()
    turns.add_jobstore(store)
    turns.start()
    return turns, store


def test_a_third_party_store_serves_jobs(dicted, heard):
    scheduler, store = dicted
    events = heard(scheduler)
    scheduler.add_job(add, args=[2], id="a")
    scheduler.add_job(add, "interval", hours=1, args=[3], id="b", next_run_time=now())
    scheduler.add_job(Greeter("me").greet, id="c")
    scheduler._process_jobs()
    assert {e.job_id: e.retval for e in events.of(EVENT_JOB_EXECUTED)} == {
        "a": 2,
        "b": 3,
        "c": "hello me",
    }
    assert list(store.rows) == ["b"]
    assert store.rows["b"][0] > now()
    assert {event.job_id for event in events.of(EVENT_JOB_REMOVED)} == {"a", "c"}


def test_a_job_of_a_third_party_store_is_changed_through_the_scheduler(dicted):
    scheduler, store = dicted
    scheduler.add_job(noop, "interval", hours=1, id="a")
    assert scheduler.pause_job("a").next_run_time is None
    assert store.rows["a"][0] is None
    assert scheduler.resume_job("a").next_run_time == store.rows["a"][0] > now()
    scheduler.reschedule_job("a", trigger="date", run_date=FAR)
    assert store.rows["a"][0] == FAR
    job = scheduler.get_job("a")
    assert (job._scheduler, job._jobstore_alias) == (scheduler, "default")
    job.remove()
    assert store.rows == {}


@pytest.mark.parametrize("func", [lambda: None, "bound to an unpicklable"])
def test_a_job_that_a_store_cannot_serialize_is_not_added(dicted, heard, func):
    scheduler, store = dicted
    events = heard(scheduler)
    arguments = {"func": func}
    if isinstance(func, str):
        arguments = {"func": add, "args": [lambda: None]}
    with pytest.raises(Exception, match=r"serialized|pickle"):
        scheduler.add_job(**arguments, trigger="date", run_date=FAR)
    assert (store.rows, events.events) == ({}, [])


def test_a_pending_job_that_a_store_cannot_serialize_makes_start_fail(turns):
    turns.add_jobstore(DictJobStore())
    turns.add_job(lambda: None, "date", run_date=FAR, id="a")
    with pytest.raises(ValueError, match="cannot be serialized"):
        turns.start()
    assert ids(turns.get_jobs()) == ["a"]


def test_the_store_sees_a_job_before_listeners_do(dicted):
    scheduler, store = dicted
    seen = []
    scheduler.add_listener(lambda event: seen.append(event.job_id in store.rows), EVENT_JOB_ADDED)
    scheduler.add_job(noop, "date", run_date=FAR)
    assert seen == [True]


def test_an_error_of_a_store_comes_out_of_a_lookup(dicted):
    scheduler, store = dicted
    store.rows["bad"] = (FAR, b"no pickle")
    with pytest.raises(Exception, match=r"pickl|load key"):
        scheduler.get_job("bad")


@pytest.mark.differs("a row without its executor is kept")
def test_a_row_whose_executor_is_unknown_is_kept(dicted, caplog):
    scheduler, store = dicted
    scheduler.add_job(noop, id="a", executor="nowhere", misfire_grace_time=None)
    scheduler._process_jobs()
    scheduler._process_jobs()
    assert list(store.rows) == ["a"]
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1
