"""Weekdays as a crontab counts them: 0 and 7 are Sunday."""

from __future__ import annotations

import re
from functools import lru_cache

from apscheduler.triggers.cron.expressions import WEEKDAYS
from apscheduler.triggers.cron.fields import DayOfWeekField

_NAMES = {name: (at + 1) % 7 for at, name in enumerate(WEEKDAYS)}
_PART = r"(?:\*|(?P<first>\d+|[a-z]{3})(?:-(?P<last>\d+|[a-z]{3}))?)(?:/(?P<step>\d+))?"


def crontab_weekdays(text: str) -> str:
    """Return an expression of `CronTrigger` for the weekdays that a crontab means by ``text``.

    :raises ValueError: if a crontab cannot mean anything by it
    """
    days = _days(text)
    return "*" if len(days) == 7 else _names(days)


@lru_cache(maxsize=256)
def differing_weekdays(text: str) -> tuple[str, str] | None:
    """Return how `CronTrigger` and a crontab read ``text``, if both do and they differ."""
    try:
        theirs = _days(text)
        field = DayOfWeekField("day_of_week", text)
    except ValueError:
        return None
    ours = {day for expression in field.expressions for day in expression.values(0, 6, 0)}
    return None if ours == theirs else (_names(ours), _names(theirs))


def _names(days: set[int]) -> str:
    return ",".join(WEEKDAYS[day] for day in sorted(days))


def _days(text: str) -> set[int]:
    """Return the days that a crontab means, counted from 0 for Monday."""
    days: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(_PART, part, re.IGNORECASE)
        if match is None:
            raise ValueError(f'Unrecognized expression "{part}" for field "day_of_week"')
        first, last, step = match["first"], match["last"], int(match["step"] or 1)
        if step == 0:
            raise ValueError("Increment must be higher than 0")

        low = 0 if first is None else _number(first)
        if last is not None:
            high = _number(last)
            if high == 0:
                high = 7  # a range that ends with Sunday
        else:
            high = 6 if first is None or match["step"] else low
        if low > high:
            raise ValueError("The minimum value in a range must not be higher than the maximum")
        days.update((day - 1) % 7 for day in range(low, high + 1, step))
    return days


def _number(text: str) -> int:
    if text.isdigit():
        number = int(text)
        if number > 7:
            raise ValueError(f"A weekday in a crontab is a number from 0 to 7, got {number}")
        return number
    try:
        return _NAMES[text.lower()]
    except KeyError:
        raise ValueError(f'Invalid weekday name "{text}"') from None
