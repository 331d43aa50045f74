"""What a scheduler tells its listeners."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from apscheduler import events
from apscheduler.events import (
    EVENT_ALL,
    EVENT_JOB_ADDED,
    EVENT_JOB_ERROR,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_STARTED,
    JobEvent,
    JobExecutionEvent,
    JobSubmissionEvent,
    SchedulerEvent,
)

MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
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
#: Events that 3.x does not know, and whoever asked it for all does not expect.
LATER = {"EVENT_JOB_LOST": 1 << 17}
CLASSES = {"SchedulerEvent", "JobEvent", "JobSubmissionEvent", "JobExecutionEvent"}


def test_each_event_has_its_code():
    codes = {**CODES, **LATER}
    assert {name: getattr(events, name) for name in codes} == codes


def test_all_is_every_code_of_3_x_and_no_other():
    assert sum(CODES.values()) == EVENT_ALL == 131071


def test_the_older_name_of_the_first_event_remains():
    assert events.EVENT_SCHEDULER_START == EVENT_SCHEDULER_STARTED


def test_a_star_import_brings_the_codes_and_the_classes():
    assert sorted(events.__all__) == sorted({*CODES, *LATER, *CLASSES, "EVENT_ALL"})


EVENTS = [
    (SchedulerEvent(EVENT_SCHEDULER_STARTED), {"code": 1, "alias": None}),
    (SchedulerEvent(code=16, alias="pool"), {"code": 16, "alias": "pool"}),
    (
        JobEvent(EVENT_JOB_ADDED, "backup", "default"),
        {"code": 512, "alias": None, "job_id": "backup", "jobstore": "default"},
    ),
    (
        JobSubmissionEvent(EVENT_JOB_SUBMITTED, "backup", "default", [MOMENT]),
        {
            "code": 32768,
            "alias": None,
            "job_id": "backup",
            "jobstore": "default",
            "scheduled_run_times": [MOMENT],
        },
    ),
    (
        JobExecutionEvent(4096, "backup", "default", MOMENT),
        {
            "code": 4096,
            "alias": None,
            "job_id": "backup",
            "jobstore": "default",
            "scheduled_run_time": MOMENT,
            "retval": None,
            "exception": None,
            "traceback": None,
        },
    ),
    (
        JobExecutionEvent(
            code=EVENT_JOB_ERROR,
            job_id="backup",
            jobstore="default",
            scheduled_run_time=MOMENT,
            retval=3,
            exception=None,
            traceback="frames",
        ),
        {
            "code": 8192,
            "alias": None,
            "job_id": "backup",
            "jobstore": "default",
            "scheduled_run_time": MOMENT,
            "retval": 3,
            "exception": None,
            "traceback": "frames",
        },
    ),
]


@pytest.mark.parametrize(("event", "attributes"), EVENTS)
def test_an_event_has_its_attributes_and_keeps_them_through_pickle(event, attributes):
    assert vars(event) == attributes
    copy = pickle.loads(pickle.dumps(event))
    assert type(copy) is type(event)
    assert vars(copy) == attributes


def test_the_exception_of_a_failed_run_goes_through_pickle():
    event = JobExecutionEvent(EVENT_JOB_ERROR, "x", "default", MOMENT, exception=OSError(5))
    assert repr(pickle.loads(pickle.dumps(event)).exception) == "OSError(5)"


def test_an_event_is_printed_with_the_name_of_its_class():
    assert repr(SchedulerEvent(1)) == "<SchedulerEvent (code=1)>"
    assert repr(JobEvent(512, "x", None)) == "<JobEvent (code=512)>"


def test_events_derive_from_one_another():
    assert issubclass(JobExecutionEvent, JobEvent)
    assert issubclass(JobSubmissionEvent, JobEvent)
    assert issubclass(JobEvent, SchedulerEvent)


def test_a_listener_may_write_on_an_event():
    event = SchedulerEvent(1)
    event.seen = True
    assert event.seen
