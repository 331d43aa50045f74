"""When the clocks of a zone are set, found by looking at each day; and which instants show what.

Nothing of either library is used here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)


class Setting(NamedTuple):
    """The clocks go from one offset to another.

    :param at: the first instant under the new offset
    """

    at: datetime
    before: timedelta
    after: timedelta


def offset(key: str, at: datetime) -> timedelta:
    shown = at.astimezone(ZoneInfo(key)).utcoffset()
    assert shown is not None
    return shown


@cache
def changes_of(key: str, year: int) -> list[Setting]:
    """Return the settings of a zone's clocks in a year, by UTC."""
    found = []
    day = datetime(year, 1, 1, tzinfo=UTC)
    while day.year == year:
        begin, end = day, day + DAY
        if offset(key, begin) != offset(key, end):
            while end - begin > timedelta(seconds=1):
                middle = begin + (end - begin) // 2
                middle = middle.replace(microsecond=0)
                if offset(key, middle) == offset(key, begin):
                    begin = middle
                else:
                    end = middle
            found.append(Setting(end, offset(key, begin), offset(key, end)))
        day += DAY
    return found


def changes_between(key: str, begin: datetime, end: datetime) -> list[Setting]:
    """Return the settings after the instant ``begin`` up to ``end``."""
    return [
        change
        for year in range(begin.year, end.year + 1)
        for change in changes_of(key, year)
        if begin < change.at <= end
    ]


class Stretch(NamedTuple):
    """Local times, from ``begin`` to before ``end``, and what becomes of them.

    :param shift: the instant of a local time is that minus this; None if it does not exist
    :param instant: the instant at which the stretch begins; that of all of it if it does not exist
    """

    begin: datetime
    end: datetime
    shift: timedelta | None
    instant: datetime


def stretches(key: str, begin: datetime, end: datetime) -> Iterator[Stretch]:
    """Yield what the clocks of a zone show from the instant ``begin`` up to ``end``, in order.

    What they leave out comes between what they show before and after.
    """
    at, shift = begin, offset(key, begin)
    for change in changes_between(key, begin, end):
        yield Stretch(_naive(at, shift), _naive(change.at, shift), shift, at)
        at, shift = change.at, change.after
        if change.after > change.before:
            yield Stretch(_naive(at, change.before), _naive(at, shift), None, at)
    yield Stretch(_naive(at, shift), _naive(end, shift) + timedelta(seconds=1), shift, at)


def _naive(at: datetime, shift: timedelta) -> datetime:
    return at.replace(tzinfo=None) + shift
