"""A clock that goes only when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from apscheduler import clock
from apscheduler.testing import VirtualClock
from apscheduler.triggers.interval import IntervalTrigger

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def test_it_stands_at_the_beginning_of_the_year_2000_by_default() -> None:
    assert VirtualClock().now() == datetime(2000, 1, 1, tzinfo=UTC)


def test_it_stands_still() -> None:
    virtual = VirtualClock(START)
    assert virtual.now() == virtual.now() == START
    assert virtual.monotonic() == virtual.monotonic() == 0


def test_it_tells_the_time_in_utc_wherever_it_was_set() -> None:
    virtual = VirtualClock(datetime(2026, 3, 1, 13, tzinfo=BERLIN))
    assert virtual.now() == START
    assert virtual.now().tzinfo is UTC


def test_time_passes_when_it_is_advanced() -> None:
    virtual = VirtualClock(START)
    virtual.advance(timedelta(minutes=1))
    virtual.advance(hours=1, seconds=0.5)
    assert virtual.now() == START + timedelta(hours=1, seconds=60.5)
    assert virtual.monotonic() == 3660.5


def test_it_can_be_advanced_by_nothing() -> None:
    virtual = VirtualClock(START)
    virtual.advance(timedelta(0))
    assert virtual.now() == START


def test_it_can_be_advanced_to_a_moment_in_any_zone() -> None:
    virtual = VirtualClock(START)
    virtual.advance_to(datetime(2026, 3, 1, 14, tzinfo=BERLIN))
    assert virtual.now() == START + timedelta(hours=1)
    assert virtual.monotonic() == 3600


def test_it_passes_an_hour_between_the_two_halves_of_a_fold() -> None:
    virtual = VirtualClock(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN))
    again = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    assert virtual.seconds_until(again) == 3600
    virtual.advance_to(again)
    assert virtual.monotonic() == 3600


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
def test_no_time_passes_when_it_jumps(jump: timedelta) -> None:
    virtual = VirtualClock(START)
    virtual.jump(jump)
    assert virtual.now() == START + jump
    assert virtual.monotonic() == 0


def test_it_jumps_by_parts_of_a_time_as_well() -> None:
    virtual = VirtualClock(START)
    virtual.jump(hours=-1, minutes=30)
    assert virtual.now() == START - timedelta(minutes=30)


def test_it_says_how_far_it_is_to_a_moment() -> None:
    virtual = VirtualClock(START)
    assert virtual.seconds_until(START + timedelta(seconds=90)) == 90
    assert virtual.seconds_until(START) == 0
    assert virtual.seconds_until(START - timedelta(days=1)) == 0


def test_triggers_that_are_made_under_it_go_by_it() -> None:
    with VirtualClock(START):
        trigger = IntervalTrigger(hours=1, timezone=UTC)
    assert trigger.start_date == START + timedelta(hours=1)


def test_it_is_in_force_inside_its_block_alone() -> None:
    virtual = VirtualClock(START)
    with virtual as entered:
        assert entered is virtual
        assert clock.now() == START
    assert clock.now() != START


def test_it_can_be_entered_again_inside_its_own_block() -> None:
    virtual = VirtualClock(START)
    with virtual:
        with virtual:
            assert clock.now() == START
        assert clock.now() == START
    assert clock.now() != START


def test_it_shows_where_it_stands() -> None:
    assert repr(VirtualClock(START)) == "<VirtualClock at 2026-03-01 12:00:00+00:00>"


def use(virtual: Any) -> dict[str, Callable[..., Any]]:
    return {"start": VirtualClock, "advance_to": virtual.advance_to}


@pytest.mark.parametrize("name", ["start", "advance_to"])
def test_a_moment_needs_a_time_zone(name: str) -> None:
    with pytest.raises(ValueError, match=r"must have a time zone, got .* add tzinfo="):
        use(VirtualClock(START))[name](datetime(2026, 3, 2))


@pytest.mark.parametrize("name", ["start", "advance_to"])
@pytest.mark.parametrize("moment", ["2026-03-02", 1e9, None, START.date()])
def test_a_moment_is_a_datetime(name: str, moment: Any) -> None:
    with pytest.raises(TypeError, match="must be a datetime, got "):
        use(VirtualClock(START))[name](moment)


@pytest.mark.parametrize("parts", [{"seconds": -1}, {"delta": timedelta(microseconds=-1)}])
def test_it_is_not_advanced_backwards(parts: dict[str, Any]) -> None:
    virtual = VirtualClock(START)
    with pytest.raises(ValueError, match=r"use jump\(\) to set the clock back"):
        virtual.advance(**parts)
    assert virtual.now() == START


def test_it_is_not_advanced_to_a_moment_that_has_passed() -> None:
    virtual = VirtualClock(START)
    with pytest.raises(ValueError, match="cannot be advanced"):
        virtual.advance_to(START - timedelta(seconds=1))
    assert virtual.now() == START


@pytest.mark.parametrize("method", ["advance", "jump"])
@pytest.mark.parametrize(
    ("arguments", "parts", "message"),
    [
        ((), {}, "give either"),
        ((timedelta(1),), {"days": 1}, "give either"),
        ((5,), {}, "seconds=5"),
        ((), {"lightyears": 1}, "lightyears"),
    ],
)
def test_a_step_is_a_timedelta_or_parts_of_one(
    method: str, arguments: tuple[Any, ...], parts: dict[str, Any], message: str
) -> None:
    virtual = VirtualClock(START)
    with pytest.raises(TypeError, match=message):
        getattr(virtual, method)(*arguments, **parts)
    assert virtual.now() == START
