"""Schedulers may be used from any thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor as Pool

import pytest
from contract_kit import FAR, PATIENCE, DictJobStore, ids, noop

from apscheduler.events import EVENT_JOB_ADDED, EVENT_JOB_EXECUTED, EVENT_JOB_SUBMITTED
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError

THREADS = 6


def at_once(function):
    """Call ``function(number)`` in several threads at the same moment."""
    barrier = threading.Barrier(THREADS)

    def call(number):
        barrier.wait(PATIENCE)
        return function(number)

    with Pool(THREADS) as pool:
        return list(pool.map(call, range(THREADS)))


@pytest.mark.parametrize("running", [False, True])
def test_jobs_may_be_added_from_many_threads(background, running):
    if running:
        background.start()

    def add_some(number):
        for count in range(20):
            background.add_job(noop, "date", run_date=FAR, id=f"{number}-{count}")

    at_once(add_some)
    if not running:
        background.start()
    assert len(set(ids(background.get_jobs()))) == 20 * THREADS


def test_one_of_many_threads_gets_an_id(background):
    background.start()

    def claim(number):
        try:
            background.add_job(noop, "date", run_date=FAR, id="same")
        except ConflictingIdError:
            return False
        return True

    assert sum(at_once(claim)) == 1


def test_one_of_many_threads_removes_a_job(background):
    background.start()
    background.add_job(noop, "date", run_date=FAR, id="a")

    def remove(number):
        try:
            background.remove_job("a")
        except JobLookupError:
            return False
        return True

    assert sum(at_once(remove)) == 1


def test_every_job_added_from_any_thread_runs_once(background, heard):
    background.start()
    events = heard(background, EVENT_JOB_EXECUTED | EVENT_JOB_SUBMITTED)

    def add_some(number):
        for _ in range(20):
            background.add_job(noop, misfire_grace_time=None)

    at_once(add_some)
    events.wait_for(EVENT_JOB_EXECUTED, 20 * THREADS)
    events.wait_for(EVENT_JOB_SUBMITTED, 20 * THREADS)
    executed = [event.job_id for event in events.of(EVENT_JOB_EXECUTED)]
    assert len(executed) == len(set(executed)) == 20 * THREADS


def test_a_store_is_never_entered_by_two_threads(background):
    class Lonely(DictJobStore):
        inside = 0
        crowded = False

        def _write(self, job):
            self.inside += 1
            self.crowded |= self.inside > 1
            super()._write(job)
            self.crowded |= self.inside > 1
            self.inside -= 1

    store = Lonely()
    background.add_jobstore(store)
    background.start()

    def churn(number):
        for count in range(10):
            name = f"{number}-{count}"
            background.add_job(noop, "interval", hours=1, id=name)
            background.pause_job(name)
            background.resume_job(name)
            background.get_jobs()

    at_once(churn)
    assert not store.crowded
    assert len(store.rows) == 10 * THREADS


def test_listeners_may_come_and_go_from_many_threads(background, heard):
    background.start()
    events = heard(background)

    def churn(number):
        def ear(event):
            """Listen to nothing in particular."""

        for _ in range(20):
            background.add_listener(ear)
            background.add_job(noop, "date", run_date=FAR)
            background.remove_listener(ear)

    at_once(churn)
    assert len(background._listeners) == 1
    assert len(events.events) == 20 * THREADS


def test_a_scheduler_is_paused_and_resumed_from_any_thread(background, heard):
    background.start()
    events = heard(background)

    def toggle(number):
        for _ in range(10):
            background.pause()
            background.resume()

    at_once(toggle)
    background.resume()
    background.add_job(noop, misfire_grace_time=None)
    events.wait_for(EVENT_JOB_EXECUTED)


def test_no_event_of_a_job_overtakes_its_addition(background, heard):
    background.start()
    events = heard(background)

    def add_some(number):
        for count in range(20):
            background.add_job(noop, misfire_grace_time=None, id=f"{number}-{count}")

    at_once(add_some)
    events.wait_for(EVENT_JOB_EXECUTED, 20 * THREADS)
    first = {}
    for event in list(events.events):
        if hasattr(event, "job_id"):
            first.setdefault(event.job_id, event.code)
    assert set(first.values()) == {EVENT_JOB_ADDED}


def test_a_job_may_use_its_scheduler(background, heard):
    background.start()
    events = heard(background)

    def busy():
        background.add_job(noop, "date", run_date=FAR, id="b")
        background.modify_job("b", name="x")
        background.print_jobs()
        background.remove_job("b")
        return len(background.get_jobs())

    background.add_job(busy, id="a", misfire_grace_time=None)
    assert events.wait_for(EVENT_JOB_EXECUTED).retval in (0, 1)
