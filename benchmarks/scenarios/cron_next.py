"""Step cron triggers from one fire time to the next; the geometric mean over a set of them.

The walk begins on the day before New York's clocks are set back.
"""

from __future__ import annotations

import statistics
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from benchmarks.measure import Figure, Stopwatch, program

START = datetime(2026, 10, 31)
CRONTAB = (
    "* * * * *",
    "*/5 * * * *",
    "*/15 9-17 * * mon-fri",
    "0 * * * *",
    "30 3 * * *",
    "0 9 * * mon-fri",
    "0 4 * * sun",
    "0 0 1 * *",
)
SECONDS: tuple[dict[str, Any], ...] = ({"second": "*"}, {"second": "*/5"})
SPARSE: tuple[dict[str, Any], ...] = (
    {"month": 2, "day": 29},
    {"day": 13, "day_of_week": "fri"},
    {"day": "last", "day_of_week": "fri", "hour": 18},
    {"day": "2nd tue", "hour": 2},
    {"day": "5th mon"},
    {"month": 12, "day": 31, "hour": 23, "minute": 59, "second": 59},
    {"week": 1, "day_of_week": "mon"},
    {"month": "jan", "day": 1, "day_of_week": "sun"},
)
A_MOMENT = timedelta(milliseconds=1)


def triggers(expressions: str, zone: ZoneInfo) -> list[CronTrigger]:
    """Return the triggers of a set: ``crontab``, ``dense`` (with seconds too) or ``sparse``."""
    if expressions == "sparse":
        return [CronTrigger(**fields, timezone=zone) for fields in SPARSE]
    crontab = [CronTrigger.from_crontab(line, timezone=zone) for line in CRONTAB]
    if expressions == "crontab":
        return crontab
    return crontab + [CronTrigger(**fields, timezone=zone) for fields in SECONDS]


def measure(size: int, expressions: str, zone: str = "UTC") -> Figure:
    """Take ``size`` steps with each trigger of the set."""
    timezone = ZoneInfo(zone)
    rates, costs = [], []
    for trigger in triggers(expressions, timezone):
        previous = START.replace(tzinfo=timezone)
        with Stopwatch() as watch:
            for _ in range(size):
                following = trigger.get_next_fire_time(previous, previous + A_MOMENT)
                if following is None:
                    raise RuntimeError(f"{trigger} ends at {previous}")
                previous = following
        rates.append(size / watch.wall)
        costs.append(watch.cpu_per(size))
    return Figure(statistics.geometric_mean(rates), statistics.geometric_mean(costs))


if __name__ == "__main__":
    program(measure)
