"""Jobs for tests, without a scheduler around them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.job import Job
from apscheduler.triggers.base import BaseTrigger

HELSINKI = ZoneInfo("Europe/Helsinki")
NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Calls:
    """Stands for a scheduler: knows a time zone, and notes what it is asked to do."""

    timezone = HELSINKI

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.endswith("_job"):
            raise AttributeError(name)

        def note(*args: Any, **kwargs: Any) -> None:
            self.calls.append((name, args, kwargs))

        return note


class EverySecond(BaseTrigger):
    """A trigger of somebody else's, which knows only how to find the next time."""

    def __init__(self, ends: datetime | None = None) -> None:
        self.ends = ends

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        following = (previous or now) + SECOND
        return None if self.ends and following > self.ends else following


class Stuck(BaseTrigger):
    """A trigger that answers what it was asked."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        return previous


class Greeter:
    def greet(self, *names: int) -> tuple[int, ...]:
        return names

    @classmethod
    def shout(cls) -> type:
        return cls

    @staticmethod
    def hum() -> str:
        return "hum"

    def __call__(self) -> str:
        return "called"


class Butler(Greeter):
    pass


def local_greeter() -> Any:
    class Local:
        def greet(self) -> str:
            return "local"

    return Local()


def noop() -> None:
    pass


def echo(a: int, b: int = 2) -> tuple[int, int]:
    return a, b


greeter = Greeter()
of_a_local_class = local_greeter()


def make_job(scheduler: Any = None, **changes: Any) -> Job:
    """Return a complete job, whose attributes are those given and harmless ones."""
    given = {
        "id": "backup",
        "func": noop,
        "args": (),
        "kwargs": {},
        "trigger": EverySecond(),
        "executor": "default",
        "misfire_grace_time": 1,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": NEW_YEAR,
    }
    return Job(scheduler or Calls(), **{**given, **changes})


def attributes(job: Job) -> dict[str, Any]:
    """Return all attributes of a job that are set."""
    names = (name for name in (*Job.__slots__, "kwargs") if name not in ("__weakref__", "_kwargs"))
    return {name: getattr(job, name) for name in names if hasattr(job, name)}
