"""Look up, modify, reschedule, pause, resume and remove, while stopped and while running."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from contract_kit import (
    FAR,
    LONG_AGO,
    DictJobStore,
    SteppingTrigger,
    TurnScheduler,
    add,
    ids,
    noop,
    now,
)

from apscheduler.events import (
    EVENT_ALL_JOBS_REMOVED,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MODIFIED,
    EVENT_JOB_REMOVED,
)
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger

STATES = pytest.mark.parametrize("running", [False, True], ids=["pending", "running"])


@pytest.fixture
def job(turns, running):
    """A job `a` in the default store (or on its way there) that would fire in an hour."""
    if running:
        turns.start(paused=True)
    return turns.add_job(noop, "interval", hours=1, id="a", name="first")


@STATES
def test_get_job_gives_the_job_or_none(turns, job, running):
    assert turns.get_job("a") is job
    assert turns.get_job("a", "default") is job
    assert turns.get_job("b") is None
    assert (turns.get_job("a", "nowhere") is None) is running


@STATES
def test_get_jobs_gives_the_jobs_of_a_store_or_of_all(turns, job):
    turns.add_jobstore(MemoryJobStore(), "more")
    other = turns.add_job(noop, "date", run_date=LONG_AGO, id="b", jobstore="more")
    assert turns.get_jobs() == [job, other]
    assert turns.get_jobs("default") == [job]
    assert turns.get_jobs(jobstore="more") == [other]
    assert turns.get_jobs("nowhere") == []


def test_pending_jobs_are_listed_in_the_order_of_adding(turns):
    for name, when in [("c", FAR), ("a", LONG_AGO), ("b", FAR)]:
        turns.add_job(noop, "date", run_date=when, id=name)
    assert ids(turns.get_jobs()) == ["c", "a", "b"]


def test_jobs_are_listed_store_by_store_by_next_run_and_id_with_the_paused_last(turns):
    turns.add_jobstore(MemoryJobStore(), "z")
    turns.add_jobstore(MemoryJobStore(), "a")
    turns.start(paused=True)
    later = FAR + timedelta(microseconds=1)
    for store in "az":
        turns.add_job(noop, "date", run_date=FAR, next_run_time=None, id="0", jobstore=store)
        turns.add_job(noop, "date", run_date=later, id="1", jobstore=store)
        turns.add_job(noop, "date", run_date=FAR, id="3", jobstore=store)
        turns.add_job(noop, "date", run_date=FAR, id="2", jobstore=store)
    assert [(job._jobstore_alias, job.id) for job in turns.get_jobs()] == [
        (store, name) for store in "za" for name in "2310"
    ]


@pytest.mark.parametrize("pending", [True, False])
def test_the_pending_argument_is_deprecated_and_ignored(turns, pending):
    job = turns.add_job(noop, "date", run_date=FAR)
    with pytest.warns(DeprecationWarning, match="pending"):
        assert turns.get_jobs(pending=pending) == [job]


def test_a_store_is_not_looked_at_before_start(turns):
    turns.add_jobstore(DictJobStore())
    turns.start(paused=True)
    turns.add_job(noop, "date", run_date=FAR, id="stored")
    turns.shutdown()
    assert turns.get_jobs() == []
    assert turns.get_job("stored") is None
    turns.remove_all_jobs()
    turns.start(paused=True)
    assert ids(turns.get_jobs()) == ["stored"]


@STATES
def test_modify_returns_the_changed_job_and_announces_it(turns, heard, job, running):
    events = heard(turns)
    changed = turns.modify_job("a", name="second", max_instances=4, args=())
    assert changed is job
    assert (job.name, job.max_instances) == ("second", 4)
    assert [(e.code, e.job_id, e.jobstore) for e in events.events] == [
        (EVENT_JOB_MODIFIED, "a", "default" if running else None)
    ]


@pytest.mark.parametrize(("paused", "woken"), [(True, 0), (False, 1)])
def test_modify_wakes_a_running_loop_only(turns, paused, woken):
    turns.start(paused=paused)
    turns.add_job(noop, "date", run_date=FAR, id="a")
    before = turns.wakeups
    turns.modify_job("a", name="b")
    assert turns.wakeups - before == woken


@STATES
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "", "max_instances": 4}, TypeError),
        ({"max_instances": 4, "name": 5}, TypeError),
        ({"max_instances": 4, "args": [1, 2]}, ValueError),
        ({"name": "other", "id": "b"}, ValueError),
        ({"name": "other", "func": "contract_kit:nowhere"}, LookupError),
        ({"name": "other", "colour": "red"}, AttributeError),
    ],
)
def test_a_refused_change_changes_nothing(turns, heard, job, changes, error):
    before = {name: getattr(job, name, None) for name in (*changes, "id", "name", "args")}
    events = heard(turns)
    with pytest.raises(error):
        turns.modify_job("a", **changes)
    assert {name: getattr(job, name, None) for name in before} == before
    assert events.events == []


@STATES
def test_modifying_the_trigger_leaves_the_next_run_alone(turns, job):
    before = getattr(job, "next_run_time", None)
    turns.modify_job("a", trigger=DateTrigger(FAR))
    assert getattr(job, "next_run_time", None) == before


@STATES
def test_a_change_of_the_next_run_is_kept(turns, job, running):
    turns.modify_job("a", next_run_time=FAR)
    if not running:
        turns.start(paused=True)
    assert turns.get_job("a").next_run_time == FAR


@STATES
def test_reschedule_computes_the_next_run_from_the_new_trigger(turns, heard, job):
    events = heard(turns)
    assert turns.reschedule_job("a", trigger="cron", minute="*/5") is job
    assert isinstance(job.trigger, CronTrigger)
    assert now() < job.next_run_time <= now() + timedelta(minutes=5)
    assert events.codes == [EVENT_JOB_MODIFIED]


@STATES
def test_reschedule_without_a_trigger_means_now(turns, job):
    before = now()
    turns.reschedule_job("a")
    assert isinstance(job.trigger, DateTrigger)
    assert before <= job.next_run_time <= now()


@STATES
def test_reschedule_to_a_trigger_that_never_fires_leaves_the_job_paused(turns, job):
    turns.reschedule_job("a", None, "interval", hours=1, start_date=LONG_AGO, end_date=LONG_AGO)
    assert job.next_run_time is None
    assert turns.get_jobs() == [job]


@STATES
def test_a_trigger_that_cannot_be_made_reschedules_nothing(turns, heard, job):
    before = job.trigger
    events = heard(turns)
    with pytest.raises(LookupError):
        turns.reschedule_job("a", trigger="nosuch")
    with pytest.raises(TypeError):
        turns.reschedule_job("a", trigger="interval", colours=3)
    assert (job.trigger, events.events) == (before, [])


@STATES
def test_a_paused_job_has_no_next_run_and_stays_listed(turns, heard, job, running):
    events = heard(turns)
    assert turns.pause_job("a") is job
    assert job.next_run_time is None
    assert events.codes == [EVENT_JOB_MODIFIED]
    if not running:
        turns.start(paused=True)
    assert job.next_run_time is None
    assert turns.get_jobs() == [job]


@STATES
def test_resume_computes_the_next_run_from_now(turns, heard, job):
    turns.pause_job("a")
    events = heard(turns)
    assert turns.resume_job("a") is job
    assert now() < job.next_run_time <= now() + timedelta(hours=1)
    assert events.codes == [EVENT_JOB_MODIFIED]


@STATES
def test_resume_recomputes_the_next_run_of_a_job_that_is_not_paused(turns, job):
    turns.modify_job("a", next_run_time=FAR)
    turns.resume_job("a")
    assert job.next_run_time < FAR


@STATES
def test_resuming_a_finished_job_removes_it(turns, heard, job):
    turns.reschedule_job("a", trigger=SteppingTrigger())
    job.trigger.get_next_fire_time = lambda previous, at: None
    events = heard(turns)
    assert turns.resume_job("a") is None
    assert turns.get_jobs() == []
    assert events.codes == [EVENT_JOB_REMOVED]


def test_a_removed_pending_job_is_announced_with_its_store(turns, heard, caplog):
    turns.add_job(noop, "date", run_date=FAR, id="a", jobstore="later")
    events = heard(turns)
    with caplog.at_level(logging.INFO, "apscheduler.scheduler"):
        assert turns.remove_job("a") is None
    assert [(e.code, e.job_id, e.jobstore) for e in events.events] == [
        (EVENT_JOB_REMOVED, "a", "later")
    ]
    assert caplog.messages == ["Removed job a"]
    assert turns.get_jobs() == []


def test_a_job_is_removed_from_the_first_store_that_has_it(turns, heard):
    turns.add_jobstore(MemoryJobStore(), "one")
    turns.add_jobstore(MemoryJobStore(), "two")
    turns.start(paused=True)
    for store in ("two", "one"):
        turns.add_job(noop, "date", run_date=FAR, id="a", jobstore=store)
    events = heard(turns)
    turns.remove_job("a")
    assert [(e.job_id, e.jobstore) for e in events.events] == [("a", "one")]
    turns.remove_job("a", "two")
    assert turns.get_jobs() == []


def test_the_store_must_match_when_a_pending_job_is_removed(turns):
    turns.add_job(noop, "date", run_date=FAR, id="a", jobstore="later")
    with pytest.raises(JobLookupError):
        turns.remove_job("a", "default")
    assert ids(turns.get_jobs()) == ["a"]
    turns.remove_job("a", "later")
    assert turns.get_jobs() == []


def test_the_store_is_ignored_when_a_pending_job_is_looked_up(turns):
    job = turns.add_job(noop, "date", run_date=FAR, id="a", jobstore="later")
    assert turns.get_job("a", "default") is job
    assert turns.modify_job("a", "default", name="found") is job


@STATES
@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.modify_job("b", name="x"),
        lambda s: s.reschedule_job("b", trigger="interval", hours=1),
        lambda s: s.pause_job("b"),
        lambda s: s.resume_job("b"),
        lambda s: s.remove_job("b"),
    ],
)
def test_a_missing_job_is_a_lookup_error_that_names_it(turns, heard, job, call):
    events = heard(turns)
    with pytest.raises(JobLookupError) as caught:
        call(turns)
    assert isinstance(caught.value, KeyError)
    assert caught.value.args == ("No job by the id of b was found",)
    assert events.events == []


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.modify_job("a", "nowhere", name="x"),
        lambda s: s.pause_job("a", "nowhere"),
        lambda s: s.resume_job("a", "nowhere"),
        lambda s: s.remove_job("a", "nowhere"),
    ],
)
def test_a_job_is_not_found_in_a_store_that_does_not_exist(turns, call):
    turns.start(paused=True)
    turns.add_job(noop, "date", run_date=FAR, id="a")
    with pytest.raises(JobLookupError):
        call(turns)
    assert ids(turns.get_jobs()) == ["a"]


@STATES
@pytest.mark.parametrize(
    ("jobstore", "left"), [(None, []), ("default", ["b"]), ("more", ["a"]), ("no", ["a", "b"])]
)
def test_remove_all_jobs_is_one_event_and_no_wakeup(turns, heard, job, jobstore, left):
    turns.add_jobstore(MemoryJobStore(), "more")
    turns.add_job(noop, "date", run_date=FAR, id="b", jobstore="more")
    events = heard(turns)
    wakeups = turns.wakeups
    assert turns.remove_all_jobs(jobstore) is None
    assert ids(turns.get_jobs()) == left
    assert [(e.code, e.alias) for e in events.events] == [(EVENT_ALL_JOBS_REMOVED, jobstore)]
    assert turns.wakeups == wakeups


@STATES
def test_a_handle_does_what_the_scheduler_does(turns, heard, job):
    events = heard(turns)
    assert job.modify(name="second") is job
    assert job.name == "second"
    assert job.reschedule("interval", hours=2) is job
    assert str(job.trigger) == "interval[2:00:00]"
    assert job.pause() is job
    assert job.next_run_time is None
    assert job.resume() is job
    assert job.next_run_time is not None
    assert job.remove() is None
    assert turns.get_jobs() == []
    assert events.codes == [EVENT_JOB_MODIFIED] * 4 + [EVENT_JOB_REMOVED]


@STATES
def test_resuming_through_a_handle_returns_it_even_if_the_job_is_gone(turns, job):
    job.trigger = SteppingTrigger()
    job.trigger.get_next_fire_time = lambda previous, at: None
    assert job.resume() is job
    assert turns.get_jobs() == []


def test_a_handle_of_a_serializing_store_is_a_copy(turns):
    turns.add_jobstore(DictJobStore())
    turns.start(paused=True)
    handle = turns.add_job(noop, "date", run_date=FAR, id="a")
    assert handle.modify(name="changed") is handle
    assert (handle.name, turns.get_job("a").name) == ("noop", "changed")


def test_a_job_that_is_due_after_a_change_runs(turns, heard):
    turns.start()
    turns.add_job(add, "date", [1], run_date=FAR, id="a")
    events = heard(turns)
    turns.modify_job("a", next_run_time=now(), args=[2], misfire_grace_time=None)
    turns._process_jobs()
    assert events.of(EVENT_JOB_EXECUTED)[0].retval == 2


def test_lookups_go_through_one_overridable_method(make):
    class Watching(TurnScheduler):
        asked = ()

        def _lookup_job(self, job_id, jobstore_alias):
            self.asked += ((job_id, jobstore_alias),)
            return super()._lookup_job(job_id, jobstore_alias)

    scheduler = make(Watching)
    scheduler.add_job(noop, "interval", hours=1, id="a")
    scheduler.start(paused=True)
    scheduler.get_job("a", "default")
    scheduler.modify_job("a", name="b")
    scheduler.resume_job("a", "default")
    assert set(scheduler.asked) == {("a", "default"), ("a", None)}
