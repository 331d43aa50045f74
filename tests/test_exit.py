"""How a program with a scheduler ends: what has begun is finished, and nothing hangs."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

HEAD = """
import atexit, asyncio, logging, os, signal, sys, threading, time
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

class Busy:
    # A job that says its number, the first one when the program is about to end.
    may_end = threading.Event()
    begun = threading.Event()

    def __call__(self, number):
        if not number:
            self.begun.set()
            self.may_end.wait(30)
        os.write(1, f"{number}\\n".encode())

busy = Busy()

def end_soon():
    # Not at once: the interpreter is to have begun to end.
    threading.Timer(0.2, busy.may_end.set).start()
"""


def end_of(start_python: Any, text: str) -> list[str]:
    """Run a program that ends well, and return what it prints."""
    status, printed, errors = start_python("-W", "error", "-c", HEAD + text).finish(30)
    assert (status, errors) == (0, "")
    return list(printed)


@pytest.mark.parametrize("how", ["leave it running", "shut it down", "at exit"])
def test_what_waits_for_a_thread_is_finished_before_the_program_ends(
    start_python: Any, how: str
) -> None:
    printed = end_of(
        start_python,
        f"""
scheduler = BackgroundScheduler(
    executors={{"default": {{"type": "threadpool", "max_workers": 1}}}})
if {how!r} == "at exit":
    atexit.register(scheduler.shutdown)
scheduler.start()
submitted = threading.Semaphore(0)
scheduler.add_listener(lambda event: submitted.release(), 32768)  # EVENT_JOB_SUBMITTED
for number in range(4):
    scheduler.add_job(busy, args=[number], misfire_grace_time=None)
    submitted.acquire()
busy.begun.wait()
end_soon()
if {how!r} == "shut it down":
    scheduler.shutdown()
print("main has ended", flush=True)
""",
    )
    numbers = ["0", "1", "2", "3"]
    end = ["main has ended"]
    assert printed == (numbers + end if how == "shut it down" else end + numbers)


@pytest.mark.parametrize("how", ["leave it running", "at exit"])
def test_what_waits_for_a_worker_process_is_finished_before_the_program_ends(
    start_python: Any, how: str
) -> None:
    printed = end_of(
        start_python,
        f"""
def say(number):
    time.sleep(0.1)
    os.write(1, f"{{number}}\\n".encode())

def main():
    scheduler = BackgroundScheduler(
        executors={{"default": {{"type": "processpool", "max_workers": 1}}}})
    if {how!r} == "at exit":
        atexit.register(scheduler.shutdown)
    scheduler.start()
    submitted = threading.Semaphore(0)
    scheduler.add_listener(lambda event: submitted.release(), 32768)
    for number in range(3):
        scheduler.add_job(os.write, args=[1, b"said\\n"], misfire_grace_time=None)
        submitted.acquire()
    print("main has ended", flush=True)

if __name__ == "__main__":
    main()
""",
    )
    assert sorted(printed) == ["main has ended", "said", "said", "said"]


def test_jobs_that_fall_due_while_the_program_ends_are_no_error(start_python: Any) -> None:
    printed = end_of(
        start_python,
        """
logging.basicConfig(level=logging.INFO)
logging.getLogger("apscheduler").setLevel(logging.WARNING)
scheduler = BackgroundScheduler()
scheduler.start()
ran = threading.Event()
for number in range(20):
    scheduler.add_job(ran.set, "interval", seconds=0.005, max_instances=100)
ran.wait()
scheduler.add_job(busy, args=[0], misfire_grace_time=None)
busy.begun.wait()
end_soon()
""",
    )
    assert printed == ["0"]


def test_a_job_may_use_its_scheduler_while_the_program_ends(start_python: Any) -> None:
    printed = end_of(
        start_python,
        """
scheduler = BackgroundScheduler(executors={"default": {"type": "threadpool", "max_workers": 1}})

def late(number):
    busy(number)
    scheduler.add_job(busy, "interval", hours=1, args=[7], id="later")
    scheduler.modify_job("later", name="renamed")
    print([job.name for job in scheduler.get_jobs()], flush=True)
    scheduler.remove_job("later")
    scheduler.shutdown()
    print(scheduler.running, flush=True)

scheduler.start()
scheduler.add_job(late, args=[0], misfire_grace_time=None)
busy.begun.wait()
end_soon()
""",
    )
    assert printed == ["0", "['renamed']", "False"]


@pytest.mark.parametrize("wait", [True, False])
def test_a_scheduler_that_is_no_daemon_runs_jobs_until_it_is_shut_down(
    start_python: Any, wait: bool
) -> None:
    printed = end_of(
        start_python,
        f"""
class Tick:
    count = 0

    def __call__(self):
        self.count += 1
        os.write(1, b"tick\\n")
        if self.count == 5:
            scheduler.shutdown({wait})

scheduler = BackgroundScheduler(daemon=False)
scheduler.start()
scheduler.add_job(Tick(), "interval", seconds=0.1, misfire_grace_time=None)
print("main has ended", flush=True)
""",
    )
    assert printed == ["main has ended", *["tick"] * 5]


@pytest.mark.parametrize("how", ["leave it running", "at exit", "shut it down on the loop"])
def test_an_event_loop_that_is_closed_under_its_scheduler_is_no_obstacle(
    start_python: Any, how: str
) -> None:
    printed = end_of(
        start_python,
        f"""
scheduler = AsyncIOScheduler(executors={{
    "default": {{"type": "asyncio"}}, "threads": {{"type": "threadpool"}}}})
ran = []

async def main():
    if {how!r} == "at exit":
        atexit.register(scheduler.shutdown)
    scheduler.start()
    done = asyncio.Event()
    async def job():
        done.set()
    scheduler.add_job(job, "interval", seconds=0.01, max_instances=10)
    scheduler.add_job(busy, args=[0], executor="threads", misfire_grace_time=None)
    await done.wait()
    while not busy.begun.is_set():
        await asyncio.sleep(0.01)
    if {how!r} == "shut it down on the loop":
        scheduler.shutdown(wait=False)

asyncio.run(main())
end_soon()
print("main has ended", flush=True)
""",
    )
    assert printed == ["main has ended", "0"]


def test_a_program_that_is_told_to_end_in_start_can_shut_down_in_a_finally(
    start_python: Any,
) -> None:
    printed = end_of(
        start_python,
        """
scheduler = BlockingScheduler(executors={"default": {"type": "threadpool", "max_workers": 1}})
signal.signal(signal.SIGTERM, lambda *_: sys.exit())

def tell():
    busy.begun.wait()
    end_soon()
    os.kill(os.getpid(), signal.SIGTERM)

for number in range(3):
    scheduler.add_job(busy, args=[number], misfire_grace_time=None, id=str(number))
threading.Thread(target=tell, daemon=True).start()
try:
    scheduler.start()
finally:
    scheduler.shutdown()
    print("shut down", flush=True)
""",
    )
    assert printed == ["0", "1", "2", "shut down"]
