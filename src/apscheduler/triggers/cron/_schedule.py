"""Eight cron fields, made ready for fast search.

Days are looked up as one bit mask per month, times of day in tables that hold the next match for
every value. Nothing is tried out, so that an answer costs the same wherever it lies.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import isleap, monthrange
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from typing import Self, TypeVar

from apscheduler.triggers._walltime import ClockChanges, naive_utc
from apscheduler.triggers.cron.fields import MAX_VALUES, MIN_VALUES, BaseField

K = TypeVar("K")
V = TypeVar("V")

_MOST_MONTHS = 2400
_MOST_REMEMBERED = 2048
_SECOND = timedelta(seconds=1)
_EVERY_HOUR = bytes(range(25))


class Days(dict[int, int]):
    """The days that match, as a bit mask for each month; its key is ``year * 12 + month - 1``.

    :param fields: the fields year, month, day, week and day_of_week
    """

    __slots__ = ("_by_kind", "_day", "_months", "_weekdays", "_weeks", "_year_set", "_years")

    def __init__(self, fields: Sequence[BaseField]) -> None:
        super().__init__()
        year, month, day, week, day_of_week = fields
        self._by_kind: dict[int, tuple[int, ...]] = {}
        self._years = _values(year)
        self._year_set: range | frozenset[int] = (
            self._years if isinstance(self._years, range) else frozenset(self._years)
        )
        self._months = frozenset(_values(month))
        self._day = day.expressions
        self._weeks = frozenset(_values(week))
        self._weekdays = frozenset(_values(day_of_week))
        if not any(any(self._masks_of(y)) for y in _one_of_each_kind(self._years)):
            # Settled here, no search has to go through all years to find that out.
            self._rule_out()

    @classmethod
    def none(cls) -> Self:
        """Return an instance in which no day matches."""
        days = cls.__new__(cls)
        days._rule_out()
        return days

    def _rule_out(self) -> None:
        self._years = ()
        self._year_set = frozenset()

    def __missing__(self, key: int) -> int:
        if len(self) >= _MOST_MONTHS:
            self.clear()
        year, month = divmod(key, 12)
        mask = self[key] = self._masks_of(year)[month] if year in self._year_set else 0
        return mask

    def _masks_of(self, year: int) -> tuple[int, ...]:
        kind = _kind_of_year(year % 400)
        masks = self._by_kind.get(kind)
        if masks is None:
            masks = tuple([self._mask(year, month) for month in range(1, 13)])
            self._by_kind[kind] = masks
        return masks

    def _mask(self, year: int, month: int) -> int:
        if month not in self._months:
            return 0

        first_weekday, length = monthrange(year, month)
        mask = 0
        for expression in self._day:
            for day in expression.values(1, length, first_weekday):
                if (first_weekday + day - 1) % 7 in self._weekdays and (
                    len(self._weeks) == MAX_VALUES["week"]
                    or date(year, month, day).isocalendar().week in self._weeks
                ):
                    mask |= 1 << day
        return mask

    def after(self, key: int) -> int | None:
        """Return the key of the first month after that of ``key`` that has a matching day."""
        year, month = divmod(key + 1, 12)
        while True:
            if year not in self._year_set:
                at = bisect_left(self._years, year)
                if at == len(self._years):
                    return None
                year, month = self._years[at], 0
            masks = self._masks_of(year)
            for following in range(month, 12):
                if masks[following]:
                    return year * 12 + following
            year, month = year + 1, 0


class Times:
    """The times of day that match, as what `next_values` returns for each field."""

    __slots__ = (
        "first_hour",
        "first_minute",
        "first_second",
        "hours",
        "minutes",
        "never",
        "restricted",
        "seconds",
    )

    def __init__(self, hours: bytes, minutes: bytes, seconds: bytes) -> None:
        self.hours = hours
        self.minutes = minutes
        self.seconds = seconds
        self.first_hour = hours[0]
        self.first_minute = minutes[0]
        self.first_second = seconds[0]
        self.never = self.first_hour == 24 or max(self.first_minute, self.first_second) == 60
        """Whether one of the fields matches nothing."""
        self.restricted = hours != _EVERY_HOUR
        """Whether there is an hour that does not match."""


class Schedule:
    """The local times that match, and the instants at which a zone's clocks show them.

    There is one for each trigger that differs from all others, so it only refers to what many
    of them have in common.

    :param days: the days that match
    :param times: the times of day that match
    """

    __slots__ = ("_days", "_times")

    def __init__(self, days: Days, times: Times) -> None:
        self._days = Days.none() if times.never else days
        self._times = times

    @property
    def restricted(self) -> bool:
        """Whether there is an hour that does not match."""
        return self._times.restricted

    def next(
        self,
        year: int,
        month: int,
        day: int,
        hour: int,
        minute: int,
        second: int,
        tz: tzinfo | None = None,
    ) -> datetime | None:
        """Return the first match that is not before the given local time, or None.

        ``second`` may be 60. The answer is naive or carries ``tz``.
        """
        days, times = self._days, self._times
        key = year * 12 + month - 1
        mask = days[key] >> day
        if mask & 1:
            hours, minutes = times.hours, times.minutes
            next_hour = hours[hour]
            if next_hour == hour:
                next_minute = minutes[minute]
                if next_minute == minute:
                    next_second = times.seconds[second]
                    if next_second < 60:
                        return datetime(year, month, day, hour, minute, next_second, 0, tz)
                    next_minute = minutes[minute + 1]
                if next_minute < 60:
                    return datetime(year, month, day, hour, next_minute, times.first_second, 0, tz)
                next_hour = hours[hour + 1]
            if next_hour < 24:
                return datetime(
                    year, month, day, next_hour, times.first_minute, times.first_second, 0, tz
                )

        mask &= ~1
        if not mask:
            following = days.after(key)
            if following is None:
                return None
            year, month = divmod(following, 12)
            month, day, mask = month + 1, 0, days[following]
        return datetime(
            year,
            month,
            day + (mask & -mask).bit_length() - 1,
            times.first_hour,
            times.first_minute,
            times.first_second,
            0,
            tz,
        )

    def next_from(self, wall: datetime) -> datetime | None:
        """Return the first match that is not before the naive local time ``wall``, or None."""
        return self.next(
            wall.year,
            wall.month,
            wall.day,
            wall.hour,
            wall.minute,
            wall.second + (wall.microsecond > 0),
        )

    def first_instant(
        self, instant: datetime, changes: ClockChanges, *, repeats: bool
    ) -> datetime | None:
        """Return the first instant to fire that is not before ``instant``, or None.

        A schedule that matches every hour goes by elapsed time: it fires in both passes of a
        repeated hour, and not for times that are left out. Any other fires once for each local
        time: in the first of two passes, and for all that is left out at the first instant
        after it. That holds for a whole day that is left out as well.

        :param instant: a whole second, in naive UTC like the answer
        :param repeats: whether to fire in second passes, too
        """
        passed = instant - _SECOND
        wall = changes.local(passed).replace(tzinfo=None) + _SECOND
        here = changes[wall.toordinal()]
        if here is not None and not repeats and here.repeats_at(passed):
            wall = here.at + here.before
        while True:
            found = self.next_from(wall)
            here = changes[wall.toordinal()]
            there = None if found is None else changes[found.toordinal()]
            for change in (here, there):
                if (
                    change is not None
                    and passed < change.at
                    and (found is None or change.at <= found - change.before)
                ):
                    break  # the clocks are set before they show what was found
            else:
                if found is None:
                    return None
                if there is None:
                    return naive_utc(found.replace(tzinfo=changes.timezone))
                return found - (there.before if passed < there.at else there.after)
            if change.forward and self.restricted and found and found < change.at + change.after:
                return change.at
            passed = change.at
            wall = passed + (change.before if not repeats and not change.forward else change.after)

    def is_second_pass(self, instant: datetime, changes: ClockChanges) -> bool:
        """Tell whether this fires at ``instant`` for a local time that was there once before."""
        wall = changes.local(instant).replace(tzinfo=None)
        change = changes[wall.toordinal()]
        return change is not None and change.repeats_at(instant) and self.next_from(wall) == wall

    def last_instant(
        self, begin: datetime, limit: datetime, changes: ClockChanges, *, repeats: bool
    ) -> datetime | None:
        """Return the last instant to fire from ``begin`` up to ``limit``, or None.

        All are in naive UTC; ``begin`` is a whole second.
        """

        def fires_from(second: int) -> bool:
            instant = begin + timedelta(seconds=second)
            first = self.first_instant(instant, changes, repeats=repeats)
            return first is not None and first <= limit

        if not fires_from(0):
            return None
        low, high = 0, (limit - begin) // _SECOND + 1
        while high - low > 1:
            middle = (low + high) // 2
            if fires_from(middle):
                low = middle
            else:
                high = middle
        return begin + timedelta(seconds=low)


def _one_of_each_kind(years: Iterable[int]) -> Iterator[int]:
    """Yield one of the years for each kind of calendar that they need."""
    seen = set()
    for year in years:
        kind = _kind_of_year(year % 400)
        if kind not in seen:
            seen.add(kind)
            yield year


@cache
def _kind_of_year(year_of_cycle: int) -> int:
    """Return a number that is the same for years with the same calendar.

    A calendar follows from its first weekday and its length, and the number of its first week
    also from the length of the year before. All of them are repeated after 400 years.
    """
    year = 2000 + year_of_cycle
    return date(year, 1, 1).weekday() * 3 + (1 if isleap(year) else 2 * isleap(year - 1))


def _values(field: BaseField) -> Sequence[int]:
    """Return the values that a field matches, in order, where dates play no part in it."""
    low, high = MIN_VALUES[field.name], MAX_VALUES[field.name]
    values = [expression.values(low, high, 0) for expression in field.expressions]
    return values[0] if len(values) == 1 else sorted(set().union(*values))


def next_values(field: BaseField) -> bytes:
    """Return for each value, and for the one after the last, the next that matches.

    Where none is left, that is the number after the field's maximum.
    """
    return _table_of(tuple(_values(field)), MAX_VALUES[field.name] + 1)


@lru_cache(maxsize=1024)
def _table_of(matching: tuple[int, ...], stop: int) -> bytes:
    table = bytearray([stop])
    for value in reversed(range(stop)):
        table.append(value if value in matching else table[-1])
    return bytes(reversed(table))


_days: dict[tuple[str, ...], Days] = {}
_schedules: dict[tuple[str, ...], Schedule] = {}


def schedule_of(fields: Sequence[BaseField]) -> Schedule:
    """Return the schedule of a trigger's eight fields, shared by all that have equal ones."""
    key = _key_of(fields)
    schedule = _schedules.get(key)
    if schedule is None:
        times = Times(*map(next_values, fields[5:]))
        schedule = _remember(_schedules, key, Schedule(days_of(fields[:5]), times))
    return schedule


def days_of(fields: Sequence[BaseField]) -> Days:
    """Return the days of the first five fields, shared by all that have equal ones."""
    key = _key_of(fields)
    days = _days.get(key)
    return _remember(_days, key, Days(fields)) if days is None else days


def _key_of(fields: Sequence[BaseField]) -> tuple[str, ...]:
    # Not the text of the fields: in it, "0-0/1" looks like "0/1".
    return tuple([repr(field.expressions) for field in fields])


def _remember(cache: dict[K, V], key: K, value: V) -> V:
    if len(cache) >= _MOST_REMEMBERED:
        cache.clear()
    cache[key] = value
    return value
