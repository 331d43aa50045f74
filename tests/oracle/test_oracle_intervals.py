"""Interval and calendar interval triggers against models that go step by step."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.interval import IntervalTrigger
from oracle.cases import Place, Wrong, as_instant, bound, call, cases, report
from oracle.clocks import DAY, MINUTE, ZONES
from oracle.intervals import CalendarModel, IntervalModel

IN_A_ROW = 6


class IntervalCase:
    """One trigger, asked this and that near one place."""

    leaps = False

    def __init__(self, place: Place, seed: str) -> None:
        self.place = place
        self.seed = seed
        self.rng = random.Random(seed)
        self.jitter = self.rng.choice([None, None, 0, 600])
        self.arguments, self.model, self.trigger = self.made()

    def made(self) -> tuple[dict[str, Any], Any, BaseTrigger]:
        rng, zone = self.rng, self.place.zone
        parts: dict[str, float] = rng.choice(
            [
                {"hours": rng.choice([1, 1, 2, 3, 7, 24])},
                {"days": rng.choice([1, 1, 2, 3])},
                {"minutes": rng.choice([1, 15, 20, 30, 45, 60, 7])},
                {"seconds": rng.choice([1, 59, 3600, 86400, 7.5, 90.25, rng.randrange(1, 10**5)])},
                {"weeks": rng.choice([1, 2, 0.5]), "minutes": 1},
                {"days": 1, "hours": 1, "minutes": 1, "seconds": 1.5},
            ]
        )
        interval = timedelta(**parts)
        zone_given = rng.random() < 0.8
        start = self.start(interval, zone_given)
        end = bound(rng, self.place, zone_given)
        arguments: dict[str, Any] = {
            **parts,
            "start_date": start,
            "end_date": end,
            "jitter": self.jitter,
        }
        if zone_given:
            arguments["timezone"] = zone
        first = as_instant(start, zone)
        assert first is not None
        model = IntervalModel(interval, first, as_instant(end, zone), bool(self.jitter))
        return arguments, model, IntervalTrigger(**arguments)

    def start(self, interval: timedelta, zone_given: bool) -> datetime | date | str:
        """Return a start that is near the place, or so long before that it is still walked."""
        start = None
        while start is None:
            start = bound(self.rng, self.place, zone_given)
        if isinstance(start, datetime) and interval >= MINUTE:
            start -= interval * self.rng.choice([0, 1, 2, 300])
        return start

    def ask(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the answer of both, or raise what is wrong."""
        zone = self.place.zone
        expected = self.model.next(previous, now)
        # What jitter adds is left out; but it changes what the times are counted from.
        asked = "_next_on_grid" if self.jitter else "get_next_fire_time"
        got: datetime | None = getattr(self.trigger, asked)(previous, now)
        local = None if expected is None else expected.astimezone(zone)
        if (got and (got.isoformat(), got.fold)) != (
            local and (local.isoformat(), local.fold)
        ) or (got is not None and got.tzinfo is not zone):
            name = type(self.trigger).__name__
            raise report(self.seed, call(name, self.arguments), previous, now, local, got, asked)
        return got

    def chain(self, now: datetime) -> list[datetime]:
        """Ask for some fire times in a row, at different times, and return them."""
        fires: list[datetime] = []
        fire = self.ask(None, now)
        while fire is not None and len(fires) < IN_A_ROW:
            fires.append(fire)
            fire = self.ask(fire, self.rng.choice([fire, self.place.moment(self.rng), now]))
        return fires

    def run(self) -> None:
        fires = self.chain(self.place.moment(self.rng))
        for _ in range(2):
            previous = self.place.moment(self.rng)
            if fires and self.rng.random() < 0.5:
                previous = self.rng.choice(fires)
            self.ask(previous, self.place.moment(self.rng))
        if fires:
            self.last_due(fires)

    def last_due(self, fires: list[datetime]) -> None:
        """Ask for the last of several times at once, and for what follows when they are past."""
        at = self.rng.randrange(len(fires))
        first, last = fires[0].astimezone(UTC), fires[at].astimezone(UTC)
        until = last + self.rng.choice([0, 1]) * timedelta(milliseconds=1)
        found, count = self.trigger._last_due(fires[0], until)
        # What follows is in any case after the one that is known.
        following = last if first < last == until else self.model.next(fires[at], until)
        caught_up = self.trigger._catch_up(fires[0], until)
        leap = self.trigger._leap(fires[0], until) if self.leaps else fires[at]
        for name, expected, got in (
            ("_last_due", (last, at + 1), (found.astimezone(UTC), count)),
            ("_leap", last, leap.astimezone(UTC)),
            ("_catch_up", following, caught_up and caught_up.astimezone(UTC)),
        ):
            if got != expected:
                raise Wrong(
                    f"{call(type(self.trigger).__name__, self.arguments)}."
                    f"{name}({fires[0]!r}, {until!r}) is {got!r}, not {expected!r} "
                    f"(case {self.seed})"
                )


class CalendarCase(IntervalCase):
    """The same with a trigger that counts days, weeks, months and years."""

    leaps = True

    def made(self) -> tuple[dict[str, Any], Any, BaseTrigger]:
        rng, zone = self.rng, self.place.zone
        wall = self.place.local(rng)
        parts: dict[str, int] = rng.choice(
            [
                {"days": rng.choice([1, 1, 1, 2, 3, 30])},
                {"weeks": rng.choice([1, 2])},
                {"months": rng.choice([1, 1, 2, 3, 12, 13])},
                {"years": rng.choice([1, 1, 4])},
                {"months": rng.choice([1, 6]), "days": rng.choice([1, 2, 29])},
                {"years": 1, "months": 1, "weeks": 1, "days": 1},
            ]
        )
        steps_before = rng.choice([0, 0, 1, 2, 3])
        months = 12 * parts.get("years", 0) + parts.get("months", 0)
        days = 7 * parts.get("weeks", 0) + parts.get("days", 0)
        start = self.back(wall.date(), steps_before * months, steps_before * days)
        if rng.random() < 0.2:
            start = (start.replace(day=1) + 31 * DAY).replace(day=1) - DAY  # the month's end
        end = None if rng.random() < 0.6 else start + rng.randrange(3 * (days + 31 * months)) * DAY
        at = time(wall.hour, wall.minute, rng.choice([0, 0, 59]))
        arguments: dict[str, Any] = {
            **parts,
            "hour": at.hour,
            "minute": at.minute,
            "second": at.second,
            "start_date": rng.choice([start, str(start)]),
            "end_date": end and rng.choice([end, str(end)]),
            "timezone": zone,
            "jitter": self.jitter,
        }
        model = CalendarModel(months, days, at, zone, start, end, bool(self.jitter))
        return arguments, model, CalendarIntervalTrigger(**arguments)

    @staticmethod
    def back(day: date, months: int, days: int) -> date:
        """Return a day from which that many months and days lead to ``day`` or close to it."""
        day -= days * DAY
        year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
        return date(year, month + 1, min(day.day, 28) if months else day.day)


def test_an_interval_fires_after_equal_times_whatever_the_clocks_do() -> None:
    for place, seed in cases("interval", 50):
        IntervalCase(place, seed).run()


def test_a_calendar_interval_fires_on_the_days_that_counting_gives() -> None:
    for place, seed in cases("calendar", 50):
        CalendarCase(place, seed).run()


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_in_many_cases_an_interval_fires_after_equal_times(zone: str) -> None:
    for place, seed in cases("interval", 150, [zone]):
        IntervalCase(place, seed).run()


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_in_many_cases_a_calendar_interval_fires_on_the_days_of_counting(zone: str) -> None:
    for place, seed in cases("calendar", 150, [zone]):
        CalendarCase(place, seed).run()
