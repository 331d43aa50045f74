"""Jobs of every kind, drawn by lot, but the same ones each time. Knows neither library."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytz
from clock_changes import changes_of

#: How many fire times of each row are looked at.
COUNT = 50
#: Stands for chance: each fire time with jitter is put off by this part of it.
CHANCE = 0.25
PLAIN_NOW = datetime(2026, 2, 11, 9, 30, 17, 250_000, UTC)


class Spec(NamedTuple):
    """What is to be put into a row."""

    id: str
    now: datetime
    func: str
    trigger: tuple[Any, ...]
    by_name: bool
    options: dict[str, Any]
    scheduler: dict[str, Any]
    then: str
    protocol: int


class Report(NamedTuple):
    """What is seen of a job that was read from a row."""

    attributes: dict[str, str]
    called: str
    texts: tuple[str, ...]
    trigger_attributes: dict[str, str]
    fire_times: list[datetime]
    without_jitter: list[datetime]
    by_rule: list[datetime]
    end_date: Any


ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "America/Havana",
    "Pacific/Chatham",
]
QUIET = [
    "UTC",
    "Asia/Tokyo",
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("Etc/GMT+5"),
    UTC,
    timezone(timedelta(hours=5, minutes=30)),
    timezone(timedelta(hours=-3), "MINUS"),
    pytz.timezone("Asia/Kolkata"),
    pytz.utc,
]
FUNCS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("noop", (), {}),
    ("row_jobs:noop", (), {}),
    ("echo", ("x", 1, 2.5, None, True), {"end": ""}),
    ("echo", [b"bytes", ("nested", ["list"]), {"key": {1, 2}}], {}),
    ("echo", (datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), timedelta(1)), {"zone": UTC}),
    ("row_jobs:echo", range(3), {"a": [], "b": ZoneInfo("Europe/Berlin")}),
    ("coroutine", (), {"value": 3}),
    ("Greeter", ("class",), {}),
    ("greeter.greet", ("you",), {}),
    ("row_jobs:greeter.greet", ["you", "all"], {}),
    ("Butler.().greet", (), {}),
    ("Greeter.shout", ("loud",), {}),
    ("Butler.shout", (), {}),
    ("Butler.().shout", (), {}),
    ("Greeter.hum", ("low",), {}),
    ("row_jobs:Butler.hum", (), {}),
    ("greeter.hum", (), {}),
    ("Greeter.Inner.().nod", (), {}),
    ("builtins:print", (), {"end": ""}),
    ("row_jobs:Greeter", ("text",), {}),
]


class Lot:
    """Draws specifications.

    :param seed: the same seed, the same draws
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.choice = self.random.choice
        self.kinds: list[Callable[[Any, datetime], tuple[Any, ...]]] = [
            self.date,
            self.interval,
            self.interval,
            self.cron,
            self.cron,
            self.cron,
            self.crontab,
            self.calendarinterval,
            self.calendarinterval,
            self.combined_or,
            self.combined_and,
        ]

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def spec(self, number: int) -> Spec:
        zone, now = self.zone_and_now()
        make = self.kinds[number % len(self.kinds)]
        trigger = make(zone, now)
        func, args, kwargs = FUNCS[number % len(FUNCS)]
        options: dict[str, Any] = {"args": args, "kwargs": kwargs}
        if self.chance(0.3):
            options["name"] = self.choice(["mine", "Früh", "a b"])
        if self.chance(0.3):
            options["misfire_grace_time"] = self.choice([None, 1, 3600])
        if self.chance(0.3):
            options["coalesce"] = self.choice([True, False, 0, "yes"])
        if self.chance(0.3):
            options["max_instances"] = self.choice([1, 7])
        if self.chance(0.2):
            options["next_run_time"] = self.choice([None, now, "2030-01-02 03:04:05"])
        if self.chance(0.2):
            options["executor"] = "default"
        scheduler: dict[str, Any] = {"timezone": zone if isinstance(zone, str) else "UTC"}
        if self.chance(0.5):
            scheduler["job_defaults"] = {
                "misfire_grace_time": self.choice([5, None]),
                "coalesce": self.choice([True, False]),
                "max_instances": self.choice([2, 3]),
            }
        return Spec(
            id=f"{number:03} {trigger[0]}",
            now=now,
            func=func,
            trigger=trigger,
            by_name=trigger[0] not in ("and", "or", "crontab") and self.chance(0.5),
            options=options,
            scheduler=scheduler,
            then=self.choice(["", "", "pending", "pause", "resume", "modify"]),
            protocol=self.choice([4, 5]),
        )

    def zone_and_now(self) -> tuple[Any, datetime]:
        if self.chance(0.35):
            return self.choice(QUIET), PLAIN_NOW
        key = self.choice(ZONES)
        zone = self.choice([key, ZoneInfo(key), pytz.timezone(key)])
        change = self.choice(changes_of(key, 2026))
        before = self.choice(
            [timedelta(minutes=130), timedelta(hours=9), timedelta(days=1), timedelta(days=20)]
        )
        return zone, change.at - before - timedelta(milliseconds=self.choice([0, 750]))

    def moment(self, around: datetime) -> Any:
        """Return a date in one of the forms that a trigger takes."""
        at = (around + timedelta(minutes=self.random.randrange(-9_000, 9_000))).replace(
            tzinfo=None, microsecond=0
        )
        return self.choice(
            [
                f"{at:%Y-%m-%d}",
                f"{at.year}-{at.month}-{at.day} {at:%H:%M:%S}",
                f"{at:%Y-%m-%dT%H:%M:%S}.250000",
                f"{at:%Y-%m-%dT%H:%M:%S}Z",
                f"{at:%Y-%m-%d %H:%M:%S}-03:30",
                at.date(),
                at,
                at.replace(tzinfo=UTC, microsecond=7),
                at.replace(tzinfo=ZoneInfo("America/Sao_Paulo")),
                pytz.timezone("Europe/Helsinki").localize(at),
                at.replace(tzinfo=timezone(timedelta(hours=2))),
            ]
        )

    def ends(self, now: datetime, reach: timedelta) -> dict[str, Any]:
        """Return a start date, an end date, both or none."""
        ends = {}
        if self.chance(0.4):
            ends["start_date"] = self.moment(now)
        if self.chance(0.3):
            ends["end_date"] = self.moment(now + timedelta(days=14) + reach)
        return ends

    def date(self, zone: Any, now: datetime) -> tuple[Any, ...]:
        return "date", {
            "timezone": zone,
            **({"run_date": self.moment(now)} if self.chance(0.9) else {}),
        }

    def interval(self, zone: Any, now: datetime, steady: bool = False) -> tuple[Any, ...]:
        parts = self.choice(
            [
                {"seconds": 7},
                {"seconds": 0.5},
                {"minutes": 10},
                {"hours": 1},
                {"hours": 5, "minutes": 1.5},
                {"days": 1},
                {"weeks": 2, "days": 1},
                {"days": 1.25},
                {},
            ]
        )
        jitter = {} if steady or not self.chance(0.3) else {"jitter": self.choice([0, 1, 0.8])}
        return "interval", {
            "timezone": zone,
            **parts,
            **self.ends(now, timedelta(**parts) * 30),
            **jitter,
        }

    def numbers(self, low: int, high: int) -> str:
        """Return an expression for a field with this range."""
        a = self.random.randint(low, high - 3)
        b = self.random.randint(a + 2, high)
        one = self.choice(
            [f"{a}", f"{a}", f"{a:02}", f"{a}-{b}", f"{a}-{b}/2", f"{a}/2", "*/2", "*/3", "*"]
        )
        return f"{one},{high}" if self.chance(0.2) else one

    def cron(self, zone: Any, now: datetime, steady: bool = False) -> tuple[Any, ...]:
        fields: dict[str, Any] = {}
        draws: dict[str, Callable[[], Any]] = {
            "year": lambda: self.choice(["2026-2029", "2026/2", "*", 2027]),
            "month": lambda: self.choice(
                [3, "jan-mar,10", "*/2", "DEC", "3-11/4", "oct,apr", "jan-apr,sep-nov"]
            ),
            "day": lambda: self.choice(
                [1, "last", "1st sun", "last Fri,15", "5-20/3", "2nd mon,4th sun", "*/9", "25-31"]
            ),
            "week": lambda: self.choice(["*/4", "10-50/3", "13,44"]),
            "day_of_week": lambda: self.choice([6, "sun", "mon-fri", "SAT,sun", "0-6/2", "*"]),
            "hour": lambda: self.choice(
                [0, 1, 2, "2", "1-3", "*", "*/1", "0-23", "0-5/2", "23", self.numbers(0, 23)]
            ),
            "minute": lambda: self.choice([0, 30, "*/20", "15/20", self.numbers(0, 59)]),
            "second": lambda: self.choice([0, "*/30", "59", self.numbers(0, 59)]),
        }
        chances = {"hour": 0.8, "minute": 0.6, "second": 0.15, "year": 0.1}
        for name, draw in draws.items():
            if name == "week" and ("month" in fields or "day" in fields):
                continue
            if self.chance(chances.get(name, 0.25)):
                fields[name] = draw()
        jitter = {} if steady or not self.chance(0.15) else {"jitter": self.choice([0, 2, 240])}
        # A start between two passes is looked at elsewhere.
        ends = {} if zone not in QUIET else self.ends(now, timedelta(days=30))
        return "cron", {"timezone": zone, **fields, **ends, **jitter}

    def crontab(self, zone: Any, now: datetime) -> tuple[Any, ...]:
        expression = " ".join(
            [
                self.choice(["0", "30", "*/20", "*", self.numbers(0, 59)]),
                self.choice(["0", "1", "2", "*", "1-3", "*/2", self.numbers(0, 23)]),
                self.choice(["*", "*", "1", "last", "5-20"]),
                self.choice(["*", "*", "mar-nov", "3,4,10,11"]),
                self.choice(["*", "*", "sun", "0", "mon-fri", "5-6"]),
            ]
        )
        return "crontab", expression, zone

    def calendarinterval(self, zone: Any, now: datetime, steady: bool = False) -> tuple[Any, ...]:
        arguments: dict[str, Any] = self.choice(
            [{"days": 1}, {"days": 3}, {"weeks": 1}, {"months": 1}, {"years": 1}]
        ) | self.choice([{}, {}, {"weeks": 2}, {"months": 5}])
        if self.chance(0.8):
            at = self.choice([(0, 0), (1, 30), (2, 0), (2, 30), (23, 59)])
            arguments |= {"hour": at[0], "minute": at[1], "second": self.choice([0, 59])}
        if now != PLAIN_NOW or self.chance(0.7):
            day = now.date() + timedelta(days=self.random.randrange(-40, 40))
            arguments["start_date"] = self.choice([day, f"{day}"])
        if self.chance(0.2):
            arguments["end_date"] = self.choice([date(2031, 5, 31), "2026-12-24"])
        if not steady and self.chance(0.25):
            arguments["jitter"] = self.choice([0, 5, 900])
        return "calendarinterval", {"timezone": zone, **arguments}

    def combined_or(self, zone: Any, now: datetime, depth: int = 0) -> tuple[Any, ...]:
        members: list[Any] = []
        for _ in range(self.random.randint(0 if depth else 1, 3)):
            quiet = self.choice(QUIET)
            make: Any = self.choice(
                [self.interval, self.cron, self.cron, self.calendarinterval, self.date]
            )
            if make == self.date:
                members.append(self.date(quiet, now))
            else:
                members.append(make(quiet, now, True))
        if not depth and self.chance(0.2):
            members.append(self.combined_or(zone, now, 1))
        return "or", members, self.choice([None, None, 0, 5])

    def combined_and(self, zone: Any, now: datetime) -> tuple[Any, ...]:
        tick = ("interval", {"hours": 1, "start_date": "2026-01-01", "timezone": "UTC"})
        quarter = ("cron", {"minute": "*/15", "timezone": self.choice(QUIET)})
        nights = ("cron", {"hour": "0-6", "minute": "*/10", "timezone": "UTC"})
        weekends = ("cron", {"day_of_week": "sat,sun", "hour": "*", "timezone": UTC})
        ending = ("cron", {"hour": "*/3", "timezone": "UTC", "end_date": now + timedelta(days=3)})
        noon = ("date", {"run_date": datetime(2026, 12, 24, 12, tzinfo=UTC)})
        noons = ("cron", {"hour": 12, "timezone": "UTC"})
        hours = ("cron", {"hour": "*", "timezone": "UTC"})
        members = self.choice(
            [
                [nights],
                [quarter, nights],
                [weekends, nights, quarter],
                [hours, tick],
                [ending, hours],
                [noons, noon],
                [noon, noon],
            ]
        )
        return "and", members, self.choice([None, None, 0, 30])


def draw(count: int, seed: int = 3113) -> list[Spec]:
    """Return so many specifications."""
    lot = Lot(seed)
    return [lot.spec(number) for number in range(count)]
