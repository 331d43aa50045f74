"""The fields of a cron trigger: the expressions given for each, and how they are read.

The names of these classes and of their attributes are part of every pickled cron trigger.
Fields are shared between triggers, so they are not to be changed.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import date
from typing import ClassVar

from apscheduler.triggers.cron.expressions import (
    AllExpression,
    LastDayOfMonthExpression,
    MonthRangeExpression,
    RangeExpression,
    WeekdayPositionExpression,
    WeekdayRangeExpression,
)

__all__ = (
    "DEFAULT_VALUES",
    "MAX_VALUES",
    "MIN_VALUES",
    "BaseField",
    "DayOfMonthField",
    "DayOfWeekField",
    "MonthField",
    "WeekField",
)

MIN_VALUES = {
    "year": 1970, "month": 1, "day": 1, "week": 1,
    "day_of_week": 0, "hour": 0, "minute": 0, "second": 0,
}  # fmt: skip
MAX_VALUES = {
    "year": 9999, "month": 12, "day": 31, "week": 53,
    "day_of_week": 6, "hour": 23, "minute": 59, "second": 59,
}  # fmt: skip
DEFAULT_VALUES: dict[str, str | int] = {
    "year": "*", "month": 1, "day": 1, "week": "*",
    "day_of_week": "*", "hour": 0, "minute": 0, "second": 0,
}  # fmt: skip


class BaseField:
    """A field whose values are plain numbers.

    :param name: name of the field, such as ``hour``
    :param exprs: expressions separated by commas
    :param is_default: whether nobody gave the expressions
    :raises ValueError: if an expression cannot be read or is out of the field's range
    """

    REAL: ClassVar[bool] = True
    """Whether the value is set in a date, or follows from its other parts."""
    expression_types: ClassVar[tuple[type[AllExpression], ...]] = (AllExpression, RangeExpression)
    """Forms that an expression may have, tried in this order."""

    name: str
    is_default: bool
    expressions: list[AllExpression]

    def __init__(self, name: str, exprs: str | int, is_default: bool = False) -> None:
        self.name = name
        self.is_default = is_default
        self.expressions = [expression for expression, _ in self.read(name, exprs)]

    @classmethod
    def read(cls, name: str, exprs: str | int) -> Iterator[tuple[AllExpression, str]]:
        """Read the expressions one by one, each with the rest of its text that is ignored."""
        for text in re.split(" *, *", str(exprs).strip()):
            yield cls._read_one(name, text)

    @classmethod
    def _read_one(cls, name: str, text: str) -> tuple[AllExpression, str]:
        for expression_type in cls.expression_types:
            found = expression_type.parse(text)
            if found is not None:
                break
        else:
            raise ValueError(f'Unrecognized expression "{text}" for field "{name}"')
        try:
            found[0].check(MIN_VALUES[name], MAX_VALUES[name])
        except ValueError as exc:
            raise ValueError(f"Error validating expression {text!r}: {exc}") from None
        return found

    def get_min(self, dateval: date) -> int:
        """Return the lowest value that the field has around ``dateval``."""
        return MIN_VALUES[self.name]

    def get_max(self, dateval: date) -> int:
        """Return the highest value that the field has around ``dateval``."""
        return MAX_VALUES[self.name]

    def get_value(self, dateval: date) -> int:
        """Return the field's value in ``dateval``."""
        value: int = getattr(dateval, self.name)
        return value

    def get_next_value(self, dateval: date) -> int | None:
        """Return the first matching value that is not before the one in ``dateval``, or None."""
        values = [expression.get_next_value(dateval, self) for expression in self.expressions]
        return min((value for value in values if value is not None), default=None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseField):
            return NotImplemented
        return self.expressions == other.expressions

    def __str__(self) -> str:
        return ",".join(map(str, self.expressions))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {str(self)!r})"


class MonthField(BaseField):
    """The month, which has names too."""

    expression_types = (*BaseField.expression_types, MonthRangeExpression)


class DayOfMonthField(BaseField):
    """The day of the month, which may also be counted by weekdays or from the end."""

    expression_types = (
        *BaseField.expression_types,
        WeekdayPositionExpression,
        LastDayOfMonthExpression,
    )

    def get_max(self, dateval: date) -> int:
        return monthrange(dateval.year, dateval.month)[1]


class WeekField(BaseField):
    """The week of the year as ISO 8601 counts."""

    REAL = False

    def get_value(self, dateval: date) -> int:
        return dateval.isocalendar().week


class DayOfWeekField(BaseField):
    """The weekday; 0 is Monday, and there are names too."""

    REAL = False
    expression_types = (*BaseField.expression_types, WeekdayRangeExpression)

    def get_value(self, dateval: date) -> int:
        return dateval.weekday()
