"""The trigger that fires at certain times of the calendar and the clock."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, ClassVar, Literal

from apscheduler.triggers._walltime import clock_changes, naive_utc
from apscheduler.triggers.base import (
    BaseTrigger,
    check_version,
    checked_jitter,
    given_timezone,
    slot_state,
)
from apscheduler.triggers.cron._crontab import crontab_weekdays, differing_weekdays
from apscheduler.triggers.cron._schedule import (
    Days,
    Schedule,
    Times,
    days_of,
    next_values,
    schedule_of,
)
from apscheduler.triggers.cron.fields import (
    DEFAULT_VALUES,
    BaseField,
    DayOfMonthField,
    DayOfWeekField,
    MonthField,
    WeekField,
)
from apscheduler.util import astimezone, convert_to_datetime, datetime_repr, get_localzone

__all__ = ("CronTrigger",)

_SECOND = timedelta(seconds=1)


class CronTrigger(BaseTrigger):
    """Fires whenever the local time matches all fields.

    A field is a number or a text of expressions separated by commas: ``*``, ``*/n``, ``a``,
    ``a-b``, ``a-b/n``, ``a/n``, names of months and weekdays and their ranges; for the day also
    ``last``, ``2nd fri``, ``last sun``. Fields that are not given match everything if a field
    after them (in the order below) is given, and else only their lowest value; week and
    day_of_week, and all if none is given, match everything.

    Where clocks are set forward or back, a trigger that matches every hour goes by elapsed time.
    Any other fires once for each local time: in the first pass of a repeated hour, and at the
    first instant after what a change leaves out (if that is a whole day, its runs come together
    as one at the start of the next).

    :param year: year (1970 to 9999)
    :param month: month (1 to 12)
    :param day: day of the month (1 to 31)
    :param week: ISO week (1 to 53)
    :param day_of_week: weekday (0 to 6, or mon to sun); **0 is Monday**
    :param hour: hour (0 to 23)
    :param minute: minute (0 to 59)
    :param second: second (0 to 59)
    :param start_date: no fire time is earlier
    :param end_date: no fire time is later; a date means its first instant
    :param timezone: zone of the local time, and of naive dates; if not given, that of
        ``start_date`` or ``end_date``, else the local one
    :param jitter: each fire time is put off by a random time of up to this many seconds
    :raises ValueError: if an expression cannot be read or is out of range, a text is no date, or
        ``jitter`` is negative
    :raises TypeError: if an argument is of no usable type
    """

    __slots__ = (
        "_changes",
        "_fields",
        "_schedule",
        "end_date",
        "jitter",
        "start_date",
    )

    FIELD_NAMES: ClassVar[tuple[str, ...]] = (
        "year",
        "month",
        "day",
        "week",
        "day_of_week",
        "hour",
        "minute",
        "second",
    )
    FIELDS_MAP: ClassVar[Mapping[str, type[BaseField]]] = {
        "year": BaseField,
        "month": MonthField,
        "week": WeekField,
        "day": DayOfMonthField,
        "day_of_week": DayOfWeekField,
        "hour": BaseField,
        "minute": BaseField,
        "second": BaseField,
    }

    _schedule: Schedule | None
    start_date: datetime | None
    end_date: datetime | None
    jitter: float | None

    def __init__(
        self,
        year: int | str | None = None,
        month: int | str | None = None,
        day: int | str | None = None,
        week: int | str | None = None,
        day_of_week: int | str | None = None,
        hour: int | str | None = None,
        minute: int | str | None = None,
        second: int | str | None = None,
        start_date: date | datetime | str | None = None,
        end_date: date | datetime | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | None = None,
    ) -> None:
        tz = given_timezone(timezone, start_date, end_date) or get_localzone()
        self._changes = clock_changes(tz)
        self.start_date = convert_to_datetime(start_date, tz, "start_date")
        self.end_date = convert_to_datetime(end_date, tz, "end_date")
        self.jitter = checked_jitter(jitter)
        # As texts, since 1 and True are equal and do not mean the same; one by one, since a loop
        # takes as long as all the rest.
        if year is not None:
            year = str(year)
        if month is not None:
            month = str(month)
        if day is not None:
            day = str(day)
        if week is not None:
            week = str(week)
        if day_of_week is not None:
            day_of_week = str(day_of_week)
        if hour is not None:
            hour = str(hour)
        if minute is not None:
            minute = str(minute)
        if second is not None:
            second = str(second)
        self._fields: Sequence[BaseField]
        self._fields, self._schedule, remarks = _compile(
            type(self), year, month, day, week, day_of_week, hour, minute, second
        )
        for remark in remarks:
            warnings.warn(remark, DeprecationWarning, stacklevel=2)

    @classmethod
    def from_crontab(
        cls,
        expr: str,
        timezone: tzinfo | str | None = None,
        *,
        weekdays: Literal["apscheduler", "crontab"] | None = None,
    ) -> CronTrigger:
        """Return a trigger for the five fields of a crontab line.

        They are minute, hour, day of the month, month and day of the week, separated by blanks,
        each in the grammar of this class. Unlike in a crontab, the day of the month **and** the
        day of the week must match.

        :param expr: the five fields
        :param timezone: zone of the local time; the local one if not given
        :param weekdays: how numbers of weekdays are read: ``"crontab"`` means 0 and 7 for Sunday,
            ``"apscheduler"`` means 0 for Monday; if not given, 0 is Monday, with a warning where
            a crontab would mean other days
        :raises ValueError: if there are not five fields, or one of them cannot be read
        """
        values = expr.split()
        if len(values) != 5:
            raise ValueError(f"Wrong number of fields; got {len(values)}, expected 5")
        minute, hour, day, month, day_of_week = values
        if weekdays == "crontab":
            day_of_week = crontab_weekdays(day_of_week)
        elif weekdays is None:
            readings = differing_weekdays(day_of_week)
            if readings is not None:
                warnings.warn(
                    "The day of week {!r} of {!r} is read as {}, since 0 is Monday here; a "
                    'crontab would mean {}. Give weekdays="crontab" for the latter, or '
                    'weekdays="apscheduler" to keep the former without this warning'.format(
                        day_of_week, expr, *readings
                    ),
                    UserWarning,
                    stacklevel=2,
                )
        elif weekdays != "apscheduler":
            raise ValueError(
                f"weekdays must be 'apscheduler' (0 is Monday) or 'crontab' (0 and 7 are "
                f"Sunday), got {weekdays!r}"
            )
        return cls(
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            day_of_week=day_of_week,
            timezone=timezone,
        )

    @property
    def fields(self) -> list[BaseField]:
        """The eight fields in order; they are shared with other triggers, so only to be read."""
        return list(self._fields)

    @fields.setter
    def fields(self, fields: list[BaseField]) -> None:
        self._fields = fields
        self._schedule = None

    @property
    def timezone(self) -> tzinfo:
        """The zone of the local time that has to match."""
        return self._changes.timezone

    @timezone.setter
    def timezone(self, timezone: tzinfo) -> None:
        self._changes = clock_changes(timezone)

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        fire_time = self._next_on_grid(previous_fire_time, now)
        if not self.jitter or fire_time is None:
            return fire_time

        jittered = self._apply_jitter(fire_time, self.jitter, now)
        if self.end_date is None or jittered is None:
            return jittered
        return min(jittered, self.end_date, key=_instant).astimezone(self.timezone)

    def _next_on_grid(self, previous: datetime | None, now: datetime) -> datetime | None:
        schedule = self._schedule or self._compiled()
        changes = self._changes
        tz = changes.timezone
        if now.tzinfo is None:
            now = now.astimezone()

        if previous is not None:
            local = previous.astimezone(tz)
            second = local.second + 1
            # On a day on which the clocks are not set, times of one zone compare as they look.
            plain = local <= now
        else:
            start = self.start_date
            if start is not None and start.astimezone(UTC) > now.astimezone(UTC):
                now = start
            local = now.astimezone(tz)
            second = local.second + (local.microsecond > 0)
            plain = True

        if plain and changes[local.toordinal()] is None:
            fire_time = schedule.next(
                local.year, local.month, local.day, local.hour, local.minute, second, tz
            )
            if fire_time is None:
                return None
            if changes[fire_time.toordinal()] is not None:
                fire_time = self._next_around_change(schedule, previous, now)
        else:
            fire_time = self._next_around_change(schedule, previous, now)

        end = self.end_date
        if end is not None and fire_time is not None and _instant(fire_time) > _instant(end):
            return None
        return fire_time

    def _compiled(self) -> Schedule:
        self._schedule = schedule_of(self._fields)
        return self._schedule

    def _next_around_change(
        self, schedule: Schedule, previous: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the next fire time, minding that clocks may be set before it."""
        changes = self._changes
        instant = naive_utc(now)
        repeats = True
        if previous is not None and naive_utc(previous) <= instant:
            instant = naive_utc(previous)
            # What was shown before the last fire time has had its run, unless the run was of a
            # second pass itself: then nobody was there for the first.
            repeats = not schedule.restricted or schedule.is_second_pass(instant, changes)
            instant = instant.replace(microsecond=0) + _SECOND
        elif instant.microsecond:
            instant = instant.replace(microsecond=0) + _SECOND
        found = schedule.first_instant(instant, changes, repeats=repeats)
        return None if found is None else changes.local(found)

    def _leap(self, last: datetime, until: datetime) -> datetime:
        schedule = self._schedule or self._compiled()
        changes = self._changes
        begin = naive_utc(last).replace(microsecond=0) + _SECOND
        limit = naive_utc(until)
        if self.end_date is not None:
            limit = min(limit, naive_utc(self.end_date))
        found = None
        if schedule.restricted:
            found = schedule.last_instant(begin, limit, changes, repeats=False)
        if found is None and (
            not schedule.restricted or schedule.is_second_pass(begin - _SECOND, changes)
        ):
            found = schedule.last_instant(begin, limit, changes, repeats=True)
        return last if found is None else changes.local(found)

    def _catch_up(self, fire_time: datetime, moment: datetime) -> datetime | None:
        return self._next_on_grid(None, moment)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "version": 2,
            "timezone": self.timezone,
            "start_date": self.start_date,
            "end_date": self.end_date,
            "fields": self.fields,
            "jitter": self.jitter,
        }

    def __setstate__(self, state: Any) -> None:
        settings = slot_state(state)
        check_version(self, settings, 2)
        self.timezone = astimezone(settings["timezone"])
        self.start_date = settings["start_date"]
        self.end_date = settings["end_date"]
        self.fields = settings["fields"]
        self.jitter = settings.get("jitter")

    def _given_fields(self) -> str:
        return ", ".join(f"{f.name}='{f}'" for f in self.fields if not f.is_default)

    def __str__(self) -> str:
        return f"cron[{self._given_fields()}]"

    def __repr__(self) -> str:
        options = [given] if (given := self._given_fields()) else []
        if self.start_date:
            options.append(f"start_date='{datetime_repr(self.start_date)}'")
        if self.end_date:
            options.append(f"end_date='{datetime_repr(self.end_date)}'")
        if self.jitter:
            options.append(f"jitter={self.jitter}")
        return f"<CronTrigger ({', '.join(options)}, timezone='{self.timezone}')>"


@lru_cache(maxsize=2048)
def _compile(
    trigger_class: type[CronTrigger], *texts: str | None
) -> tuple[tuple[BaseField, ...], Schedule, tuple[str, ...]]:
    """Return what equal arguments of triggers come to: fields, schedule, and warnings.

    Programs have many triggers that differ, but on few sets of days, and at few times of day. So
    these are remembered apart as well.
    """
    dates, times = texts[:5], texts[5:]
    no_date, no_time = dates.count(None) == 5, times.count(None) == 3
    date_fields, days, date_remarks = _compile_dates(trigger_class, dates, no_date or not no_time)
    time_fields, hours, time_remarks = _compile_times(trigger_class, times, no_date and no_time)
    return date_fields + time_fields, Schedule(days, hours), date_remarks + time_remarks


@lru_cache(maxsize=2048)
def _compile_dates(
    trigger_class: type[CronTrigger], texts: tuple[str | None, ...], followed: bool
) -> tuple[tuple[BaseField, ...], Days, tuple[str, ...]]:
    expressions = _expressions(trigger_class.FIELD_NAMES[:5], texts, followed)
    fields, remarks = zip(*[_field(trigger_class, *given) for given in expressions], strict=True)
    return fields, days_of(fields), sum(remarks, ())


@lru_cache(maxsize=2048)
def _compile_times(
    trigger_class: type[CronTrigger], texts: tuple[str | None, ...], followed: bool
) -> tuple[tuple[BaseField, ...], Times, tuple[str, ...]]:
    expressions = _expressions(trigger_class.FIELD_NAMES[5:], texts, followed)
    fields, tables, remarks = zip(
        *[_time_field(trigger_class, *given) for given in expressions], strict=True
    )
    return fields, Times(*tables), sum(remarks, ())


def _expressions(
    names: Sequence[str], texts: Sequence[str | None], followed: bool
) -> list[tuple[str, str | int, bool]]:
    """Return for each field its name, its expressions, and whether nobody gave them.

    :param followed: whether a field after these is given, or none at all
    """
    found: list[tuple[str, str | int, bool]] = []
    for name, text in zip(reversed(names), reversed(texts), strict=True):
        if text is not None:
            found.append((name, text, False))
            followed = True
        else:
            found.append((name, "*" if followed else DEFAULT_VALUES[name], True))
    found.reverse()
    return found


@lru_cache(maxsize=2048)
def _field(
    trigger_class: type[CronTrigger], name: str, expressions: str | int, is_default: bool
) -> tuple[BaseField, tuple[str, ...]]:
    field_class = trigger_class.FIELDS_MAP[name]
    if is_default:
        return field_class(name, expressions, is_default=True), ()
    remarks = tuple(
        f"{str(expression) + rest!r} in the field {name!r} is read as {str(expression)!r}: "
        f"{rest!r} looks as if it meant more, but is ignored. Write {str(expression)!r}, or an "
        "expression for what is meant; a later release will refuse this one"
        for expression, rest in field_class.read(name, expressions)
        if rest
    )
    return field_class(name, expressions), remarks


@lru_cache(maxsize=1024)
def _time_field(
    trigger_class: type[CronTrigger], name: str, expressions: str | int, is_default: bool
) -> tuple[BaseField, bytes, tuple[str, ...]]:
    field, remarks = _field(trigger_class, name, expressions, is_default)
    return field, next_values(field), remarks


def _instant(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
