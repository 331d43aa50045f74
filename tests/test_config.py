"""From options, however they were written, to the settings of a scheduler."""

from __future__ import annotations

import logging
from datetime import UTC, timedelta, timezone
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from apscheduler._config import merge_options, read_job_defaults, read_settings
from apscheduler.clock import SYSTEM_CLOCK, SystemClock
from apscheduler.testing import ManualScheduler

HELSINKI = ZoneInfo("Europe/Helsinki")
the_logger = logging.getLogger("elsewhere")


# Options


@pytest.mark.parametrize(
    ("gconfig", "tree"),
    [
        ({}, {}),
        ({"apscheduler.timezone": "UTC", "timezone": "Asia/Tokyo"}, {"timezone": "UTC"}),
        ({"apscheduler": 1, "other.timezone": 2}, {}),
        (
            {"apscheduler.executors.default.type": "debug", "apscheduler.executors.b.c": 1},
            {"executors": {"default": {"type": "debug"}, "b": {"c": 1}}},
        ),
        (
            {"apscheduler.executors": {"a": {"type": "x"}}, "apscheduler.executors.a.size": "3"},
            {"executors": {"a": {"type": "x", "size": "3"}}},
        ),
        ({"apscheduler.a.b": 1, "apscheduler.a": {}}, {"a": {}}),
        ({"apscheduler.a.b": 1, "apscheduler.a": 5}, {"a": 5}),
        (
            {"apscheduler.a": MappingProxyType({"b": 1}), "apscheduler.a.c": 2},
            {"a": {"b": 1, "c": 2}},
        ),
    ],
)
def test_dotted_keys_with_the_prefix_become_a_tree(gconfig, tree):
    assert merge_options(gconfig, "apscheduler.", {}) == tree


@pytest.mark.parametrize("prefix", ["", None])
def test_without_a_prefix_every_key_counts_as_it_is(prefix):
    assert merge_options({"a.b": 1, "c": 2}, prefix, {}) == {"a": {"b": 1}, "c": 2}


def test_a_prefix_need_not_end_in_a_dot():
    assert merge_options({"mine:a.b": 1, "a": 2}, "mine:", {}) == {"a": {"b": 1}}


def test_a_keyword_replaces_the_whole_subtree_and_its_dots_mean_nothing():
    gconfig = {"a.b": 1, "a.c": 2, "d": 3}
    assert merge_options(gconfig, "", {"a": {"e": 4}, "f.g": 5}) == {
        "a": {"e": 4},
        "d": 3,
        "f.g": 5,
    }


@pytest.mark.parametrize("scalar", [5, "text", None, ["list"]])
def test_a_scalar_cannot_have_keys_below_it(scalar):
    with pytest.raises(TypeError) as caught:
        merge_options({"executors": scalar, "executors.x.type": "debug"}, "", {})
    assert str(caught.value).startswith(
        f"executors must be a dict to have executors.x.type below it, got {scalar!r}"
    )


@pytest.mark.parametrize(
    ("gconfig", "text"),
    [
        (None, "gconfig must be a dict of options, got None"),
        ([("a", 1)], "gconfig must be a dict of options, got"),
        ({5: 1}, "gconfig must have text for keys, got 5"),
    ],
)
def test_options_that_are_no_options_are_refused(gconfig, text):
    with pytest.raises(TypeError) as caught:
        merge_options(gconfig, "apscheduler.", {})
    assert str(caught.value).startswith(text)


def test_the_options_of_the_caller_are_never_written_to():
    inner = {"type": "debug"}
    gconfig = {
        "executors": {"a": inner},
        "executors.a.size": 1,
        "executors.b.size": 2,
        "jobstores": {},
    }
    options = {"jobstores": {"c": 1}}
    merged = merge_options(gconfig, "", options)
    assert merged["executors"] == {"a": {"type": "debug", "size": 1}, "b": {"size": 2}}
    assert inner == {"type": "debug"}
    assert gconfig["executors"] == {"a": inner}
    merged["new"] = 1
    assert options == {"jobstores": {"c": 1}}


# Settings


def settings(**options):
    return read_settings(options, lambda: HELSINKI)


def test_settings_have_defaults():
    defaults = settings()
    assert defaults.logger is logging.getLogger("apscheduler.scheduler")
    assert defaults.timezone is HELSINKI
    assert (defaults.jobstore_retry_interval, defaults.max_sleep) == (10.0, 10.0)
    assert type(defaults.jobstore_retry_interval) is type(defaults.max_sleep) is float
    assert defaults.job_defaults == {
        "misfire_grace_time": 1,
        "coalesce": True,
        "max_instances": 1,
    }
    assert defaults.clock is SYSTEM_CLOCK


def test_settings_that_mean_nothing_are_ignored():
    assert settings(unheard=1, job_defaults={"unheard": 2}) == settings()


def test_reading_settings_leaves_the_options_alone():
    options = {"timezone": "UTC", "job_defaults": {"coalesce": "no"}}
    read_settings(options, lambda: HELSINKI)
    assert options == {"timezone": "UTC", "job_defaults": {"coalesce": "no"}}


def test_a_logger_is_an_object_or_a_reference_to_one():
    assert settings(logger=the_logger).logger is the_logger
    assert settings(logger=f"{__name__}:the_logger").logger is the_logger
    assert settings(logger=None) == settings()


@pytest.mark.parametrize("name", ["myname", ""])
def test_the_name_of_a_logger_is_no_reference(name):
    with pytest.raises(ValueError, match="Invalid reference") as caught:
        settings(logger=name)
    assert str(caught.value).startswith(
        f"logger must be a logger or a reference (module:name) to one, got {name!r}"
    )


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (None, HELSINKI),
        ("UTC", UTC),
        ("Asia/Tokyo", ZoneInfo("Asia/Tokyo")),
        (timezone(timedelta(hours=1)), timezone(timedelta(hours=1))),
    ],
)
def test_a_time_zone_is_read(given, read):
    assert settings(timezone=given).timezone == read


def test_the_local_time_zone_is_looked_for_only_if_none_is_given():
    def lost():
        raise AssertionError

    assert read_settings({"timezone": "UTC"}, lost).timezone is UTC
    with pytest.raises(AssertionError):
        read_settings({}, lost)


def test_a_bad_time_zone_is_refused():
    with pytest.raises(TypeError, match="Expected tzinfo, got int instead"):
        settings(timezone=5)
    with pytest.raises(ZoneInfoNotFoundError, match="Europe/Nowhere"):
        settings(timezone="Europe/Nowhere")


@pytest.mark.parametrize(("given", "read"), [(5, 5.0), ("2.5", 2.5), (-1, -1.0), (True, 1.0)])
def test_the_retry_interval_is_whatever_is_a_number(given, read):
    assert settings(jobstore_retry_interval=given).jobstore_retry_interval == read


@pytest.mark.parametrize(("given", "error"), [("soon", ValueError), (None, TypeError)])
def test_a_retry_interval_that_is_no_number_is_refused(given, error):
    with pytest.raises(error) as caught:
        settings(jobstore_retry_interval=given)
    assert str(caught.value).startswith(
        f"jobstore_retry_interval must be a number of seconds, got {given!r}"
    )


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"misfire_grace_time": "30"}, {"misfire_grace_time": 30}),
        ({"misfire_grace_time": None}, {"misfire_grace_time": None}),
        ({"misfire_grace_time": 0}, {"misfire_grace_time": 0}),
        ({"coalesce": " Off "}, {"coalesce": False}),
        ({"coalesce": None}, {"coalesce": False}),
        ({"max_instances": "3"}, {"max_instances": 3}),
        ({"max_instances": 2.7}, {"max_instances": 2}),
        ({"max_instances": None}, {"max_instances": None}),
    ],
)
def test_job_defaults_are_read_from_text_and_judged_later(given, read):
    defaults = {"misfire_grace_time": 1, "coalesce": True, "max_instances": 1}
    assert read_job_defaults(given) == {**defaults, **read}


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (
            {"misfire_grace_time": "None"},
            ValueError,
            "job_defaults['misfire_grace_time'] must be a whole number of seconds or None, got",
        ),
        (
            {"coalesce": "maybe"},
            ValueError,
            "job_defaults['coalesce'] must be a boolean, or true or false as text, got 'maybe'",
        ),
        (
            {"max_instances": []},
            TypeError,
            "job_defaults['max_instances'] must be a whole number, got []",
        ),
        (None, TypeError, "job_defaults must be a dict of options, got None"),
        ("abc", TypeError, "job_defaults must be a dict of options, got 'abc'"),
    ],
)
def test_job_defaults_that_cannot_be_read_are_named(given, error, text):
    with pytest.raises(error) as caught:
        settings(job_defaults=given)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(("given", "read"), [(1, 1.0), (0.05, 0.05), ("30", 30.0)])
def test_the_longest_sleep_is_a_positive_number_of_seconds(given, read):
    assert settings(max_sleep=given).max_sleep == read


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("soon", ValueError),
        (None, TypeError),
        (True, TypeError),
        ([], TypeError),
    ],
)
def test_any_other_longest_sleep_is_refused(given, error):
    with pytest.raises(error) as caught:
        settings(max_sleep=given)
    assert str(caught.value).startswith(
        f"max_sleep must be a number of seconds greater than 0, such as the default of 10, "
        f"got {given!r}"
    )


def test_a_clock_is_anything_that_tells_the_time():
    clock = SystemClock()
    assert settings(clock=clock).clock is clock


@pytest.mark.parametrize("given", [None, 5, "clock", object(), SystemClock])
def test_what_cannot_tell_the_time_is_no_clock(given):
    with pytest.raises(TypeError) as caught:
        settings(clock=given)
    assert str(caught.value) == (
        f"clock must be an object with the methods now(), monotonic() and seconds_until(moment), "
        f"such as apscheduler.clock.SYSTEM_CLOCK, got {given!r}"
    )


def test_what_a_subclass_has_among_its_job_defaults_beside_the_usual_is_set_too() -> None:
    scheduler = ManualScheduler(timezone=UTC)
    scheduler.start()
    assert not scheduler.add_job(print).recover
    scheduler._job_defaults = {**scheduler._job_defaults, "recover": True}
    assert scheduler.add_job(print).recover
    scheduler._job_defaults = {"max_instances": 7}
    job = scheduler.add_job(print)
    assert (job.max_instances, job.coalesce, job.misfire_grace_time) == (7, True, 1)
