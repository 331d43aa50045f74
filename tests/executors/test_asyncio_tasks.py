"""Jobs that wait for nothing share a task of the event loop, and notice nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from executor_kit import PATIENCE, House, Submission

from apscheduler.executors import asyncio as module
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.runs import RunState

mark: ContextVar[str] = ContextVar("mark", default="untouched")


@pytest.fixture(autouse=True)
def there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a task is not ended because its time is over."""
    monkeypatch.setattr(module, "SLICE", PATIENCE)


def on_loop(program: Callable[[AsyncIOExecutor], Awaitable[None]]) -> None:
    async def run() -> None:
        executor = AsyncIOExecutor()
        executor.start(House(asyncio.get_running_loop()), "loop")
        async with asyncio.timeout(PATIENCE):
            await program(executor)
        executor.shutdown()

    asyncio.run(run())


async def all_end(executor: AsyncIOExecutor) -> None:
    while executor.load().busy:
        await asyncio.sleep(0)


def submit(executor: AsyncIOExecutor, func: Callable[..., Any], *args: Any) -> Submission:
    work = Submission(func, *args)
    executor.submit_runs(work)
    return work


async def which_task() -> asyncio.Task[Any] | None:
    return asyncio.current_task()


async def which_task_after_waiting() -> asyncio.Task[Any] | None:
    before = asyncio.current_task()
    await asyncio.sleep(0)
    assert asyncio.current_task() is before
    return before


def test_jobs_that_wait_for_nothing_share_a_task() -> None:
    async def program(executor: AsyncIOExecutor) -> None:
        works = [submit(executor, which_task) for _ in range(20)]
        await all_end(executor)
        assert len({work.outcome().value for work in works}) == 1

    on_loop(program)


def test_a_job_that_waits_has_a_task_of_its_own_and_holds_up_nobody() -> None:
    gate = asyncio.Event()
    order: list[int] = []

    async def job(number: int) -> asyncio.Task[Any] | None:
        order.append(number)
        if number % 2:
            await gate.wait()
        return asyncio.current_task()

    async def program(executor: AsyncIOExecutor) -> None:
        works = [submit(executor, job, number) for number in range(10)]
        while len(order) < 10:
            await asyncio.sleep(0)
        assert executor.load().busy == 5
        gate.set()
        await all_end(executor)
        assert order == list(range(10))
        waited = [work.outcome().value for work in works[1::2]]
        assert len(set(waited)) == 5

    on_loop(program)


def test_what_a_job_sets_in_its_context_no_other_job_sees() -> None:
    async def job(name: str, wait: bool) -> tuple[str, str]:
        before = mark.get()
        mark.set(name)
        if wait:
            await asyncio.sleep(0)
        return before, mark.get()

    async def program(executor: AsyncIOExecutor) -> None:
        works = [submit(executor, job, str(n), n % 3 == 0) for n in range(9)]
        await all_end(executor)
        assert [work.outcome().value for work in works] == [
            ("untouched", str(n)) for n in range(9)
        ]

    on_loop(program)


def test_a_job_runs_in_the_context_in_which_it_was_submitted() -> None:
    async def job() -> str:
        return mark.get()

    async def program(executor: AsyncIOExecutor) -> None:
        works = []
        for name in ("first", "second"):
            token = mark.set(name)
            works.append(submit(executor, job))
            mark.reset(token)
        await all_end(executor)
        assert [work.outcome().value for work in works] == ["first", "second"]

    on_loop(program)


def test_a_job_that_cancels_its_own_task_cancels_no_other() -> None:
    async def cancel_myself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def program(executor: AsyncIOExecutor) -> None:
        first = submit(executor, cancel_myself)
        second = submit(executor, which_task_after_waiting)
        await all_end(executor)
        assert first.outcome().state is RunState.SUCCEEDED
        assert second.outcome().state is RunState.SUCCEEDED

    on_loop(program)


def test_a_job_can_use_what_needs_a_task() -> None:
    async def job() -> int:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            parts = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
        return sum(part.result() for part in parts)

    async def late() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def program(executor: AsyncIOExecutor) -> None:
        works = [submit(executor, job) for _ in range(3)]
        timed_out = submit(executor, late)
        await all_end(executor)
        assert [work.outcome().value for work in works] == [3, 3, 3]
        assert isinstance(timed_out.outcome().exception, TimeoutError)

    on_loop(program)


def test_many_jobs_let_other_tasks_have_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", -1.0)  # over as soon as it has begun
    order: list[str] = []

    async def job() -> None:
        order.append("job")

    async def program(executor: AsyncIOExecutor) -> None:
        for _ in range(3):
            submit(executor, job)
        while executor.load().busy:
            order.append("other")
            await asyncio.sleep(0)
        assert order == ["other", "job", "other", "job", "other", "job"]

    on_loop(program)


def test_a_waiting_job_is_named_in_its_task() -> None:
    gate = asyncio.Event()

    async def program(executor: AsyncIOExecutor) -> None:
        work = submit(executor, gate.wait)
        await asyncio.sleep(0)
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert f"apscheduler job {work.job.id}" in names
        gate.set()
        await all_end(executor)

    on_loop(program)


def test_what_a_cancelled_job_does_about_it_still_happens() -> None:
    seen: list[str] = []

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append(mark.get())

    async def program(executor: AsyncIOExecutor) -> None:
        token = mark.set("mine")
        work = submit(executor, job)
        mark.reset(token)
        await asyncio.sleep(0)
        executor.shutdown()
        while not seen:
            await asyncio.sleep(0)
        assert seen == ["mine"]
        assert work.outcome().state is RunState.CANCELLED

    on_loop(program)
