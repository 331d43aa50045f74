"""Executors, stores and triggers by name, class, reference, instance and entry point."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from contract_kit import (
    FAR,
    PATIENCE,
    DictJobStore,
    HeldExecutor,
    SteppingTrigger,
    TurnScheduler,
    noop,
)

from apscheduler.events import (
    EVENT_EXECUTOR_ADDED,
    EVENT_EXECUTOR_REMOVED,
    EVENT_JOBSTORE_ADDED,
    EVENT_JOBSTORE_REMOVED,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("threadpool", ThreadPoolExecutor),
        ("processpool", ProcessPoolExecutor),
        ("debug", DebugExecutor),
    ],
)
def test_an_executor_is_added_by_name(turns, heard, name, cls):
    events = heard(turns)
    assert turns.add_executor(name) is None
    turns.add_executor(name, "second")
    assert [type(executor) for executor in turns._executors.values()] == [cls, cls]
    assert [(event.code, event.alias) for event in events.events] == [
        (EVENT_EXECUTOR_ADDED, "default"),
        (EVENT_EXECUTOR_ADDED, "second"),
    ]


def test_options_go_to_the_constructor_of_a_named_executor(turns):
    turns.add_executor("threadpool", "few", max_workers="2")
    assert turns._executors["few"]._pool._max_workers == 2


def test_options_beside_an_executor_instance_are_ignored(turns):
    executor = HeldExecutor()
    turns.add_executor(executor, "mine", max_workers=2, unheard=True)
    assert turns._executors == {"mine": executor}


def test_a_store_is_added_by_name_or_instance(turns, heard):
    events = heard(turns)
    store = DictJobStore()
    assert turns.add_jobstore("memory") is None
    turns.add_jobstore(store, "mine", unheard=True)
    assert isinstance(turns._jobstores["default"], MemoryJobStore)
    assert turns._jobstores["mine"] is store
    assert [(event.code, event.alias) for event in events.events] == [
        (EVENT_JOBSTORE_ADDED, "default"),
        (EVENT_JOBSTORE_ADDED, "mine"),
    ]


@pytest.mark.parametrize(
    ("config", "note"),
    [
        (lambda: {"class": HeldExecutor, "note": "by class"}, "by class"),
        (lambda: {"class": "contract_kit:HeldExecutor", "note": "by text"}, "by text"),
        (lambda: HeldExecutor(note="instance"), "instance"),
    ],
)
def test_an_executor_is_configured_by_class_reference_or_instance(config, note):
    scheduler = TurnScheduler(executors={"mine": config()})
    assert isinstance(scheduler._executors["mine"], HeldExecutor)
    assert scheduler._executors["mine"].note == note


@pytest.mark.parametrize(
    ("config", "note"),
    [
        (lambda: {"class": DictJobStore, "note": "by class"}, "by class"),
        (lambda: {"class": "contract_kit:DictJobStore", "note": "by text"}, "by text"),
        (lambda: DictJobStore("instance"), "instance"),
    ],
)
def test_a_store_is_configured_by_class_reference_or_instance(config, note):
    scheduler = TurnScheduler(jobstores={"mine": config()})
    assert isinstance(scheduler._jobstores["mine"], DictJobStore)
    assert scheduler._jobstores["mine"].note == note


def test_a_type_wins_over_a_class():
    scheduler = TurnScheduler(
        jobstores={"mine": {"type": "memory", "class": "contract_kit:DictJobStore"}}
    )
    assert isinstance(scheduler._jobstores["mine"], MemoryJobStore)


def test_options_of_a_configured_plugin_are_not_converted():
    scheduler = TurnScheduler(
        {
            "apscheduler.executors.e.class": "contract_kit:HeldExecutor",
            "apscheduler.executors.e.limit": "7",
        }
    )
    assert scheduler._executors["e"].limit == "7"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"executors": {"x": {"max_workers": 2}}},
            ValueError,
            'Cannot create executor "x" -- either "type" or "class" must be defined',
        ),
        (
            {"jobstores": {"x": {"url": "y"}}},
            ValueError,
            'Cannot create job store "x" -- either "type" or "class" must be defined',
        ),
        (
            {"executors": {"x": 5}},
            TypeError,
            "Expected executor instance or dict for executors['x'], got int instead",
        ),
        (
            {"jobstores": {"x": 5}},
            TypeError,
            "Expected job store instance or dict for jobstores['x'], got int instead",
        ),
        (
            {"executors": {"x": {"type": "nosuch"}}},
            LookupError,
            'No executor by the name "nosuch" was found',
        ),
        (
            {"jobstores": {"x": {"type": "nosuch"}}},
            LookupError,
            'No jobstore by the name "nosuch" was found',
        ),
    ],
)
def test_a_plugin_that_cannot_be_configured_is_named(options, error, text):
    with pytest.raises(error) as caught:
        TurnScheduler(**options)
    assert caught.value.args[0] == text


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda s: s.add_executor("nosuch", "new"),
            LookupError,
            'No executor by the name "nosuch" was found',
        ),
        (
            lambda s: s.add_jobstore("nosuch", "new"),
            LookupError,
            'No jobstore by the name "nosuch" was found',
        ),
        (
            lambda s: s.add_job(noop, "nosuch"),
            LookupError,
            'No trigger by the name "nosuch" was found',
        ),
        (
            lambda s: s.add_executor(5, "new"),
            TypeError,
            "Expected an executor instance or a string, got int instead",
        ),
        (
            lambda s: s.add_jobstore(5, "new"),
            TypeError,
            "Expected a job store instance or a string, got int instead",
        ),
        (
            lambda s: s.add_executor("debug", "taken"),
            ValueError,
            'This scheduler already has an executor by the alias of "taken"',
        ),
        (
            lambda s: s.add_jobstore("memory", "taken"),
            ValueError,
            'This scheduler already has a job store by the alias of "taken"',
        ),
        (lambda s: s.remove_executor("none"), KeyError, "No such executor: none"),
        (lambda s: s.remove_jobstore("none"), KeyError, "No such job store: none"),
    ],
)
@pytest.mark.parametrize("running", [False, True])
def test_a_refused_plugin_changes_nothing(turns, heard, call, error, text, running):
    turns.add_executor(HeldExecutor(), "taken")
    turns.add_jobstore(DictJobStore(), "taken")
    if running:
        turns.start(paused=True)
    before = dict(turns._executors), dict(turns._jobstores), turns.get_jobs()
    events = heard(turns)
    with pytest.raises(error) as caught:
        call(turns)
    assert caught.value.args[0] == text
    assert (turns._executors, turns._jobstores, turns.get_jobs()) == before
    assert events.events == []


@pytest.mark.parametrize("shutdown", [True, False])
def test_an_executor_is_removed_and_shut_down_if_asked(turns, heard, shutdown):
    executor = HeldExecutor()
    turns.add_executor(executor, "mine")
    events = heard(turns)
    assert turns.remove_executor("mine", shutdown) is None
    assert executor.shut_down_with == ([True] if shutdown else [])
    assert [(event.code, event.alias) for event in events.events] == [
        (EVENT_EXECUTOR_REMOVED, "mine")
    ]
    assert turns._executors == {}


def test_what_is_removed_is_shut_down_by_default(turns):
    executor, store = HeldExecutor(), DictJobStore()
    turns.add_executor(executor, "mine")
    turns.add_jobstore(store, "mine")
    turns.remove_executor("mine")
    turns.remove_jobstore("mine")
    assert (executor.shut_down_with, store.shutdowns) == ([True], 1)


@pytest.mark.parametrize("shutdown", [True, False])
def test_a_store_is_removed_and_shut_down_if_asked(turns, heard, shutdown):
    store = DictJobStore()
    turns.add_jobstore(store, "mine")
    turns.start()
    events = heard(turns)
    wakeups = turns.wakeups
    assert turns.remove_jobstore("mine", shutdown) is None
    assert store.shutdowns == int(shutdown)
    assert [(event.code, event.alias) for event in events.events] == [
        (EVENT_JOBSTORE_REMOVED, "mine")
    ]
    assert (list(turns._jobstores), turns.wakeups) == (["default"], wakeups)


@pytest.mark.parametrize(
    ("name", "arguments", "cls"),
    [
        ("date", {"run_date": FAR}, DateTrigger),
        ("interval", {"hours": 1}, IntervalTrigger),
        ("cron", {"hour": 1}, CronTrigger),
        ("calendarinterval", {"months": 1}, CalendarIntervalTrigger),
    ],
)
def test_a_trigger_is_made_by_name_in_the_time_zone_of_the_scheduler(make, name, arguments, cls):
    scheduler = make(TurnScheduler, timezone="Asia/Tokyo")
    scheduler.start(paused=True)
    job = scheduler.add_job(noop, name, **arguments)
    assert isinstance(job.trigger, cls)
    if name != "date":
        assert str(job.trigger.timezone) == "Asia/Tokyo"
    own = scheduler.add_job(noop, name, timezone="Europe/Berlin", **arguments)
    if name != "date":
        assert str(own.trigger.timezone) == "Europe/Berlin"


@pytest.mark.differs("a combining trigger is not given a time zone that it does not take")
@pytest.mark.parametrize("name", ["and", "or"])
def test_a_combining_trigger_is_made_by_name(turns, name):
    turns.start(paused=True)
    job = turns.add_job(noop, name, triggers=[DateTrigger(FAR), DateTrigger(FAR)])
    assert job.next_run_time == FAR


def test_a_class_in_the_cache_is_found_before_any_entry_point(turns):
    turns._trigger_classes = {"mine": SteppingTrigger}
    turns._executor_classes = {"mine": HeldExecutor}
    turns._jobstore_classes = {"mine": DictJobStore}
    turns.add_executor("mine", "e", note="cached")
    turns.add_jobstore("mine", "s", note="cached")
    job = turns.add_job(noop, "mine", first=FAR)
    assert turns._executors["e"].note == turns._jobstores["s"].note == "cached"
    assert job.trigger.first == FAR
    assert str(job.trigger.timezone) == "UTC"


def test_an_entry_point_of_the_wrong_class_is_refused(turns):
    class EntryPoint:
        @staticmethod
        def load():
            return HeldExecutor

    turns._trigger_plugins = {"odd": EntryPoint}
    turns._trigger_classes = {}
    with pytest.raises(TypeError) as caught:
        turns.add_job(noop, "odd")
    assert caught.value.args == ("The trigger entry point does not point to a trigger class",)


def test_an_entry_point_is_loaded_once(turns):
    loads = []

    class EntryPoint:
        @staticmethod
        def load():
            loads.append(1)
            return SteppingTrigger

    turns._trigger_plugins = {"lazy": EntryPoint}
    turns._trigger_classes = {}
    assert turns.add_job(noop, "lazy", first=FAR).trigger.first == FAR
    turns.add_job(noop, "lazy")
    assert loads == [1]


@pytest.fixture
def installed_plugins(tmp_path):
    """A distribution that registers a plugin of each kind."""
    (tmp_path / "third_party.py").write_text(
        textwrap.dedent(
            """
            from apscheduler.executors.debug import DebugExecutor
            from apscheduler.jobstores.memory import MemoryJobStore
            from apscheduler.triggers.date import DateTrigger

            class MyTrigger(DateTrigger): pass
            class MyExecutor(DebugExecutor): pass
            class MyStore(MemoryJobStore): pass
            """
        )
    )
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[apscheduler.triggers]\nmine = third_party:MyTrigger\n"
        "[apscheduler.executors]\nmine = third_party:MyExecutor\n"
        "[apscheduler.jobstores]\nmine = third_party:MyStore\n"
    )
    return tmp_path


@pytest.mark.slow
def test_plugins_of_an_installed_distribution_are_found_by_name(installed_plugins):
    program = """
        from apscheduler.schedulers.background import BackgroundScheduler
        s = BackgroundScheduler(timezone="UTC", jobstores={"default": {"type": "mine"}})
        s.add_executor("mine")
        s.start(paused=True)
        job = s.add_job(print, "mine", run_date="2099-01-01")
        print(type(job.trigger).__name__, *(
            type(part).__name__ for part in (s._executors["default"], s._jobstores["default"])
        ))
    """
    path = os.pathsep.join([str(installed_plugins), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.stdout.strip(), result.stderr) == ("MyTrigger MyExecutor MyStore", "")


@pytest.mark.slow
@pytest.mark.differs("the built-in names work without metadata, as in a frozen program")
def test_the_built_in_names_work_without_metadata():
    program = """
        import importlib.metadata
        importlib.metadata.entry_points = lambda **params: []
        from apscheduler.schedulers.background import BackgroundScheduler
        s = BackgroundScheduler(timezone="UTC", jobstores={"default": {"type": "memory"}})
        s.add_executor("debug")
        for name in ("date", "interval", "cron", "calendarinterval"):
            options = {"days": 1} if "interval" in name else {}
            print(type(s.add_job(print, name, **options).trigger))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.stdout.count("Trigger'"), result.stderr) == (4, "")
