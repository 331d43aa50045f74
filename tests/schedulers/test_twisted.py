"""What only a scheduler on a Twisted reactor can do, or get wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from host_kit import PATIENCE, Ears, Gate, TwistedHost
from twisted.internet.defer import Deferred, inlineCallbacks

from apscheduler import current_run, events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.twisted import TwistedScheduler
from programs import Program

ENDS = events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR


@pytest.fixture
def host() -> Iterator[TwistedHost]:
    host = TwistedHost()
    yield host
    host.close()


def result_of(host: TwistedHost, deferred: Deferred[Any]) -> Any:
    """Wait in the thread of the test for a Deferred of the reactor."""
    fired = threading.Event()
    results: list[Any] = []

    def take(result: Any) -> None:
        results.append(result)
        fired.set()

    host.on_loop(lambda: deferred.addBoth(take))
    assert fired.wait(PATIENCE)
    return results[0]


def test_a_deferred_of_a_function_is_waited_for_without_one_of_the_reactors_threads(
    host: TwistedHost,
) -> None:
    host.reactor.suggestThreadPoolSize(1)
    later: Deferred[str] = Deferred()
    host.start()
    host.scheduler.add_job(lambda: later, id="waits", misfire_grace_time=None)
    assert host.run(lambda: 1, id="does not").job_id == "does not"
    host.on_loop(lambda: later.callback("done"))
    event = host.ended.next()
    assert (event.job_id, event.retval) == ("waits", "done")


def test_a_deferred_that_fails_is_an_error_of_the_job(host: TwistedHost) -> None:
    @inlineCallbacks
    def fail() -> Any:
        yield None
        raise ValueError("no luck")

    host.start()
    event = host.run(fail)
    assert event.code == events.EVENT_JOB_ERROR
    assert isinstance(event.exception, ValueError)
    assert "in fail" in event.traceback


def test_a_job_knows_its_run_before_and_after_it_has_waited(host: TwistedHost) -> None:
    async def coroutine() -> list[str]:
        before = current_run().job_id
        await soon(host)
        return [before, current_run().job_id]

    host.start()
    assert host.run(coroutine, id="a").retval == ["a", "a"]
    assert host.run(lambda: coroutine(), id="b").retval == ["b", "b"]


def soon(host: TwistedHost) -> Deferred[None]:
    later: Deferred[None] = Deferred()
    host.reactor.callLater(0.001, later.callback, None)
    return later


def test_closing_waits_for_what_is_running_and_then_fires(host: TwistedHost) -> None:
    async def wait() -> str:
        entered.set()
        return await later

    later: Deferred[str] = Deferred()
    entered = threading.Event()
    host.start()
    host.scheduler.add_job(wait, misfire_grace_time=None)
    assert entered.wait(PATIENCE)
    closed = host.on_loop(host.scheduler.aclose)
    with pytest.raises(SchedulerNotRunningError):
        host.scheduler.shutdown()
    assert not host.on_loop(lambda: closed.called)
    assert host.scheduler.running
    host.on_loop(lambda: later.callback("done"))
    assert result_of(host, closed) is None
    assert host.ended.next().retval == "done"
    assert not host.scheduler.running


def test_closing_with_a_time_limit_leaves_what_exceeds_it(host: TwistedHost) -> None:
    async def wait() -> str:
        entered.set()
        return await later

    later: Deferred[str] = Deferred()
    entered = threading.Event()
    host.start()
    host.scheduler.add_job(wait, misfire_grace_time=None)
    assert entered.wait(PATIENCE)
    assert result_of(host, host.on_loop(lambda: host.scheduler.aclose(timeout=0.01))) is None
    assert not host.scheduler.running
    host.on_loop(lambda: later.callback("done"))
    assert host.ended.next().retval == "done"


def test_closing_from_inside_a_job_does_not_wait_for_that_job(host: TwistedHost) -> None:
    async def close() -> None:
        await host.scheduler.aclose()

    host.start()
    host.scheduler.add_job(close, misfire_grace_time=None)
    host.stopped.next()
    assert not host.scheduler.running
    assert host.ended.next().exception is None


def test_a_job_in_line_that_closes_the_scheduler_ends_the_turn_it_is_in(
    make_host: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def close() -> None:
        ran.append(1)
        if len(ran) == 1:
            host.scheduler.aclose()

    monkeypatch.setattr("apscheduler.schedulers._timer.SLICE", PATIENCE)
    ran: list[int] = []
    host = make_host("twisted", executors={"default": DebugExecutor()})
    host.start(paused=True)
    for _ in range(500):
        host.scheduler.add_job(close, misfire_grace_time=None)
    host.scheduler.resume()
    host.stopped.next()
    # What had been claimed by then is run.
    assert len(ran) == MemoryJobStore.claim_limit


def test_the_reactor_waits_for_a_scheduler_that_is_closed_at_its_end() -> None:
    gate = Gate()
    host = TwistedHost(executors={"default": ThreadPoolExecutor(1)})
    host.on_loop(
        lambda: host.reactor.addSystemEventTrigger("before", "shutdown", host.scheduler.aclose)
    )
    host.start()
    host.scheduler.add_job(gate, misfire_grace_time=None)
    assert gate.entered.wait(PATIENCE)
    host.reactor.callFromThread(host.reactor.stop)
    threading.Timer(0.02, gate.let_go.set).start()
    host._thread.join(PATIENCE)
    assert not host._thread.is_alive()
    assert gate.left.is_set()
    assert not host.scheduler.running


def test_a_reactor_that_has_ended_is_noticed() -> None:
    host = TwistedHost()
    scheduler = host.scheduler
    assert not scheduler.health().running
    host.start()
    host.run(lambda: 1)
    assert scheduler.health().running
    host.reactor.callFromThread(host.reactor.stop)
    host._thread.join(PATIENCE)
    assert scheduler.running
    assert not scheduler.health().running
    scheduler.add_job(int, id="a")
    scheduler.wakeup()
    scheduler.shutdown()
    assert not scheduler.running
    host.stopped.next()


def test_a_coroutine_listener_may_await_deferreds(host: TwistedHost) -> None:
    async def listen(event: Any) -> None:
        await soon(host)
        heard.set()

    heard = threading.Event()
    host.scheduler.add_listener(listen, events.EVENT_JOB_EXECUTED)
    host.start()
    host.run(lambda: 1)
    assert heard.wait(PATIENCE)


def test_a_scheduler_can_be_started_before_its_reactor_runs() -> None:
    from twisted.internet.selectreactor import SelectReactor

    reactor = SelectReactor()
    scheduler = TwistedScheduler(timezone="UTC", reactor=reactor)
    ears = Ears(scheduler, ENDS)
    scheduler.start()
    assert scheduler.health().running
    scheduler.add_listener(lambda event: reactor.callFromThread(reactor.stop), ENDS)
    scheduler.add_job(lambda: 5, misfire_grace_time=None)
    threading.Timer(PATIENCE, lambda: reactor.callFromThread(reactor.stop)).daemon = True
    reactor.run(installSignalHandlers=False)
    assert ears.next().retval == 5
    scheduler.shutdown()


GLOBAL_REACTOR = """
import sys

from apscheduler.executors.twisted import TwistedExecutor
from apscheduler.schedulers.twisted import TwistedScheduler
assert "twisted.internet.reactor" not in sys.modules
from twisted.internet import asyncioreactor
asyncioreactor.install()
scheduler = TwistedScheduler(timezone="UTC")
from twisted.internet import reactor
assert scheduler._reactor is reactor

def job():
    print("ran", flush=True)
    reactor.callFromThread(reactor.stop)

scheduler.add_job(job)
scheduler.start()
reactor.run()
"""


@pytest.mark.slow
def test_the_global_reactor_is_taken_when_a_scheduler_is_made_and_not_before(
    start_python: Callable[..., Program],
) -> None:
    status, printed, errors = start_python("-c", GLOBAL_REACTOR).finish()
    assert (status, printed, errors) == (0, ["ran"], "")
