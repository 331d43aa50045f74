"""Date triggers: one fire time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apscheduler.triggers import date as date_module
from apscheduler.triggers.date import DateTrigger

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def test_it_fires_once_even_if_the_date_is_long_past() -> None:
    trigger = DateTrigger("2009-07-06", BERLIN)
    assert trigger.get_next_fire_time(None, NOW) == datetime(2009, 7, 6, tzinfo=BERLIN)
    assert trigger.get_next_fire_time(trigger.run_date, NOW) is None
    assert trigger.get_next_fire_time(datetime(2000, 1, 1, tzinfo=UTC), NOW) is None


@pytest.mark.parametrize(
    ("run_date", "expected"),
    [
        (date(2009, 7, 6), "2009-07-06 00:00:00+02:00"),
        (datetime(2009, 7, 6, 1, 2, 3, 4), "2009-07-06 01:02:03.000004+02:00"),
        ("2009-7-6 1:2:3.5", "2009-07-06 01:02:03.500000+02:00"),
        (datetime(2009, 7, 6, tzinfo=UTC), "2009-07-06 00:00:00+00:00"),
        (datetime(2024, 3, 31, 2, 30), "2024-03-31 03:30:00+02:00"),
    ],
)
def test_a_naive_date_is_meant_in_the_zone(run_date: date | str, expected: str) -> None:
    assert str(DateTrigger(run_date, "Europe/Berlin").run_date) == expected


def test_without_a_date_it_is_now_in_the_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(date_module, "get_localzone", lambda: BERLIN)
    before = datetime.now(UTC)
    trigger = DateTrigger()
    assert before <= trigger.run_date <= before + timedelta(seconds=30)
    assert trigger.run_date.tzinfo is BERLIN


def test_texts() -> None:
    trigger = DateTrigger("2009-07-06", BERLIN)
    assert str(trigger) == "date[2009-07-06 00:00:00 CEST]"
    assert repr(trigger) == "<DateTrigger (run_date='2009-07-06 00:00:00 CEST')>"


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Unsupported type for run_date: int$"):
        DateTrigger(5, BERLIN)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^Expected tzinfo, got int instead$"):
        DateTrigger("2024-01-01", 5)  # type: ignore[arg-type]
