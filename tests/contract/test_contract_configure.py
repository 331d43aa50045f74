"""The three styles of configuration and every rule of `configure`."""

from __future__ import annotations

import logging
from datetime import UTC
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import contract_kit
import pytest
import pytz
from contract_kit import FAR, DictJobStore, HeldExecutor, TurnScheduler, noop

from apscheduler.events import EVENT_EXECUTOR_ADDED, EVENT_JOBSTORE_ADDED
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers import SchedulerAlreadyRunningError
from apscheduler.schedulers.background import BackgroundScheduler

the_logger = logging.getLogger("contract.logger")


def shape(scheduler):
    return (
        {alias: type(store) for alias, store in scheduler._jobstores.items()},
        {alias: type(executor) for alias, executor in scheduler._executors.items()},
        {alias: executor._pool._max_workers for alias, executor in scheduler._executors.items()},
        scheduler._job_defaults,
        str(scheduler.timezone),
    )


def test_the_three_documented_styles_are_equivalent():
    with_instances = BackgroundScheduler(
        jobstores={"mine": MemoryJobStore(), "default": MemoryJobStore()},
        executors={"default": ThreadPoolExecutor(20), "processpool": ProcessPoolExecutor(5)},
        job_defaults={"coalesce": False, "max_instances": 3},
        timezone=UTC,
    )
    with_flat_text = BackgroundScheduler(
        {
            "apscheduler.jobstores.mine": {"type": "memory"},
            "apscheduler.jobstores.default": {"type": "memory"},
            "apscheduler.executors.default": {
                "class": "apscheduler.executors.pool:ThreadPoolExecutor",
                "max_workers": "20",
            },
            "apscheduler.executors.processpool": {"type": "processpool", "max_workers": "5"},
            "apscheduler.job_defaults.coalesce": "false",
            "apscheduler.job_defaults.max_instances": "3",
            "apscheduler.timezone": "UTC",
        }
    )
    configured_later = BackgroundScheduler()
    configured_later.configure(
        jobstores={"mine": {"type": "memory"}, "default": MemoryJobStore()},
        executors={
            "default": {"type": "threadpool", "max_workers": 20},
            "processpool": ProcessPoolExecutor(max_workers=5),
        },
        job_defaults={"coalesce": False, "max_instances": 3},
        timezone=UTC,
    )
    assert shape(with_instances) == shape(with_flat_text) == shape(configured_later)
    assert with_instances._job_defaults == {
        "misfire_grace_time": 1,
        "coalesce": False,
        "max_instances": 3,
    }


def test_a_running_scheduler_cannot_be_configured(turns):
    turns.start(paused=True)
    with pytest.raises(SchedulerAlreadyRunningError):
        turns.configure(timezone="Europe/Berlin")
    assert str(turns.timezone) == "UTC"


def test_the_prefix_selects_and_is_stripped(turns):
    turns.configure({"apscheduler.timezone": "Europe/Berlin", "timezone": "Asia/Tokyo"})
    assert str(turns.timezone) == "Europe/Berlin"
    turns.configure({"mine:timezone": "Asia/Tokyo", "apscheduler.timezone": "UTC"}, "mine:")
    assert str(turns.timezone) == "Asia/Tokyo"


@pytest.mark.parametrize("prefix", ["", None])
def test_without_a_prefix_all_keys_count_as_they_are(turns, prefix):
    turns.configure({"timezone": "Asia/Tokyo", "jobstores.x.type": "memory"}, prefix=prefix)
    assert str(turns.timezone) == "Asia/Tokyo"
    assert list(turns._jobstores) == ["x"]


def test_the_constructor_ignores_keys_without_the_default_prefix():
    scheduler = TurnScheduler({"timezone": "Asia/Tokyo"}, timezone="UTC")
    assert str(scheduler.timezone) == "UTC"


def test_dotted_keys_merge_with_dicts(turns):
    turns.configure(
        {
            "apscheduler.executors": {"a": {"type": "threadpool"}},
            "apscheduler.executors.b.type": "debug",
            "apscheduler.executors.a.max_workers": "3",
        }
    )
    assert isinstance(turns._executors["b"], DebugExecutor)
    assert turns._executors["a"]._pool._max_workers == 3


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("apscheduler.executors.b", TypeError),
        ("apscheduler.executors.b.type", (TypeError, AttributeError)),
    ],
)
def test_a_scalar_where_a_dict_is_needed_is_refused(turns, key, error):
    with pytest.raises(error):
        turns.configure({"apscheduler.executors": "x", key: "debug"})


def test_a_keyword_replaces_the_whole_subtree(turns):
    turns.configure(
        {
            "apscheduler.job_defaults.max_instances": "3",
            "apscheduler.executors.a.type": "debug",
            "apscheduler.timezone": "Asia/Tokyo",
        },
        job_defaults={"coalesce": False},
        executors={"b": {"type": "debug"}},
        timezone="UTC",
    )
    assert turns._job_defaults["max_instances"] == 1
    assert turns._job_defaults["coalesce"] is False
    assert list(turns._executors) == ["b"]
    assert str(turns.timezone) == "UTC"


def test_each_configure_starts_from_the_defaults_again(turns):
    turns.configure(job_defaults={"max_instances": 5}, executors={"a": {"type": "debug"}})
    turns.configure(timezone="UTC")
    assert turns._job_defaults == {
        "misfire_grace_time": 1,
        "coalesce": True,
        "max_instances": 1,
    }
    assert turns._executors == {}
    assert turns.jobstore_retry_interval == 10.0


def test_executors_and_stores_are_dropped_without_shutdown_or_event(turns, heard):
    executor, store = HeldExecutor(), DictJobStore()
    turns.add_executor(executor)
    turns.add_jobstore(store)
    events = heard(turns)
    turns.configure(timezone="UTC")
    assert (executor.shut_down_with, store.shutdowns, events.events) == ([], 0, [])
    assert turns._executors == turns._jobstores == {}


def test_listeners_and_pending_jobs_survive_and_hear_of_executors_then_stores(turns, heard):
    job = turns.add_job(noop, "date", run_date=FAR)
    events = heard(turns)
    turns.configure(
        jobstores={"s": {"type": "memory"}}, executors={"e": DebugExecutor()}, timezone="UTC"
    )
    assert [(event.code, event.alias) for event in events.events] == [
        (EVENT_EXECUTOR_ADDED, "e"),
        (EVENT_JOBSTORE_ADDED, "s"),
    ]
    assert turns.get_jobs() == [job]


def test_options_reach_the_hook_of_a_subclass_first():
    class Own(TurnScheduler):
        def _configure(self, config):
            self.colour = config.pop("colour", None)
            super()._configure(config)

    assert Own({"apscheduler.colour": "blue"}).colour == "blue"
    assert Own(colour="red").colour == "red"


def test_unknown_options_are_ignored():
    scheduler = TurnScheduler(
        {"apscheduler.unheard": "x"}, of={"a": 1}, job_defaults={"unheard": 1}, timezone="UTC"
    )
    assert "unheard" not in scheduler._job_defaults


def test_the_logger_is_given_as_an_object_or_as_a_reference():
    assert TurnScheduler()._logger is logging.getLogger("apscheduler.scheduler")
    assert TurnScheduler(logger=the_logger)._logger is the_logger
    by_reference = TurnScheduler(logger=f"{contract_kit.__name__}:greeter")
    assert by_reference._logger is contract_kit.greeter


def test_a_plain_logger_name_is_refused():
    with pytest.raises(ValueError, match="Invalid reference"):
        TurnScheduler(logger="myname")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("UTC", "UTC"),
        ("Europe/Berlin", "Europe/Berlin"),
        (UTC, "UTC"),
        (ZoneInfo("Asia/Tokyo"), "Asia/Tokyo"),
        (pytz.timezone("Europe/Paris"), "Europe/Paris"),
    ],
)
def test_a_time_zone_is_taken_in_every_form(given, text):
    assert str(TurnScheduler(timezone=given).timezone) == text


def test_the_default_time_zone_is_the_local_one(monkeypatch):
    monkeypatch.setattr(
        "apscheduler.schedulers.base.get_localzone", lambda: ZoneInfo("Asia/Tokyo")
    )
    assert TurnScheduler().timezone == ZoneInfo("Asia/Tokyo")


def test_a_bad_time_zone_is_refused():
    with pytest.raises(ZoneInfoNotFoundError):
        TurnScheduler(timezone="Europe/Nowhere")
    with pytest.raises(TypeError, match="Expected tzinfo, got int instead"):
        TurnScheduler(timezone=5)


def test_the_retry_interval_is_made_a_float():
    assert TurnScheduler().jobstore_retry_interval == 10.0
    assert TurnScheduler(jobstore_retry_interval="2.5").jobstore_retry_interval == 2.5
    with pytest.raises(ValueError, match="could not convert"):
        TurnScheduler(jobstore_retry_interval="soon")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"misfire_grace_time": "30"}, {"misfire_grace_time": 30}),
        ({"misfire_grace_time": None}, {"misfire_grace_time": None}),
        ({"coalesce": "no"}, {"coalesce": False}),
        ({"coalesce": " On "}, {"coalesce": True}),
        ({"coalesce": 0}, {"coalesce": False}),
        ({"max_instances": "4"}, {"max_instances": 4}),
        ({"max_instances": 0}, {"max_instances": 0}),
    ],
)
def test_job_defaults_are_read_from_text(given, read):
    defaults = {"misfire_grace_time": 1, "coalesce": True, "max_instances": 1}
    assert TurnScheduler(job_defaults=given)._job_defaults == {**defaults, **read}


@pytest.mark.parametrize(
    "given", [{"misfire_grace_time": "None"}, {"coalesce": "maybe"}, {"max_instances": "few"}]
)
def test_job_defaults_that_cannot_be_read_are_value_errors(given):
    with pytest.raises(ValueError, match=r"None|maybe|few"):
        TurnScheduler(job_defaults=given)


def test_job_defaults_out_of_range_are_refused_when_a_job_is_really_added(turns):
    turns.configure(job_defaults={"max_instances": 0}, timezone="UTC")
    turns.add_job(noop, "date", run_date=FAR)
    with pytest.raises(TypeError, match="max_instances must be a positive integer"):
        turns.start()


def test_job_defaults_fill_what_a_job_leaves_open(turns):
    turns.configure(
        job_defaults={"misfire_grace_time": 30, "coalesce": "false", "max_instances": 4},
        timezone="UTC",
    )
    turns.start()
    plain = turns.add_job(noop, "date", run_date=FAR)
    own = turns.add_job(noop, "date", run_date=FAR, misfire_grace_time=None, coalesce=True)
    assert (plain.misfire_grace_time, plain.coalesce, plain.max_instances) == (30, False, 4)
    assert (own.misfire_grace_time, own.coalesce, own.max_instances) == (None, True, 4)


@pytest.mark.differs("a configuration is left as the caller wrote it")
def test_a_configuration_can_be_used_twice():
    config = {
        "apscheduler.executors": {"a": {"type": "debug"}},
        "apscheduler.executors.b.type": "debug",
        "apscheduler.jobstores.s": {"class": "apscheduler.jobstores.memory:MemoryJobStore"},
    }
    kept = {
        key: dict(value) if isinstance(value, dict) else value for key, value in config.items()
    }
    for _ in range(2):
        scheduler = TurnScheduler(config)
        assert list(scheduler._executors) == ["a", "b"]
    assert config == kept
    assert config["apscheduler.executors"] == {"a": {"type": "debug"}}


@pytest.mark.parametrize(("given", "daemon"), [({}, True), ({"daemon": "false"}, False)])
def test_a_background_thread_is_a_daemon_unless_told_otherwise(make, given, daemon):
    scheduler = make(BackgroundScheduler, **given)
    scheduler.start()
    assert scheduler._thread.daemon is daemon
    assert scheduler._thread.name == "APScheduler"
