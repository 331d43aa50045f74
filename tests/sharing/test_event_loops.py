"""A scheduler in an event loop waits for a shared job store without holding anybody up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_SUBMITTED
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler

PATIENCE = 20
RAN: asyncio.Queue[int] = asyncio.Queue()


async def ran(number: int = 0) -> None:
    RAN.put_nowait(number)


def slow(store: SQLAlchemyJobStore, name: str, until: Callable[[], object]) -> None:
    """Let a method of a store take until something has happened."""
    method = getattr(store, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        until()
        return method(*args, **kwargs)

    setattr(store, name, wrapper)


@pytest.fixture
def store(tmp_path: Path) -> SQLAlchemyJobStore:
    return SQLAlchemyJobStore(f"sqlite:///{tmp_path}/jobs.db")


def run(main: Callable[[], Any]) -> None:
    async def with_patience() -> None:
        global RAN
        RAN = asyncio.Queue()
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(with_patience())


def test_the_event_loop_goes_on_while_the_store_takes_its_time(store: SQLAlchemyJobStore) -> None:
    asked, may_answer = Event(), Event()

    def wait() -> None:
        asked.set()
        assert may_answer.wait(PATIENCE)

    async def main() -> None:
        async with AsyncIOScheduler(jobstores={"default": store}) as scheduler:
            slow(store, "claim", wait)
            scheduler.add_job(ran)
            await asyncio.to_thread(asked.wait, PATIENCE)
            for _ in range(100):
                await asyncio.sleep(0)
            assert RAN.empty()
            may_answer.set()
            assert await RAN.get() == 0

    run(main)


def test_jobs_and_listeners_are_called_in_the_event_loop(store: SQLAlchemyJobStore) -> None:
    threads: set[int] = set()

    async def main() -> None:
        told = asyncio.Event()

        def listener(event: Any) -> None:
            threads.add(get_ident())
            if event.code == EVENT_JOB_EXECUTED:
                told.set()

        async with AsyncIOScheduler(jobstores={"default": store}) as scheduler:
            scheduler.add_listener(listener, EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED)
            scheduler.add_job(ran)
            await told.wait()
            (entry,) = scheduler.get_runs()
            assert entry.state == "succeeded"

    run(main)
    assert threads == {get_ident()}


def test_many_due_jobs_are_all_run_once(store: SQLAlchemyJobStore) -> None:
    async def main() -> None:
        async with AsyncIOScheduler(jobstores={"default": store}) as scheduler:
            scheduler.add_jobs([{"func": ran, "args": (number,)} for number in range(300)])
            seen = [await RAN.get() for _ in range(300)]
        assert sorted(seen) == list(range(300))

    run(main)


def test_a_job_that_is_added_while_the_store_takes_its_time_is_not_overlooked(
    store: SQLAlchemyJobStore,
) -> None:
    asked, may_answer = Event(), Event()

    def wait() -> None:
        asked.set()
        assert may_answer.wait(PATIENCE)

    async def main() -> None:
        async with AsyncIOScheduler(jobstores={"default": store}) as scheduler:
            slow(store, "next_wake", wait)
            scheduler.wakeup()
            await asyncio.to_thread(asked.wait, PATIENCE)
            scheduler.add_job(ran)
            may_answer.set()
            assert await RAN.get() == 0

    run(main)


def test_a_store_that_fails_is_asked_again(store: SQLAlchemyJobStore) -> None:
    async def main() -> None:
        loop, failed = asyncio.get_running_loop(), asyncio.Event()
        left = [True]

        def fail() -> None:
            if left:
                left.clear()
                loop.call_soon_threadsafe(failed.set)
                raise OperationalError("SELECT", {}, Exception("no answer"))

        scheduler = AsyncIOScheduler(jobstores={"default": store}, jobstore_retry_interval=0.01)
        async with scheduler:
            slow(store, "claim", fail)
            scheduler.add_job(ran)
            await failed.wait()
            assert await RAN.get() == 0

    run(main)


def test_a_shutdown_while_the_store_takes_its_time_loses_nothing(
    store: SQLAlchemyJobStore, tmp_path: Path
) -> None:
    asked, may_answer = Event(), Event()

    def wait() -> None:
        asked.set()
        assert may_answer.wait(PATIENCE)

    async def main() -> None:
        scheduler = AsyncIOScheduler(jobstores={"default": store})
        scheduler.start()
        slow(store, "claim", wait)
        scheduler.add_job(ran, id="j")
        await asyncio.to_thread(asked.wait, PATIENCE)
        scheduler.shutdown()
        while scheduler.running:
            await asyncio.sleep(0)
        may_answer.set()
        again = SQLAlchemyJobStore(f"sqlite:///{tmp_path}/jobs.db", poll_interval=0.01)
        async with AsyncIOScheduler(jobstores={"default": again}):
            assert await RAN.get() == 0
        assert RAN.empty()

    run(main)
