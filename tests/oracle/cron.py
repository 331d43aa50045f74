"""Cron expressions as rules that are tried on every minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from oracle.clocks import DAY, MINUTE, SECOND, Walk, minutes_of, seconds_around

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
POSITIONS = ["1st", "2nd", "3rd", "4th", "5th"]

RANGES = {
    "year": (1970, 9999),
    "month": (1, 12),
    "day": (1, 31),
    "week": (1, 53),
    "day_of_week": (0, 6),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
NAMES = list(RANGES)

DAYS_WALKED = 3000
"""29 February and the week 53 are found within these, except around 2100."""


class Part(NamedTuple):
    """One of the expressions of a field: how it is written, and which values it means."""

    text: str
    means: Callable[[int, date], bool]


Expression = dict[str, list[Part]]


def every(low: int, step: int | None = None) -> Part:
    text = "*" if step is None else f"*/{step}"
    return Part(text, lambda value, day: (value - low) % (step or 1) == 0)


def one(value: int) -> Part:
    return Part(str(value), lambda v, day: v == value)


def span(first: int, last: int | None, step: int | None = None) -> Part:
    """From ``first`` to ``last``, or with a step to the end of the field."""
    text = f"{first}" if last is None else f"{first}-{last}"
    if step is not None:
        text += f"/{step}"
    return Part(
        text,
        lambda value, day: (
            value >= first
            and (last is None or value <= last)
            and (value - first) % (step or 1) == 0
        ),
    )


def named(names: list[str], lowest: int, first: int, last: int | None = None) -> Part:
    text = names[first - lowest] + ("" if last is None else f"-{names[last - lowest]}")
    return Part(text, lambda value, day: first <= value <= (first if last is None else last))


def nth(position: int, weekday: int) -> Part:
    """The first (1) to fifth such weekday of a month."""
    return Part(
        f"{POSITIONS[position - 1]} {WEEKDAYS[weekday]}",
        lambda value, day: day.weekday() == weekday and (value + 6) // 7 == position,
    )


def last_weekday(weekday: int) -> Part:
    return Part(
        f"last {WEEKDAYS[weekday]}",
        lambda value, day: day.weekday() == weekday and (day + 7 * DAY).month != day.month,
    )


def last_day() -> Part:
    return Part("last", lambda value, day: (day + DAY).month != day.month)


def texts(expression: Expression) -> dict[str, str]:
    return {name: ",".join(part.text for part in parts) for name, parts in expression.items()}


def completed(given: Expression) -> Expression:
    """Add the fields that were not given."""
    complete = {}
    latest = max((NAMES.index(name) for name in given), default=len(NAMES))
    for at, name in enumerate(NAMES):
        low = RANGES[name][0]
        if name in given:
            complete[name] = given[name]
        elif at < latest or name in ("week", "day_of_week"):
            complete[name] = [every(low)]
        else:
            complete[name] = [one(low)]
    return complete


Fire = tuple[datetime, bool]
"""An instant at which to fire, and whether that is for a local time that was there before."""


class Beyond(NamedTuple):
    """No answer was found as far as the model goes."""

    instant: datetime


class CronModel:
    """What a cron trigger shall answer.

    :param around: walk the seconds around this instant, and no further; else minutes
    """

    def __init__(
        self,
        given: Expression,
        zone: ZoneInfo,
        start: datetime | None = None,
        end: datetime | None = None,
        around: datetime | None = None,
    ) -> None:
        self.zone = zone
        self.start = start
        self.end = end
        self.around = around
        self.fields = completed(given)
        some_day = date(2000, 1, 1)
        hours, minutes, seconds = (
            {value for value in range(high + 1) if self._means(name, value, some_day)}
            for name, (_, high) in list(RANGES.items())[5:]
        )
        self.hours, self.minutes, self.seconds = hours, minutes, sorted(seconds)
        self.restricted = len(hours) < 24
        self.dates: dict[date, bool] = {}
        self.fires: dict[date | None, list[Fire]] = {}

    def _means(self, name: str, value: int, day: date) -> bool:
        return any(part.means(value, day) for part in self.fields[name])

    def wanted(self, day: date) -> bool:
        """Tell whether the date matches."""
        if day not in self.dates:
            self.dates[day] = (
                day.year >= 1970
                and self._means("year", day.year, day)
                and self._means("month", day.month, day)
                and self._means("day", day.day, day)
                and self._means("week", day.isocalendar().week, day)
                and self._means("day_of_week", day.weekday(), day)
            )
        return self.dates[day]

    def fires_on(self, day: date) -> list[Fire]:
        """Return the fire times on a day of UTC, in order."""
        if day not in self.fires:
            # It is the same day, the one before or the one after, wherever one lives.
            possible = self.wanted(day) or self.wanted(day - DAY) or self.wanted(day + DAY)
            self.fires[day] = self.fires_of(minutes_of(self.zone, day), MINUTE) if possible else []
        return self.fires[day]

    def fires_around(self) -> list[Fire]:
        """Return the fire times of the walk through seconds, in order."""
        assert self.around is not None
        if None not in self.fires:
            self.fires[None] = self.fires_of(seconds_around(self.zone, self.around), SECOND)
        return self.fires[None]

    def fires_of(self, walk: Walk, step: timedelta) -> list[Fire]:
        found: list[Fire] = []
        for day, hour, ticks in walk.hours:
            if hour in self.hours and self.wanted(day):
                for wall, instant, again in ticks:
                    if wall.minute not in self.minutes:
                        continue
                    if step == SECOND:
                        found += [(instant, again)] * (wall.second in self.seconds)
                    elif self.seconds == [0]:
                        found.append((instant, again))
                    else:
                        found += [(instant + s * SECOND, again) for s in self.seconds]
        if self.restricted:
            for instant, walls in walk.left_out:
                if any(self.matches(wall, step) for wall in walls):
                    found.append((instant, False))
        return sorted(found)

    def matches(self, wall: datetime, step: timedelta = SECOND) -> bool:
        return (
            self.wanted(wall.date())
            and wall.hour in self.hours
            and wall.minute in self.minutes
            and (step == MINUTE or wall.second in self.seconds)
        )

    def next(self, previous: datetime | None, now: datetime) -> datetime | Beyond | None:
        """Return the instant to fire next, in UTC."""
        now = now.astimezone(UTC)
        if previous is None:
            earliest = now if self.start is None else max(now, self.start.astimezone(UTC))
            again_too = True
        elif now < previous.astimezone(UTC):
            # The clock was set back: what was fired is forgotten.
            earliest, again_too = now, True
        else:
            last = previous.astimezone(UTC)
            earliest = last + timedelta(microseconds=1)
            # Whoever fired in a second pass was not there for the first one. (A time with a
            # fraction was put off by jitter, perhaps from the first pass.)
            again_too = not self.restricted or self.is_again(last)
        found = self._first(earliest, again_too)
        if isinstance(found, datetime) and self.end is not None:
            return found if found <= self.end.astimezone(UTC) else None
        return found

    def is_again(self, instant: datetime) -> bool:
        fires = self.fires_on(instant.date()) if self.around is None else self.fires_around()
        return (instant, True) in fires

    def _first(self, earliest: datetime, again_too: bool) -> datetime | Beyond | None:
        if self.around is not None:
            return _first_of(self.fires_around(), earliest, again_too) or Beyond(
                self.around + timedelta(hours=3)
            )
        day = earliest.date()
        for _ in range(DAYS_WALKED):
            found = _first_of(self.fires_on(day), earliest, again_too)
            if found is not None:
                return found
            day += DAY
        return Beyond(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _first_of(fires: list[Fire], earliest: datetime, again_too: bool) -> datetime | None:
    for instant, again in fires:
        if instant >= earliest and (again_too or not again):
            return instant
    return None
