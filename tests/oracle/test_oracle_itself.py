"""The oracle can be trusted: it knows what clocks did, and it notices what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apscheduler.triggers.cron import CronTrigger
from oracle.cases import Wrong
from oracle.clocks import first_showing, minutes_of
from oracle.cron import CronModel, Part, every, last_day, last_weekday, nth, one, span
from oracle.intervals import CalendarModel
from oracle.test_oracle_cron import check

NEW_YORK = ZoneInfo("America/New_York")
APIA = ZoneInfo("Pacific/Apia")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def chain(model: CronModel, now: datetime, count: int) -> list[str]:
    fires: list[str] = []
    fire = model.next(None, now)
    while isinstance(fire, datetime) and len(fires) < count:
        fires.append(f"{fire.astimezone(model.zone):%d %H:%M %z}")
        fire = model.next(fire, fire)
    return fires


def test_the_walk_sees_what_is_left_out_and_what_is_repeated() -> None:
    [(instant, left_out)] = minutes_of(NEW_YORK, date(2024, 3, 10)).left_out
    assert instant == utc("2024-03-10T07:00")
    assert left_out[0] == datetime(2024, 3, 10, 2)
    assert left_out[-1] == datetime(2024, 3, 10, 2, 59)
    assert len(left_out) == 60
    assert first_showing(NEW_YORK, datetime(2024, 3, 10, 2, 30)) is None

    autumn = minutes_of(NEW_YORK, date(2024, 11, 3))
    again = [instant for _, _, ticks in autumn.hours for _, instant, again in ticks if again]
    assert (again[0], again[-1]) == (utc("2024-11-03T06:00"), utc("2024-11-03T06:59"))
    assert len(again) == 60
    assert first_showing(NEW_YORK, datetime(2024, 11, 3, 1, 30)) == utc("2024-11-03T05:30")


def test_the_walk_misses_no_change_at_midnight_of_utc() -> None:
    london = ZoneInfo("Europe/London")
    again = [
        instant
        for day in (date(1990, 10, 28), date(1990, 10, 29))
        for _, _, ticks in minutes_of(london, day).hours
        for _, instant, again in ticks
        if again
    ]
    assert (again[0], len(again)) == (utc("1990-10-28T01:00"), 60)
    [(instant, left_out)] = minutes_of(APIA, date(2011, 12, 30)).left_out
    assert (instant, len(left_out)) == (utc("2011-12-30T10:00"), 1440)


def test_the_model_keeps_the_rules_where_clocks_are_set() -> None:
    daily = CronModel({"hour": [one(1), one(2)], "minute": [one(30)]}, NEW_YORK)
    assert chain(daily, utc("2024-03-10T00:00"), 4) == [
        "10 01:30 -0500",
        "10 03:00 -0400",
        "11 01:30 -0400",
        "11 02:30 -0400",
    ]
    assert chain(daily, utc("2024-11-03T00:00"), 3) == [
        "03 01:30 -0400",
        "03 02:30 -0500",
        "04 01:30 -0500",
    ]
    assert chain(daily, utc("2024-11-03T06:00"), 2) == ["03 01:30 -0500", "03 02:30 -0500"]
    hourly = CronModel({"hour": [every(0)], "minute": [one(30)]}, NEW_YORK)
    assert chain(hourly, utc("2024-11-03T05:00"), 3) == [
        "03 01:30 -0400",
        "03 01:30 -0500",
        "03 02:30 -0500",
    ]
    assert chain(hourly, utc("2024-03-10T06:00"), 2) == ["10 01:30 -0500", "10 03:30 -0400"]
    samoa = CronModel({"hour": [one(5)]}, APIA)
    assert chain(samoa, utc("2011-12-29T12:00"), 3) == [
        "29 05:00 -1000",
        "31 00:00 +1400",
        "31 05:00 +1400",
    ]


@pytest.mark.parametrize(
    ("part", "days"),
    [
        (nth(1, 4), [2]),
        (nth(5, 3), [29]),
        (last_weekday(4), [23]),
        (last_day(), [29]),
        (span(27, None, 2), [27, 29]),
        (span(3, 9, 3), [3, 6, 9]),
        (every(1, 14), [1, 15, 29]),
    ],
    ids=lambda value: getattr(value, "text", None),
)
def test_the_model_reads_days_as_a_calendar_shows_them(part: Part, days: list[int]) -> None:
    # February of 2024 begins on a Thursday and has 29 days.
    model = CronModel({"year": [one(2024)], "month": [one(2)], "day": [part]}, NEW_YORK)
    assert [day for day in range(1, 30) if model.wanted(date(2024, 2, day))] == days


def test_the_model_of_calendars_counts_as_people_do() -> None:
    month = CalendarModel(1, 0, datetime.min.time(), ZoneInfo("UTC"), date(2024, 1, 31), None)
    assert month.following(date(2024, 1, 31)) == date(2024, 3, 31)
    mixed = CalendarModel(1, 1, datetime.min.time(), ZoneInfo("UTC"), date(2024, 1, 31), None)
    assert mixed.following(date(2024, 1, 31)) == date(2024, 4, 1)
    daily = CalendarModel(0, 1, datetime.min.time(), APIA, date(2011, 12, 29), None)
    previous = datetime(2011, 12, 29, tzinfo=APIA)
    assert daily.next(previous, previous) == utc("2011-12-30T10:00")


Answer = Callable[[CronTrigger, datetime | None, datetime], datetime | None]


def knows_no_second_pass(
    trigger: CronTrigger, previous: datetime | None, now: datetime
) -> datetime | None:
    """Answer without a memory of what was fired."""
    if previous is None or now.astimezone(UTC) < previous.astimezone(UTC):
        return trigger.get_next_fire_time(None, now)
    after = previous.astimezone(UTC) + timedelta(microseconds=1)
    return trigger.get_next_fire_time(None, after)


def knows_no_gap(
    trigger: CronTrigger, previous: datetime | None, now: datetime
) -> datetime | None:
    """Answer with nothing at the very instant after a gap."""
    fire = trigger.get_next_fire_time(previous, now)
    if fire is None:
        return None
    before = (fire.astimezone(UTC) - timedelta(seconds=1)).astimezone(trigger.timezone)
    if (fire.utcoffset() or timedelta()) <= (before.utcoffset() or timedelta()):
        return fire
    return trigger.get_next_fire_time(fire, fire)


def forgets_the_start(
    trigger: CronTrigger, previous: datetime | None, now: datetime
) -> datetime | None:
    trigger.start_date = None
    return trigger.get_next_fire_time(previous, now)


def forgets_the_end(
    trigger: CronTrigger, previous: datetime | None, now: datetime
) -> datetime | None:
    trigger.end_date = None
    return trigger.get_next_fire_time(previous, now)


def stays_where_it_is(
    trigger: CronTrigger, previous: datetime | None, now: datetime
) -> datetime | None:
    if previous is not None and previous == now:
        return previous
    return trigger.get_next_fire_time(previous, now)


def mistakes_the_zone(
    trigger: CronTrigger, previous: datetime | None, now: datetime
) -> datetime | None:
    fire = trigger.get_next_fire_time(previous, now)
    return fire and fire.astimezone(UTC)


@pytest.mark.parametrize(
    "answer",
    [
        knows_no_second_pass,
        knows_no_gap,
        forgets_the_start,
        forgets_the_end,
        stays_where_it_is,
        mistakes_the_zone,
    ],
    ids=lambda answer: answer.__name__.replace("_", " "),
)
def test_a_trigger_is_found_out_that(answer: Answer) -> None:
    with pytest.raises(Wrong) as failure:
        check("cron", 400, ["America/New_York"], answer, seed="7")
    text = str(failure.value)
    for part in (
        "ORACLE_SEED=7",
        "trigger = CronTrigger(",
        "previous = ",
        "now = ",
        "expected = ",
    ):
        assert part in text
