"""What the schedulers that live in somebody else's event loop have in common."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from host_kit import HOSTS, PATIENCE, Host, TwistedHost

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers._timer import TimerScheduler
from apscheduler.schedulers.asyncio import AsyncIOScheduler, run_in_event_loop
from programs import Program

MakeHost = Callable[..., Host]
TIMER_HOSTS = ["asyncio", "tornado", "twisted"]


def test_a_method_that_is_deferred_to_an_event_loop_that_there_is_not_is_not_called() -> None:
    class Host(AsyncIOScheduler):
        @run_in_event_loop
        def note(self) -> None:
            raise AssertionError

    Host().note()


@pytest.fixture(params=TIMER_HOSTS)
def host(request: pytest.FixtureRequest, make_host: MakeHost) -> Any:
    host = make_host(request.param)
    assert isinstance(host.scheduler, TimerScheduler)
    return host


def count_turns(host: Host) -> list[float]:
    turns: list[float] = []
    process_jobs = host.scheduler._process_jobs

    def counted() -> float | None:
        turns.append(time.monotonic())
        return process_jobs()

    host.scheduler._process_jobs = counted  # type: ignore[method-assign]
    return turns


def test_no_turn_follows_a_shutdown_however_often_it_is_woken(host: Any) -> None:
    turns = count_turns(host)
    host.start()
    host.run(int)
    host.shutdown()
    taken = len(turns)
    for _ in range(3):
        host.scheduler.wakeup()
    for _ in range(3):
        host.on_loop(int)
    assert len(turns) == taken


def test_nothing_is_started_between_the_call_of_shutdown_and_its_effect(host: Any) -> None:
    def add_and_stop() -> None:
        host.scheduler.add_job(ran.append, args=[1], misfire_grace_time=None)
        host.scheduler.shutdown()
        with pytest.raises(SchedulerNotRunningError):
            host.scheduler.shutdown()

    ran: list[int] = []
    host.start()
    host.on_loop(add_and_stop)
    host.stopped.next()
    assert ran == []


def test_many_wakeups_before_the_loop_comes_to_them_are_one_turn(host: Any) -> None:
    def wake() -> None:
        for _ in range(100):
            host.scheduler.wakeup()

    turns = count_turns(host)
    host.start()
    host.on_loop(int)
    before = len(turns)
    host.on_loop(wake)
    host.on_loop(int)
    host.on_loop(int)
    assert len(turns) == before + 1


def test_however_often_it_is_woken_there_is_one_timer(host: Any) -> None:
    def timers() -> int:
        if isinstance(host, TwistedHost):
            return len(host.reactor.getDelayedCalls())
        return sum(not timer.cancelled() for timer in host.loop._scheduled)

    host.start()
    host.on_loop(int)
    assert host.on_loop(timers) == 1
    for _ in range(5):
        host.scheduler.wakeup()
        host.on_loop(int)
    host.run(int)
    host.on_loop(int)
    assert host.on_loop(timers) == 1
    host.shutdown()
    assert host.on_loop(timers) == 0


def test_a_timer_is_not_set_for_longer_than_the_scheduler_may_sleep(host: Any) -> None:
    delays: list[float] = []
    set_timer = host.scheduler._set_timer

    def note(seconds: float) -> None:
        delays.append(seconds)
        set_timer(seconds)

    host.scheduler._set_timer = note
    host.start()
    host.scheduler.add_job(int, "date", run_date="2099-01-01")
    host.run(int)
    host.on_loop(int)
    assert max(delays) == 10


def test_a_turn_that_fails_leaves_a_timer(host: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> float | None:
        host.scheduler._process_jobs = process_jobs
        raise RuntimeError("out of order")

    host.scheduler.jobstore_retry_interval = 0.01
    process_jobs = host.scheduler._process_jobs
    host.scheduler._process_jobs = fail
    host.scheduler.add_job(int, misfire_grace_time=None)
    host.start()
    assert host.ended.next().exception is None
    assert caplog.messages.count("Error processing jobs; they are processed again soon") == 1


def test_a_time_limit_that_makes_no_sense_is_refused_and_the_scheduler_runs_on(host: Any) -> None:
    host.start()
    with pytest.raises(ValueError, match="timeout must be at least 0 seconds"):
        host.scheduler.shutdown(timeout=-1)
    assert host.run(lambda: 1).retval == 1


class Ticking:
    """Is called in the event loop again and again, until it is told to stop."""

    def __init__(self, host: Any, note: Callable[[], Any]) -> None:
        self._host = host
        self._note = note
        self.notes: list[Any] = []
        self._stopped = threading.Event()
        self._goes_on = True
        host.on_loop(self._tick)

    def _tick(self) -> None:
        self.notes.append(self._note())
        if not self._goes_on:
            self._stopped.set()
        elif isinstance(self._host, TwistedHost):
            self._host.reactor.callLater(0, self._tick)
        else:
            self._host.loop.call_later(0, self._tick)

    def stop(self) -> None:
        self._goes_on = False
        assert self._stopped.wait(PATIENCE)


@pytest.mark.parametrize("kind", TIMER_HOSTS)
def test_whoever_shares_the_event_loop_comes_between_the_slices_of_many_due_jobs(
    make_host: MakeHost, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Over as soon as it has begun: a slice is what is claimed at once.
    monkeypatch.setattr("apscheduler.schedulers._timer.SLICE", -1.0)
    host: Any = make_host(kind, executors={"default": DebugExecutor()})
    turns = count_turns(host)
    host.start(paused=True)
    for _ in range(2000):
        host.scheduler.add_job(int, misfire_grace_time=None)
    ticking = Ticking(host, lambda: len(turns))
    host.scheduler.resume()
    for _ in range(2000):
        host.ended.next()
    ticking.stop()
    assert len(turns) >= 20
    assert len(set(ticking.notes)) >= len(turns) - 2


def worst_stall(kind: str, is_async: bool, count: int) -> float:
    """Return for how long the event loop did nothing else while so many jobs were due.

    Measured in the loop's own time: how busy the machine is does not matter. Nor does the garbage
    collector of Python, which takes the longer the more objects there are, jobs or others.
    """
    done: list[int] = []
    all_done = threading.Event()

    async def coroutine() -> None:
        function()

    def function() -> None:
        done.append(1)
        if len(done) == count:
            all_done.set()

    job = coroutine if is_async else function
    host = HOSTS[kind]()
    try:
        host.start(paused=True)
        for _ in range(count):
            host.scheduler.add_job(job, misfire_grace_time=None)
        gc.disable()
        ticking = Ticking(host, time.thread_time)
        host.scheduler.resume()
        assert all_done.wait(PATIENCE)
        ticking.stop()
    finally:
        gc.enable()
        host.close()
        gc.collect()
    return max(after - before for before, after in pairwise(ticking.notes))


@pytest.mark.slow
@pytest.mark.parametrize("kind", TIMER_HOSTS)
def test_ten_thousand_coroutines_due_at_once_never_stop_the_event_loop_for_20_ms(
    kind: str,
) -> None:
    # Only a stall that comes every time is ours.
    assert min(worst_stall(kind, True, 10_000) for _ in range(3)) < 0.020


@pytest.mark.slow
@pytest.mark.parametrize("kind", TIMER_HOSTS)
def test_two_thousand_functions_due_at_once_never_stop_the_event_loop_for_50_ms(
    kind: str,
) -> None:
    assert min(worst_stall(kind, False, 2_000) for _ in range(3)) < 0.050


BLOCKED = """
import sys
for name in {names!r}:
    sys.modules[name] = None
try:
    import {module}
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "names", "message"),
    [
        ("schedulers.tornado", ["tornado"], "pip install apscheduler[tornado]"),
        ("executors.tornado", ["tornado"], "pip install apscheduler[tornado]"),
        ("schedulers.twisted", ["twisted"], "pip install apscheduler[twisted]"),
        ("executors.twisted", ["twisted"], "pip install apscheduler[twisted]"),
        (
            "schedulers.qt",
            [f"{maker}{version}" for maker in ("PySide", "PyQt") for version in range(2, 7)],
            "PySide6, PyQt6, PySide2 and PyQt5",
        ),
    ],
)
def test_without_its_framework_a_host_says_at_its_import_what_to_install(
    start_python: Callable[..., Program], module: str, names: list[str], message: str
) -> None:
    program = BLOCKED.format(names=names, module=f"apscheduler.{module}")
    status, printed, errors = start_python("-c", program).finish()
    assert (status, errors) == (0, "")
    (error,) = printed
    assert message in error
