"""What must hold of executors among greenlets; see `greenlet_kit`."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import gevent
from gevent.event import Event
from gevent.monkey import get_original

from apscheduler import current_run
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.base import ShuttingDownError
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.gevent import GeventExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.gevent import GeventScheduler
from greenlet_kit import PATIENCE, Heard, doze, in_a_real_thread, main, nap, started, ticking

DISTANT = datetime(2099, 1, 1, tzinfo=UTC)


# Greenlets


def a_job_that_is_running_is_not_started_again() -> None:
    with started() as (scheduler, ended):
        refused = Heard(scheduler, EVENT_JOB_MAX_INSTANCES)
        scheduler.add_job(nap, "interval", [0.3], seconds=0.05)
        refused.next()
        assert ended.next().retval == "rested"


def an_error_is_reported_and_so_is_a_greenlet_that_is_killed() -> None:
    with started() as (scheduler, ended):
        me: list[Any] = []

        def wait() -> None:
            me.append(gevent.getcurrent())
            nap(PATIENCE)

        scheduler.add_job(divmod, args=[1, 0])
        assert isinstance(ended.next().exception, ZeroDivisionError)
        scheduler.add_job(wait)
        while not me:
            gevent.sleep(0.001)
        assert scheduler.health().executors["default"].busy == 1
        me[0].kill()
        event = ended.next()
        assert event.code == EVENT_JOB_ERROR
        assert isinstance(event.exception, gevent.GreenletExit)
        assert scheduler.health().executors["default"].busy == 0
        scheduler.shutdown()


def a_job_whose_greenlet_is_killed_before_it_began_is_reported() -> None:
    with started() as (scheduler, ended):
        executor = scheduler._executors["default"]
        spawn = executor._spawn

        def spawn_and_kill(work: Any) -> None:
            spawn(work)
            executor._open[work].kill(block=False)

        executor._spawn = spawn_and_kill
        scheduler.add_job(nap)
        assert ended.next().code == EVENT_JOB_ERROR
        # And is not waited for.
        scheduler.shutdown()


def a_greenlet_that_is_killed_in_a_batch_leaves_the_rest_of_it_cancelled() -> None:
    with started() as (scheduler, ended):

        def leave() -> None:
            raise gevent.GreenletExit

        now = datetime.now(UTC).timestamp()
        first = datetime.fromtimestamp(int(now) - 2, UTC)
        scheduler.add_job(
            leave,
            "interval",
            seconds=1,
            start_date=first,
            next_run_time=first,
            misfire_grace_time=None,
            coalesce=False,
            id="batch",
        )
        codes = [ended.next().code for _ in range(3)]
        scheduler.remove_job("batch")
        assert codes == [EVENT_JOB_ERROR] * 3
        states = [run.state for run in scheduler.get_runs("batch")]
        assert sorted(states)[:2] == ["cancelled", "cancelled"]


def a_timeout_of_gevents_that_strikes_while_the_end_is_told_does_not_lose_it() -> None:
    with started() as (scheduler, ended):

        def leave_a_timeout() -> None:
            gevent.Timeout(0.05).start()

        scheduler.add_listener(lambda event: gevent.sleep(0.2), EVENT_JOB_EXECUTED)
        scheduler.add_job(leave_a_timeout)
        assert ended.next().code == EVENT_JOB_EXECUTED
        scheduler.shutdown()


def an_executor_that_was_shut_down_takes_no_more() -> None:
    with started() as (scheduler, _):
        executor = scheduler._executors["default"]
        executor.shutdown()
        try:
            executor.submit_runs(None)
        except ShuttingDownError:
            return
    raise AssertionError("it took it")


def an_executor_added_by_another_thread_runs_jobs_where_the_scheduler_does() -> None:
    with started() as (scheduler, ended):
        in_a_real_thread(lambda: scheduler.add_executor("gevent", "late"))
        scheduler.add_job(nap, args=[0.01], executor="late")
        assert ended.next().retval == "rested"


def a_run_that_another_thread_asks_for_runs_among_the_greenlets() -> None:
    with started() as (scheduler, ended):
        here = get_original("_thread", "get_ident")
        scheduler.add_job(lambda: (gevent.sleep(0.1), here())[1], next_run_time=DISTANT, id="it")
        done = get_original("_thread", "allocate_lock")()
        done.acquire()

        def ask() -> None:
            scheduler.run_now("it")
            done.release()

        get_original("_thread", "start_new_thread")(ask, ())
        # The greenlets' thread stands still, so that none has been made for it.
        done.acquire()
        scheduler.shutdown()
        gevent.sleep(0)
        assert ended.next().retval == here()


def what_is_submitted_as_to_an_executor_of_3x_is_reported_as_there() -> None:
    with started() as (scheduler, ended):
        executor = scheduler._executors["default"]
        executor._logger.disabled = True
        for func, retval in ((nap, "rested"), (doze, "dozed")):
            job = scheduler.add_job(func, args=[0.1], next_run_time=DISTANT)
            with ticking() as ticks:
                executor.submit_job(job, [datetime.now(UTC)])
                assert executor._instances == {job.id: 1}
                assert ended.next().retval == retval
            assert executor._instances == {}
            assert ticks.count > 5
            in_a_real_thread(lambda job=job: executor.submit_job(job, [datetime.now(UTC)]))
            assert ended.next().retval == retval

        # A job that cannot even be run, and a greenlet that leaves.
        job._jobstore_alias = None
        failed = Event()
        executor._run_job_error = lambda *arguments: failed.set()
        executor.submit_job(job, None)
        assert failed.wait(PATIENCE)


# Other executors beside them


def a_job_in_line_that_sleeps_blocks_nobody() -> None:
    with started(executors={"default": DebugExecutor()}) as (scheduler, ended):
        with ticking() as ticks:
            scheduler.add_job(nap, id="nap")
            scheduler.add_job(doze, id="doze")
            assert ended.next_by_id(2) == {"nap": "rested", "doze": "dozed"}
        assert ticks.count > 10


def threads_of_a_pool_block_nobody_also_while_a_shutdown_waits_for_them() -> None:
    with started(executors={"default": ThreadPoolExecutor(2)}) as (scheduler, ended):

        def job() -> str:
            time.sleep(0.2)
            return current_run().job_id

        for number in range(4):
            scheduler.add_job(job, id=str(number))
        first = ended.next()
        assert first.retval == first.job_id
        with ticking() as ticks:
            scheduler.shutdown()
        assert ticks.count > 5
        for job_id, retval in ended.next_by_id(3).items():
            assert retval == job_id


def removing_an_executor_waits_and_blocks_nobody() -> None:
    executors = {"greenlets": GeventExecutor(), "threads": ThreadPoolExecutor(2)}
    with started(executors=executors) as (scheduler, ended):
        for alias in executors:
            entered = threading.Event()
            scheduler.add_job(lambda entered=entered: (entered.set(), nap()), executor=alias)
            while not entered.is_set():
                gevent.sleep(0.001)
            with ticking() as ticks:
                scheduler.remove_executor(alias)
            assert ticks.count > 5
            assert ended.next().code == EVENT_JOB_EXECUTED


def jobs_in_processes_run_and_block_nobody() -> None:
    for cls in (GeventScheduler, BackgroundScheduler):
        executors = {"default": {"type": "processpool", "max_workers": 2}}
        with started(cls, executors=executors) as (scheduler, ended), ticking() as ticks:
            scheduler.add_job(time.sleep, args=[0.3], id="slept")
            scheduler.add_job(divmod, args=[7, 2], id="divided")
            assert ended.next_by_id(2) == {"slept": None, "divided": (3, 1)}
            scheduler.shutdown()
        assert ticks.count > 20


# Schedulers in threads, which patching makes greenlets


def a_scheduler_in_a_thread_works_too_and_again_after_a_restart() -> None:
    with started(BackgroundScheduler) as (scheduler, ended):
        for _ in range(2):
            with ticking() as ticks:
                scheduler.add_job(nap, id="nap")
                scheduler.add_job(doze, id="doze")
                scheduler.add_job(lambda: current_run().job_id, id="current")
                assert ended.next_by_id(3) == {
                    "nap": "rested",
                    "doze": "dozed",
                    "current": "current",
                }
            assert ticks.count > 10
            thread = scheduler._thread
            scheduler.shutdown()
            assert not thread.is_alive()
            scheduler.start()


def a_thousand_jobs_in_threads_all_run_and_each_sees_its_own_run() -> None:
    with started(BackgroundScheduler) as (scheduler, ended):

        def job() -> tuple[str, str]:
            before = current_run().job_id
            time.sleep(0.001)
            return before, current_run().job_id

        now = datetime.now(UTC)
        for number in range(1000):
            scheduler.add_job(job, "date", run_date=now, misfire_grace_time=None, id=str(number))
        results = ended.next_by_id(1000)
    assert results == {job_id: (job_id, job_id) for job_id in map(str, range(1000))}


def a_scheduler_in_a_thread_waits_for_jobs_at_its_shutdown() -> None:
    with started(BackgroundScheduler) as (scheduler, ended):
        began = threading.Event()
        for number in range(30):
            scheduler.add_job(lambda: (began.set(), time.sleep(0.05)), id=str(number))
        assert began.wait(PATIENCE)
        scheduler.shutdown()
        assert scheduler._loop.runner.running() == []
        gevent.sleep(0)
        assert len(ended) > 0


def a_scheduler_in_a_thread_may_run_its_jobs_in_greenlets() -> None:
    here = get_original("_thread", "get_ident")
    with started(BackgroundScheduler, executors={"default": GeventExecutor()}) as (
        scheduler,
        ended,
    ):
        scheduler.add_job(lambda: (gevent.sleep(0.1), here())[1], id="where")
        scheduler.add_job(doze, id="doze")
        assert ended.next_by_id(2) == {"where": here(), "doze": "dozed"}


if __name__ == "__main__":
    main(globals())
