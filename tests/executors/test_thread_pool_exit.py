"""Worker threads at the end of the interpreter, and in forks."""

from __future__ import annotations

import os
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import sys, threading, time
sys.path.insert(0, {kit!r})
from executor_kit import House, Submission, make_job
from apscheduler.executors.pool import ThreadPoolExecutor

executor = ThreadPoolExecutor(2)
executor.start(House(), "threads")
"""


def program(text: str) -> str:
    return PROGRAM.format(kit=os.path.dirname(__file__)) + text


def test_queued_jobs_are_finished_when_the_interpreter_ends(start_python: Any) -> None:
    status, printed, errors = start_python(
        "-c",
        program("""
begun = threading.Event()

def first():
    begun.set()
    time.sleep(0.3)

for _ in range(2):
    executor.submit_runs(Submission(first))
for number in range(5):
    executor.submit_runs(Submission(sys.stdout.write, f"{number}\\n"))
begun.wait()
print("main has ended")
"""),
    ).finish()
    assert (status, errors) == (0, "")
    assert printed[0] == "main has ended"
    assert sorted(printed[1:]) == ["0", "1", "2", "3", "4"]


def test_a_coroutine_is_finished_when_the_interpreter_ends(start_python: Any) -> None:
    status, printed, errors = start_python(
        "-c",
        program("""
import asyncio
begun = threading.Event()

async def job():
    begun.set()
    await asyncio.sleep(0.3)
    print("done")

executor.submit_runs(Submission(job))
begun.wait()
"""),
    ).finish()
    assert (status, printed, errors) == (0, ["done"], "")


def test_idle_workers_do_not_hold_the_interpreter_up(start_python: Any) -> None:
    status, printed, errors = start_python(
        "-c",
        program("""
work = Submission(print, "ran")
executor.submit_runs(work)
work.end()
"""),
    ).finish(timeout=20)
    assert (status, printed, errors) == (0, ["ran"], "")


def test_what_comes_after_the_end_has_begun_is_refused_as_such(start_python: Any) -> None:
    status, printed, errors = start_python(
        "-c",
        program("""
from apscheduler.executors.base import ShuttingDownError

def late():
    other = ThreadPoolExecutor(1)
    other.start(House(), "other")
    while True:
        try:
            other.submit_runs(Submission(str))
        except ShuttingDownError as exc:
            print("refused", exc.interpreter)
            return
        time.sleep(0.001)

executor.submit_runs(Submission(late))
"""),
    ).finish()
    assert (status, printed, errors) == (0, ["refused True"], "")


def test_an_executor_can_be_started_in_a_fork(start_python: Any) -> None:
    status, printed, errors = start_python(
        "-c",
        program("""
import os
gate = threading.Event()
begun = threading.Event()

def hold():
    begun.set()
    gate.wait()

for _ in range(2):
    executor.submit_runs(Submission(hold))
begun.wait()
executor.submit_job(make_job(str), [])
executor._works._lock.acquire()  # as if another thread were just submitting
pid = os.fork()
if not pid:
    executor.start(House(), "threads")
    executor.submit_job(make_job(str), [])
    work = Submission(os.getpid)
    executor.submit_runs(work)
    print(work.outcome().value == os.getpid(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
executor._works._lock.release()
gate.set()
executor.shutdown()
"""),
    ).finish()
    assert (status, printed, errors) == (0, ["True"], "")
