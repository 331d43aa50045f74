"""Fire times found by walking the clock minute by minute: slow, plain, and right.

Nothing of the package is used here, only the standard library's knowledge of zones.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)

# Days on which the clocks of a zone are set: forward, back, at midnight, by half an hour, by two
# hours, by a quarter, and by a whole day.
CHANGES = [
    ("America/New_York", date(2024, 3, 10)),
    ("America/New_York", date(2024, 11, 3)),
    ("Europe/Berlin", date(2024, 3, 31)),
    ("Europe/London", date(2024, 10, 27)),
    ("Australia/Lord_Howe", date(2024, 10, 6)),
    ("Australia/Lord_Howe", date(2024, 4, 7)),
    ("Antarctica/Troll", date(2024, 3, 31)),
    ("Antarctica/Troll", date(2024, 10, 27)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Sao_Paulo", date(2018, 2, 18)),
    ("Africa/Cairo", date(2024, 4, 26)),
    ("Africa/Cairo", date(2024, 10, 31)),
    ("America/Havana", date(2024, 3, 10)),
    ("America/Havana", date(2024, 11, 3)),
    ("America/St_Johns", date(2010, 3, 14)),
    ("America/St_Johns", date(2010, 11, 7)),
    ("Pacific/Chatham", date(2024, 9, 29)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Kwajalein", date(1993, 8, 21)),
    ("Asia/Kathmandu", date(1986, 1, 1)),
    ("Asia/Pyongyang", date(2018, 5, 4)),
    ("Africa/Casablanca", date(2024, 3, 10)),
    ("Asia/Tokyo", date(2024, 6, 1)),
]


class Clocks:
    """What the clocks of a zone show, minute by minute, from the day before one day on.

    :param days: how many days are walked
    """

    def __init__(self, zone: ZoneInfo, middle: date, days: int = 4) -> None:
        self.zone = zone
        self.start = datetime.combine(middle - timedelta(days=2), time(), UTC)
        self.end = self.start + timedelta(days=days + 1)
        self.shown: list[tuple[datetime, datetime]] = []
        self.instants: dict[datetime, list[datetime]] = {}
        instant = self.start
        while instant < self.end:
            wall = instant.astimezone(zone).replace(tzinfo=None)
            self.shown.append((instant, wall))
            self.instants.setdefault(wall, []).append(instant)
            instant += MINUTE

    def first_showing_more_than(self, wall: datetime) -> datetime:
        """Return the first instant at which the clocks show a later time than ``wall``."""
        return next(instant for instant, shown in self.shown if shown > wall)

    def fire_times(
        self, matches: Callable[[datetime], bool], every_hour: bool
    ) -> tuple[list[datetime], list[datetime]]:
        """Return the instants to fire, and those of second passes that are left for latecomers.

        :param matches: whether a local time matches
        :param every_hour: whether there is no hour that does not match
        """
        fire: set[datetime] = set()
        second_passes: set[datetime] = set()
        wall = self.shown[0][1]
        last = max(shown for _, shown in self.shown)
        while wall <= last:
            if matches(wall):
                instants = self.instants.get(wall, [])
                if every_hour:
                    fire.update(instants)
                elif instants:
                    fire.add(instants[0])
                    second_passes.update(instants[1:])
                else:
                    fire.add(self.first_showing_more_than(wall))
            wall += MINUTE
        return sorted(fire), sorted(second_passes)


def interval_fire_times(start: datetime, interval: timedelta, until: datetime) -> list[datetime]:
    """Return the fire times from ``start`` up to ``until``, in UTC."""
    fire_times = []
    moment = start.astimezone(UTC)
    while moment <= until.astimezone(UTC):
        fire_times.append(moment)
        moment += interval
    return fire_times


def calendar_dates(start: date, years: int, months: int, days: int, count: int) -> list[date]:
    """Return the first dates of a calendar interval, before any is lost to the clocks."""
    dates = [start]
    while len(dates) < count:
        day = dates[-1]
        year, month = day.year, day.month
        while years or months:
            year += years
            for _ in range(months):
                year, month = (year + 1, 1) if month == 12 else (year, month + 1)
            if day.day <= monthrange(year, month)[1]:
                break
        dates.append(date(year, month, day.day) + timedelta(days=days))
    return dates


def exists(zone: ZoneInfo, wall: datetime) -> bool:
    """Tell whether the clocks of the zone ever show ``wall``."""
    guess = wall.replace(tzinfo=UTC)
    hours = range(-26, 27)
    return any(
        (guess + timedelta(hours=hour, minutes=quarter)).astimezone(zone).replace(tzinfo=None)
        == wall
        for hour in hours
        for quarter in (0, 15, 30, 45)
    )
