"""What the base class gives to triggers of other people."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import freezegun
import pytest
import time_machine

from apscheduler import clock
from apscheduler.testing import VirtualClock
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

NOW = datetime(2024, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


class EveryHour(BaseTrigger):
    """Fires on the hour, and knows nothing else; an interval of 0 makes it stand still."""

    def __init__(self, hours: float = 1, last: datetime | None = None) -> None:
        self.hours = hours
        self.last = last

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        if previous_fire_time is None:
            return now
        moment = previous_fire_time.astimezone(UTC) + timedelta(hours=self.hours)
        if self.last is not None and moment > self.last:
            return None
        return moment.astimezone(previous_fire_time.tzinfo)


class Stating(EveryHour):
    """Says what its state is."""

    def __getstate__(self) -> dict[str, Any]:
        return {"hours": self.hours}


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


def test_a_trigger_must_say_when_it_fires() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BaseTrigger()  # type: ignore[abstract]


def test_jitter_is_added_in_elapsed_time() -> None:
    trigger = EveryHour()
    before_gap = datetime(2024, 3, 10, 1, 59, 59, tzinfo=NEW_YORK)
    for _ in range(50):
        moment = trigger._apply_jitter(before_gap, 10, NOW)
        assert moment is not None
        late = moment.astimezone(UTC) - before_gap.astimezone(UTC)
        assert timedelta(0) <= late <= timedelta(seconds=10)
        assert moment.tzinfo is NEW_YORK
        assert moment == moment.astimezone(UTC).astimezone(NEW_YORK)
    assert trigger._apply_jitter(before_gap, None, NOW) is before_gap
    assert trigger._apply_jitter(before_gap, 0, NOW) is before_gap
    assert trigger._apply_jitter(None, 10, NOW) is None


def test_the_last_due_time_is_found_step_by_step() -> None:
    late = NOW + timedelta(hours=5, minutes=59)
    assert EveryHour()._last_due(NOW, late) == (NOW + timedelta(hours=5), 6)
    assert EveryHour()._last_due(NOW, NOW) == (NOW, 1)
    assert EveryHour(last=NOW + timedelta(hours=2))._last_due(NOW, late) == (
        NOW + timedelta(hours=2),
        3,
    )


def test_the_last_due_time_is_found_across_a_repeated_hour() -> None:
    first = datetime(2024, 11, 3, 0, 30, tzinfo=NEW_YORK)
    until = datetime(2024, 11, 3, 2, 30, tzinfo=NEW_YORK)
    last, count = EveryHour()._last_due(first, until)
    assert (last.astimezone(UTC), count) == (until.astimezone(UTC), 4)


def test_at_most_a_thousand_steps_are_made() -> None:
    late = NOW + timedelta(days=365)
    assert EveryHour()._last_due(NOW, late) == (NOW + timedelta(hours=999), 1000)
    assert EveryHour()._catch_up(NOW, late) == NOW + timedelta(hours=1000)


def test_catching_up_leads_to_the_first_time_that_is_not_before() -> None:
    trigger = EveryHour()
    assert trigger._catch_up(NOW, NOW + timedelta(hours=3)) == NOW + timedelta(hours=3)
    assert trigger._catch_up(NOW, NOW + timedelta(hours=3, seconds=1)) == NOW + timedelta(hours=4)
    assert trigger._catch_up(NOW, NOW) == NOW + timedelta(hours=1)


@pytest.mark.parametrize("hours", [0, -1])
def test_a_trigger_that_does_not_advance_is_named(hours: float) -> None:
    with pytest.raises(ValueError, match=r"EveryHour object .* does not advance: asked what"):
        EveryHour(hours)._last_due(NOW, NOW + timedelta(hours=1))


def test_a_trigger_is_the_same_schedule_as_an_equal_one() -> None:
    pairs: list[tuple[BaseTrigger, BaseTrigger]] = [
        (DateTrigger(NOW), DateTrigger(NOW)),
        (CronTrigger(hour=1, timezone=UTC), CronTrigger(hour="1", minute=0, timezone=UTC)),
        (IntervalTrigger(days=1, start_date=NOW), IntervalTrigger(hours=24, start_date=NOW)),
        (Stating(1), Stating(1)),
    ]
    for mine, theirs in pairs:
        assert mine._same_schedule(theirs)
        assert mine._same_schedule(mine)
        assert AndTrigger([mine])._same_schedule(AndTrigger([theirs]))


def test_a_trigger_is_not_the_same_schedule_as_a_different_one() -> None:
    trigger = IntervalTrigger(days=1, start_date=NOW)
    later = IntervalTrigger(days=1, start_date=NOW + timedelta(hours=1))
    pairs: list[tuple[BaseTrigger, BaseTrigger]] = [
        (DateTrigger(NOW), DateTrigger(NOW + timedelta(hours=1))),
        (CronTrigger(hour=1, timezone=UTC), CronTrigger(hour=1, timezone=NEW_YORK)),
        (CronTrigger(hour=1, timezone=UTC), CronTrigger(hour=2, timezone=UTC)),
        (trigger, later),
        (trigger, IntervalTrigger(days=2, start_date=NOW)),
        (trigger, DateTrigger(NOW)),
        (AndTrigger([trigger]), OrTrigger([trigger])),
        (AndTrigger([trigger]), AndTrigger([trigger], jitter=1)),
        (AndTrigger([trigger]), AndTrigger([trigger, trigger])),
        (AndTrigger([trigger]), AndTrigger([later])),
        (AndTrigger([trigger]), trigger),
        (Stating(1), Stating(2)),
    ]
    for mine, theirs in pairs:
        assert not mine._same_schedule(theirs)
        assert not theirs._same_schedule(mine)


def test_a_start_date_that_nobody_gave_makes_no_difference() -> None:
    interval = IntervalTrigger(days=1, start_date=NOW)
    assert interval._same_schedule(IntervalTrigger(days=1, timezone=UTC))
    assert IntervalTrigger(days=1, timezone=UTC)._same_schedule(interval)
    calendar = CalendarIntervalTrigger(days=1, start_date=NOW.date(), timezone="UTC")
    assert calendar._same_schedule(CalendarIntervalTrigger(days=1, timezone="UTC"))
    assert not calendar._same_schedule(CalendarIntervalTrigger(days=2, timezone="UTC"))


def test_a_trigger_that_does_not_say_its_state_is_the_same_only_as_itself() -> None:
    trigger = EveryHour()
    assert trigger._same_schedule(trigger)
    assert not trigger._same_schedule(EveryHour())


def test_states_that_cannot_be_compared_are_not_the_same() -> None:
    mine, theirs = Stating(1), Stating(1)
    mine.hours = theirs.hours = Incomparable()  # type: ignore[assignment]
    theirs.hours = Incomparable()  # type: ignore[assignment]
    assert not mine._same_schedule(theirs)


@pytest.mark.parametrize("library", ["freezegun", "time_machine", "ours"])
def test_triggers_take_now_from_whatever_replaces_the_clock(library: str) -> None:
    frozen = {
        "freezegun": lambda: freezegun.freeze_time(NOW),
        "time_machine": lambda: time_machine.travel(NOW, tick=False),
        "ours": lambda: clock.in_force(VirtualClock(NOW)),
    }[library]
    with frozen():
        assert DateTrigger(timezone=NEW_YORK).run_date == NOW
        interval = IntervalTrigger(hours=1, timezone=NEW_YORK)
        assert interval.start_date == NOW + timedelta(hours=1)
        assert interval.get_next_fire_time(None, NOW) == NOW + timedelta(hours=1)
        calendar = CalendarIntervalTrigger(days=1, timezone=NEW_YORK)
        assert calendar.start_date == date(2023, 12, 31)
        cron = CronTrigger(hour=2, minute=30, timezone=NEW_YORK)
        gap = datetime(2024, 3, 10, 7, tzinfo=UTC)
        assert cron.get_next_fire_time(gap - timedelta(hours=23), gap) == gap
