"""Jobs on a Twisted reactor, and in its threads."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from executor_kit import DUE, PATIENCE, House, Submission, make_job, until
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.selectreactor import SelectReactor

from apscheduler import current_run
from apscheduler.executors.base import Load, ShuttingDownError, takes_runs
from apscheduler.executors.twisted import TwistedExecutor
from apscheduler.runs import RunState

SUCCEEDED, FAILED = RunState.SUCCEEDED, RunState.FAILED


class Reactor:
    """A reactor that runs in a thread, with an executor."""

    def __init__(self) -> None:
        self.own = SelectReactor()
        self.house: Any = House()
        self.house._reactor = self.own
        self.executor = TwistedExecutor()
        self.executor.start(self.house, "reactor")
        self.thread = threading.Thread(
            target=self.own.run, kwargs={"installSignalHandlers": False}
        )
        self.thread.start()
        self.runs = threading.Event()
        self.own.callFromThread(self.own.callWhenRunning, self.runs.set)
        assert self.runs.wait(PATIENCE)

    def stop(self) -> None:
        self.own.callFromThread(self.own.stop)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def submit(self, func: Any, *args: Any, runs: int = 1) -> Submission:
        work = Submission(func, *args, runs=runs)
        self.executor.submit_runs(work)
        return work

    def soon(self, value: Any) -> Deferred[Any]:
        later: Deferred[Any] = Deferred()
        self.own.callFromThread(self.own.callLater, 0.001, later.callback, value)
        return later


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    if reactor.thread.is_alive():
        reactor.stop()


async def coroutine() -> int | None:
    return threading.get_ident()


class Caller:
    async def __call__(self) -> int:
        return threading.get_ident()


@pytest.mark.parametrize("func", [coroutine, functools.partial(coroutine), Caller()])
def test_coroutine_functions_run_in_the_reactors_thread(reactor: Reactor, func: Any) -> None:
    work = reactor.submit(func, runs=2)
    assert [work.outcome().value for _ in range(2)] == [reactor.thread.ident] * 2


@pytest.mark.parametrize("runs", [1, 3])
def test_plain_functions_run_in_the_threads_of_the_reactor(reactor: Reactor, runs: int) -> None:
    work = reactor.submit(threading.current_thread, runs=runs)
    for _ in range(runs):
        assert work.outcome().value.name.startswith("PoolThread-")
    assert takes_runs(reactor.executor)


@pytest.mark.parametrize("kind", ["fired", "later", "coroutine", "generator", "in a coroutine"])
def test_what_can_be_awaited_is_awaited(reactor: Reactor, kind: str) -> None:
    @inlineCallbacks
    def generator() -> Any:
        value = yield reactor.soon(5)
        return value

    async def wait() -> Any:
        return await reactor.soon(5)

    func = {
        "fired": lambda: succeed(5),
        "later": lambda: reactor.soon(5),
        "coroutine": wait,
        "generator": generator,
        "in a coroutine": lambda: wait(),
    }[kind]
    work = reactor.submit(func, runs=2)
    for _ in range(2):
        outcome = work.outcome()
        assert (outcome.state, outcome.value) == (SUCCEEDED, 5)


def test_what_waits_goes_on_in_the_reactors_thread_and_still_knows_its_run(
    reactor: Reactor,
) -> None:
    async def wait() -> Any:
        here = threading.get_ident()
        await reactor.soon(None)
        return here, threading.get_ident(), current_run().run_id

    on_reactor = reactor.thread.ident
    work = reactor.submit(lambda: wait(), runs=2)
    assert [work.outcome().value for _ in range(2)] == [
        (on_reactor, on_reactor, "run-0"),
        (on_reactor, on_reactor, "run-1"),
    ]


def test_each_run_of_a_batch_is_called_in_a_thread_also_if_one_before_has_waited(
    reactor: Reactor,
) -> None:
    where: list[str] = []

    def job() -> Deferred[None]:
        where.append(threading.current_thread().name)
        return reactor.soon(None)

    work = reactor.submit(job, runs=3)
    for _ in range(3):
        work.outcome()
    assert all(name.startswith("PoolThread-") for name in where)


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError]
)
@pytest.mark.parametrize("plain", [True, False])
def test_no_exception_of_a_job_reaches_the_reactor(
    reactor: Reactor, error: type[BaseException], plain: bool
) -> None:
    async def fail() -> None:
        await reactor.soon(None)
        raise error("no")

    def fail_plainly() -> None:
        raise error("no")

    for func in (fail_plainly,) if plain else (fail, lambda: fail()):
        work = reactor.submit(func, runs=2)
        for _ in range(2):
            failed = work.outcome()
            assert failed.state is FAILED
            assert type(failed.exception) is error


def test_a_coroutine_function_does_not_wait_for_a_thread(reactor: Reactor) -> None:
    reactor.own.suggestThreadPoolSize(1)
    begun, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    reactor.submit(busy)
    assert begun.wait(PATIENCE)
    assert reactor.submit(coroutine).outcome().value == reactor.thread.ident
    go_on.set()


def test_a_run_that_was_cancelled_meanwhile_is_skipped(reactor: Reactor) -> None:
    for func in (int, coroutine):
        work = Submission(func, runs=3)
        work.withdrawn.add("run-1")
        reactor.executor.submit_runs(work)
        assert [work.end()[0].id for _ in range(2)] == ["run-0", "run-2"]


def test_it_tells_how_much_it_is_running(reactor: Reactor) -> None:
    later: Deferred[None] = Deferred()
    work = reactor.submit(lambda: later)
    assert reactor.executor.load() == Load(workers=None, busy=1, queued=0)
    reactor.own.callFromThread(later.callback, None)
    work.outcome()
    until(lambda: reactor.executor.load() == Load(workers=None, busy=0, queued=0))


def test_a_shutdown_takes_no_more_and_waits_if_it_can(reactor: Reactor) -> None:
    later: Deferred[None] = Deferred()
    work = reactor.submit(lambda: later)
    stopped = threading.Event()
    reactor.own.callFromThread(lambda: (reactor.executor.shutdown(True), stopped.set()))
    assert stopped.wait(PATIENCE)
    with pytest.raises(ShuttingDownError):
        reactor.submit(int)
    waiting = threading.Thread(target=reactor.executor.shutdown)
    waiting.start()
    waiting.join(0.02)
    assert waiting.is_alive()
    reactor.own.callFromThread(later.callback, None)
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert work.outcome().state is SUCCEEDED


def test_a_shutdown_does_not_wait_for_what_no_reactor_will_end(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apscheduler.executors.twisted.LOOK_AGAIN", 0.01)
    never: Deferred[None] = Deferred()
    reactor.submit(lambda: never)
    until(lambda: reactor.own.threadpool is not None and not reactor.own.threadpool.working)
    waiting = threading.Thread(target=reactor.executor.shutdown)
    waiting.start()
    reactor.stop()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    never.callback(None)  # Or the job would end when it is collected, in the middle of a test.


def test_what_comes_after_the_end_of_the_reactor_is_refused(reactor: Reactor) -> None:
    work = reactor.submit(int)
    assert work.outcome().value == 0
    reactor.stop()
    with pytest.raises(ShuttingDownError):
        reactor.submit(int)


def test_what_comes_while_the_reactor_ends_is_refused(reactor: Reactor) -> None:
    def submit() -> None:
        try:
            reactor.submit(int)
        except ShuttingDownError as exc:
            refused.append(exc)

    refused: list[ShuttingDownError] = []
    assert reactor.submit(int).outcome().value == 0
    reactor.own.callFromThread(reactor.own.addSystemEventTrigger, "during", "shutdown", submit)
    reactor.stop()
    assert len(refused) == 1


def test_an_executor_can_be_started_again(reactor: Reactor) -> None:
    reactor.executor.shutdown()
    reactor.executor.start(reactor.house, "reactor")
    assert reactor.submit(int).outcome().value == 0


@pytest.mark.parametrize("func", [coroutine, threading.get_ident])
def test_the_work_of_3x_is_reported_through_the_hooks(reactor: Reactor, func: Any) -> None:
    reactor.executor.submit_job(make_job(func, misfire_grace_time=None), [DUE])
    until(lambda: reactor.house.events)
    (event,) = reactor.house.events
    assert (event.retval == reactor.thread.ident) is (func is coroutine)
    until(lambda: not reactor.executor._instances)


def test_work_of_3x_that_cannot_be_run_is_an_error(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise MemoryError("full")

    monkeypatch.setattr("apscheduler.executors.twisted.run_job", broken)
    reactor.executor.submit_job(make_job(int, misfire_grace_time=None), [DUE])
    until(lambda: reactor.house.reports)
    ((kind, _, _, error, _),) = reactor.house.reports
    assert kind == "failed"
    assert isinstance(error, MemoryError)
