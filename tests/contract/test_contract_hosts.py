"""The blocking, background and asyncio schedulers, and one of a third party's own."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import contract_kit
import pytest
from contract_kit import FAR, PATIENCE, TurnScheduler, coroutine, fail, ids, noop, now

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
)
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.asyncio import AsyncIOScheduler, run_in_event_loop
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING, BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler


def test_hosts_derive_from_each_other():
    assert issubclass(BackgroundScheduler, BlockingScheduler)
    assert BlockingScheduler.__bases__ == (BaseScheduler,)
    assert issubclass(AsyncIOScheduler, BaseScheduler)


@pytest.mark.parametrize("host", [BlockingScheduler, BackgroundScheduler])
def test_threads_and_memory_are_the_defaults(host):
    scheduler = host()
    executor = scheduler._create_default_executor()
    assert isinstance(executor, ThreadPoolExecutor)
    assert executor._pool._max_workers == 10
    assert isinstance(scheduler._create_default_jobstore(), MemoryJobStore)


def test_asyncio_is_the_default_executor_of_its_host():
    assert isinstance(AsyncIOScheduler()._create_default_executor(), AsyncIOExecutor)


@pytest.fixture
def blocking(make):
    return make(BlockingScheduler)


def test_a_blocking_scheduler_blocks_until_it_is_shut_down(blocking, heard):
    events = heard(blocking)
    thread = threading.Thread(target=blocking.start, daemon=True)
    thread.start()
    events.wait_for(EVENT_SCHEDULER_STARTED)
    blocking.add_job(noop)
    events.wait_for(EVENT_JOB_EXECUTED)
    assert thread.is_alive()
    blocking.shutdown()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_an_interrupt_comes_out_of_start_and_leaves_the_scheduler_running(blocking):
    real = blocking._process_jobs

    def interrupted():
        blocking._process_jobs = real
        raise KeyboardInterrupt

    blocking._process_jobs = interrupted
    with pytest.raises(KeyboardInterrupt):
        blocking.start()
    assert blocking.state == STATE_RUNNING


def test_a_blocking_scheduler_can_be_started_paused_and_resumed(blocking, heard):
    events = heard(blocking)
    blocking.add_job(noop, misfire_grace_time=None)
    thread = threading.Thread(target=blocking.start, kwargs={"paused": True}, daemon=True)
    thread.start()
    events.wait_for(EVENT_SCHEDULER_STARTED)
    blocking.resume()
    events.wait_for(EVENT_JOB_EXECUTED)
    blocking.shutdown()
    thread.join(PATIENCE)


def test_a_background_scheduler_runs_jobs_and_ends_its_thread(background, heard):
    assert background._thread is None
    background.start()
    events = heard(background)
    thread = background._thread
    assert thread.is_alive()
    background.add_job(noop)
    events.wait_for(EVENT_JOB_EXECUTED)
    background.shutdown()
    assert not thread.is_alive()
    assert background._thread is None


def test_a_background_scheduler_says_that_it_started_before_its_thread_does(background):
    threads = []
    background.add_listener(
        lambda event: threads.append(background._thread), EVENT_SCHEDULER_STARTED
    )
    background.start()
    assert threads == [None]


def test_a_background_scheduler_wakes_for_a_job_that_is_changed_to_be_due(background, heard):
    background.start()
    events = heard(background)
    job = background.add_job(noop, "date", run_date=FAR)
    job.modify(next_run_time=now(), misfire_grace_time=None)
    assert events.wait_for(EVENT_JOB_EXECUTED).job_id == job.id


def test_a_background_scheduler_starts_again(background, heard):
    background.start()
    background.shutdown()
    background.start()
    assert background._thread.is_alive()
    assert background.running


def test_a_store_added_later_brings_its_due_jobs(background, heard):
    background.start()
    events = heard(background)
    background.add_jobstore(MemoryJobStore(), "more")
    background.add_job(noop, id="a", jobstore="more")
    assert events.wait_for(EVENT_JOB_EXECUTED).jobstore == "more"


@pytest.mark.differs("waking what does not run is harmless")
@pytest.mark.parametrize("host", [BlockingScheduler, BackgroundScheduler, AsyncIOScheduler])
def test_waking_a_scheduler_that_was_never_started_is_harmless(host):
    assert host().wakeup() is None


@pytest.mark.differs("waking what was shut down is harmless")
def test_waking_an_asyncio_scheduler_that_was_shut_down_is_harmless():
    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        scheduler.shutdown()
        await until(lambda: not scheduler.running)
        await asyncio.sleep(0)
        return scheduler.wakeup()

    assert asyncio.run(main()) is None


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


def test_an_asyncio_scheduler_needs_a_loop(make):
    scheduler = make(AsyncIOScheduler)
    with pytest.raises(RuntimeError, match="no running event loop"):
        scheduler.start()
    assert not scheduler.running


def test_an_asyncio_scheduler_runs_coroutines_on_the_loop_and_functions_beside_it(heard):
    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        events = heard(scheduler, EVENT_JOB_EXECUTED)
        for name, func in {
            "coroutine": coroutine,
            "partial": partial(partial(coroutine), 5),
            "plain": threading.get_ident,
            "task": asyncio.sleep,
        }.items():
            args = (0, "slept") if name == "task" else ()
            scheduler.add_job(func, args=args, id=name)
        await until(lambda: len(events.events) == 4)
        scheduler.shutdown()
        await until(lambda: not scheduler.running)
        return {event.job_id: event.retval for event in events.events}

    results = asyncio.run(main())
    assert (results["coroutine"], results["partial"], results["task"]) == (7, 5, "slept")
    assert results["plain"] != threading.get_ident()


@pytest.mark.differs("an awaitable is awaited whatever returned it")
@pytest.mark.parametrize("func", [lambda: coroutine(3), partial(lambda: coroutine(3))])
def test_an_awaitable_result_is_awaited(heard, func):
    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        events = heard(scheduler, EVENT_JOB_EXECUTED)
        scheduler.add_job(func)
        await until(lambda: events.events)
        scheduler.shutdown()
        await until(lambda: not scheduler.running)
        result = events.events[0].retval
        if asyncio.iscoroutine(result):
            result.close()
        return result

    assert asyncio.run(main()) == 3


def test_events_of_an_asyncio_scheduler_come_on_the_thread_of_the_loop():
    threads = {}

    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.add_listener(
            lambda event: threads.setdefault(event.job_id, threading.get_ident()),
            EVENT_JOB_EXECUTED | EVENT_JOB_ERROR,
        )
        scheduler.start()
        scheduler.add_job(coroutine, id="coroutine")
        scheduler.add_job(noop, id="plain")
        scheduler.add_job(fail, id="bad")
        await until(lambda: len(threads) == 3)
        scheduler.shutdown()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert set(threads.values()) == {threading.get_ident()}


def test_an_asyncio_scheduler_takes_jobs_from_other_threads(heard):
    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        events = heard(scheduler, EVENT_JOB_EXECUTED)
        await asyncio.to_thread(scheduler.add_job, coroutine, args=[9])
        await until(lambda: events.events)
        scheduler.shutdown()
        await asyncio.sleep(0)
        return events.events[0].retval

    assert asyncio.run(main()) == 9


def test_the_shutdown_of_an_asyncio_scheduler_is_done_by_its_loop(heard):
    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        events = heard(scheduler)
        assert scheduler.shutdown() is None
        assert scheduler.running
        await until(lambda: not scheduler.running)
        await until(lambda: events.events)
        with pytest.raises(SchedulerNotRunningError):
            scheduler.shutdown()
        return events.codes

    assert asyncio.run(main()) == [EVENT_SCHEDULER_SHUTDOWN]


@pytest.mark.differs("a second shutdown is refused at once")
def test_a_second_shutdown_before_the_first_is_done_is_refused():
    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        scheduler.shutdown()
        try:
            with pytest.raises(SchedulerNotRunningError):
                scheduler.shutdown()
        finally:
            await asyncio.sleep(0)

    asyncio.run(main())


def test_an_asyncio_scheduler_starts_again_on_another_loop(heard):
    scheduler = AsyncIOScheduler(timezone="UTC")

    async def main():
        scheduler.start()
        events = heard(scheduler, EVENT_JOB_EXECUTED)
        scheduler.add_job(coroutine)
        await until(lambda: events.events)
        scheduler.remove_listener(events)
        scheduler.shutdown()
        await until(lambda: not scheduler.running)
        await until(lambda: scheduler._eventloop is None)

    asyncio.run(main())
    asyncio.run(main())


@pytest.mark.parametrize("as_text", [False, True])
def test_an_asyncio_scheduler_can_be_given_a_loop_that_runs_later(heard, monkeypatch, as_text):
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(contract_kit, "the_loop", loop, raising=False)
    given = "contract_kit:the_loop" if as_text else loop
    scheduler = AsyncIOScheduler(event_loop=given, timezone="UTC")
    events = heard(scheduler, EVENT_JOB_EXECUTED)
    scheduler.start()
    scheduler.add_job(coroutine)

    async def main():
        await until(lambda: events.events)
        scheduler.shutdown()
        await until(lambda: not scheduler.running)

    loop.run_until_complete(main())
    loop.close()
    assert events.events[0].retval == 7


def test_an_asyncio_scheduler_takes_the_running_loop_if_its_own_is_closed(heard):
    closed = asyncio.new_event_loop()
    closed.close()
    scheduler = AsyncIOScheduler(event_loop=closed, timezone="UTC")

    async def main():
        scheduler.start()
        events = heard(scheduler, EVENT_JOB_EXECUTED)
        scheduler.add_job(coroutine)
        await until(lambda: events.events)
        scheduler.shutdown()
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_coroutine_job_is_cancelled_by_shutdown():
    ended = []

    async def endless():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        executor = scheduler._lookup_executor("default")
        scheduler.add_job(endless)
        await until(lambda: executor._pending_futures)
        await asyncio.sleep(0)
        scheduler.shutdown()
        await until(lambda: ended)

    asyncio.run(main())
    assert ended == ["cancelled"]


@pytest.mark.differs("a scheduler is an asynchronous context manager")
def test_an_asyncio_scheduler_is_shut_down_when_its_block_ends(heard):
    async def main():
        async with AsyncIOScheduler(timezone="UTC") as scheduler:
            assert scheduler.running
            events = heard(scheduler)
            scheduler.add_job(coroutine)
            await until(lambda: EVENT_JOB_EXECUTED in events.codes)
        assert not scheduler.running
        assert events.codes[-1] == EVENT_SCHEDULER_SHUTDOWN

    asyncio.run(main())


@pytest.mark.differs("closing an asyncio scheduler waits for what runs in threads")
def test_closing_an_asyncio_scheduler_waits(heard):
    begun, go_on = threading.Event(), threading.Event()

    def job():
        begun.set()
        return go_on.wait(PATIENCE)

    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.add_executor("threadpool", "threads")
        scheduler.start()
        events = heard(scheduler)
        scheduler.add_job(job, executor="threads")
        await asyncio.to_thread(begun.wait, PATIENCE)
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await scheduler.aclose()
        assert not scheduler.running
        assert events.codes[-2:] == [EVENT_JOB_EXECUTED, EVENT_SCHEDULER_SHUTDOWN]

    asyncio.run(main())


def test_run_in_event_loop_defers_a_method_to_the_loop():
    class Host(AsyncIOScheduler):
        calls = ()

        @run_in_event_loop
        def note(self, *args, **kwargs):
            self.calls += ((args, kwargs, threading.get_ident()),)

    async def main():
        host = Host(timezone="UTC")
        host.start()
        assert host.note(1, a=2) is None
        assert host.calls == ()
        await until(lambda: host.calls)
        await asyncio.to_thread(host.note)
        await until(lambda: len(host.calls) == 2)
        host.shutdown()
        await asyncio.sleep(0)
        return host.calls

    here = threading.get_ident()
    assert asyncio.run(main()) == (((1,), {"a": 2}, here), ((), {}, here))


def test_a_scheduler_of_ones_own_takes_turns_by_itself(make, heard):
    class Loop(TurnScheduler):
        """Sleeps on a condition between its turns."""

        def start(self, *args, **kwargs):
            self.alarm = threading.Event()
            super().start(*args, **kwargs)
            self.thread = threading.Thread(target=self.run, daemon=True)
            self.thread.start()

        def run(self):
            while self.running:
                wait = self._process_jobs()
                self.alarm.wait(threading.TIMEOUT_MAX if wait is None else wait)
                self.alarm.clear()

        def wakeup(self):
            self.alarm.set()

        def shutdown(self, wait=True):
            super().shutdown(wait)
            self.wakeup()
            self.thread.join(PATIENCE)

    scheduler = make(Loop)
    events = heard(scheduler)
    scheduler.add_job(noop, id="first", misfire_grace_time=None)
    scheduler.start()
    events.wait_for(EVENT_JOB_EXECUTED)
    scheduler.add_job(noop, id="second")
    events.wait_for(EVENT_JOB_EXECUTED, 2)
    scheduler.shutdown()
    assert not scheduler.thread.is_alive()
    assert [e.job_id for e in events.of(EVENT_JOB_EXECUTED)] == ["first", "second"]


def test_hooks_of_a_subclass_supply_locks_executor_and_store(make):
    made = []

    class Own(TurnScheduler):
        def _create_lock(self):
            made.append("lock")
            return threading.RLock()

        def _create_default_executor(self):
            made.append("executor")
            return super()._create_default_executor()

        def _create_default_jobstore(self):
            made.append("store")
            return contract_kit.DictJobStore()

    scheduler = make(Own)
    assert made.count("lock") >= 1
    scheduler.start()
    assert [name for name in made if name != "lock"] == ["executor", "store"]
    scheduler.add_job(noop, "date", run_date=FAR, id="a")
    assert ids(scheduler._lookup_jobstore("default").get_all_jobs()) == ["a"]
