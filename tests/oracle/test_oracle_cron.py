"""Cron triggers against the walk through every minute or second."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from apscheduler.triggers.cron import CronTrigger
from oracle.cases import (
    Place,
    Wrong,
    as_instant,
    bound,
    call,
    cases,
    expression,
    report,
    written,
)
from oracle.clocks import HOUR, MINUTE, SECOND, ZONES
from oracle.cron import Beyond, CronModel, Expression, texts

IN_A_ROW = 6
MOST_MISSED = 60
Answer = Callable[[CronTrigger, datetime | None, datetime], datetime | None]


def answer_of_trigger(
    trigger: CronTrigger, previous: datetime | None, now: datetime
) -> datetime | None:
    return trigger.get_next_fire_time(previous, now)


class CronCase:
    """One trigger, asked this and that near one place."""

    def __init__(self, place: Place, seed: str, seconds: bool, answer: Answer) -> None:
        self.place = place
        self.seed = seed
        self.answer = answer
        self.rng = rng = random.Random(seed)
        self.reach = 170 * MINUTE if seconds else 72 * HOUR
        self.around = place.middle if seconds else None
        self.given = expression(rng, place, seconds=seconds)
        self.bounds = {
            "start_date": bound(rng, place, zone_given=True),
            "end_date": bound(rng, place, zone_given=True),
        }
        self.arguments: dict[str, Any] = {
            **{name: written(rng, parts) for name, parts in self.given.items()},
            **self.bounds,
            "timezone": place.zone,
        }
        self.trigger = CronTrigger(**self.arguments)
        self.model = self.model_of(self.given, self.bounds)

    def model_of(self, given: Expression, bounds: dict[str, Any]) -> CronModel:
        start, end = (as_instant(bounds[name], self.place.zone) for name in bounds)
        return CronModel(given, self.place.zone, start, end, self.around)

    def agree(
        self, model: CronModel, trigger: CronTrigger, previous: datetime | None, now: datetime
    ) -> tuple[bool, Any, datetime | None]:
        """Tell whether both answer the same, and return both answers."""
        expected = model.next(previous, now)
        got = self.answer(trigger, previous, now)
        if expected is None or got is None or isinstance(expected, Beyond):
            right = (expected is None and got is None) or (
                isinstance(expected, Beyond)
                and (got is None or got.astimezone(UTC) >= expected.instant)
            )
            return right, expected, got
        local = expected.astimezone(self.place.zone)
        right = got.isoformat() == local.isoformat() and got.fold == local.fold
        return right and got.tzinfo is self.place.zone, local, got

    def ask(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the answer of both, or raise what is wrong, as simple as it can be shown."""
        right, expected, got = self.agree(self.model, self.trigger, previous, now)
        if not right:
            raise self.simplest_failure(previous, now)
        return None if isinstance(expected, Beyond) else got

    def simplest_failure(self, previous: datetime | None, now: datetime) -> Wrong:
        given, bounds = self.given, self.bounds
        fewer = True
        while fewer:
            fewer = False
            for simpler in self.simplifications(given, bounds):
                arguments: dict[str, Any] = {**texts(simpler[0]), **simpler[1]}
                trigger = CronTrigger(**arguments, timezone=self.place.zone)
                if not self.agree(self.model_of(*simpler), trigger, previous, now)[0]:
                    given, bounds = simpler
                    fewer = True
                    break
        arguments = {**texts(given), **bounds, "timezone": self.place.zone}
        right, expected, got = self.agree(
            self.model_of(given, bounds), CronTrigger(**arguments), previous, now
        )
        if right:  # the way the fields are written has to do with it
            arguments = self.arguments
            _, expected, got = self.agree(self.model, self.trigger, previous, now)
        return report(self.seed, call("CronTrigger", arguments), previous, now, expected, got)

    def simplifications(
        self, given: Expression, bounds: dict[str, Any]
    ) -> list[tuple[Expression, dict[str, Any]]]:
        """Return what is left if one thing is left out."""
        simpler: list[tuple[Expression, dict[str, Any]]] = []
        simpler += [
            (given, {**bounds, name: None}) for name, value in bounds.items() if value is not None
        ]
        for name, parts in given.items():
            if len(parts) > 1:
                simpler += [
                    ({**given, name: [p for p in parts if p is not part]}, bounds)
                    for part in parts
                ]
            elif len(given) > 1 and (self.around is not None or name != "second"):
                simpler.append(({n: p for n, p in given.items() if n != name}, bounds))
        return simpler

    def run(self) -> None:
        rng = self.rng
        fires = self.chain(self.place.moment(rng, self.reach))
        for _ in range(2):
            previous = self.place.moment(rng, self.reach)
            if fires and rng.random() < 0.5:
                previous = rng.choice(fires)
                if rng.random() < 0.3:
                    fraction = rng.randrange(10**6) * SECOND / 10**6
                    previous = (previous.astimezone(UTC) + fraction).astimezone(self.place.zone)
            self.ask(previous, self.place.moment(rng, self.reach))
        if fires:
            self.last_due(rng.choice(fires))

    def chain(self, now: datetime) -> list[datetime]:
        """Ask for some fire times in a row, at different times, and return them."""
        fires: list[datetime] = []
        fire = self.ask(None, now)
        late = self.place.middle + 9 * self.reach
        while fire is not None and len(fires) < IN_A_ROW:
            fires.append(fire)
            later = self.rng.choice([fire, fire.astimezone(UTC) + SECOND, late])
            fire = self.ask(fire, max(later, fire.astimezone(UTC)))
        return fires

    def last_due(self, first: datetime) -> None:
        """Ask for the last of several times at once, as is done when runs were missed."""
        until = first.astimezone(UTC) + self.rng.choice([0, 0.5, 10, 3600, 30000, 10**6]) * SECOND
        last, count = first, 1
        while (following := self.model.next(last, until)) is not None:
            if isinstance(following, Beyond):
                return
            if following > until:
                break
            last, count = following.astimezone(self.place.zone), count + 1
            if count > MOST_MISSED:
                return
        found, counted = self.trigger._last_due(first, until)
        leap = self.trigger._leap(first, until)
        if (found.isoformat(), counted) != (last.isoformat(), count) or (
            leap.isoformat() != last.isoformat()
        ):
            raise Wrong(
                f"{call('CronTrigger', self.arguments)}: from {first!r} up to {until!r} there are "
                f"{count} fire times, the last at {last!r}; got {counted}, {found!r}, and by "
                f"leaping {leap!r} (case {self.seed})"
            )


def check(
    kind: str,
    count: int,
    zones: list[str] = ZONES,
    answer: Answer = answer_of_trigger,
    seed: str | None = None,
) -> None:
    for place, case in cases(kind, count, zones, seed):
        CronCase(place, case, kind == "cron-seconds", answer).run()


def test_cron_fires_when_a_walk_through_every_minute_says_so() -> None:
    check("cron", 50)


def test_cron_fires_when_a_walk_through_every_second_says_so() -> None:
    check("cron-seconds", 50, ["America/New_York", "Antarctica/Troll", "Pacific/Apia"])


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_cron_fires_in_many_cases_when_every_minute_says_so(zone: str) -> None:
    check("cron", 1200, [zone])


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_cron_fires_in_many_cases_when_every_second_says_so(zone: str) -> None:
    check("cron-seconds", 170, [zone])
