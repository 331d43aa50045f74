"""The contract with programs written for 3.11.

Every test here states what such a program may rely on, and uses nothing else. The folder runs
on its own, also against an installed 3.11.3:

    python -m pytest -c /dev/null --rootdir=tests/contract --confcutdir=tests/contract \
        tests/contract

A test of an intended difference is marked `differs(reason)`. Against 3.11.3 such a test must
fail, or else there is no difference to speak of; with `run=False` it is not run there, because
it would hang.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from contract_kit import Heard, TurnScheduler

import apscheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler

RUNS_ON_3_11 = apscheduler.version.startswith("3.11.")

SchedulerT = TypeVar("SchedulerT", bound=BaseScheduler)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "differs(reason, run=True): what is tested differs from 3.11 on purpose"
    )
    config.addinivalue_line("markers", "slow: needs more than a quarter of a second")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not RUNS_ON_3_11:
        return
    for item in items:
        for difference in item.iter_markers("differs"):
            (reason,) = difference.args
            run = difference.kwargs.get("run", True)
            item.add_marker(pytest.mark.xfail(reason=reason, run=run, strict=True))


@pytest.fixture
def make() -> Iterator[Callable[..., BaseScheduler]]:
    """Make schedulers that are shut down after the test."""
    made: list[BaseScheduler] = []

    def make_one(cls: type[SchedulerT], *args: object, **options: object) -> SchedulerT:
        scheduler = cls(*args, **{"timezone": "UTC", **options})
        made.append(scheduler)
        return scheduler

    yield make_one
    for scheduler in made:
        if scheduler.running:
            scheduler.shutdown(wait=False)


@pytest.fixture
def turns(make: Callable[..., TurnScheduler]) -> TurnScheduler:
    """A scheduler that runs due jobs inline when `_process_jobs` is called; not started."""
    return make(TurnScheduler)


@pytest.fixture
def background(make: Callable[..., BackgroundScheduler]) -> BackgroundScheduler:
    """A background scheduler; not started."""
    return make(BackgroundScheduler)


@pytest.fixture
def heard() -> Callable[..., Heard]:
    """Listen to a scheduler: `heard(scheduler, mask)`."""
    return Heard
