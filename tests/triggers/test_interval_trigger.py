"""Interval triggers: fire times at equal distances of elapsed time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytz

from apscheduler import clock
from apscheduler.triggers import interval
from apscheduler.triggers.interval import IntervalTrigger

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2024, 1, 1, tzinfo=UTC)


class Stopped:
    """A clock that stands still."""

    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return 0.0

    def seconds_until(self, moment: datetime) -> float:
        return (moment - START).total_seconds()


def test_the_first_fire_time_is_one_interval_from_now() -> None:
    with clock.in_force(Stopped()):
        trigger = IntervalTrigger(hours=1, timezone=BERLIN)
    assert trigger.start_date == START + timedelta(hours=1)
    assert trigger.start_date.tzinfo is BERLIN
    assert trigger.get_next_fire_time(None, START) == START + timedelta(hours=1)


def test_a_start_date_that_is_now_fires_now() -> None:
    trigger = IntervalTrigger(seconds=7, start_date=START)
    assert trigger.get_next_fire_time(None, START) == START


def test_after_a_fire_time_comes_the_one_an_interval_later_whatever_is_now() -> None:
    trigger = IntervalTrigger(seconds=7, start_date=START)
    odd = START + timedelta(seconds=3, microseconds=5)
    assert trigger.get_next_fire_time(odd, START + timedelta(days=9)) == odd + timedelta(seconds=7)


def test_the_interval_is_the_sum_of_its_parts() -> None:
    trigger = IntervalTrigger(1, 2, 3, 4, 5.5, "2024-01-01", "2025-01-01", "UTC", 6)
    assert trigger.interval == timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5.5)
    assert trigger.interval_length == trigger.interval.total_seconds()
    assert trigger.jitter == 6


def test_no_interval_is_one_second() -> None:
    assert IntervalTrigger(timezone="UTC").interval == timedelta(seconds=1)
    assert IntervalTrigger(seconds=1e-9, timezone="UTC").interval_length == 1


def test_the_end_date_is_the_last_instant() -> None:
    trigger = IntervalTrigger(seconds=10, start_date=START, end_date=START + timedelta(seconds=10))
    assert trigger.get_next_fire_time(START, START) == START + timedelta(seconds=10)
    assert trigger.get_next_fire_time(START + timedelta(seconds=10), START) is None


def test_the_calendar_ends_with_the_year_9999() -> None:
    trigger = IntervalTrigger(weeks=500_000, start_date=START)
    assert trigger.get_next_fire_time(START, START) is None


def test_an_hour_is_an_hour_whatever_the_clocks_do() -> None:
    trigger = IntervalTrigger(hours=1, start_date="2024-03-31 01:30:00", timezone=BERLIN)
    moment = trigger.get_next_fire_time(trigger.start_date, START)
    assert str(moment) == "2024-03-31 03:30:00+02:00"
    trigger = IntervalTrigger(days=1, start_date="2024-10-26 12:00:00", timezone=BERLIN)
    moment = trigger.get_next_fire_time(trigger.start_date, START)
    assert str(moment) == "2024-10-27 11:00:00+01:00"


def test_jitter_scatters_around_a_grid_and_never_drifts() -> None:
    trigger = IntervalTrigger(seconds=60, start_date=START, jitter=10)
    moment = trigger.get_next_fire_time(None, START)
    for step in range(200):
        assert moment is not None
        late = moment - (START + step * timedelta(seconds=60))
        assert timedelta(0) <= late <= timedelta(seconds=10)
        moment = trigger.get_next_fire_time(moment, moment)


def test_jitter_of_a_previous_time_before_the_start_leads_to_the_start() -> None:
    trigger = IntervalTrigger(seconds=60, start_date=START, jitter=10)
    assert trigger._next_on_grid(START - timedelta(days=1), START) == START


def test_jitter_beyond_the_end_is_no_fire_time() -> None:
    trigger = IntervalTrigger(
        seconds=60, start_date=START, end_date=START + timedelta(microseconds=1), jitter=1e6
    )
    assert trigger.get_next_fire_time(None, START) is None


def test_the_last_due_time_is_calculated() -> None:
    trigger = IntervalTrigger(seconds=1, start_date=START, timezone=BERLIN)
    year = START + timedelta(days=366, microseconds=9)
    last, count = trigger._last_due(START, year)
    assert (last, count) == (START + timedelta(days=366), 366 * 86400 + 1)
    assert last.tzinfo is BERLIN

    trigger.end_date = START + timedelta(seconds=90)
    assert trigger._last_due(START, year) == (trigger.end_date, 91)


def test_the_last_due_time_may_be_the_first() -> None:
    trigger = IntervalTrigger(seconds=60, start_date=START)
    assert trigger._last_due(START, START + timedelta(seconds=59)) == (START, 1)


def test_the_last_due_time_leaves_jitter_out() -> None:
    trigger = IntervalTrigger(seconds=60, start_date=START, jitter=30)
    first = START + timedelta(seconds=25)
    assert trigger._last_due(first, START + timedelta(seconds=300)) == (
        START + timedelta(seconds=300),
        6,
    )


def test_a_stored_interval_that_goes_back_is_named_and_not_followed() -> None:
    trigger = IntervalTrigger(seconds=60, start_date=START)
    trigger.interval = timedelta(seconds=-60)
    with pytest.raises(ValueError, match=r"does not advance: its interval is not positive"):
        trigger._last_due(START, START)


def test_catching_up_is_calculated() -> None:
    trigger = IntervalTrigger(seconds=7, start_date=START)
    late = START + timedelta(days=700)
    assert trigger._catch_up(START, late) == late
    assert trigger._catch_up(START, late + timedelta(seconds=1)) == late + timedelta(seconds=7)


def test_the_zone_is_that_of_the_first_argument_that_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokyo = datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert IntervalTrigger(days=1, start_date=tokyo, timezone=BERLIN).timezone is BERLIN
    assert str(IntervalTrigger(days=1, start_date=tokyo).timezone) == "Asia/Tokyo"
    assert str(IntervalTrigger(days=1, end_date=tokyo).timezone) == "Asia/Tokyo"
    warsaw = pytz.timezone("Europe/Warsaw").localize(datetime(2024, 1, 1))
    assert str(IntervalTrigger(days=1, start_date=warsaw).timezone) == "Europe/Warsaw"
    monkeypatch.setattr(interval, "get_localzone", lambda: BERLIN)
    assert IntervalTrigger(days=1, start_date=date(2024, 1, 1)).timezone is BERLIN


def test_texts() -> None:
    trigger = IntervalTrigger(
        days=2, hours=3, start_date="2009-08-04 00:00:02", timezone="Europe/Berlin"
    )
    assert str(trigger) == "interval[2 days, 3:00:00]"
    assert repr(trigger) == (
        "<IntervalTrigger (interval=datetime.timedelta(days=2, seconds=10800), "
        "start_date='2009-08-04 00:00:02 CEST', timezone='Europe/Berlin')>"
    )
    trigger = IntervalTrigger(
        seconds=1, start_date="2009-08-04", end_date="2010-08-04", timezone="UTC", jitter=3
    )
    assert repr(trigger) == (
        "<IntervalTrigger (interval=datetime.timedelta(seconds=1), "
        "start_date='2009-08-04 00:00:00 UTC', end_date='2010-08-04 00:00:00 UTC', jitter=3, "
        "timezone='UTC')>"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"hours": -1}, ValueError, "hours must not be negative, got -1: fire times only go "
         "forward"),
        ({"seconds": "1"}, TypeError, "seconds must be a number, got '1' (str)"),
        ({"weeks": None}, TypeError, "weeks must be a number, got None (NoneType)"),
        ({"seconds": float("nan")}, ValueError, "the interval of seconds=nan cannot be expressed "
         "(cannot convert float NaN to integer); give finite numbers that come to less than "
         "1,000,000,000 days"),
        ({"jitter": -4}, ValueError, "jitter must not be negative, got -4: fire times only go "
         "forward"),
        ({"start_date": 5}, TypeError, "Unsupported type for start_date: int"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as refusal:
        IntervalTrigger(timezone="UTC", **arguments)
    assert str(refusal.value) == text
