"""What the tests of the loop share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from loop_kit import RAN, HandScheduler


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


@pytest.fixture
def make() -> Iterator[Callable[..., HandScheduler]]:
    """Make schedulers that are started, and shut down after the test."""
    made: list[HandScheduler] = []

    def make_one(**options: object) -> HandScheduler:
        scheduler = HandScheduler(**options)
        made.append(scheduler)
        scheduler.start()
        return scheduler

    yield make_one
    for scheduler in made:
        if scheduler.running:
            scheduler.shutdown(wait=False)
