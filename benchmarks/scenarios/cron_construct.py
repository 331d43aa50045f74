"""Make cron triggers, from keywords or from crontab lines, each different from the others."""

from __future__ import annotations

import random
from datetime import UTC

from apscheduler.triggers.cron import CronTrigger
from benchmarks.measure import Figure, Stopwatch, program


def measure(size: int, form: str) -> Figure:
    draw = random.Random(1)
    times = [(draw.randrange(60), draw.randrange(24), draw.randrange(1, 29)) for _ in range(size)]
    if form == "keywords":
        with Stopwatch() as watch:
            for minute, hour, day in times:
                CronTrigger(day=day, hour=hour, minute=minute, timezone=UTC)
    else:
        lines = [f"{minute} {hour} {day} * mon-fri" for minute, hour, day in times]
        with Stopwatch() as watch:
            for line in lines:
                CronTrigger.from_crontab(line, timezone=UTC)
    return watch.rate(size)


if __name__ == "__main__":
    program(measure)
