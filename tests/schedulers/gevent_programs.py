"""What must hold of schedulers among greenlets; see `greenlet_kit`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import RLock
from gevent.monkey import get_original

from apscheduler import current_run
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.gevent import GeventExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.gevent import GeventScheduler
from greenlet_kit import (
    FOREVER,
    PATIENCE,
    Heard,
    doze,
    in_a_real_thread,
    main,
    nap,
    started,
    ticking,
)


def start_returns_a_greenlet_that_ends_with_the_scheduler() -> None:
    scheduler = GeventScheduler(timezone="UTC")
    greenlet = scheduler.start()
    assert isinstance(greenlet, gevent.Greenlet)
    assert scheduler._greenlet is greenlet
    assert isinstance(scheduler._jobstores_lock, RLock)
    assert scheduler.health().running
    scheduler.shutdown()
    assert greenlet.ready()
    assert scheduler._greenlet is None


def jobs_of_every_trigger_run_and_so_do_coroutine_functions() -> None:
    with started() as (scheduler, ended):
        scheduler.add_job(nap, "interval", [0], seconds=0.05, id="interval")
        scheduler.add_job(nap, "cron", [0], second="*", id="cron")
        scheduler.add_job(nap, "date", [0], id="date")
        scheduler.add_job(doze, args=[0], id="coroutine")
        results = {}
        while len(results) < 4:
            event = ended.next()
            results[event.job_id] = event.retval
    rested = dict.fromkeys(("interval", "cron", "date"), "rested")
    assert results == rested | {"coroutine": "dozed"}


def a_job_added_by_another_greenlet_wakes_the_scheduler() -> None:
    with started() as (scheduler, ended):
        gevent.sleep(0.05)
        gevent.spawn(scheduler.add_job, nap)
        assert ended.next().retval == "rested"


def a_job_added_by_a_real_thread_wakes_the_scheduler() -> None:
    with started() as (scheduler, ended):
        gevent.sleep(0.05)
        job = in_a_real_thread(lambda: scheduler.add_job(nap, "interval", seconds=FOREVER))
        assert len(ended) == 0
        from datetime import UTC, datetime

        in_a_real_thread(lambda: job.modify(next_run_time=datetime.now(UTC)))
        assert ended.next().retval == "rested"


def a_shutdown_waits_for_running_jobs_while_other_greenlets_go_on() -> None:
    with started() as (scheduler, ended):
        stopped = Heard(scheduler, EVENT_SCHEDULER_SHUTDOWN)
        entered = Event()

        def job() -> int:
            entered.set()
            gevent.sleep(0.2)
            # The locks of the scheduler are free while it waits.
            return len(scheduler.get_jobs())

        scheduler.add_job(job)
        scheduler.add_job(doze)
        assert entered.wait(PATIENCE)
        gevent.sleep(0.05)
        with ticking() as ticks:
            scheduler.shutdown()
        assert ticks.count > 5
        gevent.sleep(0)
        assert {ended.next().retval, ended.next().retval} == {0, "dozed"}
        assert stopped.next().code == EVENT_SCHEDULER_SHUTDOWN


def a_shutdown_without_waiting_leaves_running_jobs_to_end_by_themselves() -> None:
    with started() as (scheduler, ended):
        entered = Event()
        scheduler.add_job(lambda: (entered.set(), nap()))
        assert entered.wait(PATIENCE)
        scheduler.shutdown(wait=False)
        assert len(ended) == 0
        assert ended.next().code == EVENT_JOB_EXECUTED


def a_shutdown_with_a_time_limit_waits_no_longer_and_blocks_nobody() -> None:
    with started() as (scheduler, ended):
        entered = Event()
        scheduler.add_job(lambda: (entered.set(), gevent.sleep(1)))
        assert entered.wait(PATIENCE)
        with ticking() as ticks:
            scheduler.shutdown(timeout=0.2)
        assert ticks.count > 5
        assert len(ended) == 0


def a_job_may_shut_its_scheduler_down_and_waits_for_the_other_jobs() -> None:
    with started() as (scheduler, ended):
        greenlet = scheduler._greenlet
        stopped = Heard(scheduler, EVENT_SCHEDULER_SHUTDOWN)
        entered = Event()
        scheduler.add_job(lambda: (entered.set(), nap()), id="other")
        assert entered.wait(PATIENCE)
        with ticking() as ticks:
            scheduler.add_job(scheduler.shutdown, id="last")
            stopped.next()
        assert ticks.count > 5
        assert [ended.next().job_id, ended.next().job_id] == ["other", "last"]
        greenlet.join(PATIENCE)
        assert greenlet.ready()


def a_job_in_line_may_shut_its_scheduler_down() -> None:
    with started(executors={"default": DebugExecutor()}) as (scheduler, ended):
        greenlet = scheduler._greenlet
        scheduler.add_job(scheduler.shutdown)
        assert ended.next().code == EVENT_JOB_EXECUTED
        greenlet.join(PATIENCE)
        assert greenlet.ready()
        assert not scheduler.running


def a_real_thread_may_shut_the_scheduler_down() -> None:
    for wait in (True, False):
        with started() as (scheduler, ended):
            entered = Event()
            scheduler.add_job(lambda entered=entered: (entered.set(), nap()))
            assert entered.wait(PATIENCE)
            with ticking() as ticks:
                in_a_real_thread(lambda s=scheduler, w=wait: s.shutdown(wait=w))
            assert (ticks.count > 5) is wait
            assert ended.next().code == EVENT_JOB_EXECUTED


def a_real_thread_that_waits_for_nothing_needs_no_greenlet_to_go_on() -> None:
    with started() as (scheduler, _):
        done = get_original("_thread", "allocate_lock")()
        done.acquire()

        def shut_down() -> None:
            scheduler.shutdown(wait=False)
            done.release()

        get_original("_thread", "start_new_thread")(shut_down, ())
        # Blocks the greenlets' thread.
        assert done.acquire(timeout=PATIENCE)


def a_scheduler_that_is_not_running_is_not_shut_down_twice() -> None:
    with started() as (scheduler, _):
        scheduler.wakeup()
        scheduler.shutdown()
        scheduler.wakeup()
        try:
            scheduler.shutdown()
        except SchedulerNotRunningError:
            return
        raise AssertionError("it was shut down twice")


def a_scheduler_runs_jobs_again_after_a_restart() -> None:
    with started(executors={"default": GeventExecutor(), "pool": ThreadPoolExecutor(2)}) as (
        scheduler,
        ended,
    ):
        for _ in range(3):
            for executor in scheduler._executors:
                scheduler.add_job(nap, args=[0], executor=executor)
                assert ended.next().retval == "rested"
            scheduler.add_job(doze, args=[0])
            assert ended.next().retval == "dozed"
            scheduler.shutdown()
            first = scheduler._greenlet
            second = scheduler.start()
            assert second is not first
            assert not second.ready()


def a_listener_of_the_start_may_shut_down() -> None:
    scheduler = GeventScheduler(timezone="UTC")
    scheduler.add_listener(lambda event: scheduler.shutdown(), EVENT_SCHEDULER_STARTED)
    greenlet = scheduler.start()
    greenlet.join(PATIENCE)
    assert greenlet.ready()
    assert not scheduler.running


def a_listener_of_the_start_may_start_it_anew_and_one_loop_is_left() -> None:
    scheduler = GeventScheduler(timezone="UTC")
    again: list[gevent.Greenlet] = []

    def restart(event: Any) -> None:
        scheduler.remove_listener(restart)
        scheduler.shutdown()
        again.append(scheduler.start())

    scheduler.add_listener(restart, EVENT_SCHEDULER_STARTED)
    assert scheduler.start() is scheduler._greenlet
    assert again == [scheduler._greenlet]
    scheduler.shutdown()
    assert again[0].ready()


def a_thousand_jobs_due_at_one_instant_all_run_while_other_greenlets_go_on() -> None:
    from datetime import UTC, datetime, timedelta

    with started() as (scheduler, ended):
        instant = datetime.now(UTC) + timedelta(seconds=1)
        for number in range(1000):
            scheduler.add_job(nap, "date", [0.01], run_date=instant, id=str(number))
        with ticking() as ticks:
            ids = {ended.next().job_id for _ in range(1000)}
        assert len(ids) == 1000
        assert ticks.longest < 0.5, ticks.longest


def a_scheduler_that_is_woken_all_the_time_lets_other_greenlets_go_on() -> None:
    class Restless(GeventScheduler):
        def _turn(self) -> float | None:
            self.wakeup()
            return super()._turn()

    with started(Restless), ticking() as ticks:
        gevent.sleep(0.2)
    assert ticks.count > 10


def listeners_that_fail_are_logged_and_the_jobs_go_on() -> None:
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("apscheduler.scheduler").addHandler(handler)
    with started() as (scheduler, ended):

        def fail(event: Any) -> None:
            raise [ValueError, gevent.GreenletExit, SystemExit][len(logged) % 3]("no")

        scheduler.add_listener(fail, EVENT_JOB_EXECUTED)
        scheduler.add_job(nap, "interval", [0], seconds=0.02)
        for _ in range(4):
            assert ended.next().code == EVENT_JOB_EXECUTED
    assert logged.count("Error notifying listener") >= 3


def coroutine_jobs_and_listeners_run_side_by_side_and_block_nobody() -> None:
    with started() as (scheduler, ended):
        heard = Event()
        hub = gevent.get_hub()

        async def hear(event: Any) -> None:
            await asyncio.sleep(0.1)
            hub.loop.run_callback_threadsafe(heard.set)

        scheduler.add_listener(hear, EVENT_SCHEDULER_SHUTDOWN)
        with ticking() as ticks:
            began = time.monotonic()
            for number in range(40):
                scheduler.add_job(doze, args=[0.3], id=str(number))
            for _ in range(40):
                assert ended.next().retval == "dozed"
            # One after the other they take twelve seconds.
            assert time.monotonic() - began < 6
            scheduler.shutdown()
        assert ticks.count > 10
        assert heard.is_set()


def a_coroutine_may_call_the_scheduler_and_shut_it_down() -> None:
    with started() as (scheduler, ended):

        async def job() -> str:
            scheduler.add_job(nap, args=[0], id="added")
            await asyncio.sleep(0.1)
            scheduler.shutdown()
            return current_run().job_id

        with ticking() as ticks:
            scheduler.add_job(job, id="it")
            assert {ended.next().retval, ended.next().retval} == {"rested", "it"}
        assert ticks.count > 5


def greenlets_may_use_event_loops_of_their_own_while_coroutine_jobs_run() -> None:
    with started() as (scheduler, ended):
        scheduler.add_job(doze)
        gevent.sleep(0.05)
        assert asyncio.run(doze(0.01)) == "dozed"
        assert ended.next().retval == "dozed"


def each_greenlet_sees_its_own_run() -> None:
    with started() as (scheduler, ended):

        def job() -> list[str]:
            seen = []
            for _ in range(5):
                seen.append(current_run().job_id)
                gevent.sleep(0.01)
            return seen

        async def coroutine() -> list[str]:
            await asyncio.sleep(0.01)
            return [current_run().job_id] * 5

        for number in range(20):
            scheduler.add_job(job if number % 2 else coroutine, id=str(number))
        for _ in range(20):
            event = ended.next()
            assert event.retval == [event.job_id] * 5
        try:
            current_run()
        except RuntimeError:
            return
        raise AssertionError("outside a run there is one")


def a_greenlet_of_a_scheduler_that_is_killed_ends_and_health_says_so() -> None:
    with started() as (scheduler, _ended):
        gevent.sleep(0.05)
        scheduler._greenlet.kill(timeout=PATIENCE)
        assert scheduler._greenlet.ready()
        assert not scheduler.health().running

    class Slow(GeventScheduler):
        def _process_jobs(self) -> float | None:
            gevent.sleep(FOREVER)
            return None

    with started(Slow) as (scheduler, _):
        gevent.sleep(0.05)
        scheduler._greenlet.kill(timeout=PATIENCE)
        assert scheduler._greenlet.ready()


def an_interrupt_in_a_turn_gets_out_to_the_main_greenlet() -> None:
    class Interrupted(GeventScheduler):
        def _process_jobs(self) -> float | None:
            raise KeyboardInterrupt

    with started(Interrupted):
        try:
            gevent.sleep(PATIENCE)
        except KeyboardInterrupt:
            return
    raise AssertionError("it was swallowed")


def greenlets_and_real_threads_that_change_jobs_at_once_never_fail() -> None:
    with started(executors={"default": GeventExecutor(), "threads": ThreadPoolExecutor(3)}) as (
        scheduler,
        _,
    ):
        errors = Heard(scheduler, EVENT_JOB_ERROR)

        def change(name: str) -> None:
            for number in range(40):
                executor = ("default", "threads")[number % 2]
                job = scheduler.add_job(
                    nap, "interval", [0], seconds=0.01, id=f"{name}-{number}", executor=executor
                )
                scheduler.get_jobs()
                gevent.sleep(0)
                job.modify(name="changed")
                job.remove()

        pool = gevent.get_hub().threadpool
        greenlets = [gevent.spawn(change, f"g{number}") for number in range(3)]
        threads = [pool.spawn(change, f"t{number}") for number in range(3)]
        with ticking() as ticks:
            gevent.joinall(greenlets, timeout=30, raise_error=True)
            for thread in threads:
                thread.get(timeout=30)
        assert scheduler.get_jobs() == []
        assert len(errors) == 0
        assert ticks.longest < 1, ticks.longest


if __name__ == "__main__":
    main(globals())
