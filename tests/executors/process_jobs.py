"""What the tests let worker processes do."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from apscheduler import current_run

answers_to_life = 0


def prepare(answer: int) -> None:
    global answers_to_life
    answers_to_life = answer


def prepared() -> int:
    return answers_to_life


def fail_to_prepare() -> None:
    raise OSError("no licence")


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def exit_with(code: int) -> None:
    os._exit(code)


def die_once(mark: Path) -> int:
    """Kill this process, but only the first time."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def leave_a_child_and_die(child: Path) -> None:
    """Die while a process lives on that has inherited everything that was open."""
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    child.write_text(str(pid))
    os.kill(os.getpid(), signal.SIGKILL)


def say_and_wait(here: Path, go_on: Path) -> int:
    """Tell who this is, and wait to be let go."""
    unfinished = here.with_suffix(".new")
    unfinished.write_text(str(os.getpid()))
    unfinished.rename(here)
    while not go_on.exists():
        time.sleep(0.005)
    return os.getpid()


def return_a_lock() -> Any:
    return threading.Lock()


class Stubborn(Exception):
    """Can be pickled, but not read again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Unsendable(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class Foreign:
    """Can be read again in the process that made it, and nowhere else."""

    def __init__(self) -> None:
        self.maker = os.getpid()

    def __setstate__(self, state: dict[str, int]) -> None:
        if state["maker"] != os.getpid():
            raise ValueError("not made here")


def raise_stubborn() -> None:
    raise Stubborn(1, 2)


def raise_unsendable() -> None:
    raise Unsendable


async def coroutine() -> str:
    await asyncio.sleep(0)
    return current_run().run_id


def describe() -> tuple[int, str, str, float]:
    run = current_run()
    return os.getpid(), run.job_id, run.run_id, run.lateness.total_seconds()


def run_a_process() -> int | None:
    """Start a process of its own, which only those that are no daemons may."""
    import multiprocessing

    process = multiprocessing.get_context("spawn").Process(target=prepared)
    process.start()
    process.join()
    return process.exitcode
