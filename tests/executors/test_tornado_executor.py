"""Jobs on an IO loop of Tornado."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from executor_kit import DUE, PATIENCE, House, Submission, make_job
from tornado import gen
from tornado.ioloop import IOLoop

from apscheduler.executors.base import Load, ShuttingDownError, takes_runs
from apscheduler.executors.tornado import TornadoExecutor
from apscheduler.runs import RunState

SUCCEEDED, CANCELLED = RunState.SUCCEEDED, RunState.CANCELLED


def new_house() -> Any:
    house: Any = House()
    house._ioloop = IOLoop.current()
    return house


@asynccontextmanager
async def started(max_workers: int = 2) -> AsyncIterator[TornadoExecutor]:
    executor = TornadoExecutor(max_workers)
    executor.start(new_house(), "loop")
    try:
        yield executor
    finally:
        executor.shutdown()


async def outcome(work: Submission) -> Any:
    return (await asyncio.to_thread(work.end))[1]


async def nothing_runs_in(executor: TornadoExecutor) -> None:
    async with asyncio.timeout(PATIENCE):
        while executor.load().busy:
            await asyncio.sleep(0)


class Callable:
    async def __call__(self) -> int:
        return threading.get_ident()


async def coroutine() -> int:
    return threading.get_ident()


@gen.coroutine
def older() -> Any:
    yield gen.moment
    return threading.get_ident()


@pytest.mark.parametrize(
    "func",
    [coroutine, functools.partial(coroutine), Callable(), older, functools.partial(older)],
)
def test_whatever_makes_a_coroutine_runs_on_the_io_loop(func: Any) -> None:
    async def main() -> None:
        async with started() as executor:
            work = Submission(func, runs=2)
            executor.submit_runs(work)
            for _ in range(2):
                assert (await outcome(work)).value == threading.get_ident()

    asyncio.run(main())


def test_plain_functions_run_in_as_many_threads_as_it_has() -> None:
    async def main() -> None:
        async with started(max_workers=2) as executor:
            together = threading.Barrier(2)
            works = [Submission(together.wait, PATIENCE) for _ in range(2)]
            for work in works:
                executor.submit_runs(work)
            assert {(await outcome(work)).value for work in works} == {0, 1}
            assert len(executor.executor._threads) == 2

    assert takes_runs(TornadoExecutor())
    asyncio.run(main())


def test_what_a_plain_function_returns_is_awaited_on_the_io_loop() -> None:
    async def main() -> None:
        async with started() as executor:
            work = Submission(lambda: coroutine())
            executor.submit_runs(work)
            assert (await outcome(work)).value == threading.get_ident()

    asyncio.run(main())


def test_a_shutdown_takes_no_more_lets_go_on_what_runs_and_ends_the_threads() -> None:
    async def main() -> None:
        async with started() as executor:
            go_on = asyncio.Event()
            work = Submission(go_on.wait)
            executor.submit_runs(work)
            executor.shutdown()
            with pytest.raises(ShuttingDownError):
                executor.submit_runs(Submission(coroutine))
            assert executor.executor._shutdown
            assert executor.load() == Load(workers=None, busy=1, queued=0)
            go_on.set()
            assert (await outcome(work)).state is SUCCEEDED

    asyncio.run(main())


def test_a_shutdown_from_another_thread_waits_for_the_functions() -> None:
    async def main() -> None:
        begun, go_on = threading.Event(), threading.Event()

        def job() -> None:
            begun.set()
            assert go_on.wait(PATIENCE)

        async with started() as executor:
            work = Submission(job)
            executor.submit_runs(work)
            await asyncio.to_thread(begun.wait, PATIENCE)
            stopping = asyncio.create_task(asyncio.to_thread(executor.shutdown, True))
            await asyncio.wait({stopping}, timeout=0.02)
            assert not stopping.done()
            go_on.set()
            await stopping
            assert (await outcome(work)).state is SUCCEEDED

    asyncio.run(main())


def test_what_would_follow_in_a_batch_is_cancelled_by_a_shutdown() -> None:
    async def main() -> None:
        begun, go_on = threading.Event(), threading.Event()

        def job() -> None:
            begun.set()
            assert go_on.wait(PATIENCE)

        async with started() as executor:
            work = Submission(job, runs=3)
            executor.submit_runs(work)
            await asyncio.to_thread(begun.wait, PATIENCE)
            executor.shutdown()
            go_on.set()
            await nothing_runs_in(executor)
            assert work.ends() == [
                ("run-0", SUCCEEDED),
                ("run-1", CANCELLED),
                ("run-2", CANCELLED),
            ]

    asyncio.run(main())


def test_an_executor_that_was_never_started_or_has_nothing_to_do_is_shut_down_at_once() -> None:
    TornadoExecutor().shutdown(wait=True)


def test_an_executor_can_be_started_again() -> None:
    async def main() -> None:
        async with started() as executor:
            executor.shutdown()
            executor.start(new_house(), "loop")
            work = Submission(int, 4)
            executor.submit_runs(work)
            assert (await outcome(work)).value == 4

    asyncio.run(main())


def test_a_number_of_threads_may_be_a_text_as_in_a_configuration_file() -> None:
    assert TornadoExecutor("3").executor._max_workers == 3
    assert TornadoExecutor(None).executor._max_workers > 0


@pytest.mark.parametrize("func", [coroutine, older, threading.get_ident])
def test_the_work_of_3x_is_reported_through_the_hooks(func: Any) -> None:
    async def main() -> None:
        async with started() as executor:
            house: Any = executor._scheduler
            executor.submit_job(make_job(func, misfire_grace_time=None), [DUE])
            await nothing_runs_in(executor)
            await asyncio.sleep(0)
            (event,) = house.events
            assert (event.retval == threading.get_ident()) is (func is not threading.get_ident)
            assert dict(executor._instances) == {}

    asyncio.run(main())
