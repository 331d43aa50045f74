"""A shutdown waits for what it should, from wherever it is asked for, and never for ever."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from queue import SimpleQueue
from typing import Any

import pytest
from host_kit import HOSTS, PATIENCE, BackgroundHost, Ears, Gate, Host, own_threads

from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import RunQuery
from apscheduler.schedulers import SchedulerNotRunningError

MakeHost = Callable[..., Host]
IN_THREADS = ["background", "blocking"]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("kind", IN_THREADS)
def test_a_shutdown_waits_for_jobs_that_call_the_scheduler_meanwhile(
    make_host: MakeHost, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Telling(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True) -> None:
            stopping.set()
            super().shutdown(wait)

    entered, stopping = threading.Event(), threading.Event()

    def busy() -> str:
        entered.set()
        assert stopping.wait(PATIENCE)
        scheduler.get_jobs()
        scheduler.get_job("a")
        scheduler.add_job(lambda: None, id="later")
        scheduler.modify_job("later", name="renamed")
        scheduler.remove_job("later")
        scheduler.add_listener(print, 0)
        scheduler.wakeup()
        scheduler.print_jobs(out=StringIO())
        return "done"

    host = make_host(kind, executors={"default": Telling(1)})
    scheduler = host.scheduler
    host.start()
    scheduler.add_job(busy, id="a", misfire_grace_time=None)
    assert entered.wait(PATIENCE)
    waiting = threading.Thread(target=host.shutdown)
    waiting.start()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert host.ended.next().retval == "done"
    assert errors(caplog) == []


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("wait", [True, False])
def test_a_job_in_a_thread_may_shut_its_scheduler_down(
    make_host: MakeHost, kind: str, wait: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def stop() -> str:
        host.scheduler.shutdown(wait)
        return "done"

    host = make_host(kind, executors={"default": ThreadPoolExecutor(2)})
    host.start()
    host.scheduler.add_job(stop, misfire_grace_time=None)
    assert host.ended.next().retval == "done"
    host.stopped.next()
    assert not host.scheduler.running
    assert errors(caplog) == []
    host.start()
    assert host.run(lambda: 1).retval == 1


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("wait", [True, False])
def test_a_job_in_line_may_shut_its_scheduler_down(
    make_host: MakeHost, kind: str, wait: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def stop() -> str:
        host.scheduler.shutdown(wait)
        return "done"

    host = make_host(kind, executors={"default": DebugExecutor()})
    host.start()
    host.scheduler.add_job(stop, misfire_grace_time=None)
    assert host.ended.next().retval == "done"
    host.stopped.next()
    assert not host.scheduler.running
    assert errors(caplog) == []
    host.start()
    assert host.run(lambda: 1).retval == 1


@pytest.mark.parametrize("kind", HOSTS)
def test_a_coroutine_may_shut_its_scheduler_down(
    make_host: MakeHost, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def stop() -> str:
        host.scheduler.shutdown()
        return "done"

    host = make_host(kind)
    host.start()
    host.scheduler.add_job(stop, misfire_grace_time=None)
    assert host.ended.next().retval == "done"
    host.stopped.next()
    assert not host.scheduler.running
    assert errors(caplog) == []


def test_a_job_that_shuts_down_waits_for_the_other_jobs(make_host: MakeHost) -> None:
    gate = Gate()
    left_first = []

    def stop() -> None:
        assert gate.entered.wait(PATIENCE)
        threading.Timer(0.05, gate.let_go.set).start()
        host.scheduler.shutdown(wait=True)
        left_first.append(gate.left.is_set())

    host = make_host("background", executors={"default": ThreadPoolExecutor(2)})
    host.start()
    host.scheduler.add_job(gate, misfire_grace_time=None)
    host.scheduler.add_job(stop, misfire_grace_time=None)
    host.stopped.next()
    for _ in range(2):
        host.ended.next()
    assert left_first == [True]


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize(
    "code", [events.EVENT_JOB_EXECUTED, events.EVENT_JOB_SUBMITTED, events.EVENT_JOB_ADDED]
)
@pytest.mark.parametrize("executor", [ThreadPoolExecutor, DebugExecutor])
def test_a_listener_may_shut_its_scheduler_down(
    make_host: MakeHost,
    kind: str,
    code: int,
    executor: type[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    once = threading.Lock()

    def stop(event: Any) -> None:
        if once.acquire(blocking=False):
            host.scheduler.shutdown()

    host = make_host(kind, executors={"default": executor()})
    host.scheduler.add_listener(stop, code)
    host.start()
    host.scheduler.add_job(lambda: 1, misfire_grace_time=None)
    host.stopped.next()
    assert not host.scheduler.running
    assert errors(caplog) == []
    host.start()
    event = host.run(lambda: 2)
    # Not every host waits for what was running.
    while event.retval == 1:
        event = host.ended.next()
    assert event.retval == 2


def test_a_listener_in_a_worker_that_shuts_down_waits_for_the_other_workers(
    make_host: MakeHost,
) -> None:
    gate = Gate()
    left_first: SimpleQueue[bool] = SimpleQueue()

    def stop(event: Any) -> None:
        if event.retval == "stop":
            threading.Timer(0.05, gate.let_go.set).start()
            host.scheduler.shutdown(wait=True)
            left_first.put(gate.left.is_set())

    def job() -> str:
        assert gate.entered.wait(PATIENCE)
        return "stop"

    host = make_host("background", executors={"default": ThreadPoolExecutor(2)})
    host.scheduler.add_listener(stop, events.EVENT_JOB_EXECUTED)
    host.start()
    host.scheduler.add_job(gate, misfire_grace_time=None)
    host.scheduler.add_job(job, misfire_grace_time=None)
    assert left_first.get(timeout=PATIENCE)


@pytest.mark.parametrize("kind", IN_THREADS)
def test_a_shutdown_with_a_time_limit_leaves_a_job_that_exceeds_it_to_end_by_itself(
    make_host: MakeHost, kind: str
) -> None:
    gate = Gate()
    host = make_host(kind, executors={"default": ThreadPoolExecutor(1)})
    ears = Ears(host.scheduler, events.EVENT_JOB_EXECUTED | events.EVENT_SCHEDULER_SHUTDOWN)
    host.start()
    host.scheduler.add_job(gate, id="long", misfire_grace_time=None)
    assert gate.entered.wait(PATIENCE)
    host.shutdown(timeout=0.02)
    assert not gate.left.is_set()
    assert not host.scheduler.running
    gate.let_go.set()
    assert host.ended.next().job_id == "long"
    assert ears.rest() == [events.EVENT_SCHEDULER_SHUTDOWN, events.EVENT_JOB_EXECUTED]


def test_a_shutdown_with_a_time_limit_is_over_as_soon_as_the_jobs_are(
    make_host: MakeHost,
) -> None:
    gate = Gate()
    host = make_host("background", executors={"default": ThreadPoolExecutor(1)})
    host.start()
    host.scheduler.add_job(gate, misfire_grace_time=None)
    assert gate.entered.wait(PATIENCE)
    waiting = threading.Thread(target=lambda: host.scheduler.shutdown(timeout=10 * PATIENCE))
    waiting.start()
    gate.let_go.set()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert gate.left.is_set()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_time_limit_that_makes_no_sense_is_refused_and_the_scheduler_runs_on(
    make_host: MakeHost, timeout: float
) -> None:
    host = make_host("background")
    host.start()
    with pytest.raises(ValueError, match="timeout must be at least 0 seconds"):
        host.scheduler.shutdown(timeout=timeout)
    assert host.run(lambda: 1).retval == 1


@pytest.mark.parametrize("kind", IN_THREADS)
def test_without_waiting_a_running_job_ends_after_the_shutdown(
    make_host: MakeHost, kind: str
) -> None:
    gate = Gate()
    host = make_host(kind)
    host.start()
    host.scheduler.add_job(gate, id="long", misfire_grace_time=None)
    assert gate.entered.wait(PATIENCE)
    host.shutdown(wait=False)
    assert not gate.left.is_set()
    gate.let_go.set()
    assert host.ended.next().job_id == "long"


def test_of_many_threads_that_shut_down_at_once_one_does(make_host: MakeHost) -> None:
    host = make_host("background")
    host.start()
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def stop() -> None:
        barrier.wait(PATIENCE)
        try:
            host.scheduler.shutdown()
            outcomes.append("shut down")
        except SchedulerNotRunningError:
            outcomes.append("not running")

    threads = [threading.Thread(target=stop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(outcomes) == ["not running"] * 7 + ["shut down"]


@pytest.mark.parametrize("what", ["job", "listener"])
def test_a_restart_from_inside_the_loops_own_thread_leaves_one_loop(
    make_host: MakeHost, what: str
) -> None:
    host = make_host("background", executors={"default": DebugExecutor()})
    assert isinstance(host, BackgroundHost)
    before = own_threads()
    threads: list[threading.Thread] = []

    def restart(event: Any = None) -> None:
        if not threads:
            threads.append(threading.current_thread())
            host.scheduler.shutdown()
            host.scheduler.start()

    if what == "listener":
        host.scheduler.add_listener(restart, events.EVENT_JOB_SUBMITTED)
    host.start()
    host.scheduler.add_job(restart if what == "job" else noop, misfire_grace_time=None)
    host.ended.next()
    host.started.next()
    host.started.next()
    (old,) = threads
    assert old.name == "APScheduler"
    old.join(2)
    assert not old.is_alive()
    assert host.run(lambda: 1).retval == 1
    assert [thread.name for thread in own_threads() - before] == ["APScheduler"]


@pytest.mark.parametrize("kind", HOSTS)
def test_the_shutdown_of_a_paused_scheduler_advances_no_job(
    make_host: MakeHost, kind: str
) -> None:
    class Lasting(MemoryJobStore):
        def shutdown(self) -> None:
            """Keep the jobs, as a database would."""

    store = Lasting()
    host = make_host(kind, jobstores={"default": store})
    due = datetime(2020, 1, 1, tzinfo=UTC)
    host.scheduler.add_job(noop, "interval", hours=1, id="a", next_run_time=due)
    host.scheduler.add_job(noop, run_date=due, id="b", misfire_grace_time=None)
    host.start(paused=True)
    assert host.scheduler._process_jobs() is None
    host.shutdown()
    assert [(job.id, job.next_run_time) for job in store.get_all_jobs()] == [
        ("a", due),
        ("b", due),
    ]
    assert store.get_runs(RunQuery()) == []
    assert host.ended.rest() == []


def noop() -> None:
    """Do nothing."""
