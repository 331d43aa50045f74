"""What the clocks of a time zone do: on which days they are set forward or back, and how.

Changes are found by conversions from UTC alone. These are unambiguous, and right for every kind
of tzinfo, while libraries differ in what they say of local times around a change.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple

_FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)
_LAST_DAY = datetime.max.toordinal() - 2
_MOST_DAYS = 4096
_DAYS_AT_ONCE = 4


class Change(NamedTuple):
    """One setting of the clocks.

    Going forward leaves out the local times from ``at + before`` until ``at + after``; going
    back repeats those from ``at + after`` until ``at + before``.
    """

    at: datetime
    """The first instant under the new offset, as naive UTC."""
    before: timedelta
    after: timedelta

    @property
    def forward(self) -> bool:
        return self.after > self.before

    def touches(self, ordinal: int) -> bool:
        """Tell whether some of the day's local times are left out, repeated, or next to these.

        The time next to those left out belongs to them: it is when the clocks are set.
        """
        begin, end = sorted((self.at + self.before, self.at + self.after))
        return begin.toordinal() <= ordinal <= end.toordinal()

    def leaves_out(self, wall: datetime) -> bool:
        """Tell whether the naive local time ``wall`` does not exist."""
        return self.at + self.before <= wall < self.at + self.after

    def repeats_at(self, instant: datetime) -> bool:
        """Tell whether the local time at the naive UTC ``instant`` was there once before."""
        return self.at <= instant < self.at + (self.before - self.after)


class ClockChanges(dict[int, Change | None]):
    """For a day, by its proleptic ordinal, the change of the clocks that touches it, or None.

    In no zone have changes been less than seven days apart since 1970, where schedules begin.
    So a few days are looked at together, by comparing the offsets at both ends.
    """

    __slots__ = ("timezone",)

    def __init__(self, timezone: tzinfo) -> None:
        super().__init__()
        self.timezone = timezone

    def __missing__(self, ordinal: int) -> Change | None:
        if len(self) >= _MOST_DAYS:
            self.clear()
        first = ordinal - ordinal % _DAYS_AT_ONCE
        days = range(first, first + _DAYS_AT_ONCE)
        self.update(dict.fromkeys(days))
        change = self._change_around(first)
        if change is None:
            return None
        self.update((day, change) for day in days if change.touches(day))
        return change if change.touches(ordinal) else None

    def _change_around(self, first: int) -> Change | None:
        tz = self.timezone
        if isinstance(tz, timezone):
            return None
        # A local time is less than a day away from UTC.
        low = _FIRST_DAY + timedelta(days=max(first - 2, 1))
        high = _FIRST_DAY + timedelta(days=min(first + _DAYS_AT_ONCE, _LAST_DAY))
        # Times of one zone are subtracted as they look, so that a change shows.
        if high.astimezone(tz) - low.astimezone(tz) == high - low:
            return None

        start = low.replace(tzinfo=None)
        before = self.offset(start)
        begin, end = 0, int((high - low).total_seconds())
        while end - begin > 1:
            middle = (begin + end) // 2
            if self.offset(start + timedelta(seconds=middle)) == before:
                begin = middle
            else:
                end = middle
        at = start + timedelta(seconds=end)
        return Change(at, before, self.offset(at))

    def offset(self, instant: datetime) -> timedelta:
        """Return what the clocks show beyond UTC at the naive UTC ``instant``."""
        return self.local(instant).replace(tzinfo=None) - instant

    def local(self, instant: datetime) -> datetime:
        """Return the naive UTC ``instant`` as an aware local time."""
        return instant.replace(tzinfo=UTC).astimezone(self.timezone)


_of_hashable = lru_cache(maxsize=256)(ClockChanges)


def clock_changes(timezone: tzinfo) -> ClockChanges:
    """Return what is known of the zone's clock changes, shared by all who ask."""
    try:
        changes = _of_hashable(timezone)
    except TypeError:
        return ClockChanges(timezone)
    # Equal zones may differ in name, and answers carry the zone.
    return changes if changes.timezone is timezone else ClockChanges(timezone)


def naive_utc(moment: datetime) -> datetime:
    """Return the aware ``moment`` as a naive datetime in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)
