"""Cron fields and expressions by themselves: forms, errors, values, texts."""

from __future__ import annotations

import pickle
from datetime import datetime

import pytest

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.cron.expressions import (
    AllExpression,
    LastDayOfMonthExpression,
    MonthRangeExpression,
    RangeExpression,
    WeekdayPositionExpression,
    WeekdayRangeExpression,
)
from apscheduler.triggers.cron.fields import (
    BaseField,
    DayOfMonthField,
    DayOfWeekField,
    MonthField,
    WeekField,
)

ERRORS = [
    ("hour", "", 'Unrecognized expression "" for field "hour"'),
    ("hour", "1,,2", 'Unrecognized expression "" for field "hour"'),
    ("hour", "-1", 'Unrecognized expression "-1" for field "hour"'),
    ("hour", "5 5", 'Unrecognized expression "5 5" for field "hour"'),
    ("hour", "@daily", 'Unrecognized expression "@daily" for field "hour"'),
    ("hour", "1.0", 'Unrecognized expression "1.0" for field "hour"'),
    ("hour", "*/5/5", 'Unrecognized expression "*/5/5" for field "hour"'),
    ("day", "L", 'Unrecognized expression "L" for field "day"'),
    ("day", "2nd", 'Unrecognized expression "2nd" for field "day"'),
    ("day", "xth 5", 'Unrecognized expression "xth 5" for field "day"'),
    ("month", "*/0", "Increment must be higher than 0"),
    ("month", "1-3/0", "Increment must be higher than 0"),
    ("hour", "5-4", "The minimum value in a range must not be higher than the maximum"),
    ("day_of_week", "fri-mon", "The minimum value in a range must not be higher than the maximum"),
    ("day_of_week", "monday", 'Invalid weekday name "monday"'),
    ("day_of_week", "mon-foo", 'Invalid weekday name "foo"'),
    ("month", "january", 'Invalid month name "january"'),
    ("day", "1st 5", 'Invalid weekday name "5"'),
    ("day", "*/31", "Error validating expression '*/31': the step value (31) is higher than the "
     "total range of the expression (30)"),
    ("hour", "4-6/3", "Error validating expression '4-6/3': the step value (3) is higher than the "
     "total range of the expression (2)"),
    ("month", "5-5/1", "Error validating expression '5-5/1': the step value (1) is higher than "
     "the total range of the expression (0)"),
    ("hour", "25/2", "Error validating expression '25/2': the step value (2) is higher than the "
     "total range of the expression (-2)"),
    ("minute", "0-24/100", "Error validating expression '0-24/100': the step value (100) is "
     "higher than the total range of the expression (59)"),
    ("month", "0-3", "Error validating expression '0-3': the first value (0) is lower than the "
     "minimum value (1)"),
    ("hour", "0-24", "Error validating expression '0-24': the last value (24) is higher than the "
     "maximum value (23)"),
    ("hour", "25", "Error validating expression '25': the last value (25) is higher than the "
     "maximum value (23)"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "text", "message"), ERRORS)
def test_bad_expressions_are_refused(field: str, text: str, message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        CronTrigger(**{field: text})
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("expression", "representation", "text", "state"),
    [
        (AllExpression(), "AllExpression(None)", "*", {"step": None}),
        (AllExpression("2"), "AllExpression(2)", "*/2", {"step": 2}),
        (RangeExpression(4), "RangeExpression(4)", "4", {"step": None, "first": 4, "last": 4}),
        (RangeExpression(3, 7, 2), "RangeExpression(3, 7, 2)", "3-7/2",
         {"step": 2, "first": 3, "last": 7}),
        (RangeExpression("3", "7"), "RangeExpression(3, 7)", "3-7",
         {"step": None, "first": 3, "last": 7}),
        (RangeExpression(3, step=2), "RangeExpression(3, None, 2)", "3/2",
         {"step": 2, "first": 3, "last": None}),
        (MonthRangeExpression("JAN", "mar"), "MonthRangeExpression('jan', 'mar')", "jan-mar",
         {"step": None, "first": 1, "last": 3}),
        (MonthRangeExpression("dec"), "MonthRangeExpression('dec')", "dec",
         {"step": None, "first": 12, "last": 12}),
        (WeekdayRangeExpression("tue", "sun"), "WeekdayRangeExpression('tue', 'sun')", "tue-sun",
         {"step": None, "first": 1, "last": 6}),
        (WeekdayRangeExpression("tue"), "WeekdayRangeExpression('tue')", "tue",
         {"step": None, "first": 1, "last": 1}),
        (WeekdayPositionExpression("2nd", "fri"), "WeekdayPositionExpression('2nd', 'fri')",
         "2nd fri", {"step": None, "option_num": 1, "weekday": 4}),
        (WeekdayPositionExpression("LAST", "Fri"), "WeekdayPositionExpression('last', 'fri')",
         "last fri", {"step": None, "option_num": 5, "weekday": 4}),
        (LastDayOfMonthExpression(), "LastDayOfMonthExpression()", "last", {"step": None}),
    ],
)  # fmt: skip
def test_expressions_show_and_store_what_they_mean(
    expression: AllExpression, representation: str, text: str, state: dict[str, int | None]
) -> None:
    assert repr(expression) == representation
    assert str(expression) == text
    assert expression.__dict__ == state
    restored = pickle.loads(pickle.dumps(expression))
    assert restored == expression
    assert repr(restored) == representation


def test_a_stored_name_range_without_a_last_value_is_one_name() -> None:
    expression = MonthRangeExpression.__new__(MonthRangeExpression)
    expression.__dict__.update(step=None, first=2, last=None)
    assert str(expression) == "feb"


@pytest.mark.parametrize(
    ("position", "weekday", "message"),
    [
        ("6th", "fri", 'Invalid weekday position "6th"'),
        ("2nd", "frix", 'Invalid weekday name "frix"'),
    ],
)
def test_bad_positions_are_refused(position: str, weekday: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        WeekdayPositionExpression(position, weekday)


def test_expressions_are_equal_by_kind_and_values() -> None:
    assert RangeExpression(3, 7, 2) == RangeExpression(3, 7, 2)
    assert RangeExpression(3, 7, 2) != RangeExpression(3, 7, 1)
    assert MonthRangeExpression("jan") != RangeExpression(1)
    assert AllExpression() != "*"
    with pytest.raises(TypeError, match="unhashable"):
        hash(AllExpression())


def test_fields_are_equal_by_their_expressions() -> None:
    assert BaseField("hour", "1") == BaseField("minute", "1-1", is_default=True)
    assert BaseField("hour", "1") != BaseField("hour", "2")
    assert BaseField("hour", "1") != 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(BaseField("hour", "1"))


def test_fields_show_their_expressions() -> None:
    assert repr(DayOfMonthField("day", " 2-9/3 , LAST")) == "DayOfMonthField('day', '2-9/3,last')"
    assert str(BaseField("hour", 5)) == "5"


@pytest.mark.parametrize(
    ("field", "moment", "value"),
    [
        (BaseField("hour", "11,12"), datetime(2024, 1, 15, 10, 30), 11),
        (BaseField("hour", "1"), datetime(2024, 1, 15, 10), None),
        (BaseField("year", "*"), datetime(1950, 1, 1), 1970),
        (BaseField("year", "*/7"), datetime(1975, 1, 1), 1977),
        (BaseField("year", "2000-2010/3"), datetime(2010, 1, 1), None),
        (MonthField("month", "jan,sep"), datetime(2024, 2, 1), 9),
        (DayOfMonthField("day", "*"), datetime(2024, 2, 29), 29),
        (DayOfMonthField("day", "30/1"), datetime(2024, 2, 28), None),
        (DayOfMonthField("day", "last,2nd fri"), datetime(2024, 2, 5), 9),
        (DayOfMonthField("day", "5th fri"), datetime(2024, 2, 5), None),
        (DayOfMonthField("day", "last fri"), datetime(2024, 1, 10), 26),
        (WeekField("week", "*/2"), datetime(2024, 1, 10), 3),
        (DayOfWeekField("day_of_week", "*/2"), datetime(2024, 1, 16), 2),
        (DayOfWeekField("day_of_week", "mon"), datetime(2024, 1, 16), None),
    ],
)
def test_a_field_knows_its_next_value(
    field: BaseField, moment: datetime, value: int | None
) -> None:
    assert field.get_next_value(moment) == value


def test_positions_in_a_month_need_no_field() -> None:
    moment = datetime(2024, 1, 15)
    assert LastDayOfMonthExpression().get_next_value(moment) == 31
    assert WeekdayPositionExpression("2nd", "fri").get_next_value(moment, None) is None
