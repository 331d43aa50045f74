"""The crontab set of `cron_next` on cronsim, by its own API."""

from __future__ import annotations

import importlib
import statistics
from zoneinfo import ZoneInfo

from benchmarks.measure import Figure, Stopwatch, program
from benchmarks.scenarios.cron_next import CRONTAB, START


def measure(size: int, zone: str, expressions: str = "crontab") -> Figure:
    """Take ``size`` steps with each line of the set."""
    if expressions != "crontab":
        raise ValueError(f"cronsim reads crontab lines only, not the {expressions} set")
    cronsim = importlib.import_module("cronsim")
    rates, costs = [], []
    for line in CRONTAB:
        moments = cronsim.CronSim(line, START.replace(tzinfo=ZoneInfo(zone)))
        with Stopwatch() as watch:
            for _ in range(size):
                next(moments)
        rates.append(size / watch.wall)
        costs.append(watch.cpu_per(size))
    return Figure(statistics.geometric_mean(rates), statistics.geometric_mean(costs))


if __name__ == "__main__":
    program(measure)
