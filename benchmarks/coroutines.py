"""What the scenarios on an event loop have in common."""

from __future__ import annotations

import asyncio
from datetime import UTC

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from benchmarks.workload import PATIENCE


def paused() -> AsyncIOScheduler:
    """Return a started and paused scheduler on the running loop that drops no run."""
    scheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None})
    scheduler.start(paused=True)
    return scheduler


class CoroutineTally:
    """Counts the runs of its coroutine job and tells when the last one has happened.

    :param expected: number of runs to wait for
    """

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._runs = 0
        self.finished = asyncio.Event()

    async def count(self) -> None:
        """Note one run; this is the job."""
        self._runs += 1
        if self._runs == self._expected:
            self.finished.set()

    async def wait(self) -> None:
        """Return when all runs have happened."""
        await asyncio.wait_for(self.finished.wait(), PATIENCE)
