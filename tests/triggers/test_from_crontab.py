"""Cron triggers made of crontab lines, and the two ways to count weekdays."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from apscheduler.triggers import cron
from apscheduler.triggers.cron import CronTrigger

BERLIN = ZoneInfo("Europe/Berlin")


def dates(trigger: CronTrigger, count: int) -> list[str]:
    """Return the first fire times from 1 January 2024 on, which is a Monday."""
    found = []
    moment = trigger.get_next_fire_time(None, datetime(2024, 1, 1, tzinfo=UTC))
    while moment is not None and len(found) < count:
        found.append(f"{moment:%Y-%m-%d}")
        moment = trigger.get_next_fire_time(moment, datetime(2025, 1, 1, tzinfo=UTC))
    return found


def test_five_fields_are_given_in_the_order_of_a_crontab() -> None:
    trigger = CronTrigger.from_crontab("0 0 1-15 may-aug *", timezone="UTC")
    assert repr(trigger) == (
        "<CronTrigger (month='may-aug', day='1-15', day_of_week='*', hour='0', minute='0', "
        "timezone='UTC')>"
    )


def test_without_a_zone_it_is_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cron, "get_localzone", lambda: BERLIN)
    assert CronTrigger.from_crontab("* * * * *").timezone is BERLIN


@pytest.mark.parametrize("count", [4, 6])
def test_other_than_five_fields_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"^Wrong number of fields; got {count}, expected 5$"):
        CronTrigger.from_crontab("* " * count)


def test_a_numeric_weekday_counts_from_monday_with_a_warning_of_both_readings() -> None:
    with pytest.warns(UserWarning, match="0 is Monday") as caught:
        trigger = CronTrigger.from_crontab("0 0 * * 0,3", timezone="UTC")
    assert dates(trigger, 2) == ["2024-01-01", "2024-01-04"]
    assert "read as mon,thu" in str(caught[0].message)
    assert "would mean wed,sun" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("weekday", ["*", "sun", "mon-fri", "0-6", "sat,sun", "MON"])
def test_a_weekday_that_means_the_same_in_a_crontab_is_taken_silently(weekday: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CronTrigger.from_crontab(f"0 0 * * {weekday}", timezone="UTC")


def test_a_weekday_that_no_crontab_takes_is_not_compared_with_one() -> None:
    with pytest.warns(DeprecationWarning, match="is read as 'mon'") as caught:
        CronTrigger.from_crontab("0 0 * * MON#1", timezone="UTC")
    assert [warning.category for warning in caught] == [DeprecationWarning]


def test_a_sunday_of_crontabs_is_refused_unless_it_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"the last value .7. is higher than the maximum"):
        CronTrigger.from_crontab("0 0 * * 7", timezone="UTC")


def test_the_reading_may_be_chosen() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = CronTrigger.from_crontab("0 0 * * 0", "UTC", weekdays="apscheduler")
        theirs = CronTrigger.from_crontab("0 0 * * 0", "UTC", weekdays="crontab")
    assert dates(ours, 1) == ["2024-01-01"]
    assert dates(theirs, 1) == ["2024-01-07"]
    with pytest.raises(ValueError, match=r"weekdays must be .*, got 'unix'"):
        CronTrigger.from_crontab("0 0 * * 0", weekdays="unix")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weekday", "expected"),
    [
        ("0", "sun"),
        ("7", "sun"),
        ("1-5", "mon,tue,wed,thu,fri"),
        ("5-7", "fri,sat,sun"),
        ("fri-sun", "fri,sat,sun"),
        ("sun-tue", "mon,tue,sun"),
        ("*/2", "tue,thu,sat,sun"),
        ("1/2", "mon,wed,fri"),
        ("1-5/2", "mon,wed,fri"),
        ("Sat,3", "wed,sat"),
        ("*", "*"),
        ("0-7", "*"),
    ],
)
def test_a_crontab_counts_weekdays_from_sunday(weekday: str, expected: str) -> None:
    trigger = CronTrigger.from_crontab(f"0 0 * * {weekday}", "UTC", weekdays="crontab")
    assert str(trigger.fields[4]) == expected


@pytest.mark.parametrize(
    ("weekday", "text"),
    [
        ("8", "A weekday in a crontab is a number from 0 to 7, got 8"),
        ("5-2", "The minimum value in a range must not be higher than the maximum"),
        ("*/0", "Increment must be higher than 0"),
        ("foo", 'Invalid weekday name "foo"'),
        ("monday", 'Unrecognized expression "monday" for field "day_of_week"'),
    ],
)
def test_what_a_crontab_does_not_take_is_refused(weekday: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        CronTrigger.from_crontab(f"0 0 * * {weekday}", "UTC", weekdays="crontab")
