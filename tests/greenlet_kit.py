"""What programs with gevent share; see `gevent_kit`, which runs them."""

from __future__ import annotations

import asyncio
import faulthandler
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

import gevent
from gevent.queue import Queue

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.gevent import GeventScheduler

#: How many seconds a program waits for what must happen, and how many it is given in all.
PATIENCE = 10
DEADLINE = 40
#: So long that only a wakeup can explain what happens within `PATIENCE`.
FOREVER = 10_000

T = TypeVar("T")


def main(programs: dict[str, Any]) -> None:
    """Run the program that the command line names."""
    faulthandler.dump_traceback_later(DEADLINE, exit=True)
    programs[sys.argv[1]]()
    print("held")


class Heard:
    """A listener from which greenlets take what it has heard."""

    def __init__(self, scheduler: Any, mask: int) -> None:
        self._hub = gevent.get_hub()
        self._queue: Any = Queue()
        scheduler.add_listener(self._put, mask)

    def _put(self, event: Any) -> None:
        self._hub.loop.run_callback_threadsafe(self._queue.put_nowait, event)

    def next(self) -> Any:
        return self._queue.get(timeout=PATIENCE)

    def next_by_id(self, number: int) -> dict[str, Any]:
        """Return what the next jobs have returned."""
        events = [self.next() for _ in range(number)]
        return {event.job_id: event.retval for event in events}

    def __len__(self) -> int:
        return int(self._queue.qsize())


@contextmanager
def started(cls: Any = GeventScheduler, **options: Any) -> Iterator[tuple[Any, Heard]]:
    """Start a scheduler; yield it, and the ends of its jobs."""
    scheduler = cls(timezone="UTC", max_sleep=FOREVER, **options)
    ended = Heard(scheduler, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.start()
    try:
        yield scheduler, ended
    finally:
        if scheduler.running:
            scheduler.shutdown()


class Ticks:
    """How often a greenlet came to its turn, and for how long it had to wait for one."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0


@contextmanager
def ticking(seconds: float = 0.005) -> Iterator[Ticks]:
    """Let a greenlet tick beside the body."""
    ticks = Ticks()

    def tick() -> None:
        last = perf_counter()
        while True:
            gevent.sleep(seconds)
            now = perf_counter()
            ticks.count += 1
            ticks.longest = max(ticks.longest, now - last)
            last = now

    greenlet = gevent.spawn(tick)
    try:
        gevent.sleep(0)
        yield ticks
    finally:
        greenlet.kill()


def in_a_real_thread(func: Callable[[], T]) -> T:
    """Call something in a thread of the operating system's, while greenlets go on."""
    result: T = gevent.get_hub().threadpool.apply(func)
    return result


def nap(seconds: float = 0.2) -> str:
    gevent.sleep(seconds)
    return "rested"


async def doze(seconds: float = 0.2) -> str:
    await asyncio.sleep(seconds)
    return "dozed"
