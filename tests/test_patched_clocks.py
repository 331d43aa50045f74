"""Tests of programs that replace the time, with freezegun or time-machine, round a scheduler."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import time_machine
from freezegun import freeze_time

sys.path.append(str(Path(__file__).resolve().parent / "schedulers"))

from host_kit import HOSTS, Ears, Host

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.testing import ManualScheduler, VirtualClock

START = datetime(2031, 5, 1, 12, tzinfo=UTC)
LONG_AGO = datetime(2003, 5, 1, 12, tzinfo=UTC)
SOON = timedelta(seconds=0.2)
HOUR = timedelta(hours=1)
#: How long the hosts sleep at most, in seconds, and what they are watched for.
SLEEP = 0.05
WHILE = 0.4

Move = Callable[[timedelta], None]
Replace = Callable[..., AbstractContextManager[Move]]
KINDS = ["background", "blocking", "asyncio"]


@contextmanager
def with_freezegun(moment: datetime, tick: bool = True) -> Iterator[Move]:
    # An event loop that reads the replaced time forgets its timers when that is over.
    with freeze_time(moment, tick=tick, real_asyncio=True) as frozen:
        yield frozen.tick


@contextmanager
def with_time_machine(moment: datetime, tick: bool = True) -> Iterator[Move]:
    with time_machine.travel(moment, tick=tick) as traveller:
        yield traveller.shift


replacing_time = pytest.mark.parametrize("replace", [with_freezegun, with_time_machine])


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    host = HOSTS[request.param](max_sleep=SLEEP)
    host.ended = Ears(host.scheduler, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    yield host
    host.close()


@contextmanager
def running(host: Host, replaced: AbstractContextManager[Move]) -> Iterator[Move]:
    """Replace the time as a test of a program does: one on an event loop does it there.

    An event loop in another thread might read the time when it is half replaced.
    """
    do: Callable[..., Any] = getattr(host, "on_loop", lambda call: call())
    move = do(replaced.__enter__)
    try:
        yield move
    finally:
        do(lambda: replaced.__exit__(None, None, None))


def nothing() -> None:
    pass


def add(host: Host, moment: datetime, **options: Any) -> None:
    host.scheduler.add_job(nothing, "date", run_date=moment, id="once", **options)


def turns_in_a_while(host: Host) -> int:
    """Return how often the host looks for due jobs in `WHILE` seconds."""
    turns = []
    look = host.scheduler._process_jobs

    def counted() -> float | None:
        turns.append(1)
        return look()

    host.scheduler._process_jobs = counted
    Event().wait(WHILE)
    del host.scheduler._process_jobs
    return len(turns)


@replacing_time
@pytest.mark.parametrize("start", [START, LONG_AGO])
def test_a_job_fires_when_the_replaced_time_comes_to_it(
    replace: Replace, host: Host, start: datetime
) -> None:
    began = time.monotonic()
    with running(host, replace(start)):
        host.start()
        add(host, start + SOON)
        event = host.ended.next()
        (run,) = host.scheduler.get_runs("once")
    assert event.code == EVENT_JOB_EXECUTED
    assert event.scheduled_run_time == run.scheduled_at == start + SOON
    assert start + SOON <= run.started_at <= run.ended_at < start + HOUR
    assert time.monotonic() - began >= SOON.total_seconds()


@replacing_time
def test_a_time_that_is_replaced_while_the_scheduler_runs_is_noticed(
    replace: Replace, host: Host
) -> None:
    host.start()
    add(host, START + SOON)
    with running(host, replace(START)):
        assert host.ended.next().scheduled_run_time == START + SOON
        (run,) = host.scheduler.get_runs("once")
        assert START + SOON <= run.started_at < START + HOUR


@replacing_time
def test_what_a_leap_of_the_replaced_time_makes_due_runs_as_one_run(
    replace: Replace, host: Host
) -> None:
    with running(host, replace(START)) as move:
        host.start()
        host.scheduler.add_job(nothing, "interval", minutes=7, id="i", misfire_grace_time=None)
        move(HOUR)
        assert host.ended.next().code == EVENT_JOB_EXECUTED
        (run,) = host.scheduler.get_runs("i")
        assert run.count == 8
        assert run.started_at >= START + HOUR
        job = host.scheduler.get_job("i")
        assert START + HOUR < job.next_run_time <= START + timedelta(minutes=64)


def test_a_leap_by_time_machine_is_a_clock_that_was_moved(host: Host) -> None:
    with running(host, with_time_machine(START)) as move:
        host.start()
        add(host, START + HOUR / 2)
        move(HOUR)
        assert host.ended.next().code == EVENT_JOB_MISSED
        told = host.scheduler.explain("once", START + HOUR / 2)
    assert re.search("was missed: the clock was moved by (1:00:00|0:59:59)", told)


def test_a_leap_by_freezegun_is_time_that_has_passed(host: Host) -> None:
    # It advances `time.monotonic` as well: somebody was there all the while.
    with running(host, with_freezegun(START)) as move:
        host.start()
        add(host, START + HOUR / 2)
        move(HOUR)
        assert host.ended.next().code == EVENT_JOB_EXECUTED
        told = host.scheduler.explain("once", START + HOUR / 2)
    assert "started 0:30:0" in told


@replacing_time
def test_a_time_that_is_set_back_repeats_no_run_and_keeps_nobody_busy(
    replace: Replace, host: Host
) -> None:
    with running(host, replace(START)) as move:
        host.start()
        host.scheduler.add_job(
            nothing, "interval", hours=1, id="i", start_date=START, next_run_time=START,
            misfire_grace_time=None,
        )  # fmt: skip
        assert host.ended.next().scheduled_run_time == START
        move(-3 * HOUR)
        assert turns_in_a_while(host) <= WHILE / SLEEP + 2
        assert host.ended.rest() == []
        move(4 * HOUR)
        assert host.ended.next().scheduled_run_time == START + HOUR
        assert host.scheduler.health().running


@replacing_time
def test_the_scheduler_goes_on_when_the_time_is_the_real_one_again(
    replace: Replace, host: Host
) -> None:
    with running(host, replace(START)):
        host.start()
        host.run(nothing)
    assert turns_in_a_while(host) in range(2, round(WHILE / SLEEP) + 3)
    moment = datetime.now(UTC) + SOON
    add(host, moment)
    assert host.ended.next().scheduled_run_time == moment
    (run,) = host.scheduler.get_runs("once")
    assert moment <= run.started_at < START
    assert abs(host.scheduler.health().last_turn - datetime.now(UTC)) < HOUR


@replacing_time
def test_a_time_that_stands_still_makes_nothing_due_and_keeps_nobody_busy(
    replace: Replace, host: Host
) -> None:
    with running(host, replace(START, tick=False)) as move:
        host.start()
        add(host, START + timedelta(milliseconds=1), misfire_grace_time=None)
        # Down to a millisecond it is asked again how much is left; it never comes to that.
        assert turns_in_a_while(host) <= WHILE / 0.001
        assert host.ended.rest() == []
        move(HOUR)
        assert host.ended.next().scheduled_run_time == START + timedelta(milliseconds=1)


@replacing_time
def test_a_scheduler_with_a_clock_of_its_own_does_not_mind(replace: Replace) -> None:
    ran: list[datetime] = []
    with replace(START) as move:
        scheduler = ManualScheduler(timezone="UTC", clock=VirtualClock(LONG_AGO))
        scheduler.start()
        scheduler.add_job(lambda: ran.append(scheduler.clock.now()), "interval", hours=1)
        move(3 * HOUR)
        scheduler.run_due()
        assert ran == []
        scheduler.advance(hours=2)
        scheduler.shutdown()
    assert ran == [LONG_AGO + HOUR, LONG_AGO + 2 * HOUR]


@replacing_time
def test_a_clock_of_its_own_may_start_at_the_replaced_time(replace: Replace) -> None:
    with replace(START, tick=False):
        clock = VirtualClock(datetime.now(UTC))
        scheduler = ManualScheduler(timezone="UTC", clock=clock)
        scheduler.start()
        job = scheduler.add_job(nothing, "interval", hours=1)
        assert job.next_run_time == START + HOUR
        scheduler.advance_to(datetime.now(UTC) + HOUR)
        assert [run.scheduled_at for run in scheduler.get_runs()] == [START + HOUR]
        scheduler.shutdown()
