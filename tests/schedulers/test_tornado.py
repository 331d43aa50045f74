"""What only a scheduler on Tornado's IO loop can do, or get wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from host_kit import PATIENCE, Ears, Gate
from tornado import gen
from tornado.ioloop import IOLoop

from apscheduler import events
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.tornado import TornadoScheduler


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def within_reason() -> Any:
        return await asyncio.wait_for(coroutine, PATIENCE)

    return asyncio.run(within_reason())


def new(**options: Any) -> TornadoScheduler:
    return TornadoScheduler(**{"timezone": "UTC", **options})


async def next_of(ears: Ears) -> Any:
    return await asyncio.to_thread(ears.next)


@pytest.fixture
def no_current_loop() -> Any:
    """Take the event loop that was made for this thread by the way out of the way again."""
    asyncio.set_event_loop(None)
    yield
    policy = asyncio.get_event_loop_policy()
    made = policy._local._loop  # type: ignore[attr-defined]
    if made is not None:
        IOLoop._ioloop_for_asyncio.pop(made, None)
        made.close()
    asyncio.set_event_loop(None)


def test_a_scheduler_that_is_made_before_any_loop_runs_on_the_one_it_is_started_in(
    no_current_loop: None,
) -> None:
    async def main() -> None:
        scheduler.start()
        scheduler.add_job(threading.get_ident, misfire_grace_time=None)
        assert (await next_of(ears)).exception is None
        assert scheduler._ioloop is IOLoop.current()
        await scheduler.aclose()

    scheduler = new()
    before = scheduler._ioloop
    ears = Ears(scheduler, events.EVENT_JOB_EXECUTED)
    for _ in range(2):
        run(main())
    assert scheduler._ioloop is not before


def test_a_scheduler_that_was_given_a_loop_stays_with_it() -> None:
    async def main() -> None:
        scheduler = new(io_loop=given)
        scheduler.start()
        assert scheduler._ioloop is given
        scheduler.shutdown()
        assert scheduler.running

    given = IOLoop(make_current=False)
    run(main())
    given.close(all_fds=True)


def test_a_loop_that_was_given_and_is_closed_gives_way_to_the_running_one() -> None:
    async def main() -> None:
        async with new(io_loop=given) as scheduler:
            assert scheduler._ioloop is IOLoop.current()

    given = IOLoop(make_current=False)
    given.close(all_fds=True)
    run(main())


def test_a_loop_that_was_closed_under_a_scheduler_is_noticed() -> None:
    async def begin() -> TornadoScheduler:
        scheduler = new()
        scheduler.start()
        assert scheduler.health().running
        return scheduler

    scheduler = run(begin())
    assert scheduler.running
    assert not scheduler.health().running
    scheduler.add_job(int, id="a")
    scheduler.wakeup()
    scheduler.shutdown()
    assert not scheduler.running


def test_async_with_waits_for_coroutines_and_for_functions() -> None:
    ended: list[str] = []
    begun = threading.Barrier(2)

    async def coroutine() -> None:
        await asyncio.to_thread(begun.wait, PATIENCE)
        await gen.sleep(0.01)
        ended.append("coroutine")

    def function() -> None:
        assert not threading.Event().wait(0.01)
        ended.append("function")

    async def main() -> None:
        async with new() as scheduler:
            ears = Ears(scheduler, events.EVENT_JOB_SUBMITTED)
            scheduler.add_job(coroutine, misfire_grace_time=None)
            scheduler.add_job(function, misfire_grace_time=None)
            for _ in range(2):
                await next_of(ears)
            await asyncio.to_thread(begun.wait, PATIENCE)
        assert not scheduler.running
        with pytest.raises(SchedulerNotRunningError):
            await scheduler.aclose()

    run(main())
    assert sorted(ended) == ["coroutine", "function"]


def test_a_shutdown_lets_a_coroutine_go_on_and_its_end_is_told() -> None:
    async def main() -> None:
        async def coroutine() -> str:
            entered.set()
            await go_on.wait()
            return "ended"

        entered, go_on = asyncio.Event(), asyncio.Event()
        scheduler = new()
        ears = Ears(scheduler, events.EVENT_JOB_EXECUTED | events.EVENT_SCHEDULER_SHUTDOWN)
        scheduler.start()
        scheduler.add_job(coroutine, misfire_grace_time=None)
        await entered.wait()
        scheduler.shutdown()
        assert (await next_of(ears)).code == events.EVENT_SCHEDULER_SHUTDOWN
        go_on.set()
        assert (await next_of(ears)).retval == "ended"

    run(main())


def test_a_shutdown_does_not_keep_the_io_loop_waiting_for_a_function_that_needs_it() -> None:
    async def main() -> None:
        def needs_the_loop() -> str:
            gate()
            there = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "there"), loop)
            return there.result(PATIENCE)

        loop = asyncio.get_running_loop()
        scheduler = new()
        ears = Ears(scheduler, events.EVENT_JOB_EXECUTED)
        scheduler.start()
        scheduler.add_job(needs_the_loop, misfire_grace_time=None)
        await asyncio.to_thread(gate.entered.wait, PATIENCE)
        scheduler.shutdown(wait=True)
        gate.let_go.set()
        assert (await next_of(ears)).retval == "there"

    gate = Gate()
    run(main())


def test_a_coroutine_of_tornados_older_kind_runs_on_the_io_loop() -> None:
    @gen.coroutine
    def older() -> Any:
        yield gen.sleep(0)
        return threading.get_ident()

    async def main() -> None:
        async with new() as scheduler:
            ears = Ears(scheduler, events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR)
            scheduler.add_job(older, misfire_grace_time=None)
            assert (await next_of(ears)).retval == threading.get_ident()

    run(main())


def test_an_asyncio_executor_works_on_an_io_loop_too() -> None:
    async def where() -> int:
        return threading.get_ident()

    async def main() -> None:
        async with new(executors={"default": AsyncIOExecutor()}) as scheduler:
            ears = Ears(scheduler, events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR)
            scheduler.add_job(where, misfire_grace_time=None)
            assert (await next_of(ears)).retval == threading.get_ident()

    run(main())
