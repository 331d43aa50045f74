"""Jobs on an event loop."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from executor_kit import DUE, PATIENCE, House, Submission, make_job

from apscheduler import current_run
from apscheduler.executors.asyncio import AsyncIOExecutor, is_async
from apscheduler.executors.base import Load, ShuttingDownError
from apscheduler.runs import Outcome, Run, RunState

SUCCEEDED, FAILED, CANCELLED = RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED


@asynccontextmanager
async def started() -> AsyncIterator[AsyncIOExecutor]:
    executor = AsyncIOExecutor()
    executor.start(House(asyncio.get_running_loop()), "loop")
    try:
        yield executor
    finally:
        executor.shutdown()
        await asyncio.sleep(0)


async def nothing_runs_in(executor: AsyncIOExecutor) -> None:
    async with asyncio.timeout(PATIENCE):
        while executor.load().busy:
            await asyncio.sleep(0)


async def end(work: Submission) -> tuple[Run, Outcome]:
    return await asyncio.to_thread(work.end)


async def outcome(work: Submission) -> Outcome:
    return (await end(work))[1]


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Doubler:
    async def __call__(self, number: int) -> int:
        return await double(number)

    async def method(self, number: int) -> int:
        return await double(number)


def double_plainly(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (double, True),
        (functools.partial(functools.partial(double)), True),
        (Doubler(), True),
        (functools.partial(Doubler()), True),
        (Doubler().method, True),
        (double_plainly, False),
        (functools.partial(double_plainly), False),
        (lambda number: double(number), False),
        (Doubler, False),
    ],
)
def test_what_makes_a_coroutine_is_recognised(func: Callable[..., Any], expected: bool) -> None:
    assert is_async(func) is expected


@pytest.mark.parametrize(
    "func",
    [double, functools.partial(double), Doubler(), double_plainly, lambda number: double(number)],
)
def test_whatever_is_called_runs_to_its_end(func: Callable[..., Any]) -> None:
    async def main() -> None:
        async with started() as executor:
            work = Submission(func, 4)
            executor.submit_runs(work)
            run, outcome = await end(work)
            assert (outcome.state, outcome.value) == (SUCCEEDED, 8)
            assert DUE < run.started_at <= outcome.started_at <= outcome.ended_at

    asyncio.run(main())


def test_a_coroutine_runs_on_the_loop_and_a_plain_function_does_not() -> None:
    async def where() -> int:
        return threading.get_ident()

    async def main() -> None:
        async with started() as executor:
            works = [Submission(where), Submission(threading.get_ident)]
            for work in works:
                executor.submit_runs(work)
            assert (await outcome(works[0])).value == threading.get_ident()
            assert (await outcome(works[1])).value != threading.get_ident()

    asyncio.run(main())


@pytest.mark.parametrize("func", [double, double_plainly, lambda number: double(number)])
def test_the_end_is_told_on_the_loop(func: Callable[..., Any]) -> None:
    class Told(Submission):
        def finish(self, run: Run, outcome: Outcome) -> None:
            super().finish(run, Outcome(outcome.state, value=threading.get_ident()))

    async def main() -> None:
        async with started() as executor:
            work = Told(func, 1)
            executor.submit_runs(work)
            assert (await outcome(work)).value == threading.get_ident()

    asyncio.run(main())


def test_what_a_plain_function_returns_is_awaited_on_the_loop() -> None:
    async def where() -> int:
        return threading.get_ident()

    async def main() -> None:
        async with started() as executor:
            work = Submission(lambda: where())
            executor.submit_runs(work)
            assert (await outcome(work)).value == threading.get_ident()

    asyncio.run(main())


@pytest.mark.parametrize("plain", [False, True])
def test_a_job_knows_its_run(plain: bool) -> None:
    async def run_id() -> str:
        await asyncio.sleep(0)
        return current_run().run_id

    async def main() -> None:
        async with started() as executor:
            work = Submission((lambda: current_run().run_id) if plain else run_id, runs=2)
            executor.submit_runs(work)
            assert [(await outcome(work)).value for _ in range(2)] == ["run-0", "run-1"]

    asyncio.run(main())


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_no_exception_of_a_job_reaches_the_loop(error: type[BaseException]) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error("no")

    async def main() -> None:
        async with started() as executor:
            work = Submission(fail, runs=2)
            executor.submit_runs(work)
            for _ in range(2):
                failed = await outcome(work)
                assert failed.state is FAILED
                assert type(failed.exception) is error

    asyncio.run(main())


class Interrupted(Submission):
    """While it begins, or ends, somebody presses Ctrl+C."""

    def __init__(self, method: str) -> None:
        super().__init__(double, 1)
        self._method = method

    def begin(self, run: Run) -> Run | None:
        if self._method == "begin":
            raise KeyboardInterrupt
        return super().begin(run)

    def finish(self, run: Run, outcome: Outcome) -> None:
        if self._method == "finish":
            raise KeyboardInterrupt
        super().finish(run, outcome)


@pytest.mark.parametrize("method", ["begin", "finish"])
def test_an_interrupt_beside_a_job_ends_the_loop_once_and_what_else_is_queued_still_runs(
    method: str,
) -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: told.append(context))
    executor = AsyncIOExecutor()
    executor.start(House(loop), "loop")
    other = Submission(double, 2)
    executor.submit_runs(Interrupted(method))
    executor.submit_runs(other)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.run_until_complete(nothing_runs_in(executor))
    assert other.outcome().value == 4
    loop.close()
    gc.collect()
    assert told == []


def test_works_can_be_submitted_from_any_thread() -> None:
    async def main() -> None:
        async with started() as executor:
            works = [Submission(double, number) for number in range(10)]
            await asyncio.gather(
                *(asyncio.to_thread(executor.submit_runs, work) for work in works)
            )
            assert [(await outcome(work)).value for work in works] == [
                2 * number for number in range(10)
            ]

    asyncio.run(main())


def test_a_run_that_was_cancelled_meanwhile_is_skipped() -> None:
    async def main() -> None:
        async with started() as executor:
            work = Submission(double, 1, runs=3)
            work.withdrawn.add("run-1")
            executor.submit_runs(work)
            assert [(await end(work))[0].id for _ in range(2)] == ["run-0", "run-2"]
            await nothing_runs_in(executor)
            assert work.ends() == []

    asyncio.run(main())


class Endless:
    """A coroutine job that only a cancellation ends."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def test_shutdown_cancels_what_is_running_and_what_would_follow() -> None:
    async def main() -> None:
        async with started() as executor:
            job = Endless()
            work = Submission(job, runs=3)
            executor.submit_runs(work)
            await job.begun.wait()
            executor.shutdown()
            assert executor._pending_futures == set()
            ends = [await end(work) for _ in range(3)]
            assert [(run.id, outcome.state) for run, outcome in ends] == [
                ("run-0", CANCELLED),
                ("run-1", CANCELLED),
                ("run-2", CANCELLED),
            ]
            assert isinstance(ends[0][1].exception, asyncio.CancelledError)
            assert job.cancelled

    asyncio.run(main())


def test_shutdown_cancels_what_has_not_taken_its_first_step() -> None:
    async def main() -> None:
        async with started() as executor:
            work = Submission(double, 1, runs=2)
            executor.submit_runs(work)
            executor.shutdown()
            assert work.ends() == [("run-0", CANCELLED), ("run-1", CANCELLED)]
            await asyncio.sleep(0)
            assert work.ends() == []

    asyncio.run(main())


def test_the_end_of_the_loop_cancels_too() -> None:
    late = Submission(double, 1)
    works = []

    async def main() -> None:
        executor = AsyncIOExecutor()
        executor.start(House(asyncio.get_running_loop()), "loop")
        job = Endless()
        works.extend([Submission(job), late])
        executor.submit_runs(works[0])
        await job.begun.wait()
        executor.submit_runs(late)

    asyncio.run(main())
    assert [work.ends() for work in works] == [[("run-0", CANCELLED)]] * 2


def test_shutdown_from_another_thread_cancels_on_the_loop() -> None:
    async def main() -> None:
        async with started() as executor:
            job = Endless()
            work = Submission(job)
            executor.submit_runs(work)
            await job.begun.wait()
            await asyncio.to_thread(executor.shutdown)
            assert (await outcome(work)).state is CANCELLED

    asyncio.run(main())


def test_shutdown_gives_up_waiting_for_a_plain_function() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    async def main() -> None:
        async with started() as executor:
            work = Submission(wait, runs=2)
            executor.submit_runs(work)
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            executor.shutdown()
            assert (await outcome(work)).state is CANCELLED
            assert (await outcome(work)).state is CANCELLED
            go_on.set()

    asyncio.run(main())


def test_what_arrives_after_shutdown_is_refused_or_cancelled() -> None:
    async def main() -> None:
        async with started() as executor:
            on_its_way = Submission(double, 1)
            submitting = threading.Thread(target=executor.submit_runs, args=(on_its_way,))
            submitting.start()
            submitting.join()
            executor.shutdown()
            with pytest.raises(ShuttingDownError):
                executor.submit_runs(Submission(double, 1))
            assert (await outcome(on_its_way)).state is CANCELLED

    asyncio.run(main())


def test_a_closed_loop_refuses() -> None:
    executor = AsyncIOExecutor()
    loop = asyncio.new_event_loop()
    executor.start(House(loop), "loop")
    loop.close()
    with pytest.raises(ShuttingDownError, match="closed"):
        executor.submit_runs(Submission(double, 1))
    executor.shutdown()


def test_a_default_executor_that_takes_no_more_is_a_refusal() -> None:
    async def main() -> None:
        async with started() as executor:
            await asyncio.get_running_loop().shutdown_default_executor()
            work = Submission(double_plainly, 1)
            executor.submit_runs(work)
            await nothing_runs_in(executor)
            refused = work.outcome()
            assert (refused.state, refused.refused) == (FAILED, True)

    asyncio.run(main())


def test_an_executor_can_be_started_again() -> None:
    async def main() -> None:
        async with started() as executor:
            executor.shutdown()
            house = House(asyncio.get_running_loop())
            executor.start(house, "loop")
            work = Submission(double, 1)
            executor.submit_runs(work)
            assert (await outcome(work)).value == 2

    asyncio.run(main())


def test_it_tells_how_much_it_is_running() -> None:
    async def main() -> None:
        async with started() as executor:
            go_on = asyncio.Event()
            for _ in range(3):
                executor.submit_runs(Submission(go_on.wait))
            assert executor.load() == Load(workers=None, busy=3, queued=0)
            go_on.set()
            await nothing_runs_in(executor)
            assert executor.load() == Load(workers=None, busy=0, queued=0)

    asyncio.run(main())


def test_a_loop_that_is_closed_under_its_jobs_leaves_no_run_open() -> None:
    executor = AsyncIOExecutor()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    executor.start(House(loop), "loop")
    work = Submission(Endless(), runs=2)
    executor.submit_runs(work)
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    executor.shutdown()
    assert work.ends() == [("run-0", CANCELLED), ("run-1", CANCELLED)]


@pytest.mark.parametrize("func", [double, double_plainly, Doubler()])
def test_the_work_of_3x_is_reported_through_the_hooks(func: Callable[..., Any]) -> None:
    async def main() -> None:
        async with started() as executor:
            house: Any = executor._scheduler
            executor.submit_job(make_job(func, 4, misfire_grace_time=None), [DUE])
            await nothing_runs_in(executor)
            await asyncio.sleep(0)
            assert [event.retval for event in house.events] == [8]
            assert house.reports == [("succeeded", "loop", "a", house.events)]
            assert dict(executor._instances) == {}

    asyncio.run(main())


def test_work_of_3x_that_is_cancelled_before_it_begins_is_an_error() -> None:
    async def main() -> None:
        async with started() as executor:
            house: Any = executor._scheduler
            executor.submit_job(make_job(double, 4, misfire_grace_time=None), [DUE])
            executor.shutdown()
            await asyncio.sleep(0.001)
            ((kind, _, _, error, _),) = house.reports
            assert kind == "failed"
            assert isinstance(error, asyncio.CancelledError)

    asyncio.run(main())
