"""The trigger that fires every so many days, weeks, months or years at one time of day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, ClassVar

from apscheduler import clock
from apscheduler.triggers._walltime import clock_changes
from apscheduler.triggers.base import (
    BaseTrigger,
    check_version,
    checked_jitter,
    require_forward,
    require_whole,
)
from apscheduler.util import asdate, astimezone, get_localzone, timezone_repr


class CalendarIntervalTrigger(BaseTrigger):
    """Fires at one time of day on every so manieth day, as a calendar counts.

    Years and months are added first, and added again while the date that results does not exist
    (one month after 31 January is 31 March); then come weeks and days. A date on which the time
    of day is left out by a change of the clocks is passed over; where the time comes twice, the
    first one counts.

    The first fire time is that of ``start_date`` even if that is past; a scheduler steps on from
    it to the first one that is not.

    :param years: years between two fire times; like the other parts not negative
    :param months: months
    :param weeks: weeks
    :param days: days
    :param hour: hour of the day (0 to 23)
    :param minute: minute (0 to 59)
    :param second: second (0 to 59)
    :param start_date: first date: a date or a text like ``2024-02-29``; of a datetime the date
        counts; today in ``timezone`` if not given
    :param end_date: last date on which to fire
    :param timezone: zone of the time of day; the local one if not given
    :param jitter: each fire time is put off by a random time of up to this many seconds
    :raises ValueError: if the interval is shorter than a day, a part or ``jitter`` is negative,
        a text is no date, or ``end_date`` is before ``start_date``
    :raises TypeError: if an argument is of no usable type
    """

    __slots__ = (
        "_start_defaulted",
        "_time",
        "days",
        "end_date",
        "jitter",
        "months",
        "start_date",
        "timezone",
        "weeks",
        "years",
    )

    _steps_over_past_start: ClassVar[bool] = True

    years: int
    months: int
    weeks: float
    days: float
    start_date: date
    end_date: date | None
    timezone: tzinfo
    jitter: float | None

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: float = 0,
        days: float = 0,
        hour: int = 0,
        minute: int = 0,
        second: int = 0,
        start_date: date | str | None = None,
        end_date: date | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | None = None,
    ) -> None:
        require_whole(years=years, months=months, hour=hour, minute=minute, second=second)
        require_forward(years=years, months=months, weeks=weeks, days=days)
        self.years = years
        self.months = months
        self.weeks = weeks
        self.days = days
        if not (years or months or self._day_step.days):
            raise ValueError("interval must be at least 1 day long")

        self.timezone = tz = astimezone(timezone or None) or get_localzone()
        self._time = time(hour, minute, second, tzinfo=tz)
        self._start_defaulted = start_date is None
        self.start_date = (
            clock.now(tz).date() if start_date is None else _checked_date("start_date", start_date)
        )
        self.end_date = None if end_date is None else _checked_date("end_date", end_date)
        if self.end_date is not None and self.end_date < self.start_date:
            raise ValueError("end_date cannot be earlier than start_date")
        self.jitter = checked_jitter(jitter)

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return self._apply_jitter(self._next_on_grid(previous_fire_time, now), self.jitter, now)

    def _next_on_grid(self, previous: datetime | None, now: datetime) -> datetime | None:
        if previous is None:
            return self._fire_time_from(self.start_date)
        if self.jitter:
            return self._fire_time_from(self._date_after(previous))
        return self._fire_time_from(self._step(previous.astimezone(self.timezone).date()))

    @property
    def _day_step(self) -> timedelta:
        return timedelta(days=timedelta(days=self.days, weeks=self.weeks).days)

    def _step(self, day: date) -> date | None:
        """Return the date one interval after ``day``, or None if the calendar ends before."""
        try:
            following = self._add_months(day) + self._day_step
        except OverflowError:
            return None
        if following <= day:
            raise ValueError(
                f"The trigger {self!r} does not advance: its interval is not positive"
            )
        return following

    def _add_months(self, day: date) -> date:
        step = self.years * 12 + self.months
        if step <= 0:
            return day
        months = day.year * 12 + day.month - 1
        while True:
            months += step
            year, month = divmod(months, 12)
            if year > date.max.year:
                raise OverflowError
            try:
                return date(year, month + 1, day.day)
            except ValueError:
                continue  # that month has no such day

    def _fire_time_from(self, day: date | None) -> datetime | None:
        """Return the fire time of the first date from ``day`` on that has the time of day."""
        changes = clock_changes(self.timezone)
        while day is not None and (self.end_date is None or day <= self.end_date):
            change = changes[day.toordinal()]
            fire_time = datetime.combine(day, self._time, self.timezone)
            if change is None or not change.leaves_out(fire_time.replace(tzinfo=None)):
                return fire_time
            day = self._step(day)
        return None

    def _date_after(self, fire_time: datetime) -> date | None:
        """Return the first date, stepping from ``start_date``, that fires after ``fire_time``.

        Jitter may have carried ``fire_time`` into another day than it was meant for.
        """
        day: date | None = self.start_date
        passed = (fire_time.astimezone(self.timezone).date() - self.start_date).days
        if not (self.years or self.months) and passed > 0:
            step = self._day_step
            day = self.start_date + passed // step.days * step
        moment = fire_time.astimezone(UTC)
        while day is not None and datetime.combine(day, self._time, self.timezone) <= moment:
            day = self._step(day)
        return day

    def _leap(self, last: datetime, until: datetime) -> datetime:
        limit = until.astimezone(UTC)
        if not (self.years or self.months):
            step = self._day_step
            day = last.astimezone(self.timezone).date()
            # Two steps are left over, for dates that a change of the clocks takes away.
            steps = (until.astimezone(self.timezone).date() - day).days // step.days - 2
            if steps > 0:
                last = self._fire_time_from(day + steps * step) or last
        while (following := self._next_on_grid(last, until)) is not None:
            if following.astimezone(UTC) > limit:
                break
            last = following
        return last

    def __getstate__(self) -> dict[str, Any]:
        return {
            "version": 1,
            "interval": [self.years, self.months, self.weeks, self.days],
            "time": [self._time.hour, self._time.minute, self._time.second],
            "start_date": self.start_date,
            "end_date": self.end_date,
            "timezone": self.timezone,
            "jitter": self.jitter,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        check_version(self, state, 1)
        self.years, self.months, self.weeks, self.days = state["interval"]
        self.start_date = state["start_date"]
        self.end_date = state["end_date"]
        self.timezone = astimezone(state["timezone"])
        self.jitter = state["jitter"]
        hour, minute, second = state["time"]
        self._time = time(hour, minute, second, tzinfo=self.timezone)
        self._start_defaulted = False

    def __repr__(self) -> str:
        options = [
            f"{name}={value}"
            for name in ("years", "months", "weeks", "days")
            if (value := getattr(self, name))
        ]
        options.append(f"time='{self._time.isoformat()}'")
        options.append(f"start_date='{self.start_date}'")
        if self.end_date:
            options.append(f"end_date='{self.end_date}'")
        options.append(f"timezone={timezone_repr(self.timezone)!r}")
        return f"CalendarIntervalTrigger({', '.join(options)})"


def _checked_date(name: str, value: date | str) -> date:
    day = asdate(value)
    if isinstance(day, datetime):
        return day.date()
    if isinstance(day, date):
        return day
    raise TypeError(
        f"{name} must be a date or a text like 2024-02-29, got {value!r} ({type(value).__name__})"
    )
