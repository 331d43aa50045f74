"""What gets out of a turn, or ends a host, does not get unnoticed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest
from host_kit import HOSTS, PATIENCE, Gate, Host

from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.base import BaseTrigger

MakeHost = Callable[..., Host]
ENDS_OF_THE_WORLD = [RuntimeError, MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit]


class Soon(BaseTrigger):
    """Fires every 10 ms; the answer after the first one raises."""

    def __init__(self, error: type[BaseException] | None = None) -> None:
        self.error = error

    def get_next_fire_time(self, previous_fire_time: Any, now: datetime) -> datetime | None:
        if previous_fire_time is None:
            return now
        error, self.error = self.error, None
        if error is not None:
            raise error("out of order")
        return max(previous_fire_time, now) + timedelta(milliseconds=10)


class Falling(MemoryJobStore):
    """A store that raises once, when it is told to."""

    error: type[BaseException] | None = None

    def claim(self, *args: Any, **kwargs: Any) -> Any:
        error, self.error = self.error, None
        if error is not None:
            raise error("out of order")
        return super().claim(*args, **kwargs)


class Stumbling(DebugExecutor):
    """An executor that raises once, when it is told to."""

    error: type[BaseException] | None = None

    def submit_runs(self, work: Any) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error("out of order")
        super().submit_runs(work)


def runs_on(host: Host, job_id: str = "tick") -> None:
    """Wait until a job that runs often has run some more times."""
    ran: SimpleQueue[None] = SimpleQueue()

    def note(event: Any) -> None:
        if event.job_id == job_id:
            ran.put(None)

    host.scheduler.add_listener(note, events.EVENT_JOB_EXECUTED)
    for _ in range(3):
        ran.get(timeout=3)
    assert host.scheduler.health().running


@pytest.mark.parametrize("error", ENDS_OF_THE_WORLD)
@pytest.mark.parametrize("kind", HOSTS)
def test_whatever_a_trigger_raises_in_the_hosts_thread_later_runs_happen(
    make_host: MakeHost, kind: str, error: type[BaseException]
) -> None:
    host = make_host(kind, jobstore_retry_interval=0.01)
    host.start()
    host.scheduler.add_job(int, Soon(), id="tick", misfire_grace_time=None)
    host.scheduler.add_job(int, Soon(error), id="bad", misfire_grace_time=None)
    runs_on(host)
    runs_on(host, "bad")


@pytest.mark.parametrize("error", ENDS_OF_THE_WORLD)
@pytest.mark.parametrize("kind", HOSTS)
def test_whatever_a_store_raises_in_the_hosts_thread_later_runs_happen(
    make_host: MakeHost, kind: str, error: type[BaseException]
) -> None:
    store = Falling()
    host = make_host(kind, jobstores={"default": store}, jobstore_retry_interval=0.01)
    host.start()
    host.scheduler.add_job(int, Soon(), id="tick", misfire_grace_time=None)
    runs_on(host)
    store.error = error
    runs_on(host)
    assert store.error is None


@pytest.mark.parametrize("error", ENDS_OF_THE_WORLD)
@pytest.mark.parametrize("kind", HOSTS)
def test_whatever_an_executor_raises_in_the_hosts_thread_later_runs_happen(
    make_host: MakeHost, kind: str, error: type[BaseException]
) -> None:
    executor = Stumbling()
    host = make_host(kind, executors={"default": executor}, jobstore_retry_interval=0.01)
    host.start()
    host.scheduler.add_job(int, Soon(), id="tick", misfire_grace_time=None)
    host.scheduler.add_job(int, Soon(), id="tock", misfire_grace_time=None)
    runs_on(host)
    executor.error = error
    runs_on(host)
    runs_on(host, "tock")
    assert executor.error is None


@pytest.mark.parametrize("error", ENDS_OF_THE_WORLD)
@pytest.mark.parametrize("kind", HOSTS)
def test_whatever_a_listener_raises_in_the_hosts_thread_later_runs_happen(
    make_host: MakeHost, kind: str, error: type[BaseException]
) -> None:
    def fail(event: Any) -> None:
        raise error("out of order")

    host = make_host(kind, executors={"default": DebugExecutor()})
    host.scheduler.add_listener(fail)
    host.start()
    host.scheduler.add_job(int, Soon(), id="tick", misfire_grace_time=None)
    runs_on(host)


@pytest.mark.parametrize("error", ENDS_OF_THE_WORLD)
def test_a_turn_of_a_subclass_that_raises_is_logged_and_taken_again(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy(BackgroundScheduler):
        error: type[BaseException] | None = None

        def _process_jobs(self) -> float | None:
            error, self.error = self.error, None
            if error is not None:
                raise error("out of order")
            return super()._process_jobs()

    scheduler = Clumsy(timezone="UTC", jobstore_retry_interval=0.01)
    scheduler.error = error
    scheduler.start()
    ran = threading.Event()
    scheduler.add_job(ran.set, misfire_grace_time=None)
    assert ran.wait(PATIENCE)
    assert "Error processing jobs; they are processed again soon" in caplog.messages
    assert scheduler.health().running
    scheduler.shutdown()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_a_job_in_line_gets_out_of_a_blocked_main_thread(
    interrupt: type[BaseException],
) -> None:
    def job() -> None:
        raise interrupt

    scheduler = BlockingScheduler(timezone="UTC", executors={"default": DebugExecutor()})
    ended: SimpleQueue[Any] = SimpleQueue()
    scheduler.add_listener(ended.put, events.EVENT_JOB_ERROR)
    scheduler.add_job(job, misfire_grace_time=None)
    with pytest.raises(interrupt):
        scheduler.start()
    assert isinstance(ended.get(timeout=PATIENCE).exception, interrupt)
    assert scheduler.running
    scheduler.shutdown()
    scheduler.add_job(scheduler.shutdown, misfire_grace_time=None)
    scheduler.start()


def test_control_c_gets_out_of_a_blocked_main_thread_and_health_says_that_nothing_turns() -> None:
    # A signal that comes right before the thread begins to wait is noticed when it has waited.
    scheduler = BlockingScheduler(timezone="UTC", max_sleep=0.05)
    gate = Gate()

    def interrupt() -> None:
        gate()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    scheduler.add_job(interrupt, misfire_grace_time=None)
    healthy: list[bool] = []

    def look() -> None:
        assert gate.entered.wait(PATIENCE)
        healthy.append(scheduler.health().running)
        gate.let_go.set()

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(KeyboardInterrupt):
        scheduler.start()
    looking.join(PATIENCE)
    assert healthy == [True]
    assert scheduler.running
    assert not scheduler.health().running
    assert not scheduler.health().ok
    scheduler.shutdown()


def test_health_notices_that_the_thread_of_a_host_is_gone(make_host: MakeHost) -> None:
    class Mortal(BackgroundScheduler):
        def _main_loop(self) -> None:
            """Return at once, as if the thread had been killed."""

    scheduler = Mortal(timezone="UTC")
    scheduler.start()
    assert scheduler._thread is not None
    scheduler._thread.join(PATIENCE)
    assert scheduler.running
    assert not scheduler.health().running
    assert not scheduler.health().ok
    scheduler.shutdown()


def test_health_sees_busy_and_waiting_and_stuck_workers(make_host: MakeHost) -> None:
    host = make_host("background", executors={"default": ThreadPoolExecutor(2)})
    gates = [Gate(), Gate()]
    host.start()
    for gate in gates:
        host.scheduler.add_job(gate, misfire_grace_time=None)
        assert gate.entered.wait(PATIENCE)
    submitted = threading.Event()
    host.scheduler.add_listener(lambda event: submitted.set(), events.EVENT_JOB_SUBMITTED)
    host.scheduler.add_job(int, id="waits", misfire_grace_time=None)
    assert submitted.wait(PATIENCE)

    load = host.scheduler.health().executors["default"]
    assert (load.workers, load.busy, load.queued, load.stuck) == (2, 2, 1, ())
    stuck = host.scheduler.health(stuck_after=1e-9).executors["default"].stuck
    assert len(stuck) == 2
    for gate in gates:
        gate.let_go.set()
    for _ in range(3):
        host.ended.next()
    host.shutdown()
    load = host.scheduler.health().executors["default"]
    assert (load.busy, load.queued, load.stuck) == (0, 0, ())


@pytest.mark.parametrize("turns", [1, 3])
def test_health_tells_of_a_loop_that_a_listener_holds_up(make_host: MakeHost, turns: int) -> None:
    gate = Gate()
    heard: list[Any] = []

    def hold_up(event: Any) -> None:
        heard.append(event)
        if len(heard) == turns:
            gate()

    host = make_host("background")
    host.scheduler.add_listener(hold_up, events.EVENT_JOB_SUBMITTED)
    host.start()
    host.scheduler.add_job(int, Soon(), id="tick", misfire_grace_time=None)
    assert gate.entered.wait(PATIENCE)
    before = host.scheduler.health()
    assert not threading.Event().wait(0.02)
    after = host.scheduler.health()
    gate.let_go.set()
    assert after.running
    assert after.last_turn == before.last_turn
    assert after.loop_lag - before.loop_lag >= timedelta(milliseconds=10)
    runs_on(host)
    assert host.scheduler.health().loop_lag < timedelta(seconds=1)
