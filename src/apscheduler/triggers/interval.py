"""The trigger that fires again and again after the same time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from apscheduler import clock
from apscheduler.triggers.base import (
    BaseTrigger,
    check_version,
    checked_jitter,
    given_timezone,
    require_forward,
    slot_state,
)
from apscheduler.util import astimezone, convert_to_datetime, datetime_repr, get_localzone


class IntervalTrigger(BaseTrigger):
    """Fires every so often, counted in elapsed time.

    A day is always 24 hours: over a change of the clocks the wall-clock time moves. Whoever
    wants the same time every day takes `CalendarIntervalTrigger` or `CronTrigger`.

    With jitter, fire times are scattered after the points ``start_date + k * interval`` and
    never drift away from them.

    :param weeks: weeks between two fire times; like the other parts a number, not negative
    :param days: days of 24 hours
    :param hours: hours
    :param minutes: minutes
    :param seconds: seconds; if all parts are 0, the interval is one second
    :param start_date: the first fire time, and the point from which all are counted; now plus
        the interval if not given
    :param end_date: no fire time is later than this
    :param timezone: zone of the fire times, and of naive dates; if not given, that of
        ``start_date`` or ``end_date``, else the local one
    :param jitter: each fire time is put off by a random time of up to this many seconds
    :raises ValueError: if a part or ``jitter`` is negative, or a text is no date
    :raises TypeError: if an argument is of no usable type
    """

    __slots__ = (
        "_start_defaulted",
        "end_date",
        "interval",
        "jitter",
        "start_date",
        "timezone",
    )

    timezone: tzinfo
    start_date: datetime
    end_date: datetime | None
    interval: timedelta
    jitter: float | None

    def __init__(
        self,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        start_date: date | datetime | str | None = None,
        end_date: date | datetime | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | None = None,
    ) -> None:
        self.interval = interval = _interval_of(weeks, days, hours, minutes, seconds)
        self.timezone = tz = given_timezone(timezone, start_date, end_date) or get_localzone()
        self._start_defaulted = start_date is None
        if start_date is None:
            self.start_date = (clock.now(UTC) + interval).astimezone(tz)
        else:
            self.start_date = convert_to_datetime(start_date, tz, "start_date")
        self.end_date = None if end_date is None else convert_to_datetime(end_date, tz, "end_date")
        self.jitter = None if jitter is None else checked_jitter(jitter)

    @property
    def interval_length(self) -> float:
        """The interval in seconds."""
        return self.interval.total_seconds()

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        if not self.jitter:
            return self._next_on_grid(previous_fire_time, now)
        fire_time = self._next_on_grid(previous_fire_time, now)
        return self._unless_over(self._apply_jitter(fire_time, self.jitter, now))

    def _next_on_grid(self, previous: datetime | None, now: datetime) -> datetime | None:
        try:
            if previous is None:
                moment = self._first_not_before(now)
            elif self.jitter:
                moment = self._grid_point(previous) + self.interval
            else:
                moment = previous.astimezone(UTC) + self.interval
            fire_time = moment.astimezone(self.timezone)
            return fire_time if self.end_date is None else self._unless_over(fire_time)
        except OverflowError:
            return None  # the calendar ends with the year 9999

    def _first_not_before(self, now: datetime) -> datetime:
        start = self.start_date.astimezone(UTC)
        now = now.astimezone(UTC)
        if now <= start:
            return start
        return start - ((start - now) // self.interval) * self.interval

    def _grid_point(self, fire_time: datetime) -> datetime:
        """Return the point that the jittered ``fire_time`` was scattered from."""
        start = self.start_date.astimezone(UTC)
        passed = (fire_time.astimezone(UTC) - start) // self.interval
        return start + max(passed, -1) * self.interval

    def _unless_over(self, fire_time: datetime | None) -> datetime | None:
        if fire_time is None or self.end_date is None:
            return fire_time
        return fire_time if fire_time.astimezone(UTC) <= self.end_date.astimezone(UTC) else None

    def _last_due(self, first: datetime, until: datetime) -> tuple[datetime, int]:
        if self.interval <= timedelta(0):
            raise ValueError(
                f"The trigger {self!r} does not advance: its interval is not positive"
            )

        base = self._grid_point(first) if self.jitter else first.astimezone(UTC)
        limit = until.astimezone(UTC)
        if self.end_date is not None:
            limit = min(limit, self.end_date.astimezone(UTC))
        steps = (limit - base) // self.interval
        if steps <= 0:
            return first, 1
        return (base + steps * self.interval).astimezone(self.timezone), steps + 1

    def __getstate__(self) -> dict[str, Any]:
        return {
            "version": 2,
            "timezone": astimezone(self.timezone),
            "start_date": self.start_date,
            "end_date": self.end_date,
            "interval": self.interval,
            "jitter": self.jitter,
        }

    def __setstate__(self, state: Any) -> None:
        settings: Mapping[str, Any] = state if type(state) is dict else slot_state(state)
        if settings.get("version", 1) > 2:
            check_version(self, settings, 2)
        self.timezone = astimezone(settings["timezone"])
        self.start_date = settings["start_date"]
        self.end_date = settings["end_date"]
        self.interval = settings["interval"]
        self.jitter = settings.get("jitter")
        self._start_defaulted = False

    def __str__(self) -> str:
        return f"interval[{self.interval}]"

    def __repr__(self) -> str:
        options = [
            f"interval={self.interval!r}",
            f"start_date='{datetime_repr(self.start_date)}'",
        ]
        if self.end_date:
            options.append(f"end_date='{datetime_repr(self.end_date)}'")
        if self.jitter:
            options.append(f"jitter={self.jitter}")
        options.append(f"timezone='{self.timezone}'")
        return f"<IntervalTrigger ({', '.join(options)})>"


def _interval_of(
    weeks: float, days: float, hours: float, minutes: float, seconds: float
) -> timedelta:
    try:
        forward = weeks >= 0 and days >= 0 and hours >= 0 and minutes >= 0 and seconds >= 0
    except TypeError:
        forward = False
    if not forward:
        require_forward(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    try:
        # Each argument takes its time, whether it is 0 or not.
        if weeks or hours or minutes:
            interval = timedelta(days, seconds, 0, 0, minutes, hours, weeks)
        else:
            interval = timedelta(days, seconds)
        return interval or timedelta(seconds=1)
    except (OverflowError, ValueError) as error:
        parts = {"weeks": weeks, "days": days, "hours": hours, "minutes": minutes}
        given = ", ".join(f"{k}={v!r}" for k, v in {**parts, "seconds": seconds}.items() if v)
        raise ValueError(
            f"the interval of {given} cannot be expressed ({error}); give finite numbers that "
            f"come to less than 1,000,000,000 days"
        ) from error
