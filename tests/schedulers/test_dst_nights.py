"""Nights on which the clocks are set, lived through by a running scheduler.

Each job runs at the times that a walk through every minute of the night gives: cron jobs at
restricted hours once for each local time, those at every hour and intervals by elapsed time.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.testing import ManualScheduler, VirtualClock
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
BEFORE = timedelta(hours=4)
AFTER = timedelta(hours=5)
SPRING, AUTUMN, LOST_DAY = "forward", "back", "a whole day forward"
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Tehran",
    "Asia/Shanghai",
    "Africa/Casablanca",
    "America/St_Johns",
    "Pacific/Apia",
    "Antarctica/Troll",
    "Europe/Dublin",
]
NIGHTS = [
    *((key, kind) for key in ZONES for kind in (SPRING, AUTUMN)),
    ("Pacific/Apia", LOST_DAY),
    ("UTC", "not"),
]
FOLDS = [(key, kind) for key, kind in NIGHTS if kind == AUTUMN]

Slots = set[tuple[str, datetime]]


class Night(NamedTuple):
    """A setting of the clocks.

    :param at: the first instant after it
    :param first: the first local time that it leaves out or repeats
    :param size: how much it leaves out or repeats
    """

    zone: ZoneInfo
    at: datetime
    first: datetime
    size: timedelta

    @property
    def middle(self) -> datetime:
        """A local time that is left out, or comes twice."""
        return self.first + self.size // 2


def offset(zone: ZoneInfo, at: datetime) -> timedelta:
    shown = at.astimezone(zone).utcoffset()
    assert shown is not None
    return shown


@cache
def night(key: str, kind: str) -> Night:
    """Return the last night before 2027 of which this is true, found by looking at each."""
    zone = ZoneInfo(key)
    day = datetime(2027, 1, 1, tzinfo=UTC)
    if kind == "not":
        return Night(zone, day, day.replace(tzinfo=None), timedelta(hours=1))
    while not is_such_a_day(offset(zone, day) - offset(zone, day - DAY), kind):
        day -= DAY
        assert day.year > 1980
    at = day - DAY
    while offset(zone, at) != offset(zone, day):
        at += MINUTE
    before, after = offset(zone, at - MINUTE), offset(zone, at)
    return Night(zone, at, at.replace(tzinfo=None) + min(before, after), abs(after - before))


def is_such_a_day(change: timedelta, kind: str) -> bool:
    if kind == AUTUMN:
        return change < timedelta(0)
    return change == DAY if kind == LOST_DAY else timedelta(0) < change < DAY


class Walk:
    """What the clocks show in each minute of the two days around a night."""

    def __init__(self, night: Night) -> None:
        self.shown: dict[datetime, datetime] = {}
        self.instants: dict[datetime, list[datetime]] = {}
        at = night.at - DAY
        while at < night.at + DAY:
            wall = at.astimezone(night.zone).replace(tzinfo=None)
            self.shown[at] = wall
            self.instants.setdefault(wall, []).append(at)
            at += MINUTE

    def by_local_time(self, matches: Callable[[datetime], bool]) -> set[datetime]:
        """Return the first instant of each local time, and that after those which are left out."""
        times = set()
        wall, last = min(self.instants), max(self.instants)
        while wall <= last:
            if matches(wall):
                instants = self.instants.get(wall)
                times.add(instants[0] if instants else self.first_after(wall))
            wall += MINUTE
        return times

    def first_after(self, wall: datetime) -> datetime:
        return next(at for at, shown in self.shown.items() if shown > wall)

    def by_elapsed_time(self, matches: Callable[[datetime], bool]) -> set[datetime]:
        """Return every instant at which the clocks show what matches."""
        return {at for at, wall in self.shown.items() if matches(wall)}


walk = cache(Walk)


class Planned(NamedTuple):
    """A job, and when it has to run.

    :param late: when it has to run if nobody was there for the first half of a fold
    """

    trigger: BaseTrigger
    required: Callable[[], set[datetime]]
    late: Callable[[], set[datetime]]


class Plans:
    """Jobs for a night, and the times that the rules demand of each."""

    def __init__(self, night: Night) -> None:
        self.night = night
        self.begin = night.at - BEFORE
        self.end = night.at + AFTER
        self.walk = walk(night)
        middle = night.middle
        self.jobs = {
            "in the middle": self.cron([middle.hour], [middle.minute]),
            "often in that hour": self.cron([middle.hour], range(0, 60, 10)),
            "around it": self.cron([0, 1, 2, 3, 22, 23], [0, 30]),
            "midnight": self.cron([0], [0]),
            "every minute": self.cron(range(24), range(60)),
            "every hour": self.cron(range(24), [30]),
            "crontab": self.cron(range(4), [15, 45], "15,45 0-3 * * *"),
            "crontab for every hour": self.cron(range(24), [0, 20, 40], "*/20 * * * *"),
            "24 hours": self.interval(timedelta(hours=24), self.begin + timedelta(hours=6) - DAY),
            "10 minutes": self.interval(timedelta(minutes=10), self.begin + 3 * MINUTE),
            "daily in the middle": self.daily(middle.hour, middle.minute),
            "daily at midnight": self.daily(0, 0),
        }

    def cron(
        self, hours: Sequence[int], minutes: Sequence[int], line: str | None = None
    ) -> Planned:
        zone = self.night.zone
        if line is not None:
            trigger = CronTrigger.from_crontab(line, zone)
        else:
            hour, minute = (",".join(map(str, numbers)) for numbers in (hours, minutes))
            trigger = CronTrigger(hour=hour, minute=minute, timezone=zone)

        def matches(wall: datetime) -> bool:
            return wall.hour in hours and wall.minute in minutes

        def elapsed() -> set[datetime]:
            return self.walk.by_elapsed_time(matches)

        every_hour = len(hours) == 24
        once = elapsed if every_hour else lambda: self.walk.by_local_time(matches)
        return Planned(trigger, once, elapsed)

    def interval(self, interval: timedelta, start: datetime) -> Planned:
        def required() -> set[datetime]:
            return {start + number * interval for number in range(1000)}

        trigger = IntervalTrigger(
            seconds=interval.total_seconds(), start_date=start, timezone=self.night.zone
        )
        return Planned(trigger, required, required)

    def daily(self, hour: int, minute: int) -> Planned:
        def required() -> set[datetime]:
            # On a day that has no such time, it does not run.
            at = (hour, minute)
            times = self.walk.instants.items()
            return {instants[0] for wall, instants in times if (wall.hour, wall.minute) == at}

        first = self.night.first.date() - 3 * DAY
        trigger = CalendarIntervalTrigger(
            days=1, hour=hour, minute=minute, start_date=first, timezone=self.night.zone
        )
        return Planned(trigger, required, required)

    def required(self, begin: datetime | None = None) -> Slots:
        """Return each job with each of its times in the night.

        :param begin: when the jobs are added, if that is between the two halves of a fold
        """
        return {
            (name, at)
            for name, planned in self.jobs.items()
            for at in (planned.required() if begin is None else planned.late())
            if (begin or self.begin) <= at <= self.end
        }


def nothing() -> None:
    pass


class Watch:
    """A scheduler that is watched, and may be replaced in the middle of the night."""

    def __init__(self, begin: datetime) -> None:
        self.ran: list[tuple[str, datetime]] = []
        self.other: list[Any] = []
        self.clock = VirtualClock(begin)
        self.store = MemoryJobStore()
        self.start()

    def start(self) -> None:
        self.scheduler = ManualScheduler(
            timezone="UTC", clock=self.clock, jobstores={"default": self.store}
        )
        self.scheduler.add_listener(
            lambda event: self.ran.append(
                (event.job_id, event.scheduled_run_time.astimezone(UTC))
            ),
            EVENT_JOB_EXECUTED,
        )
        self.scheduler.add_listener(self.other.append, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
        self.scheduler.start()

    def add(self, jobs: dict[str, Planned], **options: Any) -> None:
        for name, planned in jobs.items():
            self.scheduler.add_job(nothing, planned.trigger, id=name, **options)

    def restart(self, down: timedelta = timedelta(0)) -> None:
        """Go on with another scheduler, which finds what is left of the jobs in a database."""
        rows = [pickle.dumps(job.__getstate__()) for job in self.scheduler.get_jobs()]
        self.scheduler.shutdown()
        self.clock.advance(down)
        self.store = MemoryJobStore()
        for row in rows:
            job = Job.__new__(Job)
            job.__setstate__(pickle.loads(row))
            self.store.add_job(job)
        self.start()

    def runs(self) -> Slots:
        """End the night; return the runs there were."""
        self.scheduler.shutdown()
        assert self.other == []
        assert len(self.ran) == len(set(self.ran)), "something ran twice"
        return set(self.ran)


@pytest.mark.parametrize(("key", "kind"), NIGHTS)
def test_the_runs_of_the_night_are_those_that_the_rules_demand(key: str, kind: str) -> None:
    plans = Plans(night(key, kind))
    watch = Watch(plans.begin)
    watch.add(plans.jobs)
    watch.scheduler.advance_to(plans.end)
    assert watch.runs() == plans.required()


@pytest.mark.parametrize(("key", "kind"), NIGHTS)
def test_a_restart_in_the_middle_of_the_night_loses_no_run_and_repeats_none(
    key: str, kind: str
) -> None:
    plans = Plans(night(key, kind))
    at = plans.night.at
    watch = Watch(plans.begin)
    watch.add(plans.jobs, coalesce=False, misfire_grace_time=None)
    downtimes = {
        at - timedelta(minutes=40): timedelta(minutes=25),
        at - MINUTE: timedelta(0),
        at: timedelta(0),
        at + timedelta(minutes=7): timedelta(minutes=38),
    }
    for moment, down in downtimes.items():
        watch.scheduler.advance_to(moment)
        watch.restart(down)
    watch.scheduler.advance_to(plans.end)
    assert watch.runs() == plans.required()


@pytest.mark.parametrize(("key", "kind"), NIGHTS)
def test_a_whole_night_without_a_scheduler_is_made_up_for(key: str, kind: str) -> None:
    plans = Plans(night(key, kind))
    watch = Watch(plans.begin)
    watch.add(plans.jobs, coalesce=False, misfire_grace_time=None)
    watch.restart(down=plans.end - plans.begin)
    watch.scheduler.run_due()
    assert watch.runs() == plans.required()


@pytest.mark.parametrize(("key", "kind"), FOLDS)
@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.9])
def test_a_job_that_is_added_between_the_two_halves_runs_in_the_second_one(
    key: str, kind: str, part: float
) -> None:
    plans = Plans(night(key, kind))
    added = plans.night.at + part * plans.night.size
    watch = Watch(added)
    watch.add(plans.jobs)
    watch.scheduler.advance_to(plans.end)
    # Nobody was there for the first half: each local time that is still to come counts.
    assert watch.runs() == plans.required(added)


@pytest.mark.parametrize("key", ZONES)
def test_the_nights_are_what_they_are_called(key: str) -> None:
    for kind in SPRING, AUTUMN:
        found = night(key, kind)
        shown = walk(found).instants
        times = {SPRING: 0, AUTUMN: 2}[kind]
        assert len(shown.get(found.first, [])) == times
        assert len(shown.get(found.middle, [])) == times
        assert len(shown[found.first - MINUTE]) == 1
        assert len(shown[found.first + found.size]) == 1
