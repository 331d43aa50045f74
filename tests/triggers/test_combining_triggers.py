"""And and Or: triggers made of other triggers."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apscheduler.triggers import combining
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def times(trigger: BaseTrigger, count: int, now: datetime = NOW) -> list[str]:
    found: list[str] = []
    moment = trigger.get_next_fire_time(None, now)
    while moment is not None and len(found) < count:
        found.append(f"{moment.astimezone(UTC):%m-%d %H:%M:%S}")
        moment = trigger.get_next_fire_time(moment, moment)
    return found


def every(seconds: float, start: datetime = NOW, **options: float) -> IntervalTrigger:
    return IntervalTrigger(seconds=seconds, start_date=start, **options)


def test_and_fires_where_all_members_meet() -> None:
    weekends = AndTrigger(
        [
            CalendarIntervalTrigger(days=3, start_date=date(2024, 1, 1), timezone="UTC"),
            CronTrigger(day_of_week="sat,sun", timezone="UTC"),
        ]
    )
    assert times(weekends, 4) == [
        "01-07 00:00:00",
        "01-13 00:00:00",
        "01-28 00:00:00",
        "02-03 00:00:00",
    ]


def test_and_of_two_crons_goes_on_after_it_has_fired() -> None:
    trigger = AndTrigger(
        [
            CronTrigger(month="5-8", day="6-15", timezone="UTC"),
            CronTrigger(month="6-9", day="*/3", end_date="2024-07-11", timezone="UTC"),
        ]
    )
    assert times(trigger, 9) == [
        "06-07 00:00:00",
        "06-10 00:00:00",
        "06-13 00:00:00",
        "07-07 00:00:00",
        "07-10 00:00:00",
    ]


def test_and_meets_rarely_if_that_is_what_its_members_do() -> None:
    trigger = AndTrigger([CronTrigger(minute=0, timezone="UTC"), every(3607)])
    assert times(trigger, 2) == ["01-01 00:00:00", "05-30 07:00:00"]
    dense = AndTrigger(
        [CronTrigger(second="*", timezone="UTC"), CronTrigger(month=2, day=29, timezone="UTC")]
    )
    assert times(dense, 1) == ["02-29 00:00:00"]


def test_and_answers_in_the_zone_of_its_first_member() -> None:
    trigger = AndTrigger([CronTrigger(hour=1, timezone=BERLIN), CronTrigger(hour=0, timezone=UTC)])
    moment = trigger.get_next_fire_time(None, NOW)
    assert str(moment) == "2024-01-01 01:00:00+01:00"


def test_and_is_finished_when_a_member_is() -> None:
    once = AndTrigger([DateTrigger(NOW), CronTrigger(hour=0, timezone="UTC")])
    assert times(once, 3) == ["01-01 00:00:00"]
    past = AndTrigger([DateTrigger(NOW - timedelta(hours=1)), every(60)])
    assert times(past, 1) == []


def test_and_whose_members_never_meet_gives_up_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(combining, "MOST_ROUNDS", 100)
    trigger = AndTrigger([every(60), every(60, NOW + timedelta(seconds=1))])
    with caplog.at_level(logging.WARNING, "apscheduler.scheduler"):
        assert trigger.get_next_fire_time(None, NOW) is None
        assert trigger.get_next_fire_time(None, NOW) is None
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert (
        "The members of and[interval[0:01:00], interval[0:01:00]] never fire together" in message
    )


def test_and_leaves_jitter_of_its_members_out_and_adds_its_own() -> None:
    members = [every(60, jitter=20), CronTrigger(minute="*/2", timezone="UTC", jitter=20)]
    assert times(AndTrigger(members), 2) == ["01-01 00:00:00", "01-01 00:02:00"]

    trigger = AndTrigger(members, jitter=30)
    moment = trigger.get_next_fire_time(None, NOW)
    for step in range(20):
        assert moment is not None
        late = moment - NOW - step * timedelta(minutes=2)
        assert timedelta(0) <= late <= timedelta(seconds=30)
        moment = trigger.get_next_fire_time(moment, moment)


def test_and_without_members_is_an_error() -> None:
    with pytest.raises(ValueError, match="An AndTrigger without members never fires"):
        AndTrigger([]).get_next_fire_time(None, NOW)


def test_and_counts_a_backlog() -> None:
    trigger = AndTrigger([every(60), every(90)])
    late = NOW + timedelta(minutes=10)
    assert trigger._last_due(NOW, late) == (NOW + timedelta(minutes=9), 4)


def test_or_fires_whenever_a_member_does() -> None:
    trigger = OrTrigger(
        [
            CronTrigger(minute="*/20", timezone="UTC"),
            CronTrigger(minute="5,40", hour="*", timezone=BERLIN),
        ]
    )
    assert times(trigger, 5) == [f"01-01 00:{m}:00" for m in ("00", "05", "20", "40")] + [
        "01-01 01:00:00"
    ]


def test_or_is_finished_when_all_members_are() -> None:
    assert OrTrigger([]).get_next_fire_time(None, NOW) is None
    ended = CronTrigger(hour="*", end_date="2024-01-01 01:00:00", timezone="UTC")
    trigger = OrTrigger([ended, every(1800, end_date=None)])
    assert len(times(trigger, 9)) == 9
    assert times(OrTrigger([ended, ended]), 9) == ["01-01 00:00:00", "01-01 01:00:00"]


def test_or_fires_for_each_of_its_dates() -> None:
    dates = [DateTrigger(NOW + timedelta(minutes=minutes)) for minutes in (30, 10, 30)]
    assert times(OrTrigger(dates), 9) == ["01-01 00:10:00", "01-01 00:30:00"]
    trigger = OrTrigger([*dates, CronTrigger(minute=20, timezone="UTC")])
    assert times(trigger, 4) == [
        "01-01 00:10:00",
        "01-01 00:20:00",
        "01-01 00:30:00",
        "01-01 01:20:00",
    ]


def test_or_catches_up_with_its_members_short_cuts() -> None:
    leap_day = CronTrigger(month=2, day=29, timezone="UTC")
    dense = OrTrigger([CronTrigger(second="*/2", timezone="UTC"), every(7), DateTrigger(NOW)])
    assert times(AndTrigger([dense, leap_day]), 1) == ["02-29 00:00:00"]
    late = NOW + timedelta(days=300, seconds=1)
    assert OrTrigger([every(60), DateTrigger(NOW)])._catch_up(NOW, late) == late + timedelta(
        seconds=59
    )
    assert OrTrigger([DateTrigger(NOW)])._catch_up(NOW, late) is None


def test_and_of_sparse_and_dense_calendars_is_soon_settled() -> None:
    daily = CalendarIntervalTrigger(days=1, hour=1, start_date="2024-01-01", timezone="UTC")
    assert times(AndTrigger([daily, CronTrigger(day=1, month=1, timezone="UTC")]), 1) == []


def test_an_interval_in_an_or_counts_from_whichever_member_fired() -> None:
    trigger = OrTrigger([every(60), DateTrigger(NOW + timedelta(seconds=90))])
    assert times(trigger, 4) == [
        "01-01 00:00:00",
        "01-01 00:01:00",
        "01-01 00:01:30",
        "01-01 00:02:30",
    ]


def test_or_keeps_its_members_jitter_and_adds_its_own() -> None:
    trigger = OrTrigger([every(60, jitter=10)], jitter=10)
    found = {trigger.get_next_fire_time(None, NOW) for _ in range(20)}
    assert len(found) > 1
    assert all(
        moment is not None and NOW <= moment <= NOW + timedelta(seconds=20) for moment in found
    )
    assert trigger._last_due(NOW, NOW + timedelta(seconds=150)) == (
        NOW + timedelta(seconds=120),
        3,
    )


def test_texts() -> None:
    members = [DateTrigger(NOW), every(60)]
    assert str(AndTrigger(members)) == "and[date[2024-01-01 00:00:00 UTC], interval[0:01:00]]"
    assert str(OrTrigger(members[:1], jitter=4)) == "or[date[2024-01-01 00:00:00 UTC]]"
    assert repr(OrTrigger(members[:1], jitter=4)) == (
        "<OrTrigger([<DateTrigger (run_date='2024-01-01 00:00:00 UTC')>], jitter=4)>"
    )
    assert repr(AndTrigger(members[:1])) == (
        "<AndTrigger([<DateTrigger (run_date='2024-01-01 00:00:00 UTC')>])>"
    )


def test_negative_jitter_is_refused() -> None:
    with pytest.raises(ValueError, match="jitter must not be negative"):
        OrTrigger([], jitter=-1)
