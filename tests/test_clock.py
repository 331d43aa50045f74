"""What time it is, who says so, and whether somebody has moved the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from threading import Thread
from zoneinfo import ZoneInfo

import pytest
import time_machine
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from apscheduler import clock
from apscheduler.clock import JumpWatch, SystemClock
from apscheduler.testing import VirtualClock

NEW_YEAR = datetime(2031, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

Replace = Callable[[datetime], AbstractContextManager[object]]


def with_time_machine(moment: datetime) -> AbstractContextManager[object]:
    return time_machine.travel(moment, tick=False)


replacing_time = pytest.mark.parametrize("replace", [freeze_time, with_time_machine])


# -- the machine's own clock --------------------------------------------------------------------


def test_the_system_clock_tells_the_time_of_the_machine_in_utc() -> None:
    before = time.time()
    now = SystemClock().now()
    assert before <= now.timestamp() <= time.time()
    assert now.tzinfo is UTC


def test_the_system_clock_counts_seconds_as_the_machine_does() -> None:
    before = time.monotonic()
    assert before <= SystemClock().monotonic() <= time.monotonic()


@replacing_time
def test_the_time_until_a_moment_is_that_from_now(replace: Replace) -> None:
    with replace(NEW_YEAR):
        assert SystemClock().seconds_until(NEW_YEAR + timedelta(minutes=2)) == 120


@replacing_time
def test_there_is_no_time_until_a_moment_that_has_passed(replace: Replace) -> None:
    with replace(NEW_YEAR):
        assert SystemClock().seconds_until(NEW_YEAR) == 0
        assert SystemClock().seconds_until(NEW_YEAR - timedelta(days=1)) == 0


@replacing_time
def test_the_hour_that_comes_twice_lies_between_its_two_ends(replace: Replace) -> None:
    with replace(datetime(2026, 10, 25, 0, 30, tzinfo=UTC)):
        again = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
        assert SystemClock().seconds_until(again) == 3600


def test_the_system_clock_can_be_recognised() -> None:
    assert repr(SystemClock()) == "SystemClock()"


# -- the clock in force -------------------------------------------------------------------------


def test_the_system_clock_is_in_force_unless_somebody_sets_another() -> None:
    before = time.time()
    assert before <= clock.now().timestamp() <= time.time()


@replacing_time
def test_tools_that_replace_the_time_replace_it_here(replace: Replace) -> None:
    with replace(NEW_YEAR):
        assert clock.now() == NEW_YEAR
    assert clock.now() < NEW_YEAR


@replacing_time
def test_the_time_is_told_in_the_zone_that_is_asked_for(replace: Replace) -> None:
    with replace(NEW_YEAR):
        assert clock.now().tzinfo is UTC
        assert clock.now(BERLIN).isoformat() == "2031-01-01T01:00:00+01:00"


def test_another_clock_can_be_set_for_a_while() -> None:
    earlier, later = VirtualClock(NEW_YEAR), VirtualClock(NEW_YEAR + timedelta(days=1))
    with clock.in_force(earlier):
        with clock.in_force(later):
            assert clock.now() == later.now()
        assert clock.now() == NEW_YEAR
    assert clock.now() < NEW_YEAR


def test_the_clock_before_is_in_force_again_after_an_error() -> None:
    with pytest.raises(LookupError), clock.in_force(VirtualClock(NEW_YEAR)):
        raise LookupError
    assert clock.now() < NEW_YEAR


def test_a_clock_that_is_set_is_in_force_in_its_own_thread_alone() -> None:
    seen: list[datetime] = []
    with clock.in_force(VirtualClock(NEW_YEAR)):
        thread = Thread(target=lambda: seen.append(clock.now()))
        thread.start()
        thread.join(10)
    (moment,) = seen
    assert moment < NEW_YEAR


# -- jumps --------------------------------------------------------------------------------------

ZERO = timedelta(0)


def test_the_first_look_at_a_clock_tells_no_jump() -> None:
    assert JumpWatch().observe(NEW_YEAR, 1e9) == ZERO


def test_a_clock_that_goes_as_time_does_has_not_jumped() -> None:
    watch = JumpWatch()
    watch.observe(NEW_YEAR, 100)
    assert watch.observe(NEW_YEAR + timedelta(hours=3), 100 + 3 * 3600) == ZERO


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=1.5)])
def test_a_clock_that_was_set_is_found_out_with_the_size_of_the_jump(jump: timedelta) -> None:
    watch = JumpWatch()
    watch.observe(NEW_YEAR, 100)
    assert watch.observe(NEW_YEAR + timedelta(seconds=10) + jump, 110) == jump


def test_a_machine_that_slept_has_jumped_by_its_sleep() -> None:
    watch = JumpWatch()
    watch.observe(NEW_YEAR, 100)
    assert watch.observe(NEW_YEAR + timedelta(hours=8), 101) == timedelta(hours=8, seconds=-1)


def test_a_jump_is_told_once() -> None:
    watch = JumpWatch()
    watch.observe(NEW_YEAR, 100)
    assert watch.observe(NEW_YEAR + timedelta(days=1), 100)
    assert watch.observe(NEW_YEAR + timedelta(days=1, seconds=5), 105) == ZERO


def test_disagreement_up_to_the_tolerance_is_put_down_to_slewing() -> None:
    watch = JumpWatch(tolerance=0.5)
    watch.observe(NEW_YEAR, 100)
    assert watch.observe(NEW_YEAR + timedelta(seconds=0.5), 100) == ZERO
    assert watch.observe(NEW_YEAR + timedelta(seconds=1.1), 100) == timedelta(seconds=0.6)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), max_size=20), st.floats(-0.4, 0.4))
def test_a_steady_clock_never_jumps(steps: list[float], slew: float) -> None:
    watch = JumpWatch()
    elapsed = 0.0
    for number, step in enumerate(steps):
        elapsed += step
        # The two clocks are apart by no more than twice `slew` from one look to the next.
        wall = NEW_YEAR + timedelta(seconds=elapsed + slew * (-1) ** number)
        assert watch.observe(wall, elapsed) == ZERO
