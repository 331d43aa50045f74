"""The executor contract, `run_job`, and the thread, process, debug and asyncio executors."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import multiprocessing
import os
import threading
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from contract_kit import (
    LONG_AGO,
    PATIENCE,
    HeldExecutor,
    add,
    coroutine,
    fail,
    leave,
    noop,
    now,
    unpicklable,
)

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_SHUTDOWN,
)
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.executors.base import (
    BaseExecutor,
    MaxInstancesReachedError,
    run_coroutine_job,
    run_job,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import BasePoolExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler


class Submitted(SimpleNamespace):
    """No more of a job than what an executor looks at."""

    id = "a"
    max_instances = 2
    _jobstore_alias = "default"


class Quiet:
    """No more of a scheduler than what an executor needs."""

    def __init__(self):
        self.events = []
        self._dispatch_event = self.events.append

    @staticmethod
    def _create_lock():
        return threading.RLock()


@pytest.fixture
def executor():
    executor = HeldExecutor()
    executor.start(Quiet(), "mine")
    return executor


def test_the_base_executor_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        BaseExecutor()
    assert inspect.isabstract(BasePoolExecutor)


def test_an_executor_before_start():
    executor = HeldExecutor()
    assert (executor._scheduler, executor._lock) == (None, None)
    assert executor._logger.name == "apscheduler.executors"
    with pytest.raises(AssertionError, match="This executor has not been started yet"):
        executor.submit_job(Submitted(), [now()])


def test_start_gives_an_executor_its_scheduler_lock_and_logger(executor):
    assert isinstance(executor._scheduler, Quiet)
    assert executor._logger.name == "apscheduler.executors.mine"
    with executor._lock, executor._lock:
        pass


def test_submissions_are_counted_per_job_until_they_report(executor):
    for _ in range(2):
        assert executor.submit_job(Submitted(), [now()]) is None
    executor.submit_job(Submitted(id="b"), [now()])
    with pytest.raises(MaxInstancesReachedError) as caught:
        executor.submit_job(Submitted(), [now()])
    assert str(caught.value) == 'Job "a" has already reached its maximum number of instances (2)'
    assert dict(executor._instances) == {"a": 2, "b": 1}
    executor._run_job_success("a", ["one", "two"])
    executor._run_job_error("b", ValueError("x"))
    assert dict(executor._instances) == {"a": 1}
    assert executor._scheduler.events == ["one", "two"]
    executor.submit_job(Submitted(), [now()])


def test_a_submission_that_raises_is_not_counted():
    executor = HeldExecutor(limit=0)
    executor.start(Quiet(), "mine")
    with pytest.raises(RuntimeError, match="no more room"):
        executor.submit_job(Submitted(), [now()])
    assert executor._instances.get("a", 0) == 0


@pytest.mark.differs("the count of a job is dropped at zero, also of one that ran inline")
def test_an_inline_run_leaves_no_count_behind(turns):
    turns.start()
    turns.add_job(noop)
    turns._process_jobs()
    assert dict(turns._lookup_executor("default")._instances) == {}


def test_a_run_that_could_not_report_is_logged_without_an_event(executor, caplog):
    executor.submit_job(Submitted(), [now()])
    executor._run_job_error("a", ValueError("x"), None)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("apscheduler.executors.mine", logging.ERROR)
    assert record.getMessage() == "Error running job a"
    assert record.exc_info[0] is ValueError
    assert executor._scheduler.events == []


def job_of(turns, func, **options):
    if not turns.running:
        turns.start(paused=True)
    return turns.add_job(func, "interval", hours=1, **options)


def test_run_job_reports_each_run_time(turns, caplog):
    job = job_of(turns, add, args=[4], misfire_grace_time=60, id="a")
    times = [LONG_AGO, now() - timedelta(seconds=30), now()]
    with caplog.at_level(logging.INFO):
        events = run_job(job, "default", times, "contract.run")
    assert [event.code for event in events] == [
        EVENT_JOB_MISSED,
        EVENT_JOB_EXECUTED,
        EVENT_JOB_EXECUTED,
    ]
    assert [event.scheduled_run_time for event in events] == times
    assert [event.retval for event in events] == [None, 4, 4]
    assert {(event.job_id, event.jobstore) for event in events} == {("a", "default")}
    missed, *rest = [record for record in caplog.records if record.name == "contract.run"]
    assert missed.levelno == logging.WARNING
    assert missed.getMessage().startswith(f'Run time of job "{job}" was missed by ')
    assert [record.getMessage() for record in rest] == [
        f'Running job "{job}" (scheduled at {times[1]})',
        f'Job "{job}" executed successfully',
        f'Running job "{job}" (scheduled at {times[2]})',
        f'Job "{job}" executed successfully',
    ]


@pytest.mark.parametrize("kwargs", [{}, {"key": 3}])
def test_run_job_takes_anything_with_the_attributes_of_a_job(kwargs):
    ran = Mock(return_value=4)
    job = Mock(Job, id="a", func=ran, args=(1,), kwargs=kwargs, misfire_grace_time=None)
    job.name = "ran"
    (event,) = run_job(job, "default", [now()], "contract.run")
    assert (event.code, event.retval) == (EVENT_JOB_EXECUTED, 4)
    ran.assert_called_once_with(1, **kwargs)


@pytest.mark.parametrize(("func", "error"), [(fail, ValueError), (leave, SystemExit)])
def test_run_job_turns_every_exception_into_an_event_and_goes_on(turns, caplog, func, error):
    job = job_of(turns, func, misfire_grace_time=None)
    events = run_job(job, "default", [LONG_AGO, now()], "contract.run")
    assert [event.code for event in events] == [EVENT_JOB_ERROR, EVENT_JOB_ERROR]
    assert {type(event.exception) for event in events} == {error}
    assert f"in {func.__name__}" in events[0].traceback
    assert [record.getMessage() for record in caplog.records] == [
        f'Job "{job}" raised an exception'
    ] * 2
    assert caplog.records[0].exc_info[0] is error


def test_run_coroutine_job_awaits_the_call(turns):
    job = job_of(turns, coroutine, args=[5], misfire_grace_time=60)
    events = asyncio.run(run_coroutine_job(job, "default", [LONG_AGO, now()], "contract.run"))
    assert [(event.code, event.retval) for event in events] == [
        (EVENT_JOB_MISSED, None),
        (EVENT_JOB_EXECUTED, 5),
    ]


def test_a_coroutine_job_that_cancels_itself_is_an_error(turns):
    async def cancel():
        raise asyncio.CancelledError

    job = job_of(turns, cancel)
    (event,) = asyncio.run(run_coroutine_job(job, "default", [now()], "contract.run"))
    assert event.code == EVENT_JOB_ERROR
    assert isinstance(event.exception, asyncio.CancelledError)


def run_one(scheduler, heard, func, *args, **options):
    """Run a job at once and return the event that tells how it ended."""
    events = heard(scheduler)
    scheduler.add_job(func, args=args, misfire_grace_time=None, **options)
    return events.wait_for(EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)


def test_a_thread_pool_runs_jobs_in_other_threads(background, heard):
    background.add_executor(ThreadPoolExecutor(2))
    background.start()
    event = run_one(background, heard, threading.get_ident)
    assert event.retval not in (threading.get_ident(), background._thread.ident)


def test_a_thread_pool_takes_its_size_as_number_or_text_and_options():
    assert ThreadPoolExecutor()._pool._max_workers == 10
    assert ThreadPoolExecutor("3")._pool._max_workers == 3
    named = ThreadPoolExecutor(1, pool_kwargs={"thread_name_prefix": "mine"})
    assert named._pool._thread_name_prefix == "mine"


def test_options_of_a_thread_pool_reach_its_threads(background, heard):
    background.add_executor(ThreadPoolExecutor(1, {"thread_name_prefix": "mine"}))
    background.start()
    name = run_one(background, heard, lambda: threading.current_thread().name).retval
    assert name.startswith("mine")


@pytest.mark.parametrize("wait", [True, False])
def test_shutdown_waits_for_running_jobs_if_asked(background, heard, wait):
    begun, go_on = threading.Event(), threading.Event()

    def job():
        begun.set()
        assert go_on.wait(PATIENCE)

    background.start()
    events = heard(background)
    background.add_job(job)
    assert begun.wait(PATIENCE)
    if wait:
        threading.Timer(0.05, go_on.set).start()
    background.shutdown(wait=wait)
    ended = [
        code for code in events.codes if code in (EVENT_JOB_EXECUTED, EVENT_SCHEDULER_SHUTDOWN)
    ]
    if wait:
        assert ended == [EVENT_JOB_EXECUTED, EVENT_SCHEDULER_SHUTDOWN]
    else:
        assert ended == [EVENT_SCHEDULER_SHUTDOWN]
        go_on.set()
        events.wait_for(EVENT_JOB_EXECUTED)


@pytest.mark.slow
@pytest.mark.differs("waiting for a worker is never a miss")
def test_a_job_that_waits_longer_than_its_grace_for_a_worker_runs(background, heard):
    begun, go_on = threading.Event(), threading.Event()

    def job():
        begun.set()
        return go_on.wait(PATIENCE)

    background.add_executor(ThreadPoolExecutor(1))
    background.start()
    events = heard(background)
    background.add_job(job)
    assert begun.wait(PATIENCE)
    background.add_job(noop, id="waits", misfire_grace_time=1)
    threading.Timer(1.2, go_on.set).start()
    events.wait_for(EVENT_JOB_EXECUTED | EVENT_JOB_MISSED, 2)
    assert events.of(EVENT_JOB_MISSED) == []


@pytest.mark.differs("instances are counted per store and id")
def test_the_same_id_in_two_stores_is_two_jobs(background, heard):
    begun, go_on = threading.Semaphore(0), threading.Event()

    def job():
        begun.release()
        return go_on.wait(PATIENCE)

    background.add_jobstore("memory", "more")
    background.start(paused=True)
    events = heard(background)
    for store in ("default", "more"):
        background.add_job(job, id="same", jobstore=store, misfire_grace_time=None)
    background.resume()
    events.wait_for(EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES, 2)
    go_on.set()
    events.wait_for(EVENT_JOB_EXECUTED)
    assert events.of(EVENT_JOB_MAX_INSTANCES) == []
    assert len(events.of(EVENT_JOB_SUBMITTED)) == 2


@pytest.mark.differs("shutdown waits without holding a lock", run=False)
def test_a_running_job_may_use_the_scheduler_while_shutdown_waits(background, heard):
    begun, down = threading.Event(), threading.Event()
    seen = []

    def job():
        begun.set()
        assert down.wait(PATIENCE)
        seen.append(background.get_jobs())

    background.start()
    background.add_job(job)
    assert begun.wait(PATIENCE)
    threading.Timer(0.05, down.set).start()
    background.shutdown(wait=True)
    assert seen == [[]]


@pytest.mark.differs("a job may shut its scheduler down", run=False)
@pytest.mark.parametrize("wait", [True, False])
def test_a_job_may_shut_its_scheduler_down(background, heard, wait):
    events = heard(background)
    background.start()
    thread = background._thread
    background.add_job(lambda: background.shutdown(wait))
    events.wait_for(EVENT_JOB_EXECUTED)
    assert EVENT_SCHEDULER_SHUTDOWN in events.codes
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not background.running


@pytest.mark.differs("a coroutine function runs under every executor")
@pytest.mark.parametrize("executor", [ThreadPoolExecutor, DebugExecutor])
def test_a_coroutine_function_is_run(background, heard, executor):
    background.add_executor(executor())
    background.start()
    assert run_one(background, heard, coroutine, 3).retval == 3


def test_a_debug_executor_runs_inline(turns, heard):
    turns.start()
    events = heard(turns)
    turns.add_job(threading.get_ident)
    turns._process_jobs()
    assert events.of(EVENT_JOB_EXECUTED)[0].retval == threading.get_ident()


@pytest.fixture(scope="module")
def processes():
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_executor(ProcessPoolExecutor(1))
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


@pytest.mark.slow
def test_a_process_pool_runs_jobs_in_another_process(processes, heard):
    assert run_one(processes, heard, os.getpid).retval != os.getpid()
    assert run_one(processes, heard, math.factorial, 5).retval == 120


@pytest.mark.slow
def test_an_exception_comes_back_from_a_process(processes, heard):
    event = run_one(processes, heard, math.sqrt, -1)
    assert event.code == EVENT_JOB_ERROR
    assert isinstance(event.exception, ValueError)
    assert isinstance(event.traceback, str)


@pytest.mark.slow
@pytest.mark.differs("what a process cannot take or give back is an event", run=False)
@pytest.mark.parametrize("func", [unpicklable, lambda: None])
def test_what_cannot_cross_to_a_process_is_an_error_event(processes, heard, func):
    assert run_one(processes, heard, func).code == EVENT_JOB_ERROR
    assert run_one(processes, heard, math.factorial, 3).retval == 6


@pytest.mark.slow
@pytest.mark.differs("a worker that dies is told, and costs its own run alone", run=False)
def test_a_worker_that_dies_is_an_error_event_and_is_replaced(processes, heard):
    assert run_one(processes, heard, os._exit, 1).code == EVENT_JOB_ERROR
    assert run_one(processes, heard, math.factorial, 4).retval == 24


def test_a_process_pool_spawns_by_default():
    executor = ProcessPoolExecutor("2")
    assert executor._pool._max_workers == 2
    assert executor._pool._mp_context.get_start_method() == "spawn"
    executor.shutdown()


def test_a_process_pool_takes_another_context():
    context = multiprocessing.get_context("forkserver")
    executor = ProcessPoolExecutor(1, pool_kwargs={"mp_context": context})
    assert executor._pool._mp_context is context
    assert executor.pool_kwargs["mp_context"] is context
    executor.shutdown()


@pytest.mark.differs("the options of a pool are left as the caller wrote them")
def test_options_of_a_pool_are_left_alone():
    given = {"max_tasks_per_child": 5}
    ProcessPoolExecutor(1, pool_kwargs=given).shutdown()
    assert given == {"max_tasks_per_child": 5}


def test_an_asyncio_executor_belongs_to_a_scheduler_with_a_loop(turns):
    turns.add_executor(AsyncIOExecutor())
    with pytest.raises(AttributeError):
        turns.start()
