"""What extensions of web frameworks do with names that are not quite public."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from apscheduler.events import EVENT_JOB_ADDED, EVENT_JOB_EXECUTED, EVENT_JOB_REMOVED
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.testing import ManualScheduler, VirtualClock
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

START = datetime(2026, 1, 1, tzinfo=UTC)


def report(place: str, copies: int = 1) -> str:
    return place * copies


# An extension that offers jobs as JSON, and makes jobs of a dict of settings


def trigger_to_dict(trigger: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(trigger, DateTrigger):
        found = {"trigger": "date", "run_date": trigger.run_date}
    elif isinstance(trigger, IntervalTrigger):
        seconds = int(trigger.interval.total_seconds())
        found = {"trigger": "interval", "start_date": trigger.start_date}
        if trigger.end_date:
            found["end_date"] = trigger.end_date
        for name, size in (("weeks", 604800), ("days", 86400), ("hours", 3600), ("minutes", 60)):
            amount, seconds = divmod(seconds, size)
            if amount:
                found[name] = amount
        if seconds:
            found["seconds"] = seconds
    elif isinstance(trigger, CronTrigger):
        found = {"trigger": "cron"}
        if trigger.start_date:
            found["start_date"] = trigger.start_date
        for field in trigger.fields:
            if not field.is_default:
                found[field.name] = str(field)
    return found


def job_to_dict(job: Job) -> dict[str, Any]:
    found = {
        "id": job.id,
        "name": job.name,
        "func": job.func_ref,
        "args": job.args,
        "kwargs": job.kwargs,
        **trigger_to_dict(job.trigger),
    }
    if not job.pending:
        found["misfire_grace_time"] = job.misfire_grace_time
        found["max_instances"] = job.max_instances
        found["next_run_time"] = None if job.next_run_time is None else job.next_run_time
    return found


def to_json(value: Any) -> Any:
    def default(value: Any) -> str:
        assert isinstance(value, (date, datetime))
        return value.isoformat()

    return json.loads(json.dumps(value, default=default))


@pytest.fixture
def host() -> Iterator[ManualScheduler]:
    scheduler = ManualScheduler(clock=VirtualClock(START), timezone="UTC")
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


def test_jobs_of_settings_are_added_and_shown_as_json_before_and_after_the_start(
    host: ManualScheduler,
) -> None:
    settings: list[dict[str, Any]] = [
        {
            "id": "one",
            "func": f"{__name__}:report",
            "args": ["here"],
            "kwargs": {"copies": 2},
            "trigger": "interval",
            "hours": 25,
            "seconds": 5,
        },
        {
            "id": "two",
            "func": f"{__name__}:report",
            "args": ["there"],
            "trigger": "cron",
            "day_of_week": "mon-fri",
            "hour": "*/4",
            "replace_existing": True,
        },
        {
            "id": "three",
            "func": f"{__name__}:report",
            "args": ["there"],
            "trigger": "date",
            "run_date": "2026-01-01 12:00:00",
            "misfire_grace_time": 30,
            "max_instances": 3,
        },
    ]
    for given in settings:
        host.add_job(**given)
    one = host.get_job("one")
    assert one is not None
    assert one.pending
    shown = to_json(job_to_dict(one))
    assert shown["func"] == f"{__name__}:report"
    assert (shown["days"], shown["hours"], shown["seconds"]) == (1, 1, 5)
    assert "next_run_time" not in shown

    host.start()
    shown = {job.id: to_json(job_to_dict(job)) for job in host.get_jobs()}
    assert shown["one"]["next_run_time"] == "2026-01-02T01:00:05+00:00"
    assert (shown["two"]["day_of_week"], shown["two"]["hour"]) == ("mon-fri", "*/4")
    assert not {"minute", "second", "day"} & shown["two"].keys()
    assert (shown["three"]["misfire_grace_time"], shown["three"]["max_instances"]) == (30, 3)

    # What is shown can be sent back: a change of some, and of the trigger.
    host.modify_job("three", name="renamed", args=["elsewhere"])
    host.reschedule_job("three", trigger="cron", minute="5")
    host.pause_job("two")
    shown = {job.id: to_json(job_to_dict(job)) for job in host.get_jobs()}
    assert (shown["three"]["name"], shown["three"]["minute"]) == ("renamed", "5")
    assert shown["two"]["next_run_time"] is None


def test_a_task_decorator_and_a_job_that_is_run_beside_its_schedule(host: ManualScheduler) -> None:
    ran: list[str] = []

    @host.scheduled_job("interval", id="task", minutes=5)
    def task() -> None:
        ran.append("here")

    host.start()
    job = host.get_job("task")
    assert job is not None
    job.func(*job.args, **job.kwargs)
    host.advance(minutes=5)
    assert ran == ["here", "here"]


# An extension that keeps jobs in the tables of an ORM, and their runs in another one


class Rows:
    """Stands for a table."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[datetime | None, bytes]] = {}

    def ordered(self) -> list[tuple[str, bytes]]:
        # As databases do that sort what is NULL first.
        order = sorted(
            self.rows.items(), key=lambda row: (row[1][0] is not None, row[1][0] or START)
        )
        return [(job_id, state) for job_id, (_, state) in order]


class TableJobStore(BaseJobStore):
    """Locks as its scheduler does, since requests of many threads come here."""

    def __init__(self, table: Rows) -> None:
        super().__init__()
        self.table = table

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        self._lock = scheduler._create_lock()

    def lookup_job(self, job_id: str) -> Job | None:
        row = self.table.rows.get(job_id)
        return self._reconstitute_job(row[1]) if row else None

    def get_due_jobs(self, now: datetime) -> list[Job]:
        jobs = self._get_jobs()
        return [job for job in jobs if job.next_run_time and job.next_run_time <= now]

    def get_next_run_time(self) -> datetime | None:
        return min((due for due, _ in self.table.rows.values() if due), default=None)

    def get_all_jobs(self) -> list[Job]:
        jobs = self._get_jobs()
        self._fix_paused_jobs_sorting(jobs)
        return jobs

    def add_job(self, job: Job) -> None:
        with self._lock:
            if job.id in self.table.rows:
                raise ConflictingIdError(job.id)
            self._save(job)

    def update_job(self, job: Job) -> None:
        with self._lock:
            if job.id not in self.table.rows:
                raise JobLookupError(job.id)
            self._save(job)

    def remove_job(self, job_id: str) -> None:
        if self.table.rows.pop(job_id, None) is None:
            raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        with self._lock:
            self.table.rows.clear()

    def _save(self, job: Job) -> None:
        state = pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL)
        self.table.rows[job.id] = job.next_run_time, state

    def _reconstitute_job(self, job_state: bytes) -> Job:
        state = pickle.loads(job_state)
        state["jobstore"] = self
        job = Job.__new__(Job)
        job.__setstate__(state)
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        return job

    def _get_jobs(self) -> list[Job]:
        jobs, bad = [], []
        for job_id, state in self.table.ordered():
            try:
                jobs.append(self._reconstitute_job(state))
            except Exception:
                self._logger.exception("Unable to restore job '%s'. Removing it...", job_id)
                bad.append(job_id)
        for job_id in bad:
            del self.table.rows[job_id]
        return jobs


class RecordingScheduler(ManualScheduler):
    """Writes down what becomes of jobs, by way of the methods that it redefines."""

    def __init__(self, **options: Any) -> None:
        self.written: list[tuple[str, ...]] = []
        super().__init__(**options)

    def _real_add_job(self, job: Job, jobstore_alias: str, replace_existing: bool) -> Any:
        self.written.append(("adding", job.id, jobstore_alias))
        return super()._real_add_job(job, jobstore_alias, replace_existing)

    def _dispatch_event(self, event: Any) -> None:
        if event.code in (EVENT_JOB_ADDED, EVENT_JOB_EXECUTED, EVENT_JOB_REMOVED):
            self.written.append((str(event.code), event.job_id, event.jobstore))
        super()._dispatch_event(event)


def test_jobs_in_a_table_live_through_a_restart_and_their_runs_are_written_down() -> None:
    table = Rows()
    clock = VirtualClock(START)
    scheduler = RecordingScheduler(clock=clock, timezone="UTC")
    scheduler.add_jobstore(TableJobStore(table), "table")
    reference = f"{__name__}:report"
    scheduler.add_job(
        reference, "interval", ["x"], hours=1, id="often", jobstore="table", coalesce=True
    )
    scheduler.add_job(reference, "date", ["x"], run_date=START, id="once", jobstore="table")
    scheduler.start()
    scheduler.advance(hours=1)
    scheduler.pause_job("often")
    assert [job.id for job in scheduler.get_jobs()] == ["often"]
    scheduler.shutdown()
    assert scheduler.written == [
        ("adding", "often", "table"),
        (str(EVENT_JOB_ADDED), "often", "table"),
        ("adding", "once", "table"),
        (str(EVENT_JOB_ADDED), "once", "table"),
        (str(EVENT_JOB_EXECUTED), "once", "table"),
        (str(EVENT_JOB_REMOVED), "once", "table"),
        (str(EVENT_JOB_EXECUTED), "often", "table"),
    ]

    later = RecordingScheduler(clock=clock, timezone="UTC")
    later.add_jobstore(TableJobStore(table), "table")
    later.start()
    job, alias = later._lookup_job("often", None)
    assert (alias, job.next_run_time, job.args) == ("table", None, ("x",))
    job.resume()
    later.add_job(reference, "date", ["y"], id="sooner", jobstore="table", run_date="2026-01-01")
    later.pause_job("sooner")
    # A row that cannot be read any more goes by the rules of its store.
    table.rows["broken"] = START, b"nonsense"
    assert [job.id for job in later.get_jobs("table")] == ["often", "sooner"]
    assert "broken" not in table.rows
    later.advance(hours=1)
    assert later.written[-1] == (str(EVENT_JOB_EXECUTED), "often", "table")
    with pytest.raises(ConflictingIdError):
        later.add_job(reference, args=["x"], id="often", jobstore="table")
    later.add_job(reference, args=["x"], id="often", jobstore="table", replace_existing=True)
    later.remove_all_jobs("table")
    assert table.rows == {}
    later.shutdown()
