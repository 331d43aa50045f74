"""The expressions of a cron field, and which values each of them stands for.

The names of these classes and of their attributes are part of every pickled cron trigger.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Self

from apscheduler.util import asint

if TYPE_CHECKING:
    from apscheduler.triggers.cron.fields import BaseField

__all__ = (
    "MONTHS",
    "WEEKDAYS",
    "AllExpression",
    "LastDayOfMonthExpression",
    "MonthRangeExpression",
    "RangeExpression",
    "WeekdayPositionExpression",
    "WeekdayRangeExpression",
)

WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
]  # fmt: skip
POSITIONS = ["1st", "2nd", "3rd", "4th", "5th", "last"]
LAST_POSITION = 5


class AllExpression:
    """Every value of a field, or every so manieth one from its minimum on (``*``, ``*/n``).

    :param step: distance of the values; 1 if not given
    :raises ValueError: if the step is 0
    """

    pattern: ClassVar[str] = r"\*(?:/(?P<step>\d+))?$"

    step: int | None

    def __init__(self, step: int | str | None = None) -> None:
        self.step = asint(step)
        if self.step == 0:
            raise ValueError("Increment must be higher than 0")

    @classmethod
    def parse(cls, text: str) -> tuple[Self, str] | None:
        """Return the expression that ``text`` begins with and what follows it, if it is one."""
        match = re.match(cls.pattern, text, re.IGNORECASE)
        return (cls(**match.groupdict()), text[match.end() :]) if match else None

    def values(self, minimum: int, maximum: int, first_weekday: int) -> Sequence[int]:
        """Return the values meant, in order, out of those from ``minimum`` to ``maximum``.

        :param first_weekday: for days of a month, the weekday of the first one; 0 is Monday
        """
        return range(minimum, maximum + 1, self.step or 1)

    def check(self, minimum: int, maximum: int) -> None:
        """Refuse values that a field of this range does not have.

        :raises ValueError: naming what is out of range
        """
        if self.step is not None and self.step > maximum - minimum:
            raise ValueError(
                f"the step value ({self.step}) is higher than the total range of the "
                f"expression ({maximum - minimum})"
            )

    def get_next_value(self, date: date, field: BaseField) -> int | None:
        """Return the first value meant that is not before the one in ``date``, or None."""
        least = field.get_value(date)
        values = self.values(field.get_min(date), field.get_max(date), first_weekday_of(date))
        return next((value for value in values if value >= least), None)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __str__(self) -> str:
        return f"*/{self.step}" if self.step else "*"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.step})"


class RangeExpression(AllExpression):
    """One value or those of a range, or every so manieth one (``a``, ``a-b``, ``a-b/n``, ``a/n``).

    :param first: the first value
    :param last: the last value; if not given, ``first``, or with a step the field's maximum
    :param step: distance of the values; 1 if not given
    :raises ValueError: if the step is 0 or ``last`` is before ``first``
    """

    pattern = r"(?P<first>\d+)(?:-(?P<last>\d+))?(?:/(?P<step>\d+))?$"

    first: int
    last: int | None

    def __init__(
        self, first: int | str, last: int | str | None = None, step: int | str | None = None
    ) -> None:
        super().__init__(step)
        self.first = asint(first)
        self.last = asint(last)
        if self.last is None and self.step is None:
            self.last = self.first
        if self.last is not None and self.first > self.last:
            raise ValueError("The minimum value in a range must not be higher than the maximum")

    def values(self, minimum: int, maximum: int, first_weekday: int) -> Sequence[int]:
        last = maximum if self.last is None else min(self.last, maximum)
        values = range(self.first, last + 1, self.step or 1)
        return values if self.first >= minimum else [v for v in values if v >= minimum]

    def check(self, minimum: int, maximum: int) -> None:
        super().check(minimum, maximum)
        if self.first < minimum:
            raise ValueError(
                f"the first value ({self.first}) is lower than the minimum value ({minimum})"
            )
        if self.last is not None and self.last > maximum:
            raise ValueError(
                f"the last value ({self.last}) is higher than the maximum value ({maximum})"
            )
        # "0-0/1" has always been let through, so a last value of 0 is no bound to the step.
        length = (self.last or maximum) - self.first
        if self.step is not None and self.step > length:
            raise ValueError(
                f"the step value ({self.step}) is higher than the total range of the "
                f"expression ({length})"
            )

    def __str__(self) -> str:
        values = str(self.first)
        if self.last is not None and self.last != self.first:
            values = f"{self.first}-{self.last}"
        return f"{values}/{self.step}" if self.step else values

    def __repr__(self) -> str:
        name, first, last = type(self).__name__, self.first, self.last
        if self.step:
            return f"{name}({first}, {last}, {self.step})"
        if last is None or last == first:
            return f"{name}({first})"
        return f"{name}({first}, {last})"


class _NameRangeExpression(RangeExpression):
    """One name or the range between two, of a list in which position means value."""

    names: ClassVar[list[str]]
    kind: ClassVar[str]
    lowest: ClassVar[int]

    def __init__(self, first: str, last: str | None = None) -> None:
        super().__init__(self._value(first), None if last is None else self._value(last))

    @classmethod
    def _value(cls, name: str) -> int:
        try:
            return cls.names.index(name.lower()) + cls.lowest
        except ValueError:
            raise ValueError(f'Invalid {cls.kind} name "{name}"') from None

    def _given_names(self) -> list[str]:
        values = {self.first: None, self.first if self.last is None else self.last: None}
        return [self.names[value - self.lowest] for value in values]

    def __str__(self) -> str:
        return "-".join(self._given_names())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._given_names()))})"


class MonthRangeExpression(_NameRangeExpression):
    """A month or a range of months by their names (``jan``, ``jan-mar``).

    :param first: name of the first month
    :param last: name of the last month; ``first`` if not given
    :raises ValueError: if a name is unknown or ``last`` is before ``first``
    """

    pattern = r"(?P<first>[a-z]+)(?:-(?P<last>[a-z]+))?"
    names = MONTHS
    kind = "month"
    lowest = 1


class WeekdayRangeExpression(_NameRangeExpression):
    """A weekday or a range of weekdays by their names (``mon``, ``mon-fri``).

    :param first: name of the first weekday
    :param last: name of the last weekday; ``first`` if not given
    :raises ValueError: if a name is unknown or ``last`` is before ``first``
    """

    pattern = MonthRangeExpression.pattern
    names = WEEKDAYS
    kind = "weekday"
    lowest = 0


class WeekdayPositionExpression(AllExpression):
    """The first to fifth or the last such weekday of a month (``2nd fri``, ``last sun``).

    :param option_name: ``1st`` to ``5th``, or ``last``
    :param weekday_name: ``mon`` to ``sun``
    :raises ValueError: if a name is unknown
    """

    pattern = rf"(?P<option_name>{'|'.join(POSITIONS)}) +(?P<weekday_name>\w+)"

    option_num: int
    weekday: int

    def __init__(self, option_name: str, weekday_name: str) -> None:
        super().__init__(None)
        if option_name.lower() not in POSITIONS:
            raise ValueError(f'Invalid weekday position "{option_name}"')
        if weekday_name.lower() not in WEEKDAYS:
            raise ValueError(f'Invalid weekday name "{weekday_name}"')
        self.option_num = POSITIONS.index(option_name.lower())
        self.weekday = WEEKDAYS.index(weekday_name.lower())

    def values(self, minimum: int, maximum: int, first_weekday: int) -> Sequence[int]:
        first = (self.weekday - first_weekday) % 7 + 1
        days = range(first, maximum + 1, 7)
        if self.option_num == LAST_POSITION:
            return days[-1:]
        return days[self.option_num : self.option_num + 1]

    def get_next_value(self, date: date, field: BaseField | None = None) -> int | None:
        return _next_day(self, date)

    def __str__(self) -> str:
        return f"{POSITIONS[self.option_num]} {WEEKDAYS[self.weekday]}"

    def __repr__(self) -> str:
        position, weekday = POSITIONS[self.option_num], WEEKDAYS[self.weekday]
        return f"{type(self).__name__}({position!r}, {weekday!r})"


class LastDayOfMonthExpression(AllExpression):
    """The last day of a month (``last``)."""

    pattern = "last"

    def __init__(self) -> None:
        super().__init__(None)

    def values(self, minimum: int, maximum: int, first_weekday: int) -> Sequence[int]:
        return (maximum,)

    def get_next_value(self, date: date, field: BaseField | None = None) -> int | None:
        return _next_day(self, date)

    def __str__(self) -> str:
        return "last"

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def first_weekday_of(date: date) -> int:
    """Return the weekday of the first day of the month of ``date``; 0 is Monday."""
    return monthrange(date.year, date.month)[0]


def _next_day(expression: AllExpression, date: date) -> int | None:
    first_weekday, length = monthrange(date.year, date.month)
    days = expression.values(1, length, first_weekday)
    return next((day for day in days if day >= date.day), None)
