"""Event constants and classes; listeners and their masks."""

from __future__ import annotations

import logging
import pickle
import threading

import pytest
from contract_kit import FAR, LONG_AGO, PATIENCE, add, fail, noop

from apscheduler import events as events_module
from apscheduler.events import (
    EVENT_ALL,
    EVENT_EXECUTOR_ADDED,
    EVENT_JOB_ADDED,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    EVENT_JOB_MODIFIED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_PAUSED,
    EVENT_SCHEDULER_STARTED,
    JobEvent,
    JobExecutionEvent,
    JobSubmissionEvent,
    SchedulerEvent,
)

CODES = {
    "EVENT_SCHEDULER_STARTED": 1,
    "EVENT_SCHEDULER_SHUTDOWN": 2,
    "EVENT_SCHEDULER_PAUSED": 4,
    "EVENT_SCHEDULER_RESUMED": 8,
    "EVENT_EXECUTOR_ADDED": 16,
    "EVENT_EXECUTOR_REMOVED": 32,
    "EVENT_JOBSTORE_ADDED": 64,
    "EVENT_JOBSTORE_REMOVED": 128,
    "EVENT_ALL_JOBS_REMOVED": 256,
    "EVENT_JOB_ADDED": 512,
    "EVENT_JOB_REMOVED": 1024,
    "EVENT_JOB_MODIFIED": 2048,
    "EVENT_JOB_EXECUTED": 4096,
    "EVENT_JOB_ERROR": 8192,
    "EVENT_JOB_MISSED": 16384,
    "EVENT_JOB_SUBMITTED": 32768,
    "EVENT_JOB_MAX_INSTANCES": 65536,
}
CLASSES = ("SchedulerEvent", "JobEvent", "JobSubmissionEvent", "JobExecutionEvent")


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_an_event_constant_has_its_number(name, code):
    assert getattr(events_module, name) == code


def test_event_all_is_the_union_of_all_codes():
    assert EVENT_ALL == sum(CODES.values()) == 131071


def test_the_old_name_of_started_is_there_but_not_exported():
    assert events_module.EVENT_SCHEDULER_START == EVENT_SCHEDULER_STARTED
    assert "EVENT_SCHEDULER_START" not in events_module.__all__


def test_all_constants_and_classes_are_exported():
    assert {*CODES, *CLASSES, "EVENT_ALL"} <= set(events_module.__all__)
    assert all(hasattr(events_module, name) for name in events_module.__all__)


def test_event_classes_derive_from_each_other():
    assert JobSubmissionEvent.__bases__ == JobExecutionEvent.__bases__ == (JobEvent,)
    assert JobEvent.__bases__ == (SchedulerEvent,)


def test_an_event_carries_what_it_was_made_with():
    event = SchedulerEvent(16, "x")
    assert (event.code, event.alias) == (16, "x")
    assert SchedulerEvent(1).alias is None
    event = JobEvent(512, "a", "default")
    assert (event.code, event.job_id, event.jobstore, event.alias) == (512, "a", "default", None)
    event = JobSubmissionEvent(32768, "a", "default", [FAR])
    assert (event.job_id, event.scheduled_run_times) == ("a", [FAR])
    event = JobExecutionEvent(4096, "a", "default", FAR)
    assert (event.scheduled_run_time, event.retval, event.exception, event.traceback) == (
        FAR,
        None,
        None,
        None,
    )
    error = ValueError("x")
    event = JobExecutionEvent(8192, "a", "s", FAR, retval=1, exception=error, traceback="tb")
    assert (event.retval, event.exception, event.traceback) == (1, error, "tb")


@pytest.mark.parametrize(
    "event",
    [
        SchedulerEvent(16, "x"),
        JobEvent(512, "a", "default"),
        JobSubmissionEvent(32768, "a", "default", [FAR]),
        JobExecutionEvent(4096, "a", "default", FAR, retval=3, traceback="t"),
    ],
)
def test_an_event_can_be_pickled(event):
    copy = pickle.loads(pickle.dumps(event))
    assert type(copy) is type(event)
    for name in ("code", "alias", "job_id", "jobstore", "scheduled_run_time", "retval"):
        assert getattr(copy, name, "absent") == getattr(event, name, "absent")


@pytest.mark.differs("the text of an event names its class")
def test_the_text_of_an_event_names_its_class_and_code():
    assert repr(SchedulerEvent(1)) == "<SchedulerEvent (code=1)>"
    assert repr(JobEvent(512, "a", "default")) == "<JobEvent (code=512)>"


def test_an_event_of_a_run_tells_what_happened(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(add, args=[2], id="good")
    turns.add_job(fail, id="bad")
    turns.add_job(noop, run_date=LONG_AGO, id="late")
    turns._process_jobs()
    (good,) = events.of(EVENT_JOB_EXECUTED)
    assert (good.job_id, good.jobstore, good.retval, good.exception) == (
        "good",
        "default",
        2,
        None,
    )
    (bad,) = events.of(EVENT_JOB_ERROR)
    assert (bad.job_id, bad.retval, repr(bad.exception)) == ("bad", None, "ValueError('no luck')")
    assert "in fail" in bad.traceback
    assert "ValueError: no luck" not in bad.traceback
    (late,) = events.of(EVENT_JOB_MISSED)
    assert (late.job_id, late.scheduled_run_time) == ("late", LONG_AGO)
    assert (late.exception, late.traceback, late.retval) == (None, None, None)


def test_a_submission_tells_its_run_times(turns, heard):
    turns.start()
    events = heard(turns)
    job = turns.add_job(noop, id="a")
    turns._process_jobs()
    (event,) = events.of(EVENT_JOB_SUBMITTED)
    assert type(event) is JobSubmissionEvent
    assert (event.job_id, event.jobstore) == ("a", "default")
    assert event.scheduled_run_times == [job.trigger.run_date]


def test_a_one_shot_under_an_inline_executor_is_executed_removed_submitted(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(noop)
    turns._process_jobs()
    assert events.codes == [
        EVENT_JOB_ADDED,
        EVENT_JOB_EXECUTED,
        EVENT_JOB_REMOVED,
        EVENT_JOB_SUBMITTED,
    ]


def test_the_events_of_a_turn_end_with_its_submissions_in_the_order_of_the_jobs(turns, heard):
    turns.start()
    events = heard(turns)
    at = LONG_AGO
    turns.add_job(noop, run_date=at, misfire_grace_time=None, id="1")
    turns.add_job(noop, run_date=at, misfire_grace_time=None, id="2")
    events.clear()
    turns._process_jobs()
    assert [(e.code, e.job_id) for e in events.events] == [
        (EVENT_JOB_EXECUTED, "1"),
        (EVENT_JOB_REMOVED, "1"),
        (EVENT_JOB_EXECUTED, "2"),
        (EVENT_JOB_REMOVED, "2"),
        (EVENT_JOB_SUBMITTED, "1"),
        (EVENT_JOB_SUBMITTED, "2"),
    ]


def test_a_run_that_sets_the_next_time_is_no_modification(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(noop, "interval", hours=1, next_run_time=LONG_AGO, misfire_grace_time=None)
    turns._process_jobs()
    assert EVENT_JOB_EXECUTED in events.codes
    assert EVENT_JOB_MODIFIED not in events.codes


@pytest.mark.parametrize(
    ("mask", "codes"),
    [
        (EVENT_JOB_ADDED, [EVENT_JOB_ADDED]),
        (EVENT_JOB_ADDED | EVENT_JOB_REMOVED, [EVENT_JOB_ADDED, EVENT_JOB_REMOVED]),
        (EVENT_ALL, [EVENT_JOB_ADDED, EVENT_JOB_MODIFIED, EVENT_JOB_REMOVED]),
        (EVENT_SCHEDULER_PAUSED, []),
        (0, []),
    ],
)
def test_a_listener_hears_what_its_mask_lets_through(turns, heard, mask, codes):
    turns.start(paused=True)
    events = heard(turns, mask)
    turns.add_job(noop, "date", run_date=FAR).modify(name="x").remove()
    assert events.codes == codes


def test_a_listener_hears_everything_by_default(turns):
    codes = []
    assert turns.add_listener(lambda event: codes.append(event.code)) is None
    turns.add_executor("debug")
    turns.pause_job(turns.add_job(noop, "date", run_date=FAR).id)
    assert codes == [EVENT_EXECUTOR_ADDED, EVENT_JOB_MODIFIED]


def test_listeners_are_called_in_the_order_of_adding_as_often_as_they_were_added(turns):
    calls = []

    def one(event):
        calls.append("one")

    turns.add_listener(one)
    turns.add_listener(lambda event: calls.append("two"))
    turns.add_listener(one)
    turns.add_executor("debug")
    assert calls == ["one", "two", "one"]


def test_a_listener_is_removed_by_equality(turns):
    class Ear:
        def __init__(self):
            self.count = 0

        def listen(self, event):
            self.count += 1

    ear = Ear()
    turns.add_listener(ear.listen)
    assert turns.remove_listener(ear.listen) is None
    turns.add_executor("debug")
    assert ear.count == 0


def test_removing_a_listener_that_is_not_there_is_silent(turns):
    assert turns.remove_listener(noop) is None


@pytest.mark.differs("all registrations of a listener are removed, adjacent ones too")
def test_all_registrations_of_a_listener_are_removed(turns):
    calls = []
    for _ in range(3):
        turns.add_listener(calls.append)
    turns.remove_listener(calls.append)
    turns.add_executor("debug")
    assert calls == []


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_error_in_a_listener_is_logged_and_the_others_hear(turns, heard, caplog, error):
    def broken(event):
        raise error("listener")

    turns.add_listener(broken)
    events = heard(turns)
    turns.add_executor("debug")
    assert events.codes == [EVENT_EXECUTOR_ADDED]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("apscheduler.scheduler", logging.ERROR)
    assert record.getMessage() == "Error notifying listener"
    assert record.exc_info[0] is error


def test_a_listener_added_by_a_listener_hears_the_next_event(turns, heard):
    late = []

    def add_another(event):
        if not late:
            late.append(heard(turns))

    turns.add_listener(add_another)
    turns.add_executor("debug")
    assert late[0].events == []
    turns.add_jobstore("memory")
    assert len(late[0].events) == 1


def test_a_listener_may_call_the_scheduler(turns, heard):
    def follow(event):
        if event.job_id == "a":
            turns.add_job(noop, "date", run_date=FAR, id="b")
            turns.modify_job("a", name="seen")

    turns.start(paused=True)
    turns.add_listener(follow, EVENT_JOB_ADDED)
    turns.add_job(noop, "date", run_date=FAR, id="a")
    assert turns.get_job("a").name == "seen"
    assert turns.get_job("b") is not None


def test_a_listener_is_called_in_the_thread_that_caused_the_event(turns):
    threads = []
    turns.add_listener(lambda event: threads.append(threading.current_thread()))
    turns.add_executor("debug")
    other = threading.Thread(target=turns.add_jobstore, args=("memory",))
    other.start()
    other.join(PATIENCE)
    assert threads == [threading.current_thread(), other]


def test_dispatch_event_is_open_to_executors_and_others(turns, heard):
    events = heard(turns, EVENT_JOB_EXECUTED)
    event = JobExecutionEvent(EVENT_JOB_EXECUTED, "a", "default", FAR)
    turns._dispatch_event(event)
    turns._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_PAUSED))
    assert events.events == [event]


@pytest.mark.differs("no lock is held while listeners are called")
@pytest.mark.parametrize("code", [EVENT_JOB_ADDED, EVENT_JOB_REMOVED])
def test_another_thread_may_use_the_scheduler_while_a_listener_runs(turns, code):
    answers = []

    def ask_from_elsewhere(event):
        asked = threading.Event()
        threading.Thread(target=lambda: (turns.get_jobs(), asked.set()), daemon=True).start()
        answers.append(asked.wait(1))

    turns.start()
    turns.add_listener(ask_from_elsewhere, code)
    turns.add_job(noop)
    turns._process_jobs()
    assert answers == [True]
