"""Cron triggers around changes of the clocks; what holds in all cases is in tests/oracle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from apscheduler.triggers.cron import CronTrigger

NEW_YORK = ZoneInfo("America/New_York")
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def following(trigger: CronTrigger, first: datetime | None, until: datetime) -> list[datetime]:
    """Return the fire times from ``first`` on, each found from the one before."""
    fire_times = []
    while first is not None and first.astimezone(UTC) < until:
        fire_times.append(first.astimezone(UTC))
        first = trigger.get_next_fire_time(first, FAR)
    return fire_times


def fire_times(trigger: CronTrigger, *local: str) -> list[str]:
    """Return the fire times after the first given local time up to the second one."""
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=trigger.timezone) for text in local)
    first = trigger.get_next_fire_time(None, begin)
    return [
        moment.astimezone(trigger.timezone).strftime("%d %H:%M %z")
        for moment in following(trigger, first, end.astimezone(UTC))
    ]


@pytest.mark.parametrize(
    ("key", "year"),
    [
        ("Africa/Cairo", 2024),
        ("America/Havana", 2024),
        ("Asia/Kathmandu", 1986),
        ("Asia/Pyongyang", 2018),
        ("Pacific/Apia", 2011),
        ("Pacific/Chatham", 2024),
        ("Pacific/Kwajalein", 1993),
    ],
)
def test_no_fire_time_of_a_year_is_a_time_that_does_not_exist(key: str, year: int) -> None:
    zone = ZoneInfo(key)
    trigger = CronTrigger(hour="0-4", minute="*/30", timezone=zone)
    moment = trigger.get_next_fire_time(None, datetime(year, 1, 1, tzinfo=zone))
    while moment is not None and moment.year == year:
        assert moment == moment.astimezone(UTC).astimezone(zone)
        assert moment.utcoffset() == moment.astimezone(UTC).astimezone(zone).utcoffset()
        before, moment = moment, trigger.get_next_fire_time(moment, FAR)
        assert moment is not None
        assert moment.astimezone(UTC) > before.astimezone(UTC)


def test_a_restricted_hour_fires_once_at_the_first_instant_after_a_gap() -> None:
    trigger = CronTrigger(hour=2, minute="*/20", timezone=NEW_YORK)
    assert fire_times(trigger, "2024-03-09T02:30", "2024-03-11T02:10") == [
        "09 02:40 -0500",
        "10 03:00 -0400",
        "11 02:00 -0400",
    ]


def test_a_restricted_time_at_the_end_of_a_gap_is_the_same_slot_as_those_left_out() -> None:
    trigger = CronTrigger(hour="1-3", minute="0,30", timezone=NEW_YORK)
    assert fire_times(trigger, "2024-03-10T01:00", "2024-03-10T04:00") == [
        "10 01:00 -0500",
        "10 01:30 -0500",
        "10 03:00 -0400",
        "10 03:30 -0400",
    ]


def test_a_restricted_hour_fires_in_the_first_pass_only() -> None:
    trigger = CronTrigger(hour=1, minute=30, timezone=NEW_YORK)
    assert fire_times(trigger, "2024-11-02T12:00", "2024-11-04T12:00") == [
        "03 01:30 -0400",
        "04 01:30 -0500",
    ]


def test_a_job_added_between_two_passes_fires_in_the_second_one() -> None:
    trigger = CronTrigger(hour=1, minute="20,50", timezone=NEW_YORK)
    added = datetime(2024, 11, 3, 6, 5, tzinfo=UTC)  # 01:05 for the second time
    first = trigger.get_next_fire_time(None, added)
    assert following(trigger, first, datetime(2024, 11, 5, tzinfo=UTC)) == [
        datetime(2024, 11, 3, 6, 20, tzinfo=UTC),
        datetime(2024, 11, 3, 6, 50, tzinfo=UTC),
        datetime(2024, 11, 4, 6, 20, tzinfo=UTC),
        datetime(2024, 11, 4, 6, 50, tzinfo=UTC),
    ]


def test_what_jitter_carried_into_a_second_pass_does_not_fire_again() -> None:
    trigger = CronTrigger(hour=1, minute="*/10", timezone=NEW_YORK, jitter=900)
    put_off = datetime(2024, 11, 3, 6, 4, 17, 250, tzinfo=UTC)  # from 05:50, the last first pass
    following = trigger._next_on_grid(put_off, FAR)
    assert following == datetime(2024, 11, 4, 1, 0, tzinfo=NEW_YORK)


def test_asked_after_the_clock_was_set_back_a_restricted_hour_starts_anew() -> None:
    trigger = CronTrigger(hour=1, minute=30, timezone=NEW_YORK)
    previous = datetime(2024, 11, 4, 6, 30, tzinfo=UTC)
    between = datetime(2024, 11, 3, 6, 0, 0, 5, tzinfo=UTC)
    moment = trigger.get_next_fire_time(previous, between)
    assert moment is not None
    assert moment.astimezone(UTC) == datetime(2024, 11, 3, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize("hour", ["*", "*/1", "0-23", "0-11,12-23"])
def test_an_unrestricted_hour_fires_in_both_passes_and_not_in_a_gap(hour: str) -> None:
    trigger = CronTrigger(hour=hour, minute=30, timezone=NEW_YORK)
    assert fire_times(trigger, "2024-11-03T00:45", "2024-11-03T03:00") == [
        "03 01:30 -0400",
        "03 01:30 -0500",
        "03 02:30 -0500",
    ]
    assert fire_times(trigger, "2024-03-10T00:45", "2024-03-10T04:00") == [
        "10 01:30 -0500",
        "10 03:30 -0400",
    ]


def test_the_last_fire_time_of_all_may_be_in_a_second_pass() -> None:
    # Midnight at the end of the day was set back by an hour.
    trigger = CronTrigger(
        year=2018, month=2, day=17, hour="*", timezone="America/Sao_Paulo", jitter=0
    )
    assert fire_times(trigger, "2018-02-17T22:30", "2018-02-19T00:00") == [
        "17 23:00 -0200",
        "17 23:00 -0300",
    ]
    restricted = CronTrigger(year=2018, month=2, day=17, hour=23, timezone="America/Sao_Paulo")
    assert fire_times(restricted, "2018-02-17T22:30", "2018-02-19T00:00") == ["17 23:00 -0200"]


def test_midnight_that_is_left_out_fires_at_the_first_instant_of_the_day() -> None:
    trigger = CronTrigger(day="*", timezone="America/Sao_Paulo")
    assert fire_times(trigger, "2018-11-03T12:00", "2018-11-05T12:00") == [
        "04 01:00 -0200",
        "05 00:00 -0200",
    ]


def test_a_day_that_is_left_out_whole_fires_at_the_start_of_the_next() -> None:
    # Samoa went from the end of 29 December to the start of the 31st.
    trigger = CronTrigger(hour="2,5", timezone="Pacific/Apia")
    assert fire_times(trigger, "2011-12-29T03:00", "2012-01-01T01:00") == [
        "29 05:00 -1000",
        "31 00:00 +1400",
        "31 02:00 +1400",
        "31 05:00 +1400",
    ]
    on_the_day = CronTrigger(month=12, day=30, timezone="Pacific/Apia")
    assert fire_times(on_the_day, "2011-01-01T00:00", "2012-12-31T00:00") == [
        "31 00:00 +1400",
        "30 00:00 +1400",
    ]


def test_asked_at_the_very_instant_after_a_gap_the_slot_is_that_instant() -> None:
    for zone, now in (
        ("America/New_York", datetime(2024, 3, 10, 7, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ):
        trigger = CronTrigger(hour="2", minute=30, timezone=zone)
        assert trigger.get_next_fire_time(None, now) == now
        after = trigger.get_next_fire_time(now, now)
        assert after is not None
        assert after.astimezone(UTC) > now


def test_a_fraction_of_a_second_after_a_gap_its_slot_is_past() -> None:
    trigger = CronTrigger(hour=2, minute=30, timezone=NEW_YORK)
    late = datetime(2024, 3, 10, 7, 0, 0, 1, tzinfo=UTC)
    moment = trigger.get_next_fire_time(None, late)
    assert moment == datetime(2024, 3, 11, 2, 30, tzinfo=NEW_YORK)


def test_a_stored_time_that_does_not_exist_counts_as_the_instant_it_stands_for() -> None:
    trigger = CronTrigger(hour=2, minute=30, timezone=NEW_YORK)
    stored = datetime(2024, 3, 10, 2, 30, tzinfo=NEW_YORK)
    assert trigger.get_next_fire_time(stored, FAR) == datetime(2024, 3, 11, 2, 30, tzinfo=NEW_YORK)


def test_a_long_backlog_that_ends_between_two_passes_ends_in_the_first_one() -> None:
    trigger = CronTrigger(hour=1, second="*", timezone=NEW_YORK)
    first = datetime(2024, 11, 2, 1, 0, tzinfo=NEW_YORK)
    last, count = trigger._last_due(first, datetime(2024, 11, 3, 6, 30, tzinfo=UTC))
    assert last == datetime(2024, 11, 3, 1, 59, 59, tzinfo=NEW_YORK)
    assert last.fold == 0
    assert count == 1000


def test_a_long_backlog_of_a_second_pass_goes_on_in_it() -> None:
    trigger = CronTrigger(hour=1, minute="*", second="*", timezone=NEW_YORK)
    first = trigger.get_next_fire_time(None, datetime(2024, 11, 3, 6, 5, tzinfo=UTC))
    assert first is not None
    until = datetime(2024, 11, 3, 6, 40, tzinfo=UTC)
    last, count = trigger._last_due(first, until)
    assert (last.astimezone(UTC), count) == (until, 1000)


class Unhashable(tzinfo):
    """A zone of another library's kind: an hour ahead, and not usable as a key."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, dt: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, dt: datetime | None) -> str:
        return "AHEAD"


def test_zones_of_any_kind_are_taken() -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    for zone in Unhashable(), timezone(timedelta(hours=1)), timezone(timedelta(hours=1), "ONE"):
        trigger = CronTrigger(hour=2, timezone=zone)
        moment = trigger.get_next_fire_time(None, now)
        assert moment == datetime(2024, 1, 1, 1, tzinfo=UTC)
        assert moment is not None
        assert moment.tzinfo is zone


def test_a_trigger_follows_a_change_of_its_zone_and_of_its_fields() -> None:
    trigger = CronTrigger(hour=2, timezone=UTC)
    now = datetime(2024, 1, 1, tzinfo=UTC)
    trigger.timezone = NEW_YORK
    assert trigger.get_next_fire_time(None, now) == datetime(2024, 1, 1, 7, tzinfo=UTC)
    trigger.fields = CronTrigger(hour=3).fields
    assert trigger.get_next_fire_time(None, now) == datetime(2024, 1, 1, 8, tzinfo=UTC)
