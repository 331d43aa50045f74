"""Cases made up at random around changes of the clocks, and the report of one that fails.

The seed is printed, and is another one in every run, except with `CI` set. The variable
`ORACLE_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from oracle.clocks import (
    DAY,
    HOUR,
    LAST_YEAR,
    MINUTE,
    SECOND,
    ZONES,
    changes_of,
    wall_at,
)
from oracle.cron import (
    MONTHS,
    NAMES,
    RANGES,
    WEEKDAYS,
    Expression,
    Part,
    every,
    last_day,
    last_weekday,
    named,
    nth,
    one,
    span,
)

SEED_VARIABLE = "ORACLE_SEED"
CASES_PER_PLACE = 50


def chosen_seed() -> str:
    """Return the seed of this run, and print it: pytest shows it beside a failure."""
    seed = os.environ.get(SEED_VARIABLE) or (
        "1" if "CI" in os.environ else str(random.SystemRandom().randrange(10**6))
    )
    print(f"{SEED_VARIABLE}={seed}")
    return seed


def cases(
    kind: str, count: int, zones: list[str] = ZONES, seed: str | None = None
) -> Iterator[tuple[Place, str]]:
    """Yield places and, for each case there, what its random numbers are to be made from.

    Cases of one place come one after the other, so that its walk is made once.
    """
    seed = seed or chosen_seed()
    per_place = max(1, min(CASES_PER_PLACE, count // len(zones)))
    for at in range(count):
        number = at // per_place
        zone = zones[number % len(zones)]
        yield Place(zone, f"{seed}:{kind}:{zone}:{number}"), f"{seed}:{kind}:{at}"


class Place:
    """A zone and an instant around which cases are made: mostly a change of its clocks."""

    def __init__(self, key: str, seed: str) -> None:
        self.zone = ZoneInfo(key)
        rng = random.Random(seed)
        changes = changes_of(self.zone)
        if changes and rng.random() < 0.85:
            self.middle = rng.choice(changes)
        else:
            year = rng.choice([1970, 2037, 2038, 2400, 5000])
            if rng.random() < 0.7:
                year = rng.randrange(1970, LAST_YEAR)
            # The first and last week of a year, and the end of February.
            days = rng.choice([0, 0, 1, 58, 59, 364, rng.randrange(365)])
            self.middle = datetime(year, 1, 1, tzinfo=UTC) + days * DAY

    def local(self, rng: random.Random) -> datetime:
        """Return a local time (naive) that the clocks show close to the middle, or leave out."""
        wall = wall_at(self.zone, self.middle - rng.choice([0, 0, 1, 31]) * MINUTE)
        return wall + rng.choice([0, 0, 0, -1, 1, 2, -24, 24]) * HOUR

    def instant(self, rng: random.Random, reach: timedelta = 3 * DAY) -> datetime:
        """Return an instant near the middle, in UTC."""
        way = rng.choice([0 * SECOND, SECOND, MINUTE, 150 * MINUTE, 150 * MINUTE, reach])
        moment = self.middle + min(way, reach) * rng.uniform(-1, 1)
        return moment if rng.random() < 0.3 else moment.replace(microsecond=0)

    def moment(self, rng: random.Random, reach: timedelta = 3 * DAY) -> datetime:
        """Return an instant near the middle in any guise, even as a time that does not exist."""
        instant = self.instant(rng, reach)
        guise = rng.randrange(4)
        if guise == 0:
            return instant
        if guise == 1:
            return instant.astimezone(ZoneInfo(rng.choice(ZONES)))
        if guise == 2 and reach == 3 * DAY:
            lie = wall_at(self.zone, instant) + rng.choice([0, 0, 1, -1]) * HOUR
            return lie.replace(tzinfo=self.zone, fold=rng.randrange(2))
        return instant.astimezone(self.zone)


def bound(rng: random.Random, place: Place, zone_given: bool) -> datetime | date | str | None:
    """Return a start or end date as a user might give it, or None."""
    if rng.random() < 0.6:
        return None
    instant = place.instant(rng)
    form = rng.randrange(4)
    if form == 0 or not zone_given:
        return instant.astimezone(rng.choice([place.zone, UTC]) if zone_given else place.zone)
    wall = wall_at(place.zone, instant) + rng.choice([0, 0, 1, -1]) * HOUR
    if form == 1:
        return wall.replace(fold=rng.randrange(2))
    if form == 2:
        return wall.date()
    return f"{wall.replace(microsecond=0)}"


def as_instant(given: datetime | date | str | None, zone: ZoneInfo) -> datetime | None:
    """Return what a given start or end date means."""
    if given is None:
        return None
    if isinstance(given, str):
        given = datetime.fromisoformat(given)
    if not isinstance(given, datetime):
        given = datetime(given.year, given.month, given.day)
    return given.replace(tzinfo=given.tzinfo or zone).astimezone(UTC)


def expression(rng: random.Random, place: Place, *, seconds: bool = False) -> Expression:
    """Make up fields that have something to do with the local times near a place.

    :param seconds: whether there may be many seconds of a minute
    """
    wall = place.local(rng)
    near = {
        "year": wall.year,
        "month": wall.month,
        "day": wall.day,
        "week": wall.isocalendar().week,
        "day_of_week": wall.weekday(),
        "hour": wall.hour,
        "minute": wall.minute,
        "second": wall.second,
    }
    often = {"year": 0.08, "month": 0.15, "day": 0.25, "day_of_week": 0.2}
    often["week"] = 0.4 if wall.timetuple().tm_yday in (1, 2, 3, 364, 365, 366) else 0.1
    often |= {"hour": 0.75, "minute": 0.65, "second": 0.9 if seconds else 0.15}
    given = {}
    for name in NAMES:
        if rng.random() < often[name]:
            count = rng.choice([1, 1, 1, 2, 3])
            given[name] = [_part(rng, name, near[name], seconds) for _ in range(count)]
    if rng.random() < 0.05:
        given["hour"] = [span(0, wall.hour), span(wall.hour, 23)]  # every hour, in other words
    if not given or ("second" not in given and "minute" not in given and "hour" not in given):
        given["hour"] = [_part(rng, "hour", near["hour"], seconds)]
    return given


def _part(rng: random.Random, name: str, near: int, seconds: bool) -> Part:
    low, high = RANGES[name]
    if name == "year":
        low_value, high_value = max(low, near - 3), near + 4
    else:
        low_value, high_value = low, high

    def value() -> int:
        if rng.random() < (0.8 if name == "hour" else 0.6):
            return min(max(near + rng.choice([0, 0, 0, 1, -1, 2]), low_value), high_value)
        return rng.randint(low_value, high_value)

    if name == "day" and rng.random() < 0.4:
        return rng.choice(
            [
                last_day(),
                nth(rng.randint(1, 5), rng.randrange(7)),
                last_weekday(rng.randrange(7)),
                nth(min((near + 6) // 7, 5), rng.randrange(7)),
            ]
        )
    if name in ("month", "day_of_week") and rng.random() < 0.4:
        names = MONTHS if name == "month" else WEEKDAYS
        first, last = sorted([value(), value()])
        return named(names, low, first, rng.choice([None, last]))

    first, last = sorted([value(), value()])
    form = rng.choices(["one", "range", "steps", "open steps", "all", "every"], [8, 4, 2, 2, 2, 2])
    if name == "second" and not seconds:
        return one(first)  # not 1440 times 60
    if form == ["range"]:
        return span(first, last)
    if form == ["steps"] and last > first:
        return span(first, last, rng.randint(1, last - first))
    if form == ["open steps"] and first < high_value:
        return span(first, None, rng.randint(1, min(high_value - first, 30)))
    if form == ["every"]:
        return every(low, rng.randint(1, 7 if name == "year" else min(high - low, 15)))
    return every(low) if form == ["all"] and name != "year" else one(first)


def written(rng: random.Random, parts: list[Part]) -> str | int:
    """Return a field as one might write it."""
    text = rng.choice([",", ",", ", ", " , "]).join(part.text for part in parts)
    if text.isdigit():
        forms: list[str | int] = [text, int(text), f"0{text}", f" {text} "]
        return rng.choice(forms)
    return rng.choice([text, text, text.upper()])


class Wrong(AssertionError):
    """A trigger that does not answer as the model does."""


def report(
    seed: str,
    trigger: str,
    previous: datetime | None,
    now: datetime,
    expected: Any,
    got: Any,
    asked: str = "get_next_fire_time",
) -> Wrong:
    """Return the failure as a piece of program that shows it."""
    return Wrong(
        f"the model and the trigger differ (repeat it with {SEED_VARIABLE}={seed.split(':')[0]}"
        f", case {seed})\n"
        f"    import datetime, zoneinfo\n"
        f"    trigger = {trigger}\n"
        f"    previous = {previous!r}\n"
        f"    now = {now!r}\n"
        f"    expected = {expected!r}\n"
        f"    got = {got!r}\n"
        f"    assert trigger.{asked}(previous, now) == expected"
    )


def call(name: str, arguments: dict[str, Any]) -> str:
    """Return a constructor call as text."""
    given = {
        key: str(value) if isinstance(value, ZoneInfo) else value
        for key, value in arguments.items()
        if value is not None
    }
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"
