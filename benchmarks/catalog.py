"""Every line of the table: which program measures it, how large, and what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Ratio:
    """So many times better than 3.11.3: faster, cheaper or earlier."""

    times: float

    def __str__(self) -> str:
        return f"{self.times:g}x"

    def halved(self) -> Ratio:
        return Ratio(self.times / 2)


@dataclass(frozen=True)
class Limit:
    """At most this much, in the unit of the row, whatever 3.11.3 does."""

    value: float

    def __str__(self) -> str:
        return f"<= {self.value:g}"

    def halved(self) -> Limit:
        return Limit(self.value * 2)


class Size(NamedTuple):
    """How many jobs, steps or seconds: for a claim, for a quick look, for a sign of life."""

    full: int
    quick: int
    tiny: int


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param title: what the table prints and ``--only`` looks into
    :param scenario: module in `benchmarks.scenarios`
    :param unit: ``/s`` for a rate, where more is better; anything else is a cost
    :param must: what is asked of our figure
    :param size: the scenario's ``size``
    :param options: the scenario's other arguments
    :param theirs: the program of the other side, where that is not 3.11.3 but a peer with an API
        of its own
    :param against: where the other side is we ourselves: what it does with other options
    """

    title: str
    scenario: str
    unit: str
    must: Ratio | Limit
    size: Size
    options: Mapping[str, object] = field(default_factory=dict)
    theirs: str | None = None
    against: Mapping[str, object] | None = None

    @property
    def their_options(self) -> Mapping[str, object]:
        return {**self.options, **(self.against or {})}

    def advantage(self, ours: float, theirs: float) -> float:
        """Return how many times better ``ours`` is than ``theirs``."""
        better, worse = (ours, theirs) if self.unit == "/s" else (theirs, ours)
        return better / worse if worse else math.inf


JOBS = Size(10_000, 10_000, 20)
MANY_JOBS = Size(100_000, 30_000, 20)
INTERVAL, CRON, DATE = {"trigger": "interval"}, {"trigger": "cron"}, {"trigger": "date"}
RUNNING = {"trigger": "interval", "paused": False}
UTC, DST = {"zone": "UTC"}, {"zone": "America/New_York"}
DENSE, SPARSE = {"expressions": "dense"}, {"expressions": "sparse"}
CRONTAB, CRONSIM = {"expressions": "crontab"}, "cronsim_next"
STEPS = Size(2000, 500, 5)
STORED = Size(10_000, 2_000, 20)
MANY_STORED = Size(100_000, 10_000, 20)
CLAIMS = Size(20_000, 4_000, 40)
SQLITE, ROLLBACK, WAL = {"store": "sqlite"}, {"store": "sqlite rollback"}, {"store": "sqlite WAL"}
POSTGRESQL, MARIADB = {"store": "postgresql"}, {"store": "mariadb"}
CPU = {"count": "cpu"}

ROWS = (
    Row("add, interval", "add", "/s", Ratio(3), JOBS, INTERVAL),
    Row("add, interval", "add", "/s", Ratio(5), MANY_JOBS, INTERVAL),
    Row("add, cron", "add", "/s", Ratio(6), JOBS, CRON),
    Row("add to a running scheduler", "add", "/s", Ratio(4), JOBS, RUNNING),
    Row("memory per job, interval", "memory_per_job", "B", Ratio(1), JOBS, INTERVAL),
    Row("memory per job, cron", "memory_per_job", "B", Ratio(3), JOBS, CRON),
    Row("fire, threads, date", "fire_threads", "/s", Ratio(3), JOBS, DATE),
    Row("fire, threads, date", "fire_threads", "/s", Ratio(5), MANY_JOBS, DATE),
    Row("fire, threads, interval", "fire_threads", "/s", Ratio(8), MANY_JOBS, INTERVAL),
    Row("fire, asyncio, date", "fire_asyncio", "/s", Ratio(1.8), JOBS, DATE),
    Row("fire, asyncio, date", "fire_asyncio", "/s", Ratio(3), MANY_JOBS, DATE),
    Row("event loop stall", "loop_stall", "ms", Ratio(25), JOBS, INTERVAL),
    Row("first of many, threads", "first_run", "ms", Limit(20), JOBS, {"host": "threads"}),
    Row("first of many, asyncio", "first_run", "ms", Limit(20), JOBS, {"host": "asyncio"}),
    Row("1,000 in one instant, p99", "same_instant", "ms", Ratio(5), Size(10, 3, 1)),
    Row("CPU at 1,000/s", "spread_load", "us", Ratio(1.7), Size(8, 3, 1), {"per_second": 1000}),
    Row("CPU at 5,000/s", "spread_load", "us", Ratio(3), Size(8, 3, 1), {"per_second": 5000}),
    Row("one-shots at 200/s, p50", "one_shots", "ms", Ratio(1), Size(1000, 400, 20)),
    Row("idle minute, 0 jobs", "idle", "ms", Limit(5), Size(21, 5, 1), {"jobs": 0}),
    Row("idle minute, 1,000 jobs", "idle", "ms", Limit(5), Size(21, 5, 1), {"jobs": 1000}),
    Row("cron next, dense, UTC", "cron_next", "/s", Ratio(6), STEPS, DENSE | UTC),
    Row("cron next, dense, DST", "cron_next", "/s", Ratio(4), STEPS, DENSE | DST),
    Row("cron next, sparse", "cron_next", "/s", Ratio(6), Size(1000, 200, 2), SPARSE | UTC),
    Row(
        "cron next v. cronsim, UTC",
        "cron_next",
        "/s",
        Ratio(3),
        STEPS,
        CRONTAB | UTC,
        "cronsim_next",
    ),
    Row(
        "cron next v. cronsim, DST",
        "cron_next",
        "/s",
        Ratio(3),
        STEPS,
        CRONTAB | DST,
        "cronsim_next",
    ),
    Row("cron, impossible", "cron_rare", "/s", Ratio(100), Size(20, 5, 1), {"case": "impossible"}),
    Row("cron, week 53", "cron_rare", "/s", Ratio(100), Size(100, 20, 1), {"case": "week 53"}),
    Row("construct, keywords", "cron_construct", "/s", Ratio(4), JOBS, {"form": "keywords"}),
    Row("construct, from_crontab", "cron_construct", "/s", Ratio(4), JOBS, {"form": "crontab"}),
    Row("import, time", "imports", "ms", Ratio(2.5), Size(9, 5, 1), {"count": "milliseconds"}),
    Row("import, modules", "imports", "modules", Ratio(2.5), Size(1, 1, 1), {"count": "modules"}),
    Row("import to first run", "imports", "ms", Ratio(1), Size(9, 5, 1), {"count": "first run"}),
    Row("start to first run", "startup", "ms", Ratio(1), Size(0, 0, 0)),
    Row("start to first run", "startup", "ms", Ratio(1), JOBS),
    Row("fire, SQLite, own file", "fire_stored", "/s", Ratio(14), STORED, SQLITE),
    Row("fire, SQLite, rollback", "fire_stored", "/s", Ratio(10), STORED, ROLLBACK),
    Row("fire, SQLite, WAL FULL", "fire_stored", "/s", Ratio(6), STORED, WAL),
    Row("fire, PostgreSQL", "fire_stored", "/s", Ratio(6), STORED, POSTGRESQL),
    Row("fire, MariaDB", "fire_stored", "/s", Ratio(4), STORED, MARIADB),
    Row("CPU per job, SQLite", "fire_stored", "us", Ratio(7), STORED, SQLITE | CPU),
    Row("CPU per job, PostgreSQL", "fire_stored", "us", Ratio(5), STORED, POSTGRESQL | CPU),
    Row("CPU per job, MariaDB", "fire_stored", "us", Ratio(4), STORED, MARIADB | CPU),
    Row("first of many, SQLite", "first_run_stored", "ms", Limit(100), STORED, SQLITE),
    Row("first of many, PostgreSQL", "first_run_stored", "ms", Limit(100), STORED, POSTGRESQL),
    Row("first of many, MariaDB", "first_run_stored", "ms", Limit(100), STORED, MARIADB),
    Row("add one by one, SQLite", "add_stored", "/s", Ratio(2), Size(3000, 500, 20), SQLITE),
    Row(
        "add_jobs, SQLite",
        "add_jobs",
        "/s",
        Ratio(30),
        STORED,
        SQLITE | {"paused": True},
        "add_stored",
    ),
    Row(
        "add_jobs, PostgreSQL",
        "add_jobs",
        "/s",
        Ratio(20),
        STORED,
        POSTGRESQL | {"paused": True},
        "add_stored",
    ),
    Row("idle but for one, SQLite", "idle_stored", "ms", Ratio(2.5), MANY_STORED, SQLITE),
    Row("get_jobs, SQLite", "get_jobs_stored", "ms", Ratio(1.5), MANY_STORED, SQLITE),
    Row("start to first run, SQLite", "startup_stored", "ms", Ratio(1), MANY_STORED, SQLITE),
    *(
        Row(
            f"claims, 8 nodes v. {fewer}",
            "claims_by_nodes",
            "/s",
            Ratio(0.8),
            CLAIMS,
            POSTGRESQL | {"nodes": 8},
            against={"nodes": fewer},
        )
        for fewer in (1, 2, 4)
    ),
    *(
        Row(
            f"newest 100 v. 1e4, {name}",
            "newest_runs",
            "ms",
            Limit(20),
            Size(1_000_000, 100_000, 200),
            store,
            against={"size": 10_000},
        )
        for name, store in (("SQLite", SQLITE), ("PostgreSQL", POSTGRESQL))
    ),
)
