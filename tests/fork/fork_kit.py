"""What the programs that fork have in common. They run in processes of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from apscheduler.events import EVENT_SCHEDULER_STARTED

#: How many seconds a process waits for what must happen.
PATIENCE = 30


def log_to_stdout(level: int = logging.INFO) -> None:
    """Print the scheduler's log as lines ``LEVEL message``."""
    logging.basicConfig(level=level, stream=sys.stdout, format="%(levelname)s %(message)s")
    logging.getLogger("tzlocal").setLevel(logging.ERROR)


def be_quiet() -> None:
    """Let the scheduler print no warnings."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


def fork(child: Callable[[], object]) -> int:
    """Fork, let the child call a function and end as programs do, and return its exit code.

    A child that hangs is killed by SIGALRM: the answer is then negative.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(PATIENCE)
    child()
    sys.exit()


def in_thread(func: Callable[[], object]) -> None:
    """Start what blocks in a thread that nobody waits for, and return when it has begun."""
    scheduler: Any = func.__self__  # type: ignore[attr-defined]
    started = threading.Event()
    scheduler.add_listener(lambda event: started.set(), EVENT_SCHEDULER_STARTED)
    threading.Thread(target=func, daemon=True).start()
    assert started.wait(PATIENCE)


def in_thread_loop(scheduler: Any) -> None:
    """Start a scheduler on an event loop that runs in a thread."""

    async def main() -> None:
        scheduler.start()
        started.set()
        while scheduler.running:
            await asyncio.sleep(0.01)

    started = threading.Event()
    threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
    assert started.wait(PATIENCE)


@contextmanager
def held(locks: list[Any]) -> Iterator[None]:
    """Let another thread hold locks for the time of a ``with`` block."""
    has_them, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        has_them.set()
        may_end.wait(PATIENCE)
        for lock in locks:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_them.wait(PATIENCE)
    yield
    may_end.set()
    thread.join()


def locks_of(thing: Any, seen: set[int] | None = None) -> list[Any]:
    """Return every lock that can be reached from an object of ours by attributes and dicts."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, threading.Condition) or (
        hasattr(thing, "acquire") and hasattr(thing, "release")
    ):
        return [thing]
    inner: list[Any] = []
    if isinstance(thing, dict):
        inner += thing.values()
    elif isinstance(thing, (tuple, list, set, frozenset)):
        inner += thing
    elif type(thing).__module__.startswith(("apscheduler.", "concurrent.")):
        inner += getattr(thing, "__dict__", {}).values()
    return [lock for other in inner for lock in locks_of(other, seen)]
