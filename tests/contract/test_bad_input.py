"""Bad values for every parameter: the error says what is wrong, and nothing is half done."""

from __future__ import annotations

import io
import re
from datetime import datetime
from zoneinfo import ZoneInfoNotFoundError

import pytest
from contract_kit import FAR, DictJobStore, HeldExecutor, TurnScheduler, add, echo, noop

from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

STATES = pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
GRACE = "misfire_grace_time must be either None or a positive integer"
INSTANCES = "max_instances must be a positive integer"
UNREADABLE = (TypeError, AttributeError)


@pytest.fixture
def scheduler(turns, running):
    """A scheduler with a job `a`, stopped or running, and a second store."""
    turns.add_executor(HeldExecutor(), "default")
    turns.add_jobstore(MemoryJobStore(), "default")
    turns.add_jobstore(DictJobStore(), "dict")
    if running:
        turns.start(paused=True)
    turns.add_job(echo, "interval", hours=1, args=[1], kwargs={"k": 2}, id="a", name="n")
    return turns


def everything(scheduler):
    """Return all that a failing call might have changed."""
    jobs = [
        {
            name: getattr(job, name, "unset")
            for name in type(job).__slots__
            if name != "__weakref__"
        }
        for job in scheduler.get_jobs()
    ]
    return (
        scheduler.state,
        dict(scheduler._executors),
        dict(scheduler._jobstores),
        list(scheduler._listeners),
        list(scheduler._pending_jobs),
        dict(scheduler._job_defaults),
        scheduler.timezone,
        scheduler.wakeups,
        jobs,
    )


def refuse(scheduler, heard, call, error, text=None):
    """Check that a call is refused with this error, and has done nothing."""
    events = heard(scheduler)
    before = everything(scheduler)
    with pytest.raises(error) as caught:
        call(scheduler)
    assert (text or "") in str(caught.value)
    assert everything(scheduler) == before
    assert events.events == []
    return str(caught.value)


@STATES
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"func": 5}, TypeError, "func must be a callable or a textual reference to one"),
        ({"func": None}, TypeError, "func must be a callable or a textual reference to one"),
        ({"func": "x"}, ValueError, "Invalid reference"),
        ({"func": "nowhere_at_all:x"}, LookupError, "Error resolving reference"),
        ({"func": "contract_kit:FAR"}, TypeError, None),
        ({"trigger": 5}, TypeError, "Expected a trigger instance or string, got int instead"),
        ({"trigger": "x"}, LookupError, 'No trigger by the name "x" was found'),
        ({"trigger": "interval", "colour": 1}, TypeError, None),
        ({"trigger": "interval", "hours": "many"}, TypeError, None),
        ({"trigger": "cron", "hour": 99}, ValueError, None),
        ({"trigger": "cron", "hour": "x"}, ValueError, None),
        ({"trigger": "date", "run_date": "soon"}, ValueError, "Invalid date string"),
        ({"trigger": "date", "run_date": 5}, TypeError, "Unsupported type for run_date: int"),
        ({"trigger": "cron", "timezone": "No/Where"}, ZoneInfoNotFoundError, None),
        ({"trigger": "cron", "timezone": 5}, TypeError, "Expected tzinfo, got int instead"),
        ({"hours": 3}, TypeError, None),
        ({"args": 5}, TypeError, None),
        ({"args": [1, 2, 3], "func": add}, ValueError, "The list of positional arguments"),
        ({"args": (), "func": add}, ValueError, "The following arguments have not been supplied"),
        ({"kwargs": 5}, TypeError, None),
        ({"kwargs": "ab"}, ValueError, None),
        ({"kwargs": {"x": 1}, "func": noop}, ValueError, "The target callable does not accept"),
        ({"id": 5}, TypeError, "id must be a nonempty string"),
        ({"name": 5}, TypeError, "name must be a nonempty string"),
        ({"name": ""}, TypeError, "name must be a nonempty string"),
        *(({"misfire_grace_time": bad}, TypeError, GRACE) for bad in (0, -1, 1.5, "5")),
        *(({"max_instances": bad}, TypeError, INSTANCES) for bad in (0, -1, 1.5, "5", None)),
        ({"next_run_time": 5}, TypeError, "Unsupported type for next_run_time: int"),
        ({"next_run_time": True}, TypeError, "Unsupported type for next_run_time: bool"),
        ({"next_run_time": "soon"}, ValueError, "Invalid date string"),
        ({"executor": 5}, TypeError, "executor must be a string"),
        ({"executor": None}, TypeError, "executor must be a string"),
    ],
)
def test_add_job_refuses(scheduler, heard, options, error, text):
    refuse(scheduler, heard, lambda s: s.add_job(**{"func": echo, **options}), error, text)


@pytest.mark.parametrize("running", [True])
@pytest.mark.parametrize(
    ("alias", "error"), [("x", KeyError), (None, KeyError), (5, KeyError), ([], TypeError)]
)
def test_a_running_scheduler_refuses_an_unknown_store(scheduler, heard, alias, error):
    refuse(scheduler, heard, lambda s: s.add_job(noop, jobstore=alias), error)
    refuse(scheduler, heard, lambda s: s.import_jobs(document("[]"), alias), error)


@STATES
@pytest.mark.parametrize(
    ("arguments", "func", "error"),
    [
        ({"trigger": 5}, noop, TypeError),
        ({"trigger": "x"}, noop, LookupError),
        ({"trigger": "date"}, 5, TypeError),
        ({"trigger": "date", "max_instances": 0}, noop, TypeError),
        ({"trigger": "date", "args": [1]}, noop, ValueError),
    ],
)
def test_scheduled_job_refuses_when_it_decorates(scheduler, heard, arguments, func, error):
    refuse(scheduler, heard, lambda s: s.scheduled_job(**arguments)(func), error)


@STATES
@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"id": "b"}, ValueError, "The job ID may not be changed"),
        ({"func": 5}, TypeError, "func must be a callable or a textual reference to one"),
        ({"func": add, "args": ()}, ValueError, "The following arguments have not been supplied"),
        ({"args": "ab"}, TypeError, "args must be a non-string iterable"),
        ({"args": 5}, TypeError, "args must be a non-string iterable"),
        ({"args": None}, TypeError, "args must be a non-string iterable"),
        ({"kwargs": []}, TypeError, "kwargs must be a dict-like object"),
        ({"kwargs": None}, TypeError, "kwargs must be a dict-like object"),
        ({"name": ""}, TypeError, "name must be a nonempty string"),
        ({"misfire_grace_time": 0}, TypeError, GRACE),
        ({"max_instances": 0}, TypeError, INSTANCES),
        ({"trigger": "cron"}, TypeError, "Expected a trigger instance, got str instead"),
        ({"executor": 5}, TypeError, "executor must be a string"),
        ({"next_run_time": 5}, TypeError, "Unsupported type for next_run_time: int"),
        ({"next_run_time": "x"}, ValueError, "Invalid date string"),
        ({"jobs": 1}, AttributeError, "The following are not modifiable attributes of Job: jobs"),
        ({"pending": 1}, AttributeError, "The following are not modifiable attributes of Job"),
        ({"_scheduler": 1}, AttributeError, "The following are not modifiable attributes of Job"),
    ],
)
def test_modify_refuses(scheduler, heard, changes, error, text):
    valid = {"coalesce": False, "max_instances": 7, "kwargs": {"changed": 1}}
    together = {**valid, **changes}
    refuse(scheduler, heard, lambda s: s.modify_job("a", **together), error, text)
    refuse(scheduler, heard, lambda s: s.get_job("a").modify(**together), error, text)


@STATES
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"trigger": 5}, TypeError),
        ({"trigger": "x"}, LookupError),
        ({"trigger": "interval", "colour": 1}, TypeError),
        ({"trigger": "cron", "minute": 60}, ValueError),
        ({"trigger": "date", "run_date": "x"}, ValueError),
        ({"hours": 1}, TypeError),
    ],
)
def test_reschedule_refuses(scheduler, heard, arguments, error):
    refuse(scheduler, heard, lambda s: s.reschedule_job("a", **arguments), error)


@STATES
@pytest.mark.parametrize("job_id", ["b", "", None, 5])
@pytest.mark.parametrize(
    "call",
    [
        lambda s, name: s.modify_job(name, name="x"),
        lambda s, name: s.reschedule_job(name, trigger="interval", hours=1),
        lambda s, name: s.pause_job(name),
        lambda s, name: s.resume_job(name),
        lambda s, name: s.remove_job(name),
    ],
)
def test_an_id_that_nothing_has_is_refused(scheduler, heard, call, job_id):
    text = f"No job by the id of {job_id} was found"
    refuse(scheduler, heard, lambda s: call(s, job_id), JobLookupError, text)


@STATES
@pytest.mark.parametrize("job_id", ["b", "", None, 5])
def test_looking_up_an_id_that_nothing_has_gives_none(scheduler, job_id):
    assert scheduler.get_job(job_id) is None


@STATES
@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda s: s.add_executor(5, "new"),
            TypeError,
            "Expected an executor instance or a string, got int instead",
        ),
        (
            lambda s: s.add_executor(None, "new"),
            TypeError,
            "Expected an executor instance or a string, got NoneType instead",
        ),
        (
            lambda s: s.add_executor(MemoryJobStore(), "new"),
            TypeError,
            "Expected an executor instance or a string, got MemoryJobStore instead",
        ),
        (lambda s: s.add_executor("x", "new"), LookupError, 'No executor by the name "x"'),
        (lambda s: s.add_executor("threadpool", "new", colour=1), TypeError, None),
        (lambda s: s.add_executor("threadpool", "new", max_workers="many"), ValueError, None),
        (lambda s: s.add_executor("threadpool", "new", max_workers=0), ValueError, None),
        (lambda s: s.add_executor("threadpool", "new", pool_kwargs=5), TypeError, None),
        (lambda s: s.add_executor("debug"), ValueError, "This scheduler already has an executor"),
        (lambda s: s.add_executor("debug", []), TypeError, None),
        (
            lambda s: s.add_jobstore(DebugExecutor(), "new"),
            TypeError,
            "Expected a job store instance or a string, got DebugExecutor instead",
        ),
        (lambda s: s.add_jobstore("x", "new"), LookupError, 'No jobstore by the name "x"'),
        (lambda s: s.add_jobstore("memory", "new", colour=1), TypeError, None),
        (lambda s: s.add_jobstore("memory"), ValueError, "This scheduler already has a job store"),
        (lambda s: s.remove_executor("x"), KeyError, "No such executor: x"),
        (lambda s: s.remove_executor(None), KeyError, "No such executor: None"),
        (lambda s: s.remove_jobstore("x"), KeyError, "No such job store: x"),
        (lambda s: s.remove_jobstore(None), KeyError, "No such job store: None"),
        (lambda s: s.print_jobs(out=5), UNREADABLE, None),
    ],
)
def test_executors_and_stores_are_refused(scheduler, heard, call, error, text):
    refuse(scheduler, heard, call, error, text)


def document(jobs, version=1):
    return io.StringIO(f'{{"version": {version}, "scheduler_version": "x", "jobs": {jobs}}}')


@pytest.mark.parametrize("running", [True])
@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda s: s.export_jobs(None), TypeError, None),
        (lambda s: s.export_jobs(5.5), TypeError, None),
        (lambda s: s.export_jobs("/nowhere/at/all"), FileNotFoundError, None),
        (lambda s: s.import_jobs(None), TypeError, None),
        (lambda s: s.import_jobs("/nowhere/at/all"), FileNotFoundError, None),
        (lambda s: s.import_jobs(document("[]", 2)), ValueError, "unrecognized version: 2"),
        (
            lambda s: s.import_jobs(document("[]", "null")),
            ValueError,
            "unrecognized version: None",
        ),
        (lambda s: s.import_jobs(io.StringIO("[]")), ValueError, None),
        (lambda s: s.import_jobs(io.StringIO("{")), ValueError, None),
        (lambda s: s.import_jobs(document("[{}]")), KeyError, None),
    ],
)
def test_export_and_import_refuse(scheduler, heard, call, error, text):
    refuse(scheduler, heard, call, error, text)


BAD_OPTIONS = [
    ({"gconfig": 5}, UNREADABLE, None),
    ({"gconfig": None}, UNREADABLE, None),
    ({"executors": 5}, UNREADABLE, None),
    ({"executors": {"x": 5}}, TypeError, "Expected executor instance or dict for executors['x']"),
    ({"executors": {"x": {}}}, ValueError, 'Cannot create executor "x"'),
    ({"executors": {"x": {"type": "x"}}}, LookupError, 'No executor by the name "x"'),
    ({"executors": {"x": {"class": "nowhere_at_all:X"}}}, LookupError, "Error resolving"),
    ({"executors": {"x": {"class": "x"}}}, ValueError, "Invalid reference"),
    ({"executors": {"x": {"class": 5}}}, TypeError, None),
    ({"executors": {"x": {"type": "threadpool", "colour": 1}}}, TypeError, None),
    ({"jobstores": {"x": 5}}, TypeError, "Expected job store instance or dict for jobstores"),
    ({"jobstores": {"x": {}}}, ValueError, 'Cannot create job store "x"'),
    ({"jobstores": 5}, UNREADABLE, None),
    ({"job_defaults": 5}, UNREADABLE, None),
    ({"job_defaults": {"misfire_grace_time": "soon"}}, ValueError, None),
    ({"job_defaults": {"coalesce": "perhaps"}}, ValueError, "Unable to interpret value"),
    ({"job_defaults": {"max_instances": "few"}}, ValueError, None),
    ({"jobstore_retry_interval": None}, TypeError, None),
    ({"jobstore_retry_interval": "soon"}, ValueError, None),
    ({"timezone": 5}, TypeError, "Expected tzinfo, got int instead"),
    ({"timezone": "No/Where"}, ZoneInfoNotFoundError, None),
    ({"timezone": ""}, ValueError, None),
    ({"logger": "x"}, ValueError, "Invalid reference"),
    ({"logger": "nowhere_at_all:x"}, LookupError, "Error resolving reference"),
]


@pytest.mark.parametrize(("options", "error", "text"), BAD_OPTIONS)
def test_the_constructor_refuses(options, error, text):
    with pytest.raises(error) as caught:
        TurnScheduler(**options)
    assert (text or "") in str(caught.value)


@pytest.mark.differs("a configuration is read as a whole before any of it is applied", run=False)
@pytest.mark.parametrize(("options", "error", "text"), BAD_OPTIONS)
@pytest.mark.parametrize("running", [False])
def test_a_refused_configuration_leaves_the_old_one(scheduler, heard, options, error, text):
    valid = {"job_defaults": {"max_instances": 9}, "executors": {"new": {"type": "debug"}}}
    refuse(scheduler, heard, lambda s: s.configure(**{**valid, **options}), error, text)


@pytest.mark.parametrize(
    ("host", "options", "error"),
    [
        (BackgroundScheduler, {"daemon": "perhaps"}, ValueError),
        (BlockingScheduler, {"timezone": 5}, TypeError),
        (AsyncIOScheduler, {"event_loop": "x"}, ValueError),
        (AsyncIOScheduler, {"event_loop": "nowhere_at_all:x"}, LookupError),
    ],
)
def test_options_of_a_host_are_refused(host, options, error):
    with pytest.raises(error):
        host(**options)


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
@pytest.mark.parametrize(
    ("size", "error"), [("many", ValueError), (0, ValueError), (None, TypeError)]
)
def test_the_size_of_a_pool_is_refused(pool, size, error):
    with pytest.raises(error):
        pool(size)


@STATES
@pytest.mark.parametrize(
    "options",
    [
        {"coalesce": "false"},
        {"max_instances": True},
        {"misfire_grace_time": True},
        {"args": "ab"},
        {"kwargs": [("k", 1)]},
        {"kwargs": None},
        {"executor": ""},
        {"id": ""},
        {"next_run_time": None},
        {"next_run_time": datetime(2099, 1, 1)},
        {"name": " "},
    ],
)
def test_what_3_11_accepts_is_accepted(scheduler, options):
    job = scheduler.add_job(echo, "date", run_date=FAR, **options)
    assert job in scheduler.get_jobs()


def assert_it_helps(message, name, value):
    """Check that a message names the parameter and the value, and says more than that."""
    assert re.search(rf"\b{name}\b", message), message
    assert repr(value) in message, message
    assert len(message) > len(name) + len(repr(value)) + 15, message


WRONG = (TypeError, ValueError)


@STATES
@pytest.mark.differs("new parameters are strict")
@pytest.mark.parametrize(
    ("name", "value", "call"),
    [
        *(("limit", bad, lambda s, v: s.get_runs(limit=v)) for bad in (-1, "5", 1.5)),
        *(("state", bad, lambda s, v: s.get_runs(state=v)) for bad in ("done", 5)),
        *(("since", bad, lambda s, v: s.get_runs(since=v)) for bad in (5, "soon", object)),
        *(("job_id", bad, lambda s, v: s.get_runs(job_id=v)) for bad in (5, b"a")),
        *(("at", bad, lambda s, v: s.explain("a", at=v)) for bad in (5, "soon")),
        *(("job_id", bad, lambda s, v: s.explain(v)) for bad in (5, b"a")),
    ],
)
def test_a_bad_question_about_runs_is_refused(scheduler, heard, name, value, call):
    assert_it_helps(refuse(scheduler, heard, lambda s: call(s, value), WRONG), name, value)


@pytest.mark.differs("new parameters are strict")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_sleep", bad) for bad in (0, -1, "soon", float("nan"))),
        *(("clock", bad) for bad in (5, "now")),
    ],
)
def test_a_bad_new_option_is_refused(name, value):
    with pytest.raises(WRONG) as caught:
        TurnScheduler(**{name: value})
    assert_it_helps(str(caught.value), name, value)


@pytest.mark.differs("new parameters are strict")
@pytest.mark.parametrize("value", [-1, "soon", float("nan")])
def test_a_bad_timeout_of_shutdown_is_refused_and_nothing_is_shut_down(background, heard, value):
    background.start()
    events = heard(background)
    with pytest.raises(WRONG) as caught:
        background.shutdown(timeout=value)
    assert_it_helps(str(caught.value), "timeout", value)
    assert background.running
    assert events.events == []


@pytest.mark.differs("a job can be run outside its schedule")
@pytest.mark.parametrize("job_id", ["b", None, 5])
@pytest.mark.parametrize("running", [True])
def test_nothing_is_run_now_that_does_not_exist(scheduler, heard, job_id):
    refuse(scheduler, heard, lambda s: s.run_now(job_id), (LookupError, TypeError))
