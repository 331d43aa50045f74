"""Cron triggers: which fields there are, what they match, how they look."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
import pytz

from apscheduler.triggers import cron
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.cron.fields import DayOfWeekField

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
FAR = datetime(9999, 12, 31, 23, tzinfo=UTC)


def times(trigger: CronTrigger, count: int, now: datetime = NEW_YEAR) -> list[str]:
    found = []
    moment = trigger.get_next_fire_time(None, now)
    while moment is not None and len(found) < count:
        found.append(moment.strftime("%Y-%m-%d %H:%M:%S"))
        moment = trigger.get_next_fire_time(moment, FAR)
    return found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["2024-01-01 00:00:00", "2024-01-01 00:00:01"]),
        ({"minute": "*/5"}, ["2024-01-01 00:00:00", "2024-01-01 00:05:00"]),
        ({"second": "58"}, ["2024-01-01 00:00:58", "2024-01-01 00:01:58"]),
        ({"hour": "22-23", "minute": "59", "second": "59"},
         ["2024-01-01 22:59:59", "2024-01-01 23:59:59", "2024-01-02 22:59:59"]),
        ({"hour": 23, "minute": "1,5"},
         ["2024-01-01 23:01:00", "2024-01-01 23:05:00", "2024-01-02 23:01:00"]),
        ({"day_of_week": "mon"}, ["2024-01-01 00:00:00", "2024-01-08 00:00:00"]),
        ({"day_of_week": "0,6"}, ["2024-01-01 00:00:00", "2024-01-07 00:00:00"]),
        ({"month": 3}, ["2024-03-01 00:00:00", "2025-03-01 00:00:00"]),
        ({"month": "dec,feb-mar"}, ["2024-02-01 00:00:00", "2024-03-01 00:00:00",
                                    "2024-12-01 00:00:00", "2025-02-01 00:00:00"]),
        ({"year": "2026,2025"}, ["2025-01-01 00:00:00", "2026-01-01 00:00:00"]),
        ({"year": 2023}, []),
        ({"week": 5, "day_of_week": "6-6"}, ["2024-02-04 00:00:00", "2025-02-02 00:00:00"]),
        ({"week": 53, "day_of_week": "thu"}, ["2026-12-31 00:00:00", "2032-12-30 00:00:00"]),
        ({"week": 1, "month": 12}, ["2024-12-30 00:00:00", "2024-12-31 00:00:00",
                                    "2025-12-29 00:00:00"]),
        ({"day": "last"}, ["2024-01-31 00:00:00", "2024-02-29 00:00:00"]),
        ({"day": "last sun, 2nd fri"}, ["2024-01-12 00:00:00", "2024-01-28 00:00:00"]),
        ({"day": "5th mon"}, ["2024-01-29 00:00:00", "2024-04-29 00:00:00"]),
        ({"day": "13", "day_of_week": "fri"}, ["2024-09-13 00:00:00", "2024-12-13 00:00:00"]),
        ({"day": "29/1", "month": 2}, ["2024-02-29 00:00:00", "2028-02-29 00:00:00"]),
        ({"day": "31"}, ["2024-01-31 00:00:00", "2024-03-31 00:00:00"]),
        ({"hour": "0-0/1"}, ["2024-01-01 00:00:00", "2024-01-02 00:00:00"]),
        ({"hour": "0/1"}, ["2024-01-01 00:00:00", "2024-01-01 01:00:00"]),
    ],
)  # fmt: skip
def test_the_given_fields_decide_and_the_others_follow_from_them(
    fields: dict[str, str | int], expected: list[str]
) -> None:
    assert times(CronTrigger(timezone="UTC", **fields), max(len(expected), 1)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"month": 2, "day": 30},
        {"month": "4,6", "day": 31},
        {"month": 6, "week": 53},
        {"year": "2023,2025-2027", "month": 2, "day": 29},
        {"day": "last mon", "day_of_week": "tue"},
        {"year": 2100, "month": 2, "day": 29},
    ],
)
def test_dates_that_never_come_have_no_fire_time(fields: dict[str, str | int]) -> None:
    trigger = CronTrigger(timezone="UTC", **fields)
    assert trigger.get_next_fire_time(None, NEW_YEAR) is None
    assert trigger.get_next_fire_time(None, datetime(1960, 1, 1, tzinfo=UTC)) is None


def test_that_dates_never_come_is_known_before_anything_is_searched() -> None:
    impossible = CronTrigger(timezone="UTC", month=6, day="1-29", week=53)
    assert impossible.get_next_fire_time(None, NEW_YEAR) is None
    assert impossible._schedule is not None
    assert len(impossible._schedule._days) == 1  # the month asked about


def test_the_first_days_of_a_year_may_belong_to_week_53_of_the_one_before() -> None:
    days = [date(2000, 1, 1) + timedelta(days=n) for n in range(60 * 366)]
    expected = [
        f"{day} 00:00:00" for day in days if day.month == 1 and day.isocalendar().week == 53
    ]
    trigger = CronTrigger(month=1, week=53, timezone="UTC")
    assert times(trigger, len(expected), datetime(2000, 1, 1, tzinfo=UTC)) == expected


def test_a_rare_date_is_found_beyond_a_century_without_leap_year() -> None:
    trigger = CronTrigger(month=2, day=29, timezone="UTC")
    late = datetime(2096, 3, 1, tzinfo=UTC)
    assert times(trigger, 1, late) == ["2104-02-29 00:00:00"]


def test_the_calendar_begins_with_1970_and_ends_with_9999() -> None:
    daily = CronTrigger(hour=1, timezone="UTC")
    assert times(daily, 1, datetime(1900, 1, 1, tzinfo=UTC)) == ["1970-01-01 01:00:00"]
    assert times(daily, 2, datetime(9999, 12, 31, 1, tzinfo=UTC)) == ["9999-12-31 01:00:00"]
    assert times(daily, 1, datetime(9999, 12, 31, 2, tzinfo=UTC)) == []
    eastern = CronTrigger(hour=1, timezone="America/New_York")
    assert times(eastern, 2, datetime(9999, 12, 31, 1, tzinfo=UTC)) == ["9999-12-31 01:00:00"]


def test_months_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apscheduler.triggers.cron._schedule._MOST_MONTHS", 5)
    trigger = CronTrigger(day="17", timezone="UTC")
    assert len(times(trigger, 30)) == 30
    assert trigger._schedule is not None
    assert len(trigger._schedule._days) <= 5


def test_days_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apscheduler.triggers._walltime._MOST_DAYS", 8)
    trigger = CronTrigger(hour=0, timezone="Africa/Nairobi")
    assert len(times(trigger, 30)) == 30
    assert len(trigger._changes) <= 12


def test_equal_triggers_share_what_they_look_up() -> None:
    first, second = (CronTrigger(minute="7-9", second=5, timezone="UTC") for _ in range(2))
    assert first._schedule is second._schedule
    other = CronTrigger(minute="7-9", second=5, year="2024-2030", timezone="UTC")
    assert first._schedule is not None
    assert other._schedule is not None
    assert first._schedule._times is other._schedule._times


def test_schedules_of_restored_triggers_are_shared_and_forgotten_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("apscheduler.triggers.cron._schedule._MOST_REMEMBERED", 3)
    rows = [pickle.dumps(CronTrigger(day=day, hour="7-9", timezone="UTC")) for day in range(1, 7)]
    triggers = [pickle.loads(row) for row in [*rows, rows[-1]]]
    assert [times(trigger, 1) for trigger in triggers] == [
        [f"2024-01-0{day} 07:00:00"] for day in (1, 2, 3, 4, 5, 6, 6)
    ]
    assert triggers[5]._schedule is triggers[6]._schedule


@pytest.mark.parametrize("value", [True, 1.0])
def test_what_equals_a_number_is_not_taken_for_it(value: object) -> None:
    for hour in 1, "1":
        assert str(CronTrigger(hour=hour, timezone="UTC")) == "cron[hour='1']"
    with pytest.raises(ValueError, match=f'^Unrecognized expression "{value}"'):
        CronTrigger(hour=value, timezone="UTC")  # type: ignore[arg-type]


EVERY_TEN = CronTrigger(minute="*/10", timezone="UTC")


def test_a_first_fire_time_may_be_now() -> None:
    assert EVERY_TEN.get_next_fire_time(None, NEW_YEAR) == NEW_YEAR


def test_a_fraction_of_a_second_is_rounded_up() -> None:
    late = NEW_YEAR + timedelta(microseconds=1)
    assert EVERY_TEN.get_next_fire_time(None, late) == NEW_YEAR + timedelta(minutes=10)


def test_missed_times_are_listed_one_by_one() -> None:
    now = NEW_YEAR + timedelta(hours=5)
    assert EVERY_TEN.get_next_fire_time(NEW_YEAR, now) == NEW_YEAR + timedelta(minutes=10)


def test_the_answer_is_after_the_previous_time() -> None:
    assert EVERY_TEN.get_next_fire_time(NEW_YEAR, NEW_YEAR) == NEW_YEAR + timedelta(minutes=10)


def test_a_present_before_the_previous_time_comes_first() -> None:
    now = NEW_YEAR - timedelta(minutes=30)
    assert EVERY_TEN.get_next_fire_time(NEW_YEAR, now) == now


def test_a_previous_time_need_not_match() -> None:
    previous = NEW_YEAR + timedelta(minutes=1, microseconds=7)
    expected = NEW_YEAR + timedelta(minutes=10)
    assert EVERY_TEN.get_next_fire_time(previous, FAR) == expected


def test_a_naive_present_is_local_time() -> None:
    naive = NEW_YEAR.astimezone().replace(tzinfo=None)
    assert EVERY_TEN.get_next_fire_time(None, naive) == NEW_YEAR


def test_times_may_come_in_other_zones() -> None:
    trigger = CronTrigger(hour=3, timezone=BERLIN)
    previous = datetime(2024, 1, 1, 11, tzinfo=ZoneInfo("Asia/Tokyo"))  # 03:00 in Berlin
    moment = trigger.get_next_fire_time(previous, FAR)
    assert moment == datetime(2024, 1, 2, 3, tzinfo=BERLIN)
    assert moment is not None
    assert moment.tzinfo is BERLIN


def test_nothing_fires_before_the_start_date() -> None:
    trigger = CronTrigger(hour=1, start_date="2024-02-01", timezone="UTC")
    assert times(trigger, 1) == ["2024-02-01 01:00:00"]
    assert times(trigger, 1, datetime(2024, 3, 1, tzinfo=UTC)) == ["2024-03-01 01:00:00"]


def test_the_end_date_is_the_last_instant() -> None:
    trigger = CronTrigger(hour="0,1", end_date="2024-01-02", timezone="UTC")
    assert times(trigger, 9) == [
        "2024-01-01 00:00:00",
        "2024-01-01 01:00:00",
        "2024-01-02 00:00:00",
    ]


def test_the_zone_is_that_of_the_first_argument_that_has_one() -> None:
    tokyo = datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert str(CronTrigger(start_date=tokyo, timezone=BERLIN).timezone) == "Europe/Berlin"
    assert str(CronTrigger(start_date=tokyo).timezone) == "Asia/Tokyo"
    assert str(CronTrigger(start_date="2024-01-01", end_date=tokyo).timezone) == "Asia/Tokyo"
    assert str(CronTrigger(timezone=pytz.timezone("Europe/Berlin")).timezone) == "Europe/Berlin"


def test_without_a_zone_it_is_the_one_that_the_module_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cron, "get_localzone", lambda: BERLIN)
    assert CronTrigger(start_date=date(2024, 1, 1), timezone="").timezone is BERLIN


def test_jitter_puts_off_in_elapsed_time_and_not_beyond_the_end() -> None:
    zone = ZoneInfo("America/New_York")
    trigger = CronTrigger(hour=1, minute=59, second=59, timezone=zone, jitter=3600)
    fired = {
        trigger.get_next_fire_time(None, datetime(2024, 3, 10, 5, tzinfo=UTC)) for _ in range(30)
    }
    first = datetime(2024, 3, 10, 6, 59, 59, tzinfo=UTC)
    for moment in fired:
        assert moment is not None
        assert first <= moment <= first + timedelta(hours=1)
        assert moment == moment.astimezone(UTC).astimezone(zone)
    assert len(fired) > 1

    trigger.end_date = datetime(2024, 3, 10, 2, 59, 59, 10, tzinfo=ZoneInfo("Etc/GMT+4"))
    assert trigger.get_next_fire_time(None, first) == trigger.end_date


def test_jitter_without_a_fire_time_left_is_nothing() -> None:
    trigger = CronTrigger(year=2020, timezone="UTC", jitter=5)
    assert trigger.get_next_fire_time(None, NEW_YEAR) is None


def test_catching_up_jumps() -> None:
    trigger = CronTrigger(second="*", timezone="UTC")
    late = NEW_YEAR + timedelta(days=1000)
    assert trigger._catch_up(NEW_YEAR, late) == late


def test_a_long_backlog_is_counted_up_to_a_thousand_and_its_end_is_exact() -> None:
    trigger = CronTrigger(minute="*/7", timezone="UTC")
    late = datetime(2029, 6, 1, 11, 13, 14, 15, tzinfo=UTC)
    assert trigger._last_due(NEW_YEAR, late) == (datetime(2029, 6, 1, 11, 7, tzinfo=UTC), 1000)

    trigger.end_date = datetime(2028, 1, 1, 0, 3, tzinfo=UTC)
    assert trigger._last_due(NEW_YEAR, late) == (datetime(2028, 1, 1, tzinfo=UTC), 1000)


def test_a_backlog_whose_last_counted_time_is_its_last_ends_there() -> None:
    trigger = CronTrigger(minute="*", timezone=BERLIN)
    end = NEW_YEAR + timedelta(minutes=999)
    assert trigger._last_due(NEW_YEAR, end) == (end, 1000)
    trigger = CronTrigger(hour="0-22", minute="*", timezone=BERLIN)
    assert trigger._last_due(NEW_YEAR, end) == (end, 1000)


@pytest.mark.parametrize(
    ("trigger", "text", "representation"),
    [
        (CronTrigger(month="1/3", day="5-13", timezone="UTC"), "cron[month='1/3', day='5-13']",
         "<CronTrigger (month='1/3', day='5-13', timezone='UTC')>"),
        (CronTrigger(timezone="UTC"), "cron[]", "<CronTrigger (, timezone='UTC')>"),
        (CronTrigger(start_date="2009-02-03", timezone="UTC"), "cron[]",
         "<CronTrigger (start_date='2009-02-03 00:00:00 UTC', timezone='UTC')>"),
        (CronTrigger(hour="05, 6-6", day="1ST  Mon", timezone="UTC"),
         "cron[day='1st mon', hour='5,6']",
         "<CronTrigger (day='1st mon', hour='5,6', timezone='UTC')>"),
        (CronTrigger(year=2009, start_date="2009-02-03 11:00:00", end_date="2009-12-31",
                     jitter=5, timezone=BERLIN), "cron[year='2009']",
         "<CronTrigger (year='2009', start_date='2009-02-03 11:00:00 CET', "
         "end_date='2009-12-31 00:00:00 CET', jitter=5, timezone='Europe/Berlin')>"),
    ],
)  # fmt: skip
def test_texts(trigger: CronTrigger, text: str, representation: str) -> None:
    assert str(trigger) == text
    assert repr(trigger) == representation


def test_fields_say_which_of_them_were_given() -> None:
    trigger = CronTrigger(day="last", hour=5, timezone="UTC")
    assert [f.name for f in trigger.fields] == list(CronTrigger.FIELD_NAMES)
    assert [f.is_default for f in trigger.fields] == [
        name not in ("day", "hour") for name in CronTrigger.FIELD_NAMES
    ]
    assert [type(f) for f in trigger.fields] == [
        CronTrigger.FIELDS_MAP[name] for name in CronTrigger.FIELD_NAMES
    ]


def test_a_subclass_may_bring_its_own_fields() -> None:
    class SundayFirst(DayOfWeekField):
        def __init__(self, name: str, exprs: str | int, is_default: bool = False) -> None:
            super().__init__(name, str(exprs).replace("7", "6"), is_default)

        @classmethod
        def read(cls, name, exprs):  # type: ignore[no-untyped-def]
            return super().read(name, str(exprs).replace("7", "6"))

    class UnixTrigger(CronTrigger):
        __slots__ = ()
        FIELDS_MAP: ClassVar = {**CronTrigger.FIELDS_MAP, "day_of_week": SundayFirst}

    assert times(UnixTrigger(day_of_week="7", timezone="UTC"), 1) == ["2024-01-07 00:00:00"]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"hour": True}, ValueError, 'Unrecognized expression "True" for field "hour"'),
        ({"jitter": "5"}, TypeError, "jitter must be a number, got '5' (str)"),
        ({"jitter": -5}, ValueError,
         "jitter must not be negative, got -5: fire times only go forward"),
        ({"start_date": 5}, TypeError, "Unsupported type for start_date: int"),
        ({"end_date": "soon"}, ValueError, "Invalid date string"),
        ({"timezone": 5}, TypeError, "Expected tzinfo, got int instead"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(
    arguments: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as refusal:
        CronTrigger(**arguments)  # type: ignore[arg-type]
    assert str(refusal.value) == text


@pytest.mark.parametrize(
    ("field", "text", "read_as"),
    [
        ("day", "last-3", "last"),
        ("day", "1st fri x", "1st fri"),
        ("day_of_week", "mon/2", "mon"),
        ("day_of_week", "MON#1", "mon"),
        ("day_of_week", "tue,mon-3", "tue,mon"),
        ("month", "jan/2", "jan"),
    ],
)
def test_an_ignored_rest_of_an_expression_is_warned_of_every_time(
    field: str, text: str, read_as: str
) -> None:
    for _ in range(2):
        with pytest.warns(DeprecationWarning, match="is read as") as caught:
            trigger = CronTrigger(timezone="UTC", **{field: text})
        assert caught[0].filename == __file__
        assert str(trigger) == f"cron[{field}='{read_as}']"
