"""Triggers as other people write them: they are asked as 3.x asked them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.testing import ManualScheduler, VirtualClock
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.interval import IntervalTrigger

#: In Berlin, one hour later.
START = datetime(2026, 1, 5, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


class AtNine(BaseTrigger):
    """Goes by the clock on the wall, which it takes from the present."""

    def __init__(self) -> None:
        self.zones: list[str] = []

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        self.zones.append(str(now.tzinfo))
        nine = now.replace(hour=9, minute=0, second=0, microsecond=0)
        last = now if previous is None else max(previous, now)
        return nine if nine > last else nine + timedelta(days=1)


class Answering(BaseTrigger):
    """Answers what a function says."""

    def __init__(self, answer: Callable[[datetime | None, datetime], Any]) -> None:
        self.answer = answer
        self.asked = 0

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> Any:
        self.asked += 1
        return self.answer(previous, now)

    def __repr__(self) -> str:
        return "answering"


class OnlyEvenHours(IntervalTrigger):
    """One of ours, of which somebody leaves out a part."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        answer = super().get_next_fire_time(previous, now)
        while answer is not None and answer.hour % 2:
            answer = super().get_next_fire_time(answer, now)
        return answer


class NeverOnTheThird(CalendarIntervalTrigger):
    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        answer = super().get_next_fire_time(previous, now)
        if answer is not None and answer.day == 3:
            answer = super().get_next_fire_time(answer, now)
        return answer


class Host(ManualScheduler):
    """Notes for which times jobs ran, and which were missed."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("timezone", "Europe/Berlin")
        super().__init__(clock=VirtualClock(START), **options)
        self.ran: list[datetime] = []
        self.missed: list[datetime] = []
        self.add_listener(lambda e: self.ran.append(e.scheduled_run_time), EVENT_JOB_EXECUTED)
        self.add_listener(lambda e: self.missed.append(e.scheduled_run_time), EVENT_JOB_MISSED)
        self.start()

    def add(self, trigger: BaseTrigger, **options: Any) -> Any:
        options = {"misfire_grace_time": None, "id": "it", **options}
        return self.add_job(bool, trigger, **options)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_a_trigger_is_told_the_present_in_the_zone_of_the_scheduler() -> None:
    host, trigger = Host(), AtNine()
    host.add(trigger)
    host.advance(days=2)
    host.reschedule_job("it", trigger=trigger)
    host.pause_job("it")
    host.resume_job("it")
    host.advance(days=1)
    assert host.ran == [at(2), at(26), at(50)]
    assert set(trigger.zones) == {"Europe/Berlin"}


@pytest.mark.parametrize("combine", [AndTrigger, OrTrigger])
def test_so_is_a_member_of_one_of_ours(combine: Any) -> None:
    host, trigger = Host(), AtNine()
    host.add(combine([trigger]))
    host.advance(days=2)
    assert host.ran == [at(2), at(26)]
    assert set(trigger.zones) == {"Europe/Berlin"}


@pytest.mark.parametrize("coalesce", [True, False])
def test_a_naive_answer_is_meant_in_the_zone_of_the_scheduler(coalesce: bool) -> None:
    def hourly(previous: datetime | None, now: datetime) -> datetime:
        return ((previous or now) + HOUR).replace(tzinfo=None)

    host = Host()
    host.add(Answering(hourly), coalesce=coalesce)
    host.advance(hours=3)
    assert host.ran == [at(1), at(2), at(3)]
    host.clock.advance(hours=3)
    host.run_due()
    assert host.ran[3:] == ([at(6)] if coalesce else [at(4), at(5), at(6)])
    assert host.explain("it", at(6)).count("succeeded") == 1


def test_naive_answers_that_were_missed_are_told_of_one_by_one() -> None:
    def hourly(previous: datetime | None, now: datetime) -> datetime:
        return ((previous or now) + HOUR).replace(tzinfo=None)

    host = Host()
    host.add(Answering(hourly), coalesce=False, misfire_grace_time=60)
    host.pause()
    host.advance(hours=3.5)
    host.resume()
    host.run_due()
    assert (host.ran, host.missed) == ([], [at(1), at(2), at(3)])


def test_a_date_is_midnight_in_the_zone_of_the_scheduler() -> None:
    host = Host()
    job = host.add(Answering(lambda previous, now: None if previous else date(2026, 1, 6)))
    assert job.next_run_time == datetime(2026, 1, 5, 23, tzinfo=UTC)
    host.advance(days=1)
    assert host.ran == [at(17)]


@pytest.mark.parametrize(
    "answer",
    [
        lambda previous, now: at(1),
        lambda previous, now: at(1) if previous is None else previous - HOUR,
        lambda previous, now: at(1) - HOUR if previous else at(1),
    ],
    ids=["the same time", "backwards", "once backwards"],
)
@pytest.mark.parametrize("coalesce", [True, False])
def test_a_trigger_that_does_not_advance_is_asked_a_bounded_number_of_times(
    answer: Any, coalesce: bool
) -> None:
    host, trigger = Host(), Answering(answer)
    host.add(trigger, coalesce=coalesce)
    host.add(IntervalTrigger(hours=1, start_date=at(1), timezone=UTC), id="good")
    host.advance(hours=2)
    assert [slot for slot in host.ran if slot != at(1)] == [at(2)]
    assert "does not advance" in host.health().overdue[0].reason
    # It is asked again every now and then: at most every ten seconds, after some tries.
    assert trigger.asked < 3 * 2 * 3600 / 10


@pytest.mark.parametrize("coalesce", [True, False])
def test_a_trigger_that_fails_sometimes_loses_no_slot(coalesce: bool) -> None:
    def flaky(previous: datetime | None, now: datetime) -> datetime:
        if trigger.asked % 3 == 2:
            raise OSError("the calendar cannot be reached")
        return (previous or now) + HOUR

    trigger = Answering(flaky)
    host = Host()
    host.add(trigger, coalesce=coalesce)
    host.advance(hours=6.5)
    assert host.ran == [at(hour) for hour in range(1, 7)]


@pytest.mark.parametrize("coalesce", [True, False])
def test_what_a_subclass_of_one_of_ours_leaves_out_is_left_out_of_a_backlog_too(
    coalesce: bool,
) -> None:
    host = Host(timezone="UTC")
    host.add(OnlyEvenHours(minutes=20, start_date=START, timezone=UTC), coalesce=coalesce)
    host.run_due()
    host.ran.clear()
    host.clock.advance(hours=3, minutes=30)
    host.run_due()
    twenty = timedelta(minutes=20)
    slots = [START + twenty, START + 2 * twenty, at(2), at(2) + twenty, at(2) + 2 * twenty]
    assert host.ran == (slots[-1:] if coalesce else slots)
    assert "does not fire" in host.explain("it", at(5))
    assert host.get_job("it").next_run_time == at(4)
    assert host.get_job("it")._get_run_times(at(5).replace(tzinfo=UTC))[-1] == at(4) + 2 * twenty


def test_a_subclass_of_one_of_ours_that_begins_in_the_past_goes_on_to_its_next_day() -> None:
    host = Host(timezone="UTC")
    trigger = NeverOnTheThird(days=1, start_date=date(2026, 1, 1), timezone=UTC)
    assert host.add(trigger).next_run_time == datetime(2026, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize("combine", [AndTrigger, OrTrigger])
def test_what_a_member_leaves_out_is_left_out_by_one_of_ours(combine: Any) -> None:
    host = Host(timezone="UTC")
    evens = OnlyEvenHours(minutes=30, start_date=START, timezone=UTC)
    every = OnlyEvenHours(minutes=15, start_date=START, timezone=UTC)
    host.add(combine([evens, every]))
    host.advance(hours=2, minutes=30)
    assert {slot.hour for slot in host.ran} == {6, 8}
    assert at(2) in host.ran


def test_the_due_times_of_a_job_are_those_that_its_trigger_answers() -> None:
    def hourly(previous: datetime | None, now: datetime) -> datetime:
        return ((previous or now) + HOUR).replace(tzinfo=None)

    host = Host()
    job = host.add(Answering(hourly))
    now = at(3).astimezone(job.next_run_time.tzinfo)
    assert job._get_run_times(now) == [at(1), at(2), at(3)]

    job = host.add(OnlyEvenHours(seconds=1, start_date=START, timezone=UTC), id="often")
    assert {moment.hour for moment in job._get_run_times(at(1.5))} == {6}


def stalling(previous: datetime | None, now: datetime) -> datetime:
    return at(1) if previous is None else at(2)


@pytest.mark.parametrize(
    "trigger",
    [
        Answering(stalling),
        AndTrigger(
            [Answering(stalling), IntervalTrigger(hours=4, start_date=at(1), timezone=UTC)]
        ),
    ],
    ids=["alone", "in an And"],
)
def test_a_trigger_that_stalls_in_a_backlog_is_named(trigger: BaseTrigger) -> None:
    host = Host()
    host.add(trigger, misfire_grace_time=None)
    host.clock.advance(hours=9)
    host.run_due()
    assert "The trigger answering does not advance" in host.health().overdue[0].reason
