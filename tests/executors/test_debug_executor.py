"""Jobs in line."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from executor_kit import DUE, House, Submission, make_job

from apscheduler import current_run
from apscheduler.executors.debug import DebugExecutor
from apscheduler.runs import RunState

SUCCEEDED, FAILED, CANCELLED = RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def executor(house: House) -> DebugExecutor:
    executor = DebugExecutor()
    executor.start(house, "debug")
    return executor


def test_a_job_has_ended_when_its_submission_returns(executor: DebugExecutor) -> None:
    seen = []
    work = Submission(lambda: seen.append((threading.get_ident(), current_run().run_id)), runs=2)
    executor.submit_runs(work)
    assert work.ends() == [("run-0", SUCCEEDED), ("run-1", SUCCEEDED)]
    assert seen == [(threading.get_ident(), "run-0"), (threading.get_ident(), "run-1")]


def test_a_coroutine_function_is_run_to_its_end(executor: DebugExecutor) -> None:
    async def job() -> str:
        await asyncio.sleep(0)
        return current_run().run_id

    work = Submission(job)
    executor.submit_runs(work)
    assert work.outcome().value == "run-0"


def test_it_is_run_even_where_a_loop_is_running(executor: DebugExecutor) -> None:
    async def job() -> str:
        return current_run().run_id

    async def main() -> None:
        work = Submission(job)
        executor.submit_runs(work)
        assert work.outcome().value == "run-0"

    asyncio.run(main())


def test_a_run_that_was_cancelled_meanwhile_is_skipped(executor: DebugExecutor) -> None:
    work = Submission(str, runs=2)
    work.withdrawn.add("run-0")
    executor.submit_runs(work)
    assert work.ends() == [("run-1", SUCCEEDED)]


def test_an_exception_ends_the_run_alone(executor: DebugExecutor) -> None:
    work = Submission(int, "x", runs=2)
    executor.submit_runs(work)
    assert work.ends() == [("run-0", FAILED), ("run-1", FAILED)]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_interrupt_is_raised_again_when_it_has_been_reported(
    executor: DebugExecutor, error: type[BaseException]
) -> None:
    def leave() -> None:
        raise error

    work = Submission(leave, runs=3)
    with pytest.raises(error):
        executor.submit_runs(work)
    assert work.ends() == [("run-0", FAILED), ("run-1", CANCELLED), ("run-2", CANCELLED)]


def test_outside_the_main_thread_an_interrupt_is_an_error_like_any_other(
    executor: DebugExecutor,
) -> None:
    def leave() -> None:
        raise SystemExit

    work = Submission(leave, runs=2)
    thread = threading.Thread(target=executor.submit_runs, args=(work,))
    thread.start()
    thread.join()
    assert work.ends() == [("run-0", FAILED), ("run-1", FAILED)]


def test_the_work_of_3x_is_reported_through_the_hooks(
    executor: DebugExecutor, house: House
) -> None:
    executor.submit_job(make_job(divmod, 7, 2, misfire_grace_time=None), [DUE])
    assert [event.retval for event in house.events] == [(3, 1)]
    assert house.reports == [("succeeded", "debug", "a", house.events)]
    assert dict(executor._instances) == {}


def test_work_of_3x_that_cannot_be_run_is_reported_as_failed(
    executor: DebugExecutor, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    job: Any = make_job(str)
    del job.misfire_grace_time
    executor.submit_job(job, [DUE])
    ((kind, alias, job_id, error, traceback),) = house.reports
    assert (kind, alias, job_id) == ("failed", "debug", "a")
    assert isinstance(error, AttributeError)
    assert "in run_job" in traceback
    assert caplog.messages == ["Error running job a"]
