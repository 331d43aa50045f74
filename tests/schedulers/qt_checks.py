"""What only a scheduler on Qt can do, or get wrong; run by `test_qt`, once for each binding.

Here the application's event loop is run in the main thread, as programs do.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest
from host_kit import PATIENCE, Ears, Gate
from qt_host import APPLICATION, QtCore, QtHost

from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.qt import LONGEST_TIMER, QtScheduler

MakeScheduler = Callable[..., QtScheduler]


def run_until(condition: Callable[[], Any]) -> None:
    """Run the application's event loop until something is so."""
    deadline = time.monotonic() + PATIENCE
    timer = QtCore.QTimer()
    timer.timeout.connect(
        lambda: APPLICATION.quit() if condition() or time.monotonic() > deadline else None
    )
    timer.start(1)
    APPLICATION.exec()
    timer.stop()
    assert condition()


def run_for(milliseconds: int) -> None:
    """Run it for as long as something would happen in that must not."""
    QtCore.QTimer.singleShot(milliseconds, APPLICATION.quit)
    APPLICATION.exec()


class Counting(QtScheduler):
    turns = 0

    def _process_jobs(self) -> float | None:
        self.turns += 1
        return super()._process_jobs()


@pytest.fixture
def make() -> Iterator[MakeScheduler]:
    made: list[QtScheduler] = []

    def make_one(cls: type[QtScheduler] = QtScheduler, **options: Any) -> QtScheduler:
        made.append(cls(**{"timezone": "UTC", **options}))
        return made[-1]

    yield make_one
    for scheduler in made:
        if scheduler.running:
            scheduler.shutdown()


def test_jobs_run_in_ten_threads_while_the_application_runs(make: MakeScheduler) -> None:
    ran: list[str] = []
    scheduler = make()
    assert scheduler._timer is None
    scheduler.wakeup()
    scheduler.start()
    assert isinstance(scheduler._timer, QtCore.QTimer)
    assert scheduler._lookup_executor("default")._pool._max_workers == 10
    scheduler.add_job(lambda: ran.append(threading.current_thread().name))
    scheduler.add_job(lambda: ran.append("later"), "interval", seconds=0.03)
    assert ran == []
    run_until(lambda: ran.count("later") == 3)
    assert ran[0].startswith("ThreadPoolExecutor")
    assert scheduler.health().running


def test_a_job_that_another_thread_adds_wakes_it(make: MakeScheduler) -> None:
    ran: list[int] = []
    scheduler = make(max_sleep=1000)
    scheduler.start()
    run_for(1)
    adding = threading.Timer(0.01, lambda: scheduler.add_job(ran.append, args=[1]))
    adding.start()
    run_until(lambda: ran)
    adding.join()


def test_turns_happen_in_the_thread_of_the_application(make: MakeScheduler) -> None:
    submitted: list[int] = []
    scheduler = make()
    scheduler.add_listener(
        lambda event: submitted.append(threading.get_ident()), events.EVENT_JOB_SUBMITTED
    )
    scheduler.start()
    adding = threading.Thread(target=scheduler.add_job, args=(int,))
    adding.start()
    run_until(lambda: submitted)
    assert submitted == [threading.get_ident()]


@pytest.mark.parametrize("restart", [False, True])
def test_started_in_a_thread_without_an_event_loop_it_runs_on_that_of_the_application(
    make: MakeScheduler, restart: bool
) -> None:
    ran: list[int] = []
    scheduler = make()
    if restart:
        scheduler.start()
        scheduler.shutdown()
    starting = threading.Thread(target=scheduler.start)
    starting.start()
    starting.join(PATIENCE)
    scheduler.add_job(ran.append, "interval", args=[1], seconds=0.01)
    run_until(lambda: len(ran) > 2)


def test_started_again_in_another_thread_with_an_event_loop_it_runs_there(
    make: MakeScheduler,
) -> None:
    def note(event: Any) -> None:
        threads.put(threading.current_thread())

    scheduler = make()
    scheduler.start()
    scheduler.shutdown()
    threads: SimpleQueue[threading.Thread] = SimpleQueue()
    scheduler.add_listener(note, events.EVENT_JOB_SUBMITTED)
    host = QtHost()
    host.on_loop(scheduler.start)
    scheduler.add_job(int)
    assert threads.get(timeout=PATIENCE) is host._thread
    host.on_loop(scheduler.shutdown)
    host.close()


def test_after_a_shutdown_there_is_no_timer_and_no_turn(make: MakeScheduler) -> None:
    scheduler = make(Counting)
    scheduler.start()
    scheduler.add_job(int, "interval", seconds=0.01)
    run_until(lambda: scheduler.turns > 3)
    assert scheduler._timer.isActive()
    scheduler.shutdown()
    turns = scheduler.turns
    assert not scheduler.running
    assert not scheduler._timer.isActive()
    assert not scheduler.health().running
    scheduler.wakeup()
    run_for(30)
    assert scheduler.turns == turns


def test_a_shutdown_in_another_thread_stops_the_timer_too(make: MakeScheduler) -> None:
    scheduler = make(Counting, max_sleep=1000)
    scheduler.start()
    run_until(lambda: scheduler._timer.isActive())
    stopping = threading.Thread(target=scheduler.shutdown)
    stopping.start()
    stopping.join(PATIENCE)
    turns = scheduler.turns
    run_until(lambda: not scheduler._timer.isActive())
    assert scheduler.turns == turns


def test_many_wakeups_are_one_turn_and_leave_one_timer(make: MakeScheduler) -> None:
    scheduler = make(Counting, max_sleep=1000)
    scheduler.start()
    for number in range(100):
        scheduler.add_job(int, "date", run_date=datetime.now(UTC) + timedelta(days=100 - number))
        scheduler.wakeup()
    run_for(20)
    assert scheduler.turns == 1


def test_no_timer_is_longer_than_qt_can_count(make: MakeScheduler) -> None:
    scheduler = make(max_sleep=1e9)
    scheduler.start()
    scheduler.add_job(int, "date", run_date="2099-01-01")
    run_until(lambda: scheduler._timer.isActive())
    assert scheduler._timer.interval() == LONGEST_TIMER == 2_147_483_647


def test_a_timer_is_exact_and_never_short(make: MakeScheduler) -> None:
    scheduler = make()
    scheduler.start()
    assert scheduler._timer.timerType() == QtCore.Qt.TimerType.PreciseTimer
    scheduler._set_timer(0.0101)
    assert scheduler._timer.interval() == 11


@pytest.mark.parametrize("what", ["job", "listener"])
def test_a_job_or_listener_in_its_thread_may_shut_it_down_and_start_it_again(
    make: MakeScheduler, what: str
) -> None:
    def restart(event: Any = None) -> None:
        if not restarted:
            restarted.append(1)
            scheduler.shutdown()
            scheduler.start()
            scheduler.add_job(ran.append, args=[1])

    restarted: list[int] = []
    ran: list[int] = []
    scheduler = make(executors={"default": DebugExecutor()})
    if what == "listener":
        scheduler.add_listener(restart, events.EVENT_JOB_SUBMITTED)
    scheduler.start()
    scheduler.add_job(restart if what == "job" else int)
    run_until(lambda: ran)
    assert scheduler.running


def test_while_a_listener_runs_an_event_loop_of_its_own_jobs_go_on(make: MakeScheduler) -> None:
    """As a dialog does that is opened when a job was submitted."""

    def dialog(event: Any) -> None:
        if event.job_id == "opens":
            loop = QtCore.QEventLoop()
            scheduler.add_listener(lambda event: inside.append(event.job_id), ended)
            closing = QtCore.QTimer()
            closing.timeout.connect(lambda: loop.quit() if "inside" in inside else None)
            closing.start(1)
            scheduler.add_job(int, id="inside")
            loop.exec()
            closed.append(1)

    ended = events.EVENT_JOB_EXECUTED
    inside: list[str] = []
    closed: list[int] = []
    ran: list[int] = []
    scheduler = make()
    scheduler.add_listener(dialog, events.EVENT_JOB_SUBMITTED)
    scheduler.start()
    scheduler.add_job(int, id="opens")
    run_until(lambda: closed)
    scheduler.add_job(ran.append, "interval", args=[1], seconds=0.01)
    run_until(lambda: len(ran) > 2)


def test_a_running_scheduler_that_nobody_holds_on_to_runs_on(make: MakeScheduler) -> None:
    scheduler = QtScheduler(timezone="UTC")
    ran: list[int] = []
    scheduler.start()
    # Without a warning, for the records of the log hold on to the job, and so to its scheduler.
    scheduler.add_job(
        ran.append, "interval", [1], seconds=0.01, max_instances=1000, misfire_grace_time=None
    )
    there = weakref.ref(scheduler)
    del scheduler
    gc.collect()
    run_until(lambda: len(ran) > 2)
    there().shutdown()
    run_until(lambda: gc.collect() >= 0 and there() is None)


def test_a_scheduler_that_a_listener_has_shut_down_at_its_start_is_let_go() -> None:
    scheduler = QtScheduler(timezone="UTC")
    there = weakref.ref(scheduler)
    scheduler.add_listener(lambda event: there().shutdown(), events.EVENT_SCHEDULER_STARTED)
    scheduler.start()
    assert not scheduler.running
    del scheduler
    run_until(lambda: gc.collect() >= 0 and there() is None)


def test_a_timer_does_not_hold_on_to_its_scheduler() -> None:
    scheduler = QtScheduler(timezone="UTC")
    scheduler.start()
    scheduler.shutdown()
    timer, known = scheduler._timer, weakref.ref(scheduler)
    del scheduler
    run_for(1)
    gc.collect()
    assert known() is None
    timer.timerEvent(QtCore.QTimerEvent(0))


def test_a_shutdown_waits_for_jobs_that_are_running(make: MakeScheduler) -> None:
    gate = Gate()
    scheduler = make(executors={"default": ThreadPoolExecutor(1)})
    scheduler.start()
    scheduler.add_job(gate)
    run_until(gate.entered.is_set)
    threading.Timer(0.02, gate.let_go.set).start()
    scheduler.shutdown(wait=True)
    assert gate.left.is_set()


def test_coroutine_functions_run(make: MakeScheduler) -> None:
    async def coroutine() -> int:
        return 7

    scheduler = make()
    values: list[int] = []
    scheduler.add_listener(lambda event: values.append(event.retval), events.EVENT_JOB_EXECUTED)
    scheduler.start()
    scheduler.add_job(coroutine)
    run_until(lambda: values == [7])


def test_the_event_loop_comes_between_the_slices_of_many_due_jobs(
    make: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Over as soon as it has begun: a slice is what is claimed at once.
    monkeypatch.setattr("apscheduler.schedulers._timer.SLICE", -1.0)
    count = 3000
    scheduler = make(Counting, executors={"default": DebugExecutor()})
    done = Ears(scheduler, events.EVENT_JOB_EXECUTED)
    scheduler.start(paused=True)
    for _ in range(count):
        scheduler.add_job(int, misfire_grace_time=None)
    ticks: list[int] = []
    ticking = QtCore.QTimer()
    ticking.timeout.connect(lambda: ticks.append(1))
    ticking.start(0)
    scheduler.resume()
    left = count

    def all_done() -> bool:
        nonlocal left
        left -= len(done.rest())
        return left == 0

    run_until(all_done)
    ticking.stop()
    slices = count / MemoryJobStore.claim_limit
    assert slices <= scheduler.turns <= slices + 2
    assert len(ticks) >= scheduler.turns - 2


def test_nothing_of_qt_but_its_core_is_imported() -> None:
    package = QtCore.__name__.partition(".")[0]
    modules = {name for name in sys.modules if name.startswith(("PySide", "PyQt"))}
    assert {name for name in modules if ".Qt" in name} == {f"{package}.QtCore"}
