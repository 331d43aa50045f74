"""Many threads, one scheduler: nothing is lost, doubled, or raised in anybody's face."""

from __future__ import annotations

import logging
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from host_kit import HOSTS, PATIENCE, Host

from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.base import BaseScheduler

MakeHost = Callable[..., Host]


@pytest.fixture(autouse=True)
def threads_that_take_turns_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Let threads work side by side, and raise what one of them raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(count)

    def guarded(number: int) -> None:
        barrier.wait(PATIENCE)
        try:
            work(number)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def meddle(scheduler: BaseScheduler, number: int) -> None:
    """Do at random what users do."""
    chance = random.Random(number)
    soon = timedelta(milliseconds=chance.randrange(5))

    def add() -> None:
        scheduler.add_job(
            int,
            "interval",
            seconds=chance.choice([0.002, 1000]),
            id=chance.choice("abcdef"),
            replace_existing=True,
            coalesce=chance.choice([True, False]),
            max_instances=3,
            misfire_grace_time=None,
        )

    def on(method: str, *args: Any, **options: Any) -> Callable[[], object]:
        return lambda: getattr(scheduler, method)(chance.choice("abcdef"), *args, **options)

    deeds = [
        add,
        add,
        on("remove_job"),
        on("pause_job"),
        on("resume_job"),
        on("modify_job", name="renamed"),
        on("modify_job", next_run_time=datetime.now(UTC) + soon),
        on("reschedule_job", trigger="interval", seconds=0.003),
        on("run_now"),
        on("get_job"),
        on("explain"),
        scheduler.get_jobs,
        scheduler.get_runs,
        scheduler.health,
        scheduler.wakeup,
    ]
    for _ in range(80):
        try:
            chance.choice(deeds)()
        except JobLookupError:
            pass


@pytest.mark.parametrize("kind", HOSTS)
def test_threads_that_change_jobs_while_these_run_never_fail_and_no_slot_runs_twice(
    make_host: MakeHost, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    pool = ThreadPoolExecutor(4)
    host = make_host(kind, executors={"default": pool})
    executed: list[tuple[str, datetime]] = []
    announced: list[str] = []
    scheduler = host.scheduler
    scheduler.add_listener(
        lambda event: executed.append((event.job_id, event.scheduled_run_time)),
        events.EVENT_JOB_EXECUTED,
    )
    scheduler.add_listener(lambda event: announced.append(event.job_id), events.EVENT_JOB_ADDED)
    host.start()
    in_threads(6, lambda number: meddle(scheduler, number))
    scheduler.remove_all_jobs()
    assert scheduler.get_jobs() == []
    ran = threading.Event()
    scheduler.add_job(ran.set, misfire_grace_time=None)
    assert ran.wait(PATIENCE)
    assert scheduler.health().running
    host.shutdown()
    pool.shutdown(wait=True)  # A host with an event loop does not wait for it.

    assert announced
    assert executed
    runs = scheduler.get_runs(limit=100_000)
    assert [run for run in runs if not run.state.ended] == []
    slots = Counter(
        (run.job_id, run.incarnation, run.scheduled_at)
        for run in runs
        if run.kind in ("slot", "recovery") and run.state == "succeeded"
    )
    assert max(slots.values()) == 1
    assert [r.message for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_threads_that_add_and_remove_executors_and_stores_never_stop_the_loop(
    make_host: MakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    host = make_host("background", executors={"default": ThreadPoolExecutor(4)})
    scheduler = host.scheduler
    host.start()
    scheduler.add_job(
        int, "interval", seconds=0.002, id="tick", executor="0", misfire_grace_time=None
    )

    def work(number: int) -> None:
        for _ in range(15):
            scheduler.add_executor(ThreadPoolExecutor(1), str(number))
            scheduler.add_jobstore("memory", str(number))
            scheduler.add_job(
                int, "interval", seconds=0.001, jobstore=str(number), executor=str(number)
            )
            scheduler.health()
            scheduler.remove_jobstore(str(number))
            scheduler.remove_executor(str(number))

    in_threads(3, work)
    scheduler.add_executor(ThreadPoolExecutor(1), "0")
    ran = threading.Event()

    def hear(event: Any) -> None:
        if event.job_id == "tick":
            ran.set()

    scheduler.add_listener(hear, events.EVENT_JOB_EXECUTED)
    assert ran.wait(PATIENCE)
    assert "Error processing jobs; they are processed again soon" not in caplog.messages


@pytest.mark.parametrize("kind", HOSTS)
def test_schedulers_that_are_started_and_shut_down_while_jobs_are_added_lose_none(
    make_host: MakeHost, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = make_host(kind, executors={"default": ThreadPoolExecutor(2)})
    far = datetime.now(UTC) + timedelta(days=1)
    added = threading.Event()

    def add(number: int) -> None:
        for count in range(50):
            host.scheduler.add_job(int, "date", run_date=far, id=f"{number}-{count}")
            if count == 25:
                added.set()

    adding = threading.Thread(target=lambda: in_threads(3, add))
    adding.start()
    assert added.wait(PATIENCE)
    host.start()
    adding.join(PATIENCE)
    assert len(host.scheduler.get_jobs()) == 150
    assert [r.message for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_two_jobs_that_wait_for_each_other_are_never_given_to_one_of_two_workers(
    make_host: MakeHost,
) -> None:
    def meet() -> None:
        meeting.wait(2)

    meeting = threading.Barrier(2)
    host = make_host("background", executors={"default": ThreadPoolExecutor(2)})
    host.start()
    for number in range(60):
        # Every other time both workers have just run out of work.
        for job in (meet, meet) if number % 2 else (int,):
            host.scheduler.add_job(job, misfire_grace_time=None)
        for _ in range(1 + number % 2):
            assert host.ended.next().exception is None, number


def test_an_executor_can_be_added_while_the_loop_comes_to_know_new_stores(
    make_host: MakeHost,
) -> None:
    host = make_host("background", max_sleep=0.001)
    scheduler = host.scheduler
    host.start()
    for number in range(100):
        scheduler.add_jobstore("memory", f"known {number}")

    def work(thread: int) -> None:
        for number in range(150):
            if thread:
                scheduler.add_jobstore("memory", f"new {number}")
            else:
                scheduler.add_executor(DebugExecutor(), f"new {number}")

    in_threads(2, work)
    assert host.run(lambda: 1).retval == 1
