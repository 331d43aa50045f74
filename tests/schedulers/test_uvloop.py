"""The asyncio scheduler on an event loop that is not asyncio's own."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from host_kit import PATIENCE, Ears

from apscheduler import current_run, events
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.asyncio import AsyncIOScheduler

if sys.platform == "win32":
    pytest.skip("uvloop is not for this system", allow_module_level=True)
import uvloop

ENDS = events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def within_reason() -> Any:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        return await asyncio.wait_for(coroutine, PATIENCE)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(within_reason())


@pytest.fixture(autouse=True)
def _no_global_policy_is_left_behind() -> Any:
    before = type(asyncio.get_event_loop_policy())
    yield
    assert type(asyncio.get_event_loop_policy()) is before


def new(**options: Any) -> AsyncIOScheduler:
    return AsyncIOScheduler(**{"timezone": "UTC", **options})


async def next_of(ears: Ears) -> Any:
    return await asyncio.to_thread(ears.next)


def test_coroutines_run_on_the_loop_and_functions_in_its_threads() -> None:
    async def coroutine() -> tuple[int, str]:
        await asyncio.sleep(0)
        return threading.get_ident(), current_run().job_id

    def function() -> tuple[int, str]:
        return threading.get_ident(), current_run().job_id

    async def main() -> None:
        async with new() as scheduler:
            ears = Ears(scheduler, ENDS)
            scheduler.add_job(coroutine, id="a", misfire_grace_time=None)
            scheduler.add_job(function, id="b", misfire_grace_time=None)
            scheduler.add_job(lambda: coroutine(), id="c", misfire_grace_time=None)
            ends = {event.job_id: event.retval for event in [await next_of(ears) for _ in "abc"]}
        here = threading.get_ident()
        assert {job_id: value[1] for job_id, value in ends.items()} == {id: id for id in "abc"}
        assert [ends[job_id][0] == here for job_id in "abc"] == [True, False, True]

    run(main())


def test_a_timer_runs_jobs_again_and_threads_wake_the_loop() -> None:
    async def main() -> None:
        scheduler = new(max_sleep=1000)
        ears = Ears(scheduler, ENDS)
        scheduler.start()
        await asyncio.to_thread(scheduler.add_job, int, id="now", misfire_grace_time=None)
        assert (await next_of(ears)).job_id == "now"
        scheduler.add_job(int, "interval", seconds=0.01, misfire_grace_time=None)
        for _ in range(3):
            await next_of(ears)
        scheduler.shutdown()
        assert scheduler.running
        with pytest.raises(SchedulerNotRunningError):
            scheduler.shutdown()
        await asyncio.sleep(0.001)
        assert not scheduler.running

    run(main())


def test_a_shutdown_cancels_coroutines_and_closing_waits_for_them() -> None:
    async def endless() -> None:
        entered()
        await asyncio.Event().wait()

    async def short() -> str:
        entered()
        await asyncio.sleep(0.01)
        return "ended"

    async def main() -> None:
        nonlocal entered
        begun = asyncio.Event()
        entered = begun.set
        ears = Ears(scheduler, ENDS)
        scheduler.start()
        scheduler.add_job(endless, id="endless", misfire_grace_time=None)
        await begun.wait()
        scheduler.shutdown()
        while scheduler.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert [run.state for run in scheduler.get_runs("endless")] == ["cancelled"]
        ears.rest()

        begun.clear()
        scheduler.start()
        scheduler.add_job(short, misfire_grace_time=None)
        await begun.wait()
        await scheduler.aclose()
        assert not scheduler.running
        assert (await next_of(ears)).retval == "ended"

    entered: Any = None
    scheduler = new()
    run(main())


def test_a_scheduler_moves_from_one_loop_to_the_next() -> None:
    async def main() -> None:
        async with scheduler:
            ears = Ears(scheduler, ENDS)
            scheduler.add_job(int, misfire_grace_time=None)
            assert (await next_of(ears)).exception is None

    scheduler = new()
    run(main())
    asyncio.run(main())
    run(main())


def test_a_loop_that_was_closed_under_a_scheduler_is_noticed() -> None:
    async def main() -> None:
        scheduler.start()

    scheduler = new()
    run(main())
    assert not scheduler.health().running
    scheduler.add_job(int)
    scheduler.shutdown()
    assert not scheduler.running
