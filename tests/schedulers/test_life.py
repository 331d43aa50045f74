"""Start, stop, restart and everything in between, on every host."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
from host_kit import HOSTS, PATIENCE, Ears, Gate, Host, own_threads

from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from apscheduler.schedulers.blocking import Bell

MakeHost = Callable[..., Host]


def test_a_host_runs_jobs_stops_and_runs_jobs_again_after_a_restart(host: Host) -> None:
    for _ in range(3):
        host.start()
        assert host.scheduler.health().running
        assert host.run(lambda: 42).retval == 42
        host.shutdown()
        assert not host.scheduler.health().running


@pytest.mark.parametrize("kind", HOSTS)
def test_a_thread_pool_works_again_after_a_restart(make_host: MakeHost, kind: str) -> None:
    host = make_host(kind, executors={"default": ThreadPoolExecutor(2)})
    for _ in range(3):
        host.start()
        where = host.run(threading.current_thread).retval
        assert where.name.startswith("ThreadPoolExecutor")
        host.shutdown()


def test_a_loop_waits_with_the_locks_of_whoever_has_patched_them_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Patched:
        def __init__(self) -> None:
            self._lock = _thread.allocate_lock()
            self.release, self.locked = self._lock.release, self._lock.locked
            self.waits: list[float] = []

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            self.waits.append(timeout)
            return self._lock.acquire(blocking, timeout)

    monkeypatch.setattr(threading, "Lock", Patched)
    bell = Bell()
    bell.set()
    assert bell.wait(5)
    assert isinstance(bell._silence, Patched)
    assert bell._silence.waits == [-1, 5]


def test_nothing_of_a_host_is_left_after_its_shutdown(host: Host) -> None:
    before = own_threads()
    host.start()
    host.run(lambda: None)
    host.run(coroutine)
    host.shutdown()
    for thread in own_threads() - before:
        thread.join(PATIENCE)
        assert not thread.is_alive(), thread


async def coroutine() -> str:
    return threading.current_thread().name


def test_a_job_that_is_added_by_another_thread_runs_at_once(host: Host) -> None:
    host.start()
    host.scheduler.add_job(lambda: None, "interval", hours=1)
    added = threading.Thread(target=lambda: host.scheduler.add_job(lambda: 7, id="now"))
    added.start()
    event = host.ended.next()
    assert (event.job_id, event.retval) == ("now", 7)
    added.join()


def test_a_paused_host_runs_nothing_and_when_it_is_resumed_what_is_within_grace(
    host: Host,
) -> None:
    host.start(paused=True)
    host.scheduler.add_job(lambda: 1, id="a", misfire_grace_time=None)
    host.scheduler.wakeup()
    assert host.scheduler.health().paused
    assert host.ended.rest() == []
    host.scheduler.resume()
    assert host.ended.next().job_id == "a"

    host.scheduler.pause()
    host.scheduler.add_job(lambda: 1, id="b", misfire_grace_time=None)
    assert [job.id for job in host.scheduler.get_jobs()] == ["b"]
    host.scheduler.resume()
    assert host.ended.next().job_id == "b"


def test_waking_a_host_that_is_not_running_is_harmless(host: Host) -> None:
    host.scheduler.wakeup()
    host.start()
    assert host.run(lambda: 1).retval == 1
    host.shutdown()
    host.scheduler.wakeup()
    host.start()
    assert host.run(lambda: 2).retval == 2


def test_a_host_is_started_once_and_shut_down_once(host: Host) -> None:
    with pytest.raises(SchedulerNotRunningError):
        host.scheduler.shutdown()
    host.start()
    with pytest.raises(SchedulerAlreadyRunningError):
        host.scheduler.start()
    assert host.run(lambda: 1).retval == 1
    host.shutdown()
    with pytest.raises(SchedulerNotRunningError):
        host.scheduler.shutdown()


def test_an_attempt_to_start_a_running_host_does_not_make_it_deaf(make_host: MakeHost) -> None:
    host = make_host("blocking", executors={"default": DebugExecutor()}, max_sleep=3)

    def try_to_start() -> None:
        host.scheduler.wakeup()
        with pytest.raises(SchedulerAlreadyRunningError):
            host.scheduler.start()

    host.start()
    assert host.run(try_to_start).exception is None
    # The first of them may still run in the turn for which it was woken before.
    for _ in range(3):
        ran = threading.Event()
        host.scheduler.add_job(ran.set, misfire_grace_time=None)
        assert ran.wait(1)


class Refusing(MemoryJobStore):
    """A store that cannot be started until it is told that it can."""

    def __init__(self) -> None:
        super().__init__()
        self.works = False

    def start(self, scheduler: Any, alias: str) -> None:
        if not self.works:
            raise ConnectionError("the database is down")
        super().start(scheduler, alias)


@pytest.mark.parametrize("kind", HOSTS)
def test_a_start_that_fails_leaves_nothing_running_and_can_be_repeated(
    make_host: MakeHost, kind: str
) -> None:
    store = Refusing()
    pool = ThreadPoolExecutor(1)
    host = make_host(kind, jobstores={"more": store}, executors={"pool": pool})
    ears = Ears(host.scheduler, events.EVENT_SCHEDULER_STARTED)
    before = own_threads()
    first = host.scheduler.add_job(lambda: 1, id="a", executor="pool", misfire_grace_time=None)
    host.scheduler.add_job(lambda: 2, id="b", jobstore="more", misfire_grace_time=None)
    with pytest.raises(ConnectionError):
        host.start()

    assert not host.scheduler.running
    assert not host.scheduler.health().running
    assert ears.rest() == []
    assert [job.id for job in host.scheduler.get_jobs()] == ["a", "b"]
    assert first.pending
    for thread in own_threads() - before:
        thread.join(PATIENCE)

    store.works = True
    host.start()
    assert {host.ended.next().retval for _ in range(2)} == {1, 2}


@pytest.mark.parametrize("kind", HOSTS)
def test_a_start_with_two_pending_jobs_of_one_id_keeps_both_pending(
    make_host: MakeHost, kind: str
) -> None:
    host = make_host(kind)
    host.scheduler.add_job(lambda: 0, id="a", misfire_grace_time=None)
    host.scheduler.add_job(lambda: 1, id="b", misfire_grace_time=None)
    host.scheduler.add_job(lambda: 2, id="b", name="second", misfire_grace_time=None)
    with pytest.raises(ConflictingIdError):
        host.start()
    jobs = host.scheduler.get_jobs()
    assert [job.id for job in jobs] == ["a", "b", "b"]
    assert all(job.pending for job in jobs)
    assert not any(hasattr(job, "next_run_time") for job in jobs)

    host.scheduler.remove_job("b")
    host.start()
    assert {host.ended.next().retval for _ in range(2)} == {0, 2}


@pytest.mark.parametrize("kind", HOSTS)
def test_a_start_with_a_job_for_an_unknown_store_fails_and_works_once_there_is_one(
    make_host: MakeHost, kind: str
) -> None:
    host = make_host(kind)
    host.scheduler.add_job(lambda: 1, id="a", jobstore="more", misfire_grace_time=None)
    with pytest.raises(KeyError, match="No such job store: more"):
        host.start()
    host.scheduler.add_jobstore("memory", "more")
    host.start()
    assert host.ended.next().retval == 1


def test_a_listener_may_shut_a_host_down_as_soon_as_it_is_started(host: Host) -> None:
    def stop(event: Any) -> None:
        if not stopped:
            stopped.append(event)
            host.scheduler.shutdown(wait=False)

    stopped: list[Any] = []
    host.scheduler.add_listener(stop, events.EVENT_SCHEDULER_STARTED)
    host.start()
    host.stopped.next()
    assert not host.scheduler.running
    host.start()
    assert host.run(lambda: 1).retval == 1


def test_jobs_added_while_a_host_is_being_started_all_run(host: Host) -> None:
    scheduler = host.scheduler

    def add_more(event: Any) -> None:
        if event.job_id == "first":
            thread = threading.Thread(
                target=lambda: scheduler.add_job(lambda: 2, id="more", misfire_grace_time=None)
            )
            thread.start()
            thread.join(PATIENCE)

    scheduler.add_listener(add_more, events.EVENT_JOB_ADDED)
    scheduler.add_job(lambda: 1, id="first", misfire_grace_time=None)
    host.start()
    assert {host.ended.next().job_id for _ in range(2)} == {"first", "more"}


def test_the_last_events_of_a_host_are_those_of_its_jobs_and_then_its_shutdown(
    make_host: MakeHost,
) -> None:
    host = make_host("background")
    gate = Gate()
    ears = Ears(host.scheduler, events.EVENT_JOB_EXECUTED | events.EVENT_SCHEDULER_SHUTDOWN)
    host.start()
    host.scheduler.add_job(gate, misfire_grace_time=None)
    assert gate.entered.wait(PATIENCE)
    stopping = threading.Thread(target=host.scheduler.shutdown)
    stopping.start()
    gate.let_go.set()
    stopping.join(PATIENCE)
    assert ears.rest() == [events.EVENT_JOB_EXECUTED, events.EVENT_SCHEDULER_SHUTDOWN]


@pytest.mark.parametrize("kind", HOSTS)
def test_coroutine_functions_run_on_every_host(make_host: MakeHost, kind: str) -> None:
    host = make_host(kind)
    host.start()
    event = host.run(coroutine)
    assert event.code == events.EVENT_JOB_EXECUTED
    assert event.retval == host.coroutines_run_in


def test_coroutine_listeners_are_brought_to_their_end_on_every_host(host: Host) -> None:
    heard: SimpleQueue[tuple[str, int]] = SimpleQueue()

    async def listen(event: Any) -> None:
        heard.put((threading.current_thread().name, event.code))

    async def fail(event: Any) -> None:
        raise ValueError("no luck")

    host.scheduler.add_listener(fail, events.EVENT_JOB_EXECUTED)
    host.scheduler.add_listener(listen, events.EVENT_JOB_EXECUTED)
    host.start()
    for _ in range(2):
        host.run(lambda: None)
        thread, code = heard.get(timeout=PATIENCE)
        assert code == events.EVENT_JOB_EXECUTED
        assert thread == host.coroutines_run_in


@pytest.mark.parametrize("kind", ["background", "blocking"])
def test_a_coroutine_listener_of_the_shutdown_leaves_no_thread_behind(
    make_host: MakeHost, kind: str
) -> None:
    async def listen(event: Any) -> None:
        heard.append(threading.current_thread())

    heard: list[threading.Thread] = []
    host = make_host(kind)
    host.scheduler.add_listener(listen, events.EVENT_SCHEDULER_SHUTDOWN)
    host.start()
    host.shutdown()
    (thread,) = heard
    thread.join(2)
    assert not thread.is_alive()
