"""Calendar interval triggers: one time of day, every so many days, weeks, months, years."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytz

from apscheduler.triggers import calendarinterval
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def dates(trigger: CalendarIntervalTrigger, count: int) -> list[str]:
    found: list[str] = []
    moment = trigger.get_next_fire_time(None, NOW)
    while moment is not None and len(found) < count:
        found.append(f"{moment:%Y-%m-%d}")
        moment = trigger.get_next_fire_time(moment, NOW)
    return found


@pytest.mark.parametrize(
    ("parts", "start", "expected"),
    [
        ({"days": 3}, "2024-02-27", ["2024-02-27", "2024-03-01", "2024-03-04"]),
        ({"weeks": 2, "days": 1}, "2024-01-01", ["2024-01-01", "2024-01-16", "2024-01-31"]),
        ({"months": 1}, "2024-01-31",
         ["2024-01-31", "2024-03-31", "2024-05-31", "2024-07-31", "2024-08-31"]),
        ({"months": 1, "days": 1}, "2024-01-31",
         ["2024-01-31", "2024-04-01", "2024-05-02", "2024-06-03", "2024-07-04"]),
        ({"years": 1}, "2024-02-29", ["2024-02-29", "2028-02-29", "2032-02-29"]),
        ({"years": 1, "months": 13}, "2024-01-31", ["2024-01-31", "2028-03-31"]),
        ({"weeks": 1.5}, "2024-01-01", ["2024-01-01", "2024-01-11"]),
        ({"days": 1}, "9999-12-30", ["9999-12-30", "9999-12-31"]),
        ({"months": 1}, "9999-11-30", ["9999-11-30", "9999-12-30"]),
        ({"years": 1}, "9998-05-05", ["9998-05-05", "9999-05-05"]),
    ],
)  # fmt: skip
def test_years_and_months_are_added_first_and_dates_that_do_not_exist_passed_over(
    parts: dict[str, Any], start: str, expected: list[str]
) -> None:
    trigger = CalendarIntervalTrigger(start_date=start, timezone="UTC", **parts)
    count = len(expected) + start.startswith("999")
    assert dates(trigger, count) == expected


def test_the_first_answer_is_the_start_date_even_if_it_is_past() -> None:
    trigger = CalendarIntervalTrigger(days=1, hour=5, start_date="2016-03-05", timezone=BERLIN)
    assert trigger.get_next_fire_time(None, NOW) == datetime(2016, 3, 5, 5, tzinfo=BERLIN)
    assert trigger._steps_over_past_start


def test_catching_up_leads_to_the_first_date_that_is_not_past() -> None:
    trigger = CalendarIntervalTrigger(days=3, hour=5, start_date="2016-03-05", timezone="UTC")
    first = trigger.get_next_fire_time(None, NOW)
    assert first is not None
    assert trigger._catch_up(first, NOW) == datetime(2024, 1, 2, 5, tzinfo=UTC)
    assert trigger._catch_up(first, datetime(2024, 1, 2, 5, tzinfo=UTC)) == datetime(
        2024, 1, 2, 5, tzinfo=UTC
    )


def test_catching_up_leads_over_months_that_lack_the_day() -> None:
    trigger = CalendarIntervalTrigger(months=1, start_date="2016-01-31", timezone="UTC")
    first = trigger.get_next_fire_time(None, NOW)
    assert first is not None
    assert trigger._catch_up(first, datetime(2024, 2, 1, tzinfo=UTC)) == datetime(
        2024, 3, 31, tzinfo=UTC
    )


def test_the_start_is_today_in_its_own_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    for hours in -12, 14:
        zone = timezone(timedelta(hours=hours))
        around = datetime.now(zone).date()
        trigger = CalendarIntervalTrigger(days=1, timezone=zone)
        assert trigger.start_date in (around, datetime.now(zone).date())
    monkeypatch.setattr(calendarinterval, "get_localzone", lambda: BERLIN)
    assert CalendarIntervalTrigger(days=1).timezone is BERLIN


def test_the_end_date_is_the_last_date() -> None:
    trigger = CalendarIntervalTrigger(
        days=1, hour=23, start_date="2024-01-01", end_date=date(2024, 1, 2), timezone="UTC"
    )
    assert dates(trigger, 5) == ["2024-01-01", "2024-01-02"]


def test_of_a_datetime_the_date_counts() -> None:
    trigger = CalendarIntervalTrigger(
        days=1, start_date=datetime(2024, 2, 1, 5), end_date=date(2024, 3, 1), timezone="UTC"
    )
    assert trigger.start_date == date(2024, 2, 1)
    assert type(trigger.start_date) is date


def test_a_previous_time_counts_as_a_date_of_the_triggers_zone() -> None:
    trigger = CalendarIntervalTrigger(days=1, start_date="2024-02-01", timezone=BERLIN)
    midnight = datetime(2024, 2, 4, 23, tzinfo=UTC)
    assert trigger.get_next_fire_time(midnight, NOW) == datetime(2024, 2, 6, tzinfo=BERLIN)


def test_a_date_whose_time_is_left_out_is_passed_over() -> None:
    trigger = CalendarIntervalTrigger(
        weeks=1, hour=2, minute=30, start_date="2024-03-24", timezone=BERLIN
    )
    assert dates(trigger, 3) == ["2024-03-24", "2024-04-07", "2024-04-14"]
    trigger.end_date = date(2024, 3, 31)
    assert dates(trigger, 3) == ["2024-03-24"]
    apia = CalendarIntervalTrigger(days=1, start_date="2011-12-29", timezone="Pacific/Apia")
    assert dates(apia, 2) == ["2011-12-29", "2011-12-31"]


def test_of_a_time_that_comes_twice_the_first_counts() -> None:
    trigger = CalendarIntervalTrigger(
        days=1, hour=2, minute=30, start_date="2024-10-27", timezone=BERLIN
    )
    moment = trigger.get_next_fire_time(None, NOW)
    assert str(moment) == "2024-10-27 02:30:00+02:00"


def test_jitter_puts_off_and_leaves_the_dates_alone() -> None:
    week = CalendarIntervalTrigger(
        weeks=1, hour=23, start_date="2024-01-01", timezone=BERLIN, jitter=2 * 86400
    )
    month = CalendarIntervalTrigger(
        months=1, hour=23, start_date="2024-01-01", timezone=BERLIN, jitter=2 * 86400
    )
    for trigger, second in (week, date(2024, 1, 8)), (month, date(2024, 2, 1)):
        carried = set()
        for _ in range(20):
            first = trigger.get_next_fire_time(None, NOW)
            assert first is not None
            start = datetime(2024, 1, 1, 23, tzinfo=BERLIN)
            assert start <= first <= start + timedelta(days=2)
            carried.add(first.date())
            following = trigger._next_on_grid(first, NOW)
            assert following == datetime.combine(second, time(23), BERLIN)
        assert len(carried) > 1


def test_jitter_counts_from_the_start_when_the_previous_time_is_before_it() -> None:
    trigger = CalendarIntervalTrigger(weeks=1, start_date="2024-01-01", timezone="UTC", jitter=5)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert trigger._next_on_grid(long_ago, NOW) == datetime(2024, 1, 1, tzinfo=UTC)


def test_jitter_at_the_end_of_the_calendar_ends() -> None:
    trigger = CalendarIntervalTrigger(years=1, start_date="9999-01-01", timezone="UTC", jitter=5)
    assert trigger.get_next_fire_time(datetime(9999, 1, 1, 1, tzinfo=UTC), NOW) is None


def test_a_long_backlog_is_counted_up_to_a_thousand_and_its_end_is_exact() -> None:
    trigger = CalendarIntervalTrigger(
        days=1, hour=2, minute=30, start_date="1990-01-01", timezone=BERLIN
    )
    first = trigger.get_next_fire_time(None, NOW)
    assert first is not None
    # On the last day before, 02:30 was left out.
    last, count = trigger._last_due(first, datetime(2024, 4, 1, tzinfo=BERLIN))
    assert (last, count) == (datetime(2024, 3, 30, 2, 30, tzinfo=BERLIN), 1000)

    trigger.end_date = date(2012, 6, 1)
    last, count = trigger._last_due(first, datetime(2024, 4, 1, tzinfo=BERLIN))
    assert (last, count) == (datetime(2012, 6, 1, 2, 30, tzinfo=BERLIN), 1000)


def test_a_stored_interval_that_does_not_advance_is_named_and_not_followed() -> None:
    trigger = CalendarIntervalTrigger(days=1, start_date="2024-01-01", timezone="UTC")
    for parts in [0, 0, 0, -1], [0, 0, 0, 0.5], [0, -1, 0, 0]:
        trigger.__setstate__({**trigger.__getstate__(), "interval": parts})
        with pytest.raises(ValueError, match="does not advance: its interval is not positive"):
            trigger.get_next_fire_time(NOW, NOW)


def test_texts() -> None:
    trigger = CalendarIntervalTrigger(
        years=1, months=5, weeks=6, days=8, hour=3, second=8, start_date="2016-03-05",
        end_date="2020-12-25", timezone="Europe/Berlin", jitter=5,
    )  # fmt: skip
    assert (
        repr(trigger)
        == str(trigger)
        == (
            "CalendarIntervalTrigger(years=1, months=5, weeks=6, days=8, time='03:00:08', "
            "start_date='2016-03-05', end_date='2020-12-25', timezone='Europe/Berlin')"
        )
    )
    trigger = CalendarIntervalTrigger(days=1, hour=5, start_date="2024-02-01", timezone="UTC")
    assert repr(trigger) == (
        "CalendarIntervalTrigger(days=1, time='05:00:00+00:00', start_date='2024-02-01', "
        "timezone='datetime.timezone.utc')"
    )
    named = CalendarIntervalTrigger(
        days=1, start_date="2024-02-01", timezone=timezone(timedelta(hours=-3), "MINUS")
    )
    assert repr(named).endswith(
        """timezone="datetime.timezone(datetime.timedelta(days=-1, seconds=75600), 'MINUS')")"""
    )


def test_zones_of_pytz_are_replaced() -> None:
    trigger = CalendarIntervalTrigger(days=1, timezone=pytz.timezone("Europe/Berlin"))
    assert trigger.timezone is BERLIN


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, ValueError, "interval must be at least 1 day long"),
        ({"days": 0.5}, ValueError, "interval must be at least 1 day long"),
        ({"days": -1}, ValueError, "days must not be negative, got -1: fire times only go "
         "forward"),
        ({"days": "1"}, TypeError, "days must be a number, got '1' (str)"),
        ({"months": 1.5}, TypeError, "months must be a whole number, got 1.5 (float)"),
        ({"days": 1, "hour": 25}, ValueError, "hour must be in 0..23"),
        ({"days": 1, "hour": "3"}, TypeError, "hour must be a whole number, got '3' (str)"),
        ({"days": 1, "start_date": "2024-2-1"}, ValueError,
         "Invalid isoformat string: '2024-2-1'"),
        ({"days": 1, "start_date": 5}, TypeError,
         "start_date must be a date or a text like 2024-02-29, got 5 (int)"),
        ({"days": 1, "start_date": "2024-02-01", "end_date": "2024-01-01"}, ValueError,
         "end_date cannot be earlier than start_date"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as refusal:
        CalendarIntervalTrigger(timezone="UTC", **arguments)
    assert str(refusal.value) == text
