"""What every executor has in common."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from executor_kit import DUE, House, make_job

from apscheduler import current_run
from apscheduler.clock import UTC, in_force
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.executors.base import (
    BaseExecutor,
    MaxInstancesReachedError,
    RunExecutor,
    Work,
    run_coroutine_job,
    run_job,
    takes_many,
    takes_runs,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import BasePoolExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.job import Job


class Keeping(BaseExecutor):
    """Takes submissions, and leaves it to the test to report them."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Job] = []

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self.taken.append(job)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def executor(house: House) -> Keeping:
    executor = Keeping()
    executor.start(house, "mine")
    return executor


def test_instances_are_counted_until_they_are_reported(executor: Keeping) -> None:
    job = make_job(str, max_instances=2)
    for _ in range(2):
        executor.submit_job(job, [DUE])
    with pytest.raises(MaxInstancesReachedError, match=r'Job "a" .* instances \(2\)'):
        executor.submit_job(job, [DUE])
    assert executor.taken == [job, job]
    executor._run_job_error("a", ValueError("x"))
    executor.submit_job(job, [DUE])
    for _ in range(2):
        executor._run_job_success("a", [])
    assert dict(executor._instances) == {}


def test_a_submission_that_raises_leaves_no_count(executor: Keeping) -> None:
    executor._do_submit_job = None
    with pytest.raises(TypeError):
        executor.submit_job(make_job(str), [DUE])
    assert dict(executor._instances) == {}


def test_the_scheduler_settles_before_the_events_are_sent(executor: Keeping, house: House) -> None:
    house._dispatch_event = lambda event: house.reports.append(("event", event))
    executor._run_job_success("a", ["one", "two"])
    assert house.reports == [
        ("succeeded", "mine", "a", ["one", "two"]),
        ("event", "one"),
        ("event", "two"),
    ]


def test_an_error_is_handed_on_with_the_text_of_its_traceback(
    executor: Keeping, house: House
) -> None:
    try:
        int("x")
    except ValueError as exc:
        error = exc
    executor._run_job_error("a", error, error.__traceback__)
    executor._run_job_error("a", error)
    (with_text, without) = house.reports
    assert with_text[:4] == ("failed", "mine", "a", error)
    assert 'int("x")' in with_text[4]
    assert without[4] is None


def test_a_scheduler_without_our_hooks_hears_the_events_all_the_same() -> None:
    class Foreign:
        def __init__(self) -> None:
            self.events: list[Any] = []

        def _create_lock(self) -> Any:
            return threading.RLock()

        def _dispatch_event(self, event: Any) -> None:
            self.events.append(event)

    executor, scheduler = Keeping(), Foreign()
    executor.start(scheduler, "mine")
    executor._run_job_success("a", ["one"])
    executor._run_job_error("a", ValueError("x"))
    assert scheduler.events == ["one"]


def test_an_executor_that_knows_no_better_has_room_and_no_load(executor: Keeping) -> None:
    assert executor.room() is None
    assert executor.load() is None


class Direct(RunExecutor):
    def submit_runs(self, work: Work) -> None:
        raise NotImplementedError

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise NotImplementedError


class Counting(ThreadPoolExecutor):
    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        super().submit_job(job, run_times)


class Wrapping(ThreadPoolExecutor):
    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        super()._do_submit_job(job, run_times)


class Noticing(DebugExecutor):
    def _run_job_success(self, job_id: str, events: list[Any]) -> None:
        super()._run_job_success(job_id, events)


class Complaining(AsyncIOExecutor):
    def _run_job_error(self, job_id: str, exc: BaseException, traceback: Any = None) -> None:
        super()._run_job_error(job_id, exc, traceback)


class Named(ThreadPoolExecutor):
    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, f"named {alias}")


class Ours(Wrapping):
    def submit_runs(self, work: Work) -> None:
        super().submit_runs(work)


class FromPool(BasePoolExecutor):
    def __init__(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (ThreadPoolExecutor, True),
        (ProcessPoolExecutor, True),
        (AsyncIOExecutor, True),
        (DebugExecutor, True),
        (Direct, True),
        (Named, True),
        (Ours, True),
        (Keeping, False),
        (FromPool, False),
        (Counting, False),
        (Wrapping, False),
        (Noticing, False),
        (Complaining, False),
    ],
)
def test_what_redefines_a_method_of_3x_is_driven_by_the_methods_of_3x(
    cls: type[BaseExecutor], expected: bool
) -> None:
    assert takes_runs(cls.__new__(cls)) is expected


def test_so_is_an_instance_with_a_method_of_its_own() -> None:
    executor = DebugExecutor()
    assert takes_runs(executor)
    executor._run_job_success = lambda job_id, events: None
    assert not takes_runs(executor)


class Choosing(ThreadPoolExecutor):
    """Looks at each submission by itself."""

    def submit_runs(self, work: Work) -> None:
        super().submit_runs(work)


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (ThreadPoolExecutor, True),
        (ProcessPoolExecutor, True),
        (AsyncIOExecutor, False),
        (DebugExecutor, False),
        (Keeping, False),
        (Choosing, False),
        (Counting, False),
    ],
)
def test_many_submissions_are_handed_over_at_once_where_nobody_has_redefined_how(
    cls: type[BaseExecutor], expected: bool
) -> None:
    assert takes_many(cls.__new__(cls)) is expected


def test_nor_has_an_instance_its_own_way() -> None:
    executor = ThreadPoolExecutor()
    assert takes_many(executor)
    executor.submit_runs = lambda work: None  # type: ignore[method-assign]
    assert not takes_many(executor)


class Stopped:
    """A clock that stands still a while after the job was due."""

    def __init__(self, seconds: float) -> None:
        self._now = DUE + timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return 0.0

    def seconds_until(self, moment: datetime) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("late", "grace", "code"),
    [
        (1, 1, EVENT_JOB_EXECUTED),
        (1.001, 1, EVENT_JOB_MISSED),
        (1e6, None, EVENT_JOB_EXECUTED),
        (-5, 1, EVENT_JOB_EXECUTED),
    ],
)
def test_run_job_leaves_out_what_is_later_than_its_grace(
    late: float, grace: int | None, code: int
) -> None:
    with in_force(Stopped(late)):
        (event,) = run_job(make_job(str, misfire_grace_time=grace), "store", [DUE], "test")
        (same,) = asyncio.run(
            run_coroutine_job(make_job(str, misfire_grace_time=grace), "store", [DUE], "test")
        )
    assert event.code == same.code == code
    assert (event.job_id, event.jobstore, event.scheduled_run_time) == ("a", "store", DUE)


def test_run_job_awaits_what_can_be_awaited() -> None:
    async def job() -> str:
        await asyncio.sleep(0)
        return current_run().job_id

    def call() -> Any:
        return run_job(make_job(job, misfire_grace_time=None), None, [DUE], "test")[0].retval

    async def call_on_loop() -> Any:
        return call()

    assert call() == "a"
    assert asyncio.run(call_on_loop()) == "a"


def test_run_job_gives_the_function_a_run_without_an_id() -> None:
    with in_force(Stopped(3)):
        job = make_job(current_run, misfire_grace_time=None)
        (event,) = run_job(job, "store", [DUE], "test")
    current = event.retval
    assert (current.job_id, current.run_id) == ("a", "")
    assert (current.scheduled_at, current.lateness) == (DUE, timedelta(seconds=3))
    assert current.started_at.tzinfo is UTC


def test_run_job_goes_on_after_an_error() -> None:
    job = make_job(int, "x", misfire_grace_time=None)
    events = run_job(job, "store", [DUE, DUE + timedelta(1)], "test")
    assert [event.code for event in events] == [EVENT_JOB_ERROR] * 2
    assert isinstance(events[0].exception, ValueError)
    assert isinstance(events[0].traceback, str)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["base", "pool", "debug"])
def test_an_executor_that_needs_none_imports_neither_asyncio_nor_processes(module: str) -> None:
    imported = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, apscheduler.executors.{module}; print(*sys.modules, sep='\\n')",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    heavy = {"asyncio", "multiprocessing", "concurrent.futures.process", "importlib.metadata"}
    assert heavy.isdisjoint(imported)
