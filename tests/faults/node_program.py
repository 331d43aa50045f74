"""A program that hosts a scheduler, and does what it is told.

Each line that it reads is a Python expression, which it answers with a line `= ` and the repr of
its value, or `! ` and that of an exception. Its jobs, and its log, print lines of their own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors._invoke import current_run
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

#: How many seconds a job waits to be released.
PATIENCE = 60
released = threading.Event()


def say(kind: str, *words: object) -> None:
    line = " ".join([kind, *map(str, words)])
    os.write(1, f"{line}\n".encode())


def note(word: str = "") -> None:
    """What jobs do here: say which Run begins."""
    run = current_run()
    say(
        "ran",
        json.dumps(
            {
                "job": run.job_id,
                "run": run.run_id,
                "attempt": run.attempt,
                "slot": run.scheduled_at.timestamp(),
                "at": time.monotonic(),
                "word": word,
            }
        ),
    )


def hold() -> None:
    """The same, and wait until somebody says that it is enough."""
    note()
    released.wait(PATIENCE)


def soon(seconds: float = 0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def after(answer: object) -> tuple[float, float]:
    """Return what time it is when something has been done, by two clocks."""
    return time.monotonic(), time.time()


class Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say("log", record.levelname, record.getMessage().replace("\n", " "))


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[1])
    logging.getLogger("apscheduler").addHandler(Told(logging.INFO))
    logging.getLogger("apscheduler").setLevel(logging.INFO)
    scheduler = BackgroundScheduler(
        timezone="UTC",
        jobstores={"default": SQLAlchemyJobStore(options["url"], **options["store"])},
        executors={alias: ThreadPoolExecutor(5) for alias in options["executors"]},
        job_defaults={"misfire_grace_time": None},
    )
    scheduler.start(role=options["role"])
    say("started", scheduler._loop.company.node_of("default"))
    for line in sys.stdin:
        try:
            say("=", repr(eval(line)))
        except Exception as error:
            say("!", repr(error))


if __name__ == "__main__":
    # Jobs are found by the name of the module.
    import node_program

    node_program.main()
