"""Print, export and import jobs."""

from __future__ import annotations

import base64
import io
import json
import pickle
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from contract_kit import (
    FAR,
    DictJobStore,
    Greeter,
    SteppingTrigger,
    TurnScheduler,
    echo,
    ids,
    noop,
)

import apscheduler
from apscheduler.events import EVENT_JOB_ADDED
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.triggers.date import DateTrigger

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def berlin(make):
    return make(TurnScheduler, timezone="Europe/Berlin")


def printed(scheduler, *args):
    out = io.StringIO()
    assert scheduler.print_jobs(*args, out=out) is None
    return out.getvalue()


def add_named(scheduler, name, **options):
    when = datetime(2099, 9, 9, tzinfo=BERLIN)
    return scheduler.add_job(noop, "date", run_date=when, name=name, **options)


def test_pending_jobs_are_printed(berlin):
    assert printed(berlin) == "Pending jobs:\n    No pending jobs\n"
    add_named(berlin, "test job 1")
    add_named(berlin, "test job 2", jobstore="more", next_run_time=None)
    first = "    test job 1 (trigger: date[2099-09-09 00:00:00 CEST], pending)\n"
    second = "    test job 2 (trigger: date[2099-09-09 00:00:00 CEST], paused)\n"
    assert printed(berlin) == "Pending jobs:\n" + first + second
    assert printed(berlin, "more") == "Pending jobs:\n" + second
    assert printed(berlin, "nowhere") == "Pending jobs:\n"


def test_jobs_of_a_started_scheduler_are_printed_by_store(berlin):
    berlin.add_jobstore(MemoryJobStore(), "other")
    berlin.add_jobstore(MemoryJobStore(), "empty")
    berlin.start(paused=True)
    add_named(berlin, "test job 1", jobstore="other")
    add_named(berlin, "test job 2", jobstore="other", next_run_time=None)
    other = (
        "Jobstore other:\n"
        "    test job 1 (trigger: date[2099-09-09 00:00:00 CEST], "
        "next run at: 2099-09-09 00:00:00 CEST)\n"
        "    test job 2 (trigger: date[2099-09-09 00:00:00 CEST], paused)\n"
    )
    assert printed(berlin) == (
        "Jobstore default:\n    No scheduled jobs\nJobstore empty:\n    No scheduled jobs\n"
        + other
    )
    assert printed(berlin, "other") == other
    assert printed(berlin, "empty") == "Jobstore empty:\n    No scheduled jobs\n"
    assert printed(berlin, "nowhere") == ""


def test_jobs_are_printed_to_standard_output_by_default(turns, capsys):
    turns.print_jobs()
    assert capsys.readouterr().out == "Pending jobs:\n    No pending jobs\n"


def exported(scheduler, *args):
    out = io.StringIO()
    assert scheduler.export_jobs(out, *args) is None
    return json.loads(out.getvalue())


def test_jobs_are_exported_from_a_started_scheduler_only(turns):
    with pytest.raises(RuntimeError) as caught:
        turns.export_jobs(io.StringIO())
    assert caught.value.args == ("the scheduler must have been started for job export to work",)


def test_the_exported_document(turns):
    turns.start(paused=True)
    turns.add_job(
        echo, "interval", hours=1, args=["foo", "bar"], kwargs={"k": 1}, id="a", next_run_time=FAR
    )
    document = exported(turns)
    assert list(document) == ["version", "scheduler_version", "jobs"]
    assert (document["version"], document["scheduler_version"]) == (1, apscheduler.version)
    (job,) = document["jobs"]
    trigger, next_run_time = job.pop("trigger"), job.pop("next_run_time")
    assert job == {
        "version": 1,
        "id": "a",
        "func": "contract_kit:echo",
        "executor": "default",
        "args": ["foo", "bar"],
        "kwargs": {"k": 1},
        "name": "echo",
        "misfire_grace_time": 1,
        "coalesce": True,
        "max_instances": 1,
    }
    reference = "apscheduler.triggers.interval:IntervalTrigger"
    assert trigger["__apscheduler_class__"] == reference
    interval = trigger["__apscheduler_state__"]["interval"]["__apscheduler_pickle__"]
    assert pickle.loads(base64.b64decode(interval)) == timedelta(hours=1)
    assert list(next_run_time) == ["__apscheduler_pickle__"]
    assert pickle.loads(base64.b64decode(next_run_time["__apscheduler_pickle__"])) == FAR


def test_jobs_of_one_store_or_of_all_are_exported(turns):
    turns.add_jobstore(MemoryJobStore(), "more")
    turns.start(paused=True)
    turns.add_job(noop, "date", run_date=FAR, id="a")
    turns.add_job(noop, "date", run_date=FAR, id="b", jobstore="more")
    assert sorted(job["id"] for job in exported(turns)["jobs"]) == ["a", "b"]
    assert [job["id"] for job in exported(turns, "more")["jobs"]] == ["b"]


def test_a_job_without_a_reference_cannot_be_exported(turns, tmp_path):
    turns.start(paused=True)
    turns.add_job(lambda: None, "date", run_date=FAR)
    with pytest.raises(ValueError, match="This Job cannot be serialized"):
        turns.export_jobs(io.StringIO())


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_jobs_go_through_a_file(make, tmp_path, as_path):
    one, other = make(TurnScheduler), make(TurnScheduler)
    one.start(paused=True)
    other.start(paused=True)
    path = as_path(tmp_path / "jobs.json")
    one.add_job(echo, "cron", hour=4, jitter=3, args=["foo", "bar"], id="a", name="n")
    one.add_job(noop, "calendarinterval", months=1, id="b", next_run_time=None)
    one.add_job(noop, DateTrigger(FAR), id="c", misfire_grace_time=None, coalesce=False)
    one.add_job(noop, SteppingTrigger(FAR), id="d", max_instances=4)
    one.export_jobs(path)
    assert other.import_jobs(path) is None
    assert [repr(job.trigger) for job in other.get_jobs() if job.id != "d"] == [
        repr(job.trigger) for job in one.get_jobs() if job.id != "d"
    ]
    for job in one.get_jobs():
        copy = other.get_job(job.id)
        assert (copy.name, copy.executor, copy.func) == (job.name, job.executor, job.func)
        assert (copy.next_run_time, copy.kwargs) == (job.next_run_time, job.kwargs)
        assert (copy.misfire_grace_time, copy.coalesce, copy.max_instances) == (
            job.misfire_grace_time,
            job.coalesce,
            job.max_instances,
        )
        assert (copy._scheduler, copy._jobstore_alias) == (other, "default")
    assert other.get_job("a").args == ["foo", "bar"]
    assert other.get_job("d").trigger.first == FAR


def test_arguments_that_json_cannot_express_are_kept(make):
    one, other = make(TurnScheduler), make(TurnScheduler)
    one.start(paused=True)
    other.start(paused=True)
    args = [FAR, timedelta(1), {1, 2}, b"x", Greeter("me")]
    one.add_job(echo, "date", args, run_date=FAR, id="a")
    out = io.StringIO()
    one.export_jobs(out)
    other.import_jobs(io.StringIO(out.getvalue()))
    *plain, me = other.get_job("a").args
    assert plain == args[:-1]
    assert me.name == "me"


def document(*jobs, **changes):
    return io.StringIO(
        json.dumps({"version": 1, "scheduler_version": "x", "jobs": jobs, **changes})
    )


@pytest.fixture
def states(turns):
    turns.start(paused=True)
    for name in "ab":
        turns.add_job(noop, "date", run_date=FAR, id=name)
    jobs = exported(turns)["jobs"]
    turns.remove_all_jobs()
    return jobs


def test_jobs_are_imported_into_the_given_store(turns, states):
    turns.add_jobstore(DictJobStore(), "more")
    turns.import_jobs(document(*states), "more")
    assert ids(turns.get_jobs("more")) == ["a", "b"]
    assert turns.get_jobs("default") == []


def test_jobs_cannot_be_imported_into_a_store_that_does_not_exist(turns, states):
    with pytest.raises(KeyError):
        turns.import_jobs(document(*states), "nowhere")
    turns.shutdown()
    with pytest.raises(KeyError, match="default"):
        TurnScheduler().import_jobs(document(*states))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (lambda: io.StringIO("[]"), ""),
        (lambda: io.StringIO("5"), ""),
        (lambda: document(version=2), "unrecognized version: 2"),
        (lambda: io.StringIO('{"jobs": []}'), ""),
        (lambda: io.StringIO("not json"), ""),
    ],
)
def test_a_document_of_another_form_is_refused(turns, source, text):
    turns.start(paused=True)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the text is compared below)
        turns.import_jobs(source())
    assert text in str(caught.value)
    assert turns.get_jobs() == []


def test_an_id_that_is_taken_is_not_imported(turns, states):
    kept = turns.add_job(echo, "date", run_date=FAR, id="a")
    with pytest.raises(ConflictingIdError):
        turns.import_jobs(document(*states))
    assert turns.get_job("a") is kept


@pytest.mark.differs("an imported job is announced like any other and wakes the loop")
def test_an_imported_job_is_announced_and_wakes_the_loop(turns, heard, states):
    turns.resume()
    events = heard(turns)
    before = turns.wakeups
    turns.import_jobs(document(*states))
    assert [(e.code, e.job_id, e.jobstore) for e in events.events] == [
        (EVENT_JOB_ADDED, "a", "default"),
        (EVENT_JOB_ADDED, "b", "default"),
    ]
    assert turns.wakeups > before
