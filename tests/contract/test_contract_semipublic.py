"""Underscore names that plug-ins, wrappers and other projects' tests rely on."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import pytest
from contract_kit import FAR, UTC, HeldExecutor, SteppingTrigger, TurnScheduler, noop

import apscheduler
from apscheduler.events import EVENT_JOB_ADDED, EVENT_JOB_REMOVED
from apscheduler.executors.debug import DebugExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

MODULES = {
    "apscheduler": "version __version__ version_info release",
    "apscheduler.events": "SchedulerEvent JobEvent JobSubmissionEvent JobExecutionEvent",
    "apscheduler.job": "Job",
    "apscheduler.schedulers": "SchedulerAlreadyRunningError SchedulerNotRunningError",
    "apscheduler.schedulers.base": (
        "BaseScheduler STATE_STOPPED STATE_RUNNING STATE_PAUSED EVENT_JOB_ADDED EVENT_ALL "
        "JobEvent SchedulerEvent JobSubmissionEvent BaseExecutor MaxInstancesReachedError "
        "ThreadPoolExecutor Job BaseJobStore ConflictingIdError JobLookupError MemoryJobStore "
        "SchedulerAlreadyRunningError SchedulerNotRunningError BaseTrigger undefined asint "
        "asbool astimezone maybe_ref obj_to_ref get_localzone datetime"
    ),
    "apscheduler.schedulers.blocking": "BlockingScheduler",
    "apscheduler.schedulers.background": "BackgroundScheduler",
    "apscheduler.schedulers.asyncio": "AsyncIOScheduler run_in_event_loop",
    "apscheduler.executors.base": (
        "BaseExecutor MaxInstancesReachedError run_job run_coroutine_job datetime"
    ),
    "apscheduler.executors.pool": (
        "BasePoolExecutor ThreadPoolExecutor ProcessPoolExecutor run_job"
    ),
    "apscheduler.executors.asyncio": "AsyncIOExecutor",
    "apscheduler.executors.debug": "DebugExecutor",
    "apscheduler.jobstores.base": (
        "BaseJobStore JobLookupError ConflictingIdError TransientJobError"
    ),
    "apscheduler.jobstores.memory": "MemoryJobStore",
    "apscheduler.triggers.base": "BaseTrigger",
    "apscheduler.triggers.date": "DateTrigger datetime get_localzone",
    "apscheduler.triggers.interval": "IntervalTrigger datetime get_localzone",
    "apscheduler.triggers.calendarinterval": "CalendarIntervalTrigger get_localzone",
    "apscheduler.triggers.cron": "CronTrigger get_localzone",
    "apscheduler.triggers.cron.fields": "BaseField MonthField DayOfMonthField WeekField",
    "apscheduler.triggers.cron.expressions": "AllExpression RangeExpression",
    "apscheduler.triggers.combining": "BaseCombiningTrigger AndTrigger OrTrigger",
}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_offers_its_names(module):
    loaded = importlib.import_module(module)
    assert [name for name in MODULES[module].split() if not hasattr(loaded, name)] == []


def test_the_version_is_told_in_four_forms():
    assert apscheduler.version == apscheduler.__version__
    assert apscheduler.version_info[0] == 3
    assert all(isinstance(part, int) for part in apscheduler.version_info)
    assert apscheduler.release == ".".join(map(str, apscheduler.version_info[:3]))


@pytest.mark.parametrize(
    "module", ["jobstores.sqlalchemy", "schedulers.tornado", "executors.twisted"]
)
@pytest.mark.slow
def test_nothing_imports_an_optional_backend(module):
    program = (
        "import sys, apscheduler.schedulers.background, apscheduler.schedulers.asyncio\n"
        f"sys.exit('apscheduler.{module}' in sys.modules)"
    )
    path = ":".join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, timeout=20, check=False
    )
    assert done.returncode == 0


def test_registries_are_plain_dicts_that_may_be_assigned(turns):
    executor, store = DebugExecutor(), MemoryJobStore()
    turns._executors = {"default": executor}
    turns._jobstores = {"default": store}
    turns.start()
    assert (turns._lookup_executor("default"), turns._lookup_jobstore("default")) == (
        executor,
        store,
    )
    for registry in (turns._executors, turns._jobstores):
        assert type(registry) is dict


def test_an_unknown_alias_is_a_key_error(turns):
    with pytest.raises(KeyError):
        turns._lookup_executor("none")
    with pytest.raises(KeyError):
        turns._lookup_jobstore("none")


def test_listeners_and_pending_jobs_are_lists_of_tuples(turns):
    turns.add_listener(noop, EVENT_JOB_ADDED)
    assert turns._listeners == [(noop, EVENT_JOB_ADDED)]
    job = turns.add_job(noop, "date", run_date=FAR, jobstore="s", replace_existing=True)
    assert turns._pending_jobs == [(job, "s", True)]


@pytest.mark.parametrize("running", [False, True])
def test_a_job_is_looked_up_with_its_store(turns, running):
    if running:
        turns.start(paused=True)
    job = turns.add_job(noop, "date", run_date=FAR, id="a")
    assert turns._lookup_job("a", None) == (job, "default" if running else None)
    with pytest.raises(JobLookupError):
        turns._lookup_job("b", None)


def test_really_adding_completes_stores_and_announces_a_job(turns, heard):
    turns.start()
    events = heard(turns)
    wakeups = turns.wakeups
    job = Job(
        turns, id="a", func=noop, args=(), kwargs={}, trigger=DateTrigger(FAR), executor="default"
    )
    turns._real_add_job(job, "default", False)
    assert (job.next_run_time, job.max_instances, job.pending) == (FAR, 1, False)
    assert (events.codes, turns.wakeups) == ([EVENT_JOB_ADDED], wakeups + 1)
    assert turns.get_job("a") is job


@pytest.mark.parametrize("running", [False, True])
def test_a_job_is_really_added_through_one_overridable_method(make, running):
    class Watching(TurnScheduler):
        added = ()

        def _real_add_job(self, job, jobstore_alias, replace_existing):
            self.added += ((job.id, jobstore_alias, replace_existing),)
            super()._real_add_job(job, jobstore_alias, replace_existing)

    scheduler = make(Watching)
    if running:
        scheduler.start()
    scheduler.add_job(noop, "date", run_date=FAR, id="a", replace_existing=True)
    if not running:
        assert scheduler.added == ()
        scheduler.start()
    assert scheduler.added == (("a", "default", True),)


@pytest.mark.parametrize("by", ["a subclass", "an object", "the class", "another scheduler"])
def test_who_takes_over_the_dispatch_of_events_gets_them(make, monkeypatch, by):
    codes = []

    class Watching(TurnScheduler):
        if by == "a subclass":

            def _dispatch_event(self, event):
                codes.append(event.code)

    scheduler = make(Watching)
    scheduler.start(paused=True)
    if by == "an object":
        scheduler._dispatch_event = lambda event: codes.append(event.code)
    elif by == "the class":
        monkeypatch.setattr(BaseScheduler, "_dispatch_event", lambda _, e: codes.append(e.code))
    elif by == "another scheduler":
        other = make(TurnScheduler)
        other.add_listener(lambda event: codes.append(event.code))
        scheduler._dispatch_event = other._dispatch_event
    codes.clear()
    scheduler.add_job(noop, "date", run_date=FAR)
    assert codes == [EVENT_JOB_ADDED]


def test_a_trigger_is_created_by_one_overridable_method(turns):
    trigger = SteppingTrigger()
    assert turns._create_trigger(trigger, {}) is trigger
    arguments = {"hours": 2}
    made = turns._create_trigger("interval", arguments)
    assert isinstance(made, IntervalTrigger)
    assert str(made.timezone) == "UTC"
    assert isinstance(turns._create_trigger(None, {"run_date": FAR}), DateTrigger)


def test_a_plugin_is_created_by_kind_and_name(turns):
    executor = turns._create_plugin_instance("executor", "threadpool", {"max_workers": 2})
    assert executor._pool._max_workers == 2
    assert isinstance(turns._create_plugin_instance("jobstore", "memory", {}), MemoryJobStore)
    assert isinstance(turns._create_plugin_instance("trigger", "cron", {"hour": 3}), CronTrigger)


@pytest.mark.parametrize("name", ["_jobstores_lock", "_executors_lock", "_listeners_lock"])
def test_a_lock_of_the_scheduler_is_re_entrant(turns, name):
    lock = getattr(turns, name)
    with lock, lock:
        assert isinstance(lock, AbstractContextManager)


def test_locks_are_made_by_a_hook_and_re_entrant(turns):
    lock = turns._create_lock()
    with lock, lock:
        taken = []
        other = threading.Thread(target=lambda: taken.append(lock.acquire(blocking=False)))
        other.start()
        other.join()
    assert taken == [False]


@pytest.mark.parametrize("kind", ["trigger", "executor", "jobstore"])
def test_plugin_tables_are_dicts_on_the_class(kind):
    assert isinstance(getattr(BaseScheduler, f"_{kind}_plugins"), dict)
    assert isinstance(getattr(BaseScheduler, f"_{kind}_classes"), dict)


def test_the_local_time_zone_can_be_patched_in_triggers(monkeypatch):
    from zoneinfo import ZoneInfo

    tokyo = ZoneInfo("Asia/Tokyo")
    for module, make in {
        "date": lambda: DateTrigger(datetime(2099, 1, 1)).run_date.tzinfo,
        "interval": lambda: IntervalTrigger(hours=1).timezone,
        "cron": lambda: CronTrigger(hour=1).timezone,
    }.items():
        monkeypatch.setattr(f"apscheduler.triggers.{module}.get_localzone", lambda: tokyo)
        assert make() == tokyo


def test_jitter_is_applied_by_a_helper_of_the_base_trigger():
    helper = SteppingTrigger()._apply_jitter
    assert helper(FAR, None, FAR) == FAR
    assert helper(FAR, 0, FAR) == FAR
    assert helper(None, 5, FAR) is None
    moments = {helper(FAR, 5, FAR) for _ in range(20)}
    assert all(FAR <= moment <= FAR + timedelta(seconds=5) for moment in moments)
    assert len(moments) > 1


def test_what_flask_extensions_read_of_cron_fields():
    trigger = CronTrigger(hour="3", minute="*/5", timezone=UTC)
    read = {field.name: str(field) for field in trigger.fields if not field.is_default}
    assert read == {"hour": "3", "minute": "*/5"}
    assert [field.name for field in trigger.fields] == list(CronTrigger.FIELD_NAMES)
    assert (trigger.start_date, trigger.end_date, trigger.jitter) == (None, None, None)


def test_what_flask_extensions_read_of_other_triggers():
    trigger = IntervalTrigger(hours=1, start_date=FAR, end_date=FAR, timezone="UTC", jitter=3)
    assert (trigger.interval, trigger.interval_length) == (timedelta(hours=1), 3600)
    assert (trigger.start_date, trigger.end_date, trigger.jitter) == (FAR, FAR, 3)
    assert DateTrigger(FAR).run_date == FAR


def test_the_loop_of_an_asyncio_scheduler_may_be_assigned():
    import asyncio

    scheduler = AsyncIOScheduler(timezone="UTC")
    loop = asyncio.new_event_loop()
    scheduler._eventloop = loop
    scheduler.start()
    assert scheduler.running
    scheduler.shutdown()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert not scheduler.running


def run_until_a_job_is_removed(scheduler):
    removed = threading.Event()
    scheduler.add_listener(lambda event: removed.set(), EVENT_JOB_REMOVED)
    thread = threading.Thread(target=scheduler.start)
    thread.start()
    scheduler.add_job(noop, "date")
    assert removed.wait(10)
    scheduler.shutdown()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("event", [None, threading.Event])
def test_the_loop_of_a_blocking_scheduler_may_be_written_anew(event):
    class Own(BlockingScheduler):
        turns = 0

        def start(self, *args, **kwargs):
            self._event = event and event()
            super().start(*args, **kwargs)

        def _main_loop(self):
            seconds = threading.TIMEOUT_MAX
            while self.running:
                self._event.wait(seconds)
                self._event.clear()
                seconds = self._process_jobs() or threading.TIMEOUT_MAX
                self.turns += 1

    scheduler = Own(timezone=UTC)
    run_until_a_job_is_removed(scheduler)
    assert 0 < scheduler.turns < 20


def test_the_event_of_a_blocking_scheduler_may_be_another_one():
    class Own(BlockingScheduler):
        turns = 0

        def start(self, *args, **kwargs):
            self._event = threading.Event()
            super().start(*args, **kwargs)

        def _process_jobs(self):
            self.turns += 1
            return super()._process_jobs()

    scheduler = Own(timezone=UTC)
    run_until_a_job_is_removed(scheduler)
    assert 0 < scheduler.turns < 20


def test_a_custom_executor_sees_what_the_contract_promises(turns):
    executor = HeldExecutor()
    turns.add_executor(executor, "mine")
    turns.start()
    turns.add_job(noop, executor="mine", id="a")
    turns._process_jobs()
    ((job, run_times),) = executor.held
    assert (job.id, job._jobstore_alias, type(run_times)) == ("a", "default", list)
    assert executor._instances["a"] == 1
    assert executor._logger.name == "apscheduler.executors.mine"
    executor.release()
    assert dict(executor._instances) == {}
