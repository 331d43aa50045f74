"""What only a scheduler on an asyncio event loop can do, or get wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from host_kit import PATIENCE, Ears, Gate

from apscheduler import current_run, events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.asyncio import AsyncIOScheduler


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def within_reason() -> Any:
        return await asyncio.wait_for(coroutine, PATIENCE)

    return asyncio.run(within_reason())


def new(**options: Any) -> AsyncIOScheduler:
    return AsyncIOScheduler(**{"timezone": "UTC", **options})


class Flag:
    """An event that a job sets, from wherever it runs, and the event loop waits for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def __aenter__(self) -> Flag:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.wait_for(self._event.wait(), PATIENCE)


def test_a_scheduler_starts_on_the_loop_that_is_running_and_needs_one() -> None:
    async def main() -> None:
        scheduler.start()
        async with Flag() as flag:
            scheduler.add_job(flag, misfire_grace_time=None)
        await scheduler.aclose()

    scheduler = new()
    with pytest.raises(RuntimeError, match="no running event loop"):
        scheduler.start()
    assert not scheduler.running
    run(main())
    run(main())


def test_a_scheduler_can_be_given_a_loop_that_does_not_run_yet() -> None:
    loop = asyncio.new_event_loop()
    scheduler = new(event_loop=loop)
    ears = Ears(scheduler, events.EVENT_JOB_EXECUTED)
    scheduler.add_job(loop.stop, misfire_grace_time=None)
    scheduler.start()
    assert ears.rest() == []
    loop.run_forever()
    scheduler.shutdown()
    loop.run_until_complete(asyncio.sleep(0))
    assert not scheduler.running
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_async_with_starts_and_waits_for_coroutines_and_threads() -> None:
    async def coroutine() -> None:
        entered()
        await asyncio.sleep(0.01)
        finished.append("coroutine")

    def function() -> None:
        entered()
        time.sleep(0.01)
        finished.append("function")

    def entered() -> None:
        entries.append(threading.current_thread().name)

    async def main() -> None:
        async with new() as scheduler:
            ears = Ears(scheduler, events.EVENT_JOB_SUBMITTED)
            assert scheduler.running
            scheduler.add_job(coroutine, misfire_grace_time=None)
            scheduler.add_job(function, misfire_grace_time=None)
            while len(entries) < 2:
                await asyncio.sleep(0)
            assert len(ears.rest()) == 2
        assert not scheduler.running
        assert sorted(finished) == ["coroutine", "function"]

    entries: list[str] = []
    finished: list[str] = []
    run(main())


@pytest.mark.parametrize("how", ["shutdown", "aclose"])
def test_async_with_does_not_mind_that_its_scheduler_was_shut_down_inside(how: str) -> None:
    async def main() -> None:
        async with new() as scheduler:
            if how == "shutdown":
                scheduler.shutdown()
            else:
                await scheduler.aclose()
        await asyncio.sleep(0)
        assert not scheduler.running

    run(main())


def test_an_exception_leaves_async_with_after_the_shutdown() -> None:
    async def main() -> None:
        scheduler = new()
        with pytest.raises(ZeroDivisionError):
            async with scheduler:
                raise ZeroDivisionError
        assert not scheduler.running

    run(main())


def test_a_shutdown_takes_effect_as_soon_as_the_loop_turns_and_cancels_coroutines() -> None:
    async def sleep() -> None:
        entered()
        await asyncio.sleep(PATIENCE)

    async def main() -> None:
        nonlocal entered
        scheduler = new()
        scheduler.start()
        async with Flag() as entered:
            scheduler.add_job(sleep, id="sleep", misfire_grace_time=None)
        scheduler.shutdown()
        assert scheduler.running
        with pytest.raises(SchedulerNotRunningError):
            scheduler.shutdown()
        await asyncio.sleep(0.01)
        assert not scheduler.running
        assert [run.state for run in scheduler.get_runs("sleep")] == ["cancelled"]

    entered: Any = None
    run(main())


def test_nothing_is_started_between_the_call_of_shutdown_and_its_effect() -> None:
    async def main() -> None:
        scheduler = new()
        scheduler.start()
        scheduler.add_job(ran.append, args=["late"], misfire_grace_time=None)
        scheduler.shutdown()
        await asyncio.sleep(0.01)

    ran: list[str] = []
    run(main())
    assert ran == []


def test_closing_with_a_time_limit_cancels_what_exceeds_it() -> None:
    async def sleep() -> None:
        entered()
        await asyncio.sleep(PATIENCE)

    async def main() -> None:
        nonlocal entered
        scheduler = new()
        ears = Ears(scheduler, events.EVENT_SCHEDULER_SHUTDOWN)
        scheduler.start()
        async with Flag() as entered:
            scheduler.add_job(sleep, id="sleep", misfire_grace_time=None)
        await scheduler.aclose(timeout=0.01)
        assert not scheduler.running
        assert ears.rest() == [events.EVENT_SCHEDULER_SHUTDOWN]
        await asyncio.sleep(0)
        assert [run.state for run in scheduler.get_runs("sleep")] == ["cancelled"]
        with pytest.raises(SchedulerNotRunningError):
            await scheduler.aclose()

    entered: Any = None
    run(main())


def test_closing_from_inside_a_job_does_not_wait_for_that_job() -> None:
    async def close() -> None:
        await scheduler.aclose()

    async def main() -> None:
        closed = asyncio.Event()
        scheduler.add_listener(
            lambda event: loop.call_soon_threadsafe(closed.set), events.EVENT_SCHEDULER_SHUTDOWN
        )
        loop = asyncio.get_running_loop()
        scheduler.start()
        scheduler.add_job(close, misfire_grace_time=None)
        await closed.wait()
        assert not scheduler.running

    scheduler = new()
    run(main())


def test_closing_that_is_cancelled_still_closes() -> None:
    async def sleep() -> None:
        entered()
        await asyncio.sleep(PATIENCE)

    async def main() -> None:
        nonlocal entered
        scheduler = new()
        scheduler.start()
        async with Flag() as entered:
            scheduler.add_job(sleep, misfire_grace_time=None)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(scheduler.aclose(), 0.01)
        assert not scheduler.running

    entered: Any = None
    run(main())


def test_a_job_that_outlives_a_closing_that_was_cancelled_and_its_loop_ends_in_peace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with Flag() as entered:
            scheduler.add_listener(lambda event: entered(), events.EVENT_JOB_SUBMITTED)
            scheduler.start()
            scheduler.add_job(gate, misfire_grace_time=None)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(scheduler.aclose(), 0.01)

    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    gate = Gate()
    scheduler = new(executors={"default": ThreadPoolExecutor(1)})
    ears = Ears(scheduler, events.EVENT_JOB_EXECUTED)
    before = set(threading.enumerate())
    run(main())
    gate.let_go.set()
    assert ears.next().code == events.EVENT_JOB_EXECUTED
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    assert raised == []


def test_a_turn_that_a_job_has_caused_is_not_part_of_its_run() -> None:
    async def add() -> None:
        scheduler.add_job(int, "interval", hours=1, next_run_time=soon(), id="child")

    def soon() -> datetime:
        return datetime.now(UTC) + timedelta(milliseconds=10)

    def hear(event: Any) -> None:
        if event.job_id == "child":
            try:
                heard.append(current_run().job_id)
            except RuntimeError:
                heard.append("no run")
            flag()

    async def main() -> None:
        nonlocal flag
        scheduler.add_listener(hear, events.EVENT_JOB_SUBMITTED)
        async with scheduler, Flag() as flag:
            scheduler.add_job(add, id="parent", misfire_grace_time=None)

    flag: Any = None
    heard: list[str] = []
    scheduler = new()
    run(main())
    assert heard == ["no run"]


def test_while_it_closes_jobs_that_run_may_use_it() -> None:
    async def busy() -> str:
        entered()
        await asyncio.sleep(0.01)
        scheduler.add_job(int, id="never")
        return str([job.id for job in scheduler.get_jobs()])

    async def main() -> None:
        nonlocal entered
        scheduler.start()
        async with Flag() as entered:
            scheduler.add_job(busy, id="busy", misfire_grace_time=None)
        await scheduler.aclose()

    entered: Any = None
    scheduler = new()
    ears = Ears(scheduler, events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR)
    run(main())
    event = ears.next()
    assert (event.job_id, event.exception) == ("busy", None)
    assert ears.rest() == []


def test_a_loop_that_was_closed_under_a_scheduler_is_noticed() -> None:
    async def main() -> None:
        scheduler.start()
        assert scheduler.health().running

    scheduler = new()
    run(main())
    assert scheduler.running
    assert not scheduler.health().running
    scheduler.add_job(int, id="a")
    scheduler.wakeup()
    scheduler.shutdown()
    assert not scheduler.running

    async def again() -> None:
        async with scheduler, Flag() as flag:
            scheduler.add_job(flag, misfire_grace_time=None)

    run(again())


def test_an_interrupt_that_passes_through_the_loop_does_not_stop_the_clock() -> None:
    def job() -> None:
        raise SystemExit

    loop = asyncio.new_event_loop()
    scheduler = new(event_loop=loop, executors={"default": DebugExecutor()}, max_sleep=0.01)
    ears = Ears(scheduler, events.EVENT_JOB_EXECUTED)
    scheduler.start()
    scheduler.add_job(job, misfire_grace_time=None)
    scheduler.add_job(int, "interval", seconds=0.01, id="tick", misfire_grace_time=None)
    with pytest.raises(SystemExit):
        loop.run_until_complete(asyncio.sleep(PATIENCE))
    ears.rest()

    async def listen() -> None:
        for _ in range(100):
            await asyncio.sleep(0.01)
            if ears.rest():
                return
        raise AssertionError("no job runs any more")

    loop.run_until_complete(listen())
    scheduler.shutdown()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_threads_that_add_jobs_all_at_once_cost_few_turns() -> None:
    class Counting(AsyncIOScheduler):
        turns = 0

        def _process_jobs(self) -> float | None:
            self.turns += 1
            return super()._process_jobs()

    async def main() -> int:
        scheduler = Counting(timezone="UTC")
        scheduler.start()
        await asyncio.sleep(0)

        def add() -> None:
            for _ in range(100):
                scheduler.add_job(int, "interval", hours=1)

        async with Flag() as flag:
            await asyncio.gather(*(asyncio.to_thread(add) for _ in range(4)))
            scheduler.add_job(flag, misfire_grace_time=None)
        await scheduler.aclose()
        return scheduler.turns

    assert run(main()) < 50


def test_coroutine_listeners_hear_each_event_and_their_failures_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def listen(event: Any) -> None:
        await asyncio.sleep(0)
        heard.append(event.code)

    async def fail(event: Any) -> None:
        raise ValueError("no luck")

    async def main() -> None:
        scheduler = new()
        scheduler.add_listener(fail, events.EVENT_JOB_EXECUTED)
        scheduler.add_listener(listen, events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ADDED)
        async with scheduler, Flag() as flag:
            scheduler.add_job(flag, misfire_grace_time=None)
        await asyncio.sleep(0.01)

    heard: list[int] = []
    run(main())
    assert heard == [events.EVENT_JOB_ADDED, events.EVENT_JOB_EXECUTED]
    assert caplog.messages.count("Error notifying listener") == 1
