"""The schedulers on the loops of Tornado and Twisted.

The reactors are objects of the tests; the global one cannot be run twice.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import contract_kit
import pytest
from contract_kit import PATIENCE, coroutine, fail, noop

import apscheduler

if apscheduler.version.startswith("3.11."):
    # The environment of the comparison may lack them; ours may not.
    pytest.importorskip("tornado")
    pytest.importorskip("twisted")

from tornado.ioloop import IOLoop
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.selectreactor import SelectReactor

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_SCHEDULER_SHUTDOWN,
)
from apscheduler.executors.tornado import TornadoExecutor
from apscheduler.executors.twisted import TwistedExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.tornado import TornadoScheduler, run_in_ioloop
from apscheduler.schedulers.twisted import TwistedScheduler, run_in_reactor

ENDS = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR


class Loop:
    """A loop of either framework: `run` lets it run until the steps of a generator are done."""

    def __init__(self, kind):
        self.kind = kind
        if kind == "tornado":
            self.own = IOLoop(make_current=False)
            self.soon, self.later = self.own.add_callback, self.own.call_later
            self.start, self.stop = self.own.start, self.own.stop
            self.option = {"io_loop": self.own}
            self.scheduler_class = TornadoScheduler
        else:
            self.own = SelectReactor()
            self.soon, self.later = self.own.callFromThread, self.own.callLater
            self.start, self.stop = partial(self.own.run, installSignalHandlers=False), self.end
            self.option = {"reactor": self.own}
            self.scheduler_class = TwistedScheduler

    def end(self):
        self.own.stop()

    def run(self, steps):
        """Let each step begin when the condition that the one before has yielded is true."""
        failures = []
        deadline = self.later(PATIENCE, lambda: over(AssertionError("it did not come about")))

        def over(failure=None):
            failures.extend([failure] if failure else [])
            if self.kind == "tornado":
                self.own.remove_timeout(deadline)
            elif deadline.active():
                deadline.cancel()
            self.stop()

        def go_on(condition):
            if failures:
                return
            try:
                if condition():
                    condition = next(steps)
            except StopIteration:
                over()
            except BaseException as exc:
                over(exc)
            else:
                self.later(0.001, partial(go_on, condition))

        self.soon(go_on, lambda: True)
        self.start()
        if self.kind == "tornado":
            self.own.close(all_fds=True)
        if failures:
            raise failures[0]


@pytest.fixture(params=["tornado", "twisted"])
def loop(request):
    return Loop(request.param)


@pytest.fixture
def scheduler(loop):
    return loop.scheduler_class(timezone="UTC", **loop.option)


def shut_down(scheduler):
    scheduler.shutdown()
    yield lambda: not scheduler.running


def test_they_derive_from_the_base_scheduler_and_have_executors_of_their_own(loop, scheduler):
    assert isinstance(scheduler, BaseScheduler)
    own = {"tornado": TornadoExecutor, "twisted": TwistedExecutor}[loop.kind]
    assert isinstance(scheduler._create_default_executor(), own)
    if loop.kind == "tornado":
        assert (scheduler._ioloop, scheduler._timeout) == (loop.own, None)
        loop.own.close(all_fds=True)
    else:
        assert (scheduler._reactor, scheduler._delayedcall) == (loop.own, None)


def test_a_tornado_executor_has_ten_threads_unless_it_is_told_otherwise():
    assert TornadoExecutor().executor._max_workers == 10
    assert TornadoExecutor(3).executor._max_workers == 3
    assert TornadoExecutor(max_workers=4).executor._max_workers == 4


def test_a_scheduler_that_was_started_before_its_loop_runs_jobs_when_that_runs(
    loop, scheduler, heard
):
    events = heard(scheduler, ENDS)
    scheduler.start()
    scheduler.add_job(noop)

    def steps():
        yield lambda: events.events
        yield from shut_down(scheduler)

    loop.run(steps())
    assert events.codes == [EVENT_JOB_EXECUTED]


def test_plain_functions_run_in_threads(loop, scheduler, heard):
    events = heard(scheduler, ENDS)

    def steps():
        scheduler.start()
        scheduler.add_job(threading.get_ident, id="plain")
        scheduler.add_job(fail, id="bad")
        yield lambda: len(events.events) == 2
        yield from shut_down(scheduler)

    loop.run(steps())
    ends = {event.job_id: event for event in events.events}
    assert ends["plain"].retval != threading.get_ident()
    assert isinstance(ends["bad"].exception, ValueError)
    if loop.kind == "tornado":
        assert ends["bad"].code == EVENT_JOB_ERROR


def test_tornado_tells_of_the_end_on_the_io_loop_and_runs_coroutines_there(heard):
    loop = Loop("tornado")
    scheduler = TornadoScheduler(timezone="UTC", io_loop=loop.own)
    told = []

    async def where():
        return threading.get_ident()

    def steps():
        scheduler.start()
        events = heard(scheduler, ENDS)
        scheduler.add_listener(lambda event: told.append(threading.get_ident()), ENDS)
        scheduler.add_job(where, id="coroutine")
        scheduler.add_job(partial(partial(where)), id="partial")
        scheduler.add_job(noop, id="plain")
        yield lambda: len(events.events) == 3
        values = {event.job_id: event.retval for event in events.events}
        assert values == {
            "coroutine": threading.get_ident(),
            "partial": threading.get_ident(),
            "plain": None,
        }
        assert set(told) == {threading.get_ident()}
        yield from shut_down(scheduler)

    loop.run(steps())


@pytest.mark.differs("coroutine functions are awaited on the reactor")
def test_twisted_runs_coroutines_on_the_reactor_where_they_may_await_deferreds(heard):
    loop = Loop("twisted")
    scheduler = TwistedScheduler(timezone="UTC", reactor=loop.own)

    async def wait():
        later = Deferred()
        loop.own.callLater(0.001, later.callback, 5)
        return await later, threading.get_ident()

    def steps():
        scheduler.start()
        events = heard(scheduler, ENDS)
        scheduler.add_job(wait)
        yield lambda: events.events
        retval = events.events[0].retval
        if asyncio.iscoroutine(retval):
            retval.close()
        assert retval == (5, threading.get_ident())
        yield from shut_down(scheduler)

    loop.run(steps())


@pytest.mark.differs("what a function returns is awaited if it can be")
@pytest.mark.parametrize("func", [lambda: succeed(5), inlineCallbacks(lambda: (yield succeed(5)))])
def test_a_deferred_that_a_function_returns_is_awaited(heard, func):
    loop = Loop("twisted")
    scheduler = TwistedScheduler(timezone="UTC", reactor=loop.own)

    def steps():
        scheduler.start()
        events = heard(scheduler, ENDS)
        scheduler.add_job(func)
        yield lambda: events.events
        assert events.events[0].retval == 5
        yield from shut_down(scheduler)

    loop.run(steps())


@pytest.mark.differs("what a function returns is awaited if it can be")
def test_a_coroutine_that_a_function_returns_is_awaited(loop, scheduler, heard):
    def steps():
        scheduler.start()
        events = heard(scheduler, ENDS)
        scheduler.add_job(lambda: coroutine(3))
        yield lambda: events.events
        retval = events.events[0].retval
        if asyncio.iscoroutine(retval):
            retval.close()
        assert retval == 3
        yield from shut_down(scheduler)

    loop.run(steps())


def test_jobs_can_be_added_from_other_threads(loop, scheduler, heard):
    def steps():
        scheduler.start()
        events = heard(scheduler, ENDS)
        threading.Thread(target=scheduler.add_job, args=(noop,)).start()
        yield lambda: events.events
        yield from shut_down(scheduler)

    loop.run(steps())


def test_a_repeated_job_is_run_again_by_a_timer(loop, scheduler, heard):
    def steps():
        scheduler.start()
        events = heard(scheduler, ENDS)
        scheduler.add_job(noop, "interval", seconds=0.01, misfire_grace_time=None)
        yield lambda: len(events.events) > 3
        yield from shut_down(scheduler)
        ended = len(events.events)
        yield lambda: len(events.events) <= ended + 1

    loop.run(steps())


def test_the_shutdown_is_done_by_the_loop(loop, scheduler, heard):
    def steps():
        scheduler.start()
        events = heard(scheduler)
        assert scheduler.shutdown() is None
        assert scheduler.running
        yield lambda: not scheduler.running
        assert events.codes == [EVENT_SCHEDULER_SHUTDOWN]
        with pytest.raises(SchedulerNotRunningError):
            scheduler.shutdown()
        scheduler.wakeup()

    loop.run(steps())


@pytest.mark.differs("a second shutdown is refused at once")
def test_a_second_shutdown_before_the_first_is_done_is_refused_too(loop, scheduler):
    def steps():
        scheduler.start()
        scheduler.shutdown()
        with pytest.raises(SchedulerNotRunningError):
            scheduler.shutdown()
        yield lambda: not scheduler.running

    loop.run(steps())


def test_shutdown_before_start_is_refused(loop, scheduler):
    with pytest.raises(SchedulerNotRunningError):
        scheduler.shutdown()
    if loop.kind == "tornado":
        loop.own.close(all_fds=True)


def test_a_scheduler_starts_again(loop, scheduler, heard):
    def steps():
        for number in range(2):
            scheduler.start()
            events = heard(scheduler, ENDS)
            scheduler.add_job(coroutine, args=[number])
            yield lambda events=events: events.events
            retval = events.events[0].retval
            if asyncio.iscoroutine(retval):  # a coroutine under Twisted in 3.11
                retval.close()
            yield from shut_down(scheduler)

    loop.run(steps())


@pytest.mark.differs("a thread pool is made anew")
def test_the_threads_of_a_tornado_executor_work_again_after_a_restart(heard):
    loop = Loop("tornado")
    scheduler = TornadoScheduler(timezone="UTC", io_loop=loop.own)

    def steps():
        scheduler.start()
        pool = scheduler._lookup_executor("default").executor
        yield from shut_down(scheduler)
        assert pool._shutdown
        scheduler.start()
        events = heard(scheduler, ENDS)
        scheduler.add_job(noop)
        yield lambda: events.events
        yield from shut_down(scheduler)

    loop.run(steps())


@pytest.mark.parametrize("given", ["object", "text"])
def test_a_loop_can_be_given_by_reference(loop, monkeypatch, given):
    monkeypatch.setattr(contract_kit, "the_loop", loop.own, raising=False)
    (name,) = loop.option
    value = loop.own if given == "object" else "contract_kit:the_loop"
    scheduler = loop.scheduler_class({f"apscheduler.{name}": value})
    assert getattr(scheduler, {"io_loop": "_ioloop", "reactor": "_reactor"}[name]) is loop.own
    if loop.kind == "tornado":
        loop.own.close(all_fds=True)


def test_a_tornado_scheduler_takes_the_current_io_loop():
    async def main():
        return TornadoScheduler()._ioloop is IOLoop.current()

    assert asyncio.run(main())


def test_a_tornado_scheduler_without_a_loop_is_not_running(heard):
    async def main():
        scheduler = TornadoScheduler(timezone="UTC")
        scheduler._ioloop = None
        with pytest.raises(SchedulerNotRunningError):
            scheduler.wakeup()

    asyncio.run(main())


def test_methods_can_be_deferred_to_the_loop(loop):
    run_in_loop = {"tornado": run_in_ioloop, "twisted": run_in_reactor}[loop.kind]

    class Host(loop.scheduler_class):
        calls = ()

        @run_in_loop
        def note(self, *args, **kwargs):
            self.calls += ((args, kwargs, threading.get_ident()),)

    scheduler = Host(timezone="UTC", **loop.option)

    def steps():
        assert scheduler.note(1, a=2) is None
        assert scheduler.calls == ()
        yield lambda: scheduler.calls
        threading.Thread(target=scheduler.note).start()
        yield lambda: len(scheduler.calls) == 2
        here = threading.get_ident()
        assert scheduler.calls == (((1,), {"a": 2}, here), ((), {}, here))

    loop.run(steps())


def test_the_executors_have_names(loop, scheduler, heard):
    def steps():
        scheduler.add_executor(loop.kind, "more")
        scheduler.start()
        events = heard(scheduler, ENDS)
        scheduler.add_job(noop, executor="more")
        yield lambda: events.events
        yield from shut_down(scheduler)

    loop.run(steps())
