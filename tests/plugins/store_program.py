"""Runs a scheduler of each kind on a store of somebody else's, and prints who called the store.

Uses nothing that 3.11 did not have, so that it can be run with that, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
import threading
from datetime import datetime, timedelta, timezone
from queue import Queue

from sqlite_store import SqliteJobStore

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

ENDED: Queue = Queue()
LOGGED: list = []


def work(number):
    return threading.current_thread().name


async def coroutine(number):
    return threading.current_thread().name


def add_jobs(scheduler):
    soon = datetime.now(timezone.utc) + timedelta(seconds=0.2)  # noqa: UP017
    scheduler.add_job(work, "interval", [1], seconds=0.2, id="every")
    scheduler.add_job(work, "date", [2], run_date=soon, id="once")
    scheduler.add_job(work, "date", [3], run_date="2099-01-01", id="never")


def hear(scheduler):
    scheduler.add_listener(ENDED.put, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)


def wait_for_jobs():
    seen = []
    while "once" not in seen or seen.count("every") < 2:
        seen.append(ENDED.get(timeout=20).job_id)


def use(scheduler):
    """What programs do from the thread that owns the scheduler."""
    assert sorted(job.id for job in scheduler.get_jobs()) == ["every", "never"]
    scheduler.pause_job("every")
    assert scheduler.get_jobs()[-1].id == "every"
    scheduler.resume_job("every")
    scheduler.reschedule_job("never", trigger="date", run_date="2098-01-01")
    scheduler.remove_job("every")
    assert scheduler.get_job("every") is None
    scheduler.remove_all_jobs()


def blocking(store):
    scheduler = BlockingScheduler(timezone="UTC", jobstores={"default": store})
    hear(scheduler)
    add_jobs(scheduler)

    def interrupt():
        wait_for_jobs()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        scheduler.start()
    except KeyboardInterrupt:
        use(scheduler)
        scheduler.shutdown()


def background(store):
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    hear(scheduler)
    add_jobs(scheduler)
    scheduler.start()
    wait_for_jobs()
    use(scheduler)
    scheduler.shutdown()


def background_that_fails(store):
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    logged = Queue()
    handler = logging.Handler(logging.WARNING)
    handler.emit = logged.put
    logging.getLogger("apscheduler").addHandler(handler)
    add_jobs(scheduler)
    scheduler.start()
    print(logged.get(timeout=20).getMessage()[:58])
    # The thread of the program is the one that may use it.
    print(len(scheduler.get_jobs()), scheduler._thread.is_alive())
    scheduler.shutdown()


def on_an_event_loop(store):
    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC", jobstores={"default": store})
        hear(scheduler)
        add_jobs(scheduler)
        scheduler.start()
        scheduler.add_job(coroutine, args=[4], id="coroutine")
        await asyncio.to_thread(wait_for_jobs)
        use(scheduler)
        scheduler.shutdown()
        await asyncio.sleep(0.05)

    asyncio.run(main())


def role(thread):
    """Say which of the three a thread is; only the first two may ask a store."""
    if thread is threading.main_thread():
        return "main"
    return "host" if thread.name == "APScheduler" else "worker"


if __name__ == "__main__":
    name, per_thread = sys.argv[1], len(sys.argv) > 2
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteJobStore(os.path.join(folder, "jobs.db"), per_thread)
        globals()[name](store)
    for method, threads in sorted(store.callers.items()):
        print(method, *sorted(role(thread) for thread in threads))
