"""One scheduler among several, as a program: ``python -m chaos.node OPTIONS``, which are JSON.

It says "ready" when it is, and ends when it is told so by SIGTERM.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import traceback
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, tzinfo

from apscheduler import clock
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import Retention
from apscheduler.schedulers.background import BackgroundScheduler
from chaos import jobs
from chaos.edits import MOVED, REPLACED, STEADY, Editor
from chaos.journal import journal

#: Threads of each node: too few for all that takes long, so that no node can have it all; and
#: enough of them when one node is gone.
WORKERS = 6
POLL = 0.2


@dataclass(frozen=True)
class Options:
    """What a process is told.

    :param role: "scheduler" or "client"
    :param wrong_by: seconds by which its clock is wrong
    :param first: whether it adds the jobs that stay
    """

    url: str
    seed: str
    lease: float
    role: str = "scheduler"
    wrong_by: float = 0.0
    first: bool = False

    def as_argument(self) -> str:
        return json.dumps(asdict(self))


class JournalHandler(logging.Handler):
    """Writes what is logged into the journal of the process."""

    def emit(self, record: logging.LogRecord) -> None:
        trace = None
        if record.exc_info and record.exc_info[0]:
            trace = "".join(traceback.format_exception(*record.exc_info))
        journal().write("line", level=record.levelno, text=record.getMessage(), traceback=trace)


def let_clock_be_wrong(by: timedelta) -> None:
    """Set the clock of this process: what the library's only reader of the clock reads."""

    class WrongDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + by

    clock.datetime = WrongDatetime  # type: ignore[misc]


def make_scheduler(url: str, lease: float) -> BackgroundScheduler:
    store = SQLAlchemyJobStore(
        url, lease=lease, poll_interval=POLL, history=Retention(runs_per_job=None, age=None)
    )
    return BackgroundScheduler(
        jobstores={"default": store},
        executors={"default": ThreadPoolExecutor(WORKERS)},
        timezone="UTC",
        jobstore_retry_interval=1,
    )


def replace_jobs(scheduler: BackgroundScheduler) -> None:
    """Add jobs as programs do that start a scheduler in each of their processes."""
    for job_id, step in REPLACED:
        journal().write("job", id=job_id, step=round(step * 1e6))
        scheduler.add_job(
            jobs.work, "interval", [job_id], id=job_id, seconds=step, replace_existing=True
        )


def main(options: Options) -> None:
    logging.getLogger("apscheduler").addHandler(JournalHandler())
    logging.getLogger("apscheduler").setLevel(logging.INFO)
    let_clock_be_wrong(timedelta(seconds=options.wrong_by))
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())

    scheduler = make_scheduler(options.url, options.lease)
    if options.role == "scheduler":
        replace_jobs(scheduler)
    scheduler.start(role=options.role)
    editor = Editor(
        scheduler,
        options.seed,
        whole=False,
        schedules={job_id: step for job_id, step, _ in MOVED},
        names=[job_id for job_id, _, _ in STEADY],
    )
    if options.first:
        editor.add_first(STEADY + MOVED)
    print("ready", flush=True)
    while not ending.wait(editor.pause_between()):
        editor.step()
    scheduler.shutdown()


if __name__ == "__main__":
    main(Options(**json.loads(sys.argv[1])))
