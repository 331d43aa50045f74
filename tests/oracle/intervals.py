"""Intervals of elapsed time and of the calendar, one step after the other."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from oracle.clocks import DAY, first_showing


class IntervalModel:
    """What an interval trigger shall answer: equal distances, whatever the clocks show.

    :param jitter: whether fire times are scattered, so that each is counted from the start
    """

    def __init__(
        self, interval: timedelta, start: datetime, end: datetime | None, jitter: bool = False
    ) -> None:
        self.jitter = jitter
        self.interval = interval
        self.start = start.astimezone(UTC)
        self.end = None if end is None else end.astimezone(UTC)

    def next(self, previous: datetime | None, now: datetime) -> datetime | None:
        now = now.astimezone(UTC)
        if previous is not None and not self.jitter:
            moment = previous.astimezone(UTC) + self.interval
        else:
            moment = self.start
            while not (moment >= now if previous is None else moment > previous.astimezone(UTC)):
                moment += self.interval
        return moment if self.end is None or moment <= self.end else None


class CalendarModel:
    """What a calendar interval trigger shall answer: one time of day, so many days apart.

    :param jitter: whether fire times are scattered, so that each is counted from the start
    """

    def __init__(
        self,
        months: int,
        days: int,
        at: time,
        zone: ZoneInfo,
        start: date,
        end: date | None,
        jitter: bool = False,
    ) -> None:
        self.jitter = jitter
        self.months = months
        self.days = days
        self.at = at
        self.zone = zone
        self.start = start
        self.end = end

    def next(self, previous: datetime | None, now: datetime) -> datetime | None:
        passed = None
        if previous is None or self.jitter:
            day, passed = self.start, previous
        else:
            day = self.following(previous.astimezone(self.zone).date())
        while self.end is None or day <= self.end:
            instant = first_showing(self.zone, datetime.combine(day, self.at))
            if instant is not None and (passed is None or instant > passed.astimezone(UTC)):
                return instant
            day = self.following(day)  # that time is past, or was left out by the clocks
        return None

    def following(self, day: date) -> date:
        """Add the months, again while there is no such date, and then the days."""
        year, month = day.year, day.month
        found: date | None = None if self.months else day
        while found is None:
            for _ in range(self.months):
                year, month = (year + 1, 1) if month == 12 else (year, month + 1)
            try:
                found = date(year, month, day.day)
            except ValueError:
                continue
        return found + self.days * DAY
