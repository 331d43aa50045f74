"""What the clocks of a zone show, found by looking at them minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # midnight is left out, and 23:00 comes twice
    "Australia/Lord_Howe",  # half an hour
    "Asia/Tehran",  # at midnight, with a half-hour offset
    "Asia/Shanghai",  # six years of summer time, long ago
    "Africa/Casablanca",  # back for Ramadan, summer time all year
    "America/St_Johns",  # at one minute past midnight, and once by two hours
    "Pacific/Apia",  # a whole day is left out
    "Antarctica/Troll",  # two hours
    "Europe/Dublin",  # winter time is the exception
]

LAST_YEAR = 2110


Shown = tuple[datetime, datetime, bool]
"""What the clocks show (naive), when that is (aware, in UTC), and whether it was there before."""


class Walk(NamedTuple):
    """What the clocks show from one instant up to another."""

    hours: list[tuple[date, int, list[Shown]]]
    """The ticks in order, those of one local hour together."""
    left_out: list[tuple[datetime, list[datetime]]]
    """The local times that the clocks left out, with the first instant after them."""


def wall_at(zone: ZoneInfo, instant: datetime) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def walk(zone: ZoneInfo, begin: datetime, end: datetime, step: timedelta, lead: timedelta) -> Walk:
    """Look at the clocks at every ``step`` from ``begin`` up to ``end``.

    :param lead: for how long before ``begin`` they are watched, so as to see what is repeated
    """
    seen = set()
    before = wall_at(zone, begin - lead) - step
    hours: list[tuple[date, int, list[Shown]]] = []
    left_out = []
    instant = begin - lead
    while instant < end:
        wall = wall_at(zone, instant)
        if instant >= begin:
            if not hours or wall.hour != before.hour or wall.date() != before.date():
                hours.append((wall.date(), wall.hour, []))
            hours[-1][2].append((wall, instant, wall in seen))
            if wall > before + step:
                missing = range(1, (wall - before) // step)
                left_out.append((instant, [before + at * step for at in missing]))
        seen.add(wall)
        before = wall
        instant += step
    return Walk(hours, left_out)


@lru_cache(maxsize=200)
def minutes_of(zone: ZoneInfo, day: date) -> Walk:
    """Return what the clocks show in every minute of a day of UTC."""
    midnight = datetime.combine(day, time(), UTC)
    # If nothing was set on two days, nothing is repeated, and the day before need not be walked.
    quiet = all(
        offset_at(zone, midnight - DAY) == offset_at(zone, midnight + hours * HOUR)
        for hours in range(-23, 25)
    )
    return walk(zone, midnight, midnight + DAY, MINUTE, 2 * MINUTE if quiet else DAY)


@lru_cache(maxsize=4)
def seconds_around(zone: ZoneInfo, instant: datetime) -> Walk:
    """Return what the clocks show in every second of the three hours before and after."""
    return walk(zone, instant - 3 * HOUR, instant + 3 * HOUR, SECOND, SECOND)


def offset_at(zone: ZoneInfo, instant: datetime) -> timedelta:
    return wall_at(zone, instant) - instant.replace(tzinfo=None)


@lru_cache(maxsize=len(ZONES))
def changes_of(zone: ZoneInfo) -> list[datetime]:
    """Return when the clocks of the zone are set, up to 2110: places to look at, no proof.

    What is undone within a week is not seen.
    """
    found = []
    week = datetime(1970, 1, 1, tzinfo=UTC)
    while week.year < LAST_YEAR:
        if offset_at(zone, week) != offset_at(zone, week + 7 * DAY):
            instant = week
            for step in DAY, HOUR, MINUTE:
                while offset_at(zone, instant + step) == offset_at(zone, week):
                    instant += step
            found.append(instant + MINUTE)
        week += 7 * DAY
    return found


def first_showing(zone: ZoneInfo, wall: datetime) -> datetime | None:
    """Return the first instant at which the clocks show ``wall``, or None if they never do."""
    minute = wall.replace(second=0)
    for day in wall.date() - DAY, wall.date(), wall.date() + DAY:
        for local_day, hour, ticks in minutes_of(zone, day).hours:
            if (local_day, hour) == (wall.date(), wall.hour):
                for shown, instant, _ in ticks:
                    if shown == minute:
                        return instant + wall.second * SECOND
    return None
