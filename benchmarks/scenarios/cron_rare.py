"""Make a cron trigger that hardly ever or never fires and ask it when; construction is timed too.

Each trigger has a minute of its own, so that what one has found out does not answer for the next.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from apscheduler.triggers.cron import CronTrigger
from benchmarks.measure import Figure, Stopwatch, program

CASES: dict[str, tuple[dict[str, Any], date | None]] = {
    "impossible": ({"month": 2, "day": 30}, None),
    "week 53": ({"week": 53}, date(2026, 12, 28)),
}


def measure(size: int, case: str) -> Figure:
    """Make and ask ``size`` triggers."""
    fields, expected = CASES[case]
    now = datetime(2021, 1, 4, tzinfo=UTC)
    answers = []
    with Stopwatch() as watch:
        for number in range(size):
            hour, minute = divmod(number, 60)
            trigger = CronTrigger(**fields, hour=hour, minute=minute, timezone=UTC)
            answers.append(trigger.get_next_fire_time(None, now))
    for answer in answers:
        if (answer.date() if answer else None) != expected:
            raise RuntimeError(f"{fields} fires at {answer}, not on {expected}")
    return watch.rate(size)


if __name__ == "__main__":
    program(measure)
