"""Jobs in threads."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor as ThreadPool
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

import pytest
from executor_kit import DUE, PATIENCE, House, Submission, make_job, until
from hypothesis import given
from hypothesis import strategies as st

from apscheduler import current_run
from apscheduler.executors._workqueue import WorkQueue
from apscheduler.executors.base import Load, ShuttingDownError
from apscheduler.executors.pool import BasePoolExecutor, ThreadPoolExecutor
from apscheduler.runs import RunState

Make = Callable[..., ThreadPoolExecutor]


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a function that makes an executor that is started, and shut down in the end."""
    executors = []

    def make(*args: Any, **options: Any) -> ThreadPoolExecutor:
        executors.append(ThreadPoolExecutor(*args, **options))
        executors[-1].start(House(), "threads")
        return executors[-1]

    yield make
    for executor in executors:
        executor.shutdown()


class Gate:
    """A job that waits to be let go, and says when it has begun."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self) -> None:
        self.begun.release()
        assert self._open.wait(PATIENCE)

    def wait_until_begun(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.begun.acquire(timeout=PATIENCE)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def test_a_job_runs_in_a_thread_of_the_pool(make: Make) -> None:
    executor = make(1, {"thread_name_prefix": "mine"})
    work = Submission(threading.current_thread)
    executor.submit_runs(work)
    run, outcome = work.end()
    assert outcome.state is RunState.SUCCEEDED
    assert outcome.value.name.startswith("mine")
    assert outcome.value in executor._pool._threads
    assert run.started_at == outcome.started_at
    assert run.started_at <= outcome.ended_at


def test_as_many_jobs_run_at_once_as_there_are_workers(make: Make, gate: Gate) -> None:
    executor = make("3")
    works = [Submission(gate) for _ in range(5)]
    for work in works:
        executor.submit_runs(work)
    gate.wait_until_begun(3)
    assert executor.load() == Load(workers=3, busy=3, queued=2)
    assert [work.begun for work in works] == [["run-0"]] * 3 + [[]] * 2
    gate.open()
    for work in works:
        assert work.outcome().state is RunState.SUCCEEDED
    until(lambda: executor.load() == Load(workers=3, busy=0, queued=0))


def test_works_are_taken_in_the_order_in_which_they_came(make: Make, gate: Gate) -> None:
    executor, order = make(1), []
    executor.submit_runs(Submission(gate))
    works = [Submission(order.append, number) for number in range(100)]
    for work in works:
        executor.submit_runs(work)
    gate.open()
    works[-1].end()
    assert order == list(range(100))


def test_none_is_lost_when_many_threads_submit_and_drainers_come_and_go(make: Make) -> None:
    executor = make(4)
    works = [[Submission(str) for _ in range(500)] for _ in range(4)]

    def submit(part: list[Submission]) -> None:
        for work in part:
            executor.submit_runs(work)
            if len(part) % 7 == 0:
                work.end()

    threads = [threading.Thread(target=submit, args=(part,)) for part in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in works:
        for work in part:
            assert work.outcome().state is RunState.SUCCEEDED
    until(lambda: executor.load().busy == 0)


def test_a_batch_runs_one_after_the_other_in_one_thread(make: Make) -> None:
    seen = []

    def job() -> None:
        seen.append((threading.get_ident(), current_run().run_id))

    work = Submission(job, runs=3)
    make(3).submit_runs(work)
    assert [work.end()[0].id for _ in range(3)] == ["run-0", "run-1", "run-2"]
    assert [run_id for _, run_id in seen] == ["run-0", "run-1", "run-2"]
    assert len({ident for ident, _ in seen}) == 1


def test_a_run_that_was_cancelled_meanwhile_is_skipped(make: Make) -> None:
    work = Submission(str, runs=3)
    work.withdrawn.add("run-1")
    executor = make(1)
    executor.submit_runs(work)
    assert [work.end()[0].id for _ in range(2)] == ["run-0", "run-2"]
    executor.shutdown()
    assert work.begun == ["run-0", "run-1", "run-2"]
    assert work.ends() == []


def test_a_failing_run_does_not_keep_the_next_from_running(make: Make) -> None:
    work = Submission(int, "x", runs=2)
    make(1).submit_runs(work)
    assert [work.outcome().state for _ in range(2)] == [RunState.FAILED] * 2


def test_a_coroutine_function_is_run_to_its_end(make: Make) -> None:
    async def job() -> str:
        await asyncio.sleep(0)
        return current_run().run_id

    work = Submission(job)
    make(1).submit_runs(work)
    assert work.outcome().value == "run-0"


def test_what_cannot_be_awaited_is_a_type_error(make: Make) -> None:
    async def main() -> None:
        work = Submission(asyncio.get_running_loop().create_future)
        make(1).submit_runs(work)
        outcome = await asyncio.to_thread(work.outcome)
        assert outcome.state is RunState.FAILED
        assert isinstance(outcome.exception, TypeError)

    asyncio.run(main())


def test_shutdown_finishes_what_was_taken_and_takes_no_more(make: Make, gate: Gate) -> None:
    executor = make(1)
    works = [Submission(gate), Submission(str)]
    for work in works:
        executor.submit_runs(work)
    executor.shutdown(wait=False)
    refused = Submission(str)
    with pytest.raises(ShuttingDownError, match="after shutdown") as caught:
        executor.submit_runs(refused)
    assert not caught.value.interpreter
    gate.open()
    executor.shutdown(wait=True)
    assert [work.ends() for work in works] == [[("run-0", RunState.SUCCEEDED)]] * 2
    assert refused.begun == []


def test_a_pool_that_somebody_else_shut_down_refuses_too(make: Make) -> None:
    executor = make(1)
    executor._pool.shutdown()
    work = Submission(str)
    with pytest.raises(ShuttingDownError, match="after shutdown"):
        executor.submit_runs(work)
    assert executor.load() == Load(workers=1, busy=0, queued=0)


def test_an_executor_can_be_started_again(make: Make) -> None:
    executor = make(2, {"thread_name_prefix": "mine"})
    executor.shutdown()
    executor.start(House(), "threads")
    work = Submission(lambda: threading.current_thread().name)
    executor.submit_runs(work)
    assert work.outcome().value.startswith("mine")


def test_the_pool_is_kept_until_it_is_of_no_use(make: Make) -> None:
    executor = ThreadPoolExecutor(1)
    pool = executor._pool
    executor.start(House(), "threads")
    assert executor._pool is pool
    executor.shutdown()


def test_the_options_of_the_pool_are_copied() -> None:
    options: dict[str, Any] = {"thread_name_prefix": "mine"}
    executor = ThreadPoolExecutor(1, options)
    options["thread_name_prefix"] = "other"
    executor.shutdown()
    executor.start(House(), "threads")
    assert executor._pool._thread_name_prefix == "mine"
    executor.shutdown()


@pytest.mark.parametrize("workers", [0, -1, "0"])
def test_a_pool_needs_a_worker(workers: Any) -> None:
    with pytest.raises(ValueError, match="max_workers"):
        ThreadPoolExecutor(workers)


def test_what_waits_for_a_broken_pool_is_reported_as_refused(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    hold = threading.Event()

    def fail() -> None:
        assert hold.wait(PATIENCE)
        raise OSError("no licence")

    executor = make(1, {"initializer": fail})
    works = [Submission(str, runs=2), Submission(str)]
    for work in works:
        executor.submit_runs(work)
    hold.set()
    for run_id, work in [("run-0", works[0]), ("run-1", works[0]), ("run-0", works[1])]:
        run, outcome = work.end()
        assert (run.id, outcome.state, outcome.refused) == (run_id, RunState.FAILED, True)
        assert isinstance(outcome.exception, BrokenThreadPool)
        assert outcome.reason is not None
        assert outcome.reason.startswith("it was not submitted: ")
    assert "Error running job a" in caplog.messages
    with pytest.raises(BrokenThreadPool):
        executor.submit_runs(Submission(str))
    assert executor.load() == Load(workers=1, busy=0, queued=0)


def test_what_waits_when_the_pool_drops_its_work_is_reported_as_refused(
    make: Make, gate: Gate
) -> None:
    executor = make(1)
    executor._pool.submit(gate)
    gate.wait_until_begun()
    work = Submission(str)
    executor.submit_runs(work)
    executor._pool.shutdown(wait=False, cancel_futures=True)
    outcome = work.outcome()
    assert (outcome.state, outcome.refused) == (RunState.FAILED, True)


def test_a_worker_that_is_left_takes_what_a_broken_one_leaves(make: Make, gate: Gate) -> None:
    initialized: list[int] = []

    def fail_the_second_time() -> None:
        initialized.append(1)
        if len(initialized) == 2:
            raise OSError("no licence")

    executor = make(2, {"initializer": fail_the_second_time})
    works = [Submission(gate), Submission(str)]
    executor.submit_runs(works[0])
    gate.wait_until_begun()
    executor.submit_runs(works[1])
    until(lambda: executor.load().busy == 1)
    gate.open()
    assert [work.outcome().state for work in works] == [RunState.SUCCEEDED] * 2


class Heavy:
    """Something of which one wants to know when it is gone."""


def test_an_idle_worker_keeps_nothing_alive(make: Make) -> None:
    executor = make(1)
    heavy = Heavy()
    gone = weakref.ref(heavy)
    work = Submission(id, heavy)
    executor.submit_runs(work)
    work.end()
    del work, heavy
    until(lambda: executor.load().busy == 0)
    until(lambda: (gc.collect(), gone() is None)[1])
    assert executor._pool._threads


def test_the_work_of_3x_goes_through_run_job_and_the_hooks(make: Make) -> None:
    executor = make(1)
    house: Any = executor._scheduler
    job = make_job(divmod, 7, 2, misfire_grace_time=None)
    executor.submit_job(job, [DUE])
    until(lambda: house.events)
    ((kind, alias, job_id, events),) = house.reports
    assert (kind, alias, job_id) == ("succeeded", "threads", "a")
    assert events == house.events
    assert [event.retval for event in events] == [(3, 1)]
    assert dict(executor._instances) == {}


def test_a_pool_of_somebody_else_can_be_used() -> None:
    class Foreign(BasePoolExecutor):
        def __init__(self) -> None:
            super().__init__(ThreadPool(1))

    executor, house = Foreign(), House()
    executor.start(house, "foreign")
    executor.submit_job(make_job(str, misfire_grace_time=None), [DUE])
    executor.shutdown()
    assert [event.retval for event in house.events] == [""]


# -- room ---------------------------------------------------------------------------------------


def paced(size: int, busy: int, queued: int, average: float) -> WorkQueue:
    works = WorkQueue(size, pytest.fail, pytest.fail, pytest.fail)
    works._drainers = busy
    works._works.extend([Submission(str)] * queued)
    works._average = average
    works._taken_at = float("inf")
    return works


def test_at_first_there_is_room_for_the_workers_and_for_as_many_again(make: Make) -> None:
    assert make(3).room() == 6


def test_there_is_no_room_while_all_workers_are_stuck(make: Make, gate: Gate) -> None:
    executor = make(1)
    executor._works._average = 0.001
    assert executor.room() == 1 + 1000
    executor.submit_runs(Submission(gate))
    gate.wait_until_begun()
    executor._works._taken_at -= 10
    assert executor.room() == 0


def test_short_jobs_make_room_for_more(make: Make) -> None:
    executor = make(1)
    works = [Submission(str) for _ in range(100)]
    for work in works:
        executor.submit_runs(work)
    for work in works:
        work.end()
    until(lambda: executor.load().busy == 0)
    assert executor.room() > 100


@given(
    size=st.integers(1, 50),
    busy=st.integers(0, 49),
    queued=st.integers(0, 50),
    average=st.floats(0.0, 100.0),
)
def test_room_shrinks_with_every_burden_and_is_never_negative(
    size: int, busy: int, queued: int, average: float
) -> None:
    busy = min(busy, size - 1)
    room = paced(size, busy, queued, average).room()
    assert room >= 0
    assert paced(size, busy + 1, queued, average).room() <= room
    assert paced(size, busy, queued + 1, average).room() <= room
    assert paced(size, busy, queued, average + 1).room() <= room
