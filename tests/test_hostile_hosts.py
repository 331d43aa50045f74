"""What hosts, executors and the store in memory could still be broken by."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import types
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import time_machine
from twisted.internet.selectreactor import SelectReactor

sys.path.append(str(Path(__file__).resolve().parent / "schedulers"))
sys.path.append(str(Path(__file__).resolve().parent / "executors"))

from executor_kit import House, Submission, make_run, until
from host_kit import HOSTS, PATIENCE

from apscheduler.clock import SYSTEM_CLOCK
from apscheduler.executors._invoke import await_alone, invoke
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import Due, Outcome, Plan, RunState
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.twisted import TwistedScheduler
from apscheduler.testing import ManualScheduler, VirtualClock
from job_kit import at, make_job

# -- exceptions that have been elsewhere before -------------------------------------------------


def outcome_of(func: Callable[..., Any], *args: Any) -> Outcome:
    job = Submission(func, *args).job
    return invoke(job, make_run(), SYSTEM_CLOCK.now, logging.getLogger("quiet"), await_alone)


def raise_it(error: Exception) -> None:
    raise error


def caught(caught: list[Exception]) -> Generator[str, None, None]:
    try:
        raise OSError("connection lost")
    except OSError as error:
        caught.append(error)
    yield "handed on"
    yield "went on"


def test_a_job_that_fails_ends_no_generator_from_which_it_has_its_exception() -> None:
    errors: list[Exception] = []
    at_work = caught(errors)
    next(at_work)
    assert outcome_of(raise_it, errors[0]).state is RunState.FAILED
    assert next(at_work) == "went on"


def test_a_job_that_fails_ends_no_task_that_has_handed_it_its_exception() -> None:
    async def program() -> str:
        loop = asyncio.get_running_loop()
        answer, go_on = loop.create_future(), loop.create_future()

        async def read() -> str:
            try:
                raise OSError("connection lost")
            except OSError as error:
                answer.set_exception(error)
            await go_on
            return "went on"

        async def ask() -> None:
            await answer

        reading = asyncio.create_task(read())
        executor = AsyncIOExecutor()
        executor.start(House(loop), "loop")
        work = Submission(ask)
        await asyncio.sleep(0)
        executor.submit_runs(work)
        await all_end(executor)
        assert work.outcome().state is RunState.FAILED
        go_on.set_result(None)
        return await asyncio.wait_for(reading, PATIENCE)

    assert asyncio.run(program()) == "went on"


class Thing:
    """Can be referred to weakly."""


def test_a_coroutine_that_has_failed_keeps_nothing_alive() -> None:
    known: list[weakref.ref[Thing]] = []

    async def fail() -> None:
        thing = Thing()
        known.append(weakref.ref(thing))
        await asyncio.sleep(0)
        raise OSError(str(thing))

    gc.disable()
    try:
        outcome = outcome_of(fail)
        assert isinstance(outcome.exception, OSError)
        assert known[0]() is None
    finally:
        gc.enable()


# -- coroutines that share a task ---------------------------------------------------------------


def on_loop(
    program: Callable[[AsyncIOExecutor], Awaitable[None]],
    make: Callable[[], AsyncIOExecutor] = AsyncIOExecutor,
    debug: bool = False,
) -> None:
    async def run() -> None:
        executor = make()
        executor.start(House(asyncio.get_running_loop()), "loop")
        async with asyncio.timeout(PATIENCE):
            await program(executor)
        executor.shutdown()

    asyncio.run(run(), debug=debug)


async def all_end(executor: AsyncIOExecutor) -> None:
    while executor.load().busy:
        await asyncio.sleep(0)


async def regret() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    task.uncancel()


async def wait_a_moment() -> None:
    await asyncio.sleep(0)


def test_a_job_that_takes_back_the_cancellation_of_its_task_cancels_no_other() -> None:
    async def program(executor: AsyncIOExecutor) -> None:
        works = [Submission(regret), Submission(wait_a_moment)]
        for work in works:
            executor.submit_runs(work)
        await all_end(executor)
        assert [work.outcome().state for work in works] == [RunState.SUCCEEDED] * 2

    on_loop(program)


def test_an_executor_that_is_started_anew_cancels_only_what_it_ran_before() -> None:
    async def program(executor: AsyncIOExecutor) -> None:
        loop, let_go = asyncio.get_running_loop(), asyncio.Event()
        before, after = Submission(let_go.wait), Submission(let_go.wait)
        executor.submit_runs(before)
        await asyncio.sleep(0)

        def start_anew() -> None:
            executor.shutdown()
            executor.start(House(loop), "loop")
            executor.submit_runs(after)

        elsewhere = threading.Thread(target=start_anew)
        elsewhere.start()
        elsewhere.join(PATIENCE)
        while not (ends := before.ends()):
            await asyncio.sleep(0)
        assert ends == [("run-0", RunState.CANCELLED)]
        let_go.set()
        await all_end(executor)
        assert after.ends() == [("run-0", RunState.SUCCEEDED)]

    on_loop(program)


class Clueless(AsyncIOExecutor):
    """Finds out nothing about a function."""

    def _is_async(self, func: Callable[..., Any]) -> bool:
        raise LookupError("no such attribute")


def test_a_function_that_cannot_be_looked_at_is_refused_and_nobody_else_suffers() -> None:
    async def program(executor: AsyncIOExecutor) -> None:
        works = [Submission(wait_a_moment), Submission(wait_a_moment)]
        for work in works:
            executor.submit_runs(work)
        await all_end(executor)
        for work in works:
            outcome = work.outcome()
            assert (outcome.state, outcome.refused) == (RunState.FAILED, True)
            assert isinstance(outcome.exception, LookupError)

    on_loop(program, Clueless)


@types.coroutine
def yield_bare() -> Generator[None, None, None]:
    yield
    yield


async def run_out_of_time() -> str:
    try:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
    except TimeoutError:
        return "in time"
    return "never"


async def leave_a_generator() -> str:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append("in time")

    async for number in numbers():
        assert number == 1
        break
    while not closed:
        await asyncio.sleep(0)
    return closed[0]


async def yield_twice() -> str:
    await yield_bare()
    return "in time"


async def have_children() -> str:
    async with asyncio.TaskGroup() as group:
        child = group.create_task(run_out_of_time())
    return child.result()


async def outlast_a_cancellation() -> str:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
    return "in time"


@pytest.mark.parametrize(
    "func",
    [run_out_of_time, leave_a_generator, yield_twice, have_children, outlast_a_cancellation],
)
def test_a_coroutine_whose_first_step_is_taken_in_a_shared_task_notices_nothing(
    func: Callable[..., Any],
) -> None:
    async def program(executor: AsyncIOExecutor) -> None:
        works = [Submission(func) for _ in range(3)]
        for work in works:
            executor.submit_runs(work)
        await all_end(executor)
        assert [work.outcome().value for work in works] == ["in time"] * 3

    on_loop(program, debug=True)


# -- methods that are no functions --------------------------------------------------------------


class Cached:
    @lru_cache  # noqa: B019  # that is what a program may do
    def answer(self) -> int:
        return 42


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["asyncio", "tornado", "twisted"])
def test_a_method_that_was_made_of_something_else_than_a_function_runs(kind: str) -> None:
    host = HOSTS[kind]()
    try:
        host.start()
        assert host.run(Cached().answer).retval == 42
    finally:
        host.close()


# -- threads that cannot be had -----------------------------------------------------------------


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which no thread can be started, until the test says otherwise."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(threading.Thread, "start", fail)


@pytest.fixture
def pool() -> Generator[ThreadPoolExecutor, None, None]:
    executor = ThreadPoolExecutor(3)
    executor.start(House(), "pool")
    yield executor
    executor.shutdown()


def test_a_thread_that_cannot_be_started_leaves_its_work_to_those_there_are(
    pool: ThreadPoolExecutor, no_thread: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, let_go = threading.Event(), threading.Event()
    first = Submission(lambda: (entered.set(), let_go.wait(PATIENCE)))
    pool.submit_runs(first)
    assert entered.wait(PATIENCE)
    no_thread()
    works = [Submission(str) for _ in range(4)]
    for work in works:
        pool.submit_runs(work)
    assert pool.load().queued == 4
    let_go.set()
    for work in works:
        assert work.outcome().state is RunState.SUCCEEDED
    monkeypatch.undo()
    # Those whom the pool has kept all the same have come and gone, and are counted.
    pool.shutdown()
    assert (pool.load().busy, pool.load().queued) == (0, 0)


def test_a_work_for_which_there_is_no_thread_at_all_is_refused_and_the_next_is_not(
    pool: ThreadPoolExecutor, no_thread: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_thread()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        pool.submit_runs(Submission(str))
    monkeypatch.undo()
    work = Submission(str)
    pool.submit_runs(work)
    assert work.outcome().state is RunState.SUCCEEDED
    pool.shutdown()
    assert (pool.load().busy, pool.load().queued) == (0, 0)


# -- event loops that end too early -------------------------------------------------------------


def test_a_shutdown_to_which_its_event_loop_did_not_come_is_made_up_for() -> None:
    loop = asyncio.new_event_loop()
    scheduler = AsyncIOScheduler(timezone="UTC", event_loop=loop)

    async def start() -> None:
        scheduler.start()

    loop.run_until_complete(start())
    scheduler.shutdown()
    loop.close()

    async def start_again() -> None:
        ran = asyncio.Event()

        async def run() -> None:
            ran.set()

        scheduler.start()
        scheduler.add_job(run)
        await asyncio.wait_for(ran.wait(), PATIENCE)
        await scheduler.aclose()

    asyncio.run(start_again())


def test_what_a_closed_event_loop_was_to_shut_down_is_shut_down_at_the_second_call() -> None:
    loop = asyncio.new_event_loop()
    scheduler = AsyncIOScheduler(timezone="UTC", event_loop=loop)
    loop.call_soon(scheduler.start)
    loop.call_soon(loop.stop)
    loop.run_forever()
    scheduler.shutdown()
    loop.close()
    with pytest.raises(SchedulerNotRunningError):
        scheduler.shutdown()
    assert not scheduler.running


def test_a_paused_scheduler_notices_that_its_reactor_has_ended() -> None:
    reactor = SelectReactor()
    scheduler = TwistedScheduler(timezone="UTC", reactor=reactor)
    scheduler.start(paused=True)
    reactor.callWhenRunning(reactor.stop)
    reactor.run(installSignalHandlers=False)
    scheduler.shutdown()
    assert not scheduler.running


# -- a clock that is set back -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["background", "asyncio", "tornado", "twisted"])
def test_a_clock_that_is_set_back_stalls_no_host(kind: str) -> None:
    host = HOSTS[kind](max_sleep=0.05)
    do: Callable[..., Any] = getattr(host, "on_loop", lambda call: call())
    travel = time_machine.travel(datetime(2031, 5, 1, 12, tzinfo=UTC), tick=True)
    moved: threading.Event = threading.Event()

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "The clock was moved" in record.getMessage():
                moved.set()

    host.scheduler._logger = logging.getLogger(f"watched.{kind}")
    host.scheduler._logger.addHandler(Watcher())
    traveller = do(travel.__enter__)
    try:
        host.start()
        # A turn has been, and the timer is set for the next.
        until(lambda: host.scheduler._loop.promised)
        do(lambda: traveller.shift(-timedelta(hours=3)))
        assert moved.wait(PATIENCE)
    finally:
        do(lambda: travel.__exit__(None, None, None))
        host.close()
    assert "APScheduler-watch" not in [thread.name for thread in threading.enumerate()]


# -- one job, two places ------------------------------------------------------------------------


def test_a_job_may_be_put_into_another_store_before_it_is_taken_out_of_the_first() -> None:
    ran: list[datetime] = []
    first, second = MemoryJobStore(), MemoryJobStore()
    scheduler = ManualScheduler(
        clock=VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)),
        timezone="UTC",
        jobstores={"first": first, "second": second},
    )
    scheduler.start()
    job = scheduler.add_job(ran.append, "interval", [1], id="x", jobstore="first", seconds=5)
    second.add_job(job)
    assert first.lookup_job("x") is job
    first.remove_job("x")
    scheduler.advance(seconds=11)
    assert len(ran) == 2


def test_a_job_in_two_stores_is_due_in_both() -> None:
    first, second = MemoryJobStore(), MemoryJobStore()
    job = make_job(next_run_time=at(0))
    first.add_job(job)
    second.add_job(job)
    first.claim(at(0), lambda due: Plan(at(60), due.slot, ()), 10, ())
    assert first.get_next_run_time() == at(60)
    assert [job.id for job in second.get_due_jobs(at(0))] == [job.id]


def test_a_job_that_is_taken_out_may_be_put_elsewhere_as_it_is() -> None:
    first, second = MemoryJobStore(), MemoryJobStore()
    job = make_job()
    first.add_job(job)
    first.remove_job(job.id)
    second.add_job(job)
    assert second.lookup_job(job.id) is job


def test_a_job_that_was_replaced_and_put_back_meanwhile_is_decided_about_anew() -> None:
    store = MemoryJobStore()
    job, other = make_job(next_run_time=at(0)), make_job(next_run_time=at(0))
    store.add_job(job)
    asked: list[datetime] = []

    def decide(due: Due) -> Plan | None:
        asked.append(due.slot)
        if len(asked) == 1:
            store.update_job(other)
            job.next_run_time = at(1)
            store.update_job(job)
        return Plan(at(60), due.slot, ())

    claims = store.claim(at(2), decide, 1, ())
    assert [due.slot for due, _ in claims.won] == [at(1)]
    assert asked == [at(0), at(1)]
