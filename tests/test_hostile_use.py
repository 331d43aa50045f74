"""What a hostile user could still break; each of these failed when it was written."""

from __future__ import annotations

import asyncio
import io
import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.testing import ManualScheduler, VirtualClock
from apscheduler.triggers.interval import IntervalTrigger

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def manual(**options):
    scheduler = ManualScheduler(
        clock=VirtualClock(options.pop("at", NEW_YEAR)),
        timezone=options.pop("timezone", "UTC"),
        **options,
    )
    scheduler.start()
    return scheduler


def nothing():
    pass


def replaced(scheduler):
    scheduler.add_job(nothing, "interval", seconds=5, id="x", replace_existing=True)


def all_removed(scheduler):
    scheduler.remove_all_jobs()
    scheduler.add_job(nothing, "interval", seconds=5, id="x")


def store_exchanged(scheduler):
    scheduler.remove_jobstore("default")
    scheduler.add_jobstore("memory")
    scheduler.add_job(nothing, "interval", seconds=5, id="x")


@pytest.mark.parametrize("renew", [replaced, all_removed, store_exchanged])
def test_what_held_a_job_back_does_not_hold_back_its_successor(renew):
    scheduler = manual()
    scheduler.add_job(nothing, "interval", seconds=5, id="x", executor="forgotten")
    scheduler.advance(seconds=11)
    renew(scheduler)
    scheduler.advance(minutes=1)
    assert scheduler.get_runs("x")
    assert scheduler.health().overdue == ()


def test_a_grace_time_longer_than_the_calendar_is_back_lets_every_run_be_late():
    scheduler = manual()
    scheduler.add_job(nothing, "interval", seconds=5, id="x", misfire_grace_time=10**11)
    scheduler.advance(seconds=11)
    assert len(scheduler.get_runs("x")) == 2


def test_defaults_that_somebody_has_taken_out_are_those_of_the_library():
    scheduler = manual()
    scheduler._job_defaults.clear()
    job = scheduler.add_job(nothing, "interval", seconds=5)
    assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (1, True, 1)


class UnwritableStore(MemoryJobStore):
    """Takes jobs, but no end of a Run once it is broken."""

    broken = False

    def apply(self, transitions):
        if self.broken:
            raise OSError("disk full")
        return super().apply(transitions)


def test_aclose_does_not_wait_for_an_end_that_cannot_be_written():
    async def main():
        store, ran = UnwritableStore(), asyncio.Event()

        async def job():
            store.broken = True
            ran.set()

        scheduler = AsyncIOScheduler(timezone="UTC", jobstores={"default": store})
        scheduler.start()
        scheduler.add_job(job)
        await ran.wait()
        await asyncio.wait_for(scheduler.aclose(), 5)

    asyncio.run(main())


def test_shutdown_in_a_job_does_not_wait_for_an_end_that_cannot_be_written():
    store, down = UnwritableStore(), threading.Event()
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    scheduler.start()

    def breaks():
        store.broken = True

    def ends():
        scheduler.shutdown()
        down.set()

    scheduler.add_job(breaks, id="breaks")
    scheduler.add_job(ends, id="ends")
    assert down.wait(5)


@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_a_timeout_of_shutdown_that_no_clock_can_wait_for_is_as_good_as_none(timeout):
    scheduler, go = BackgroundScheduler(timezone="UTC"), threading.Event()
    scheduler.start()
    begun = threading.Event()

    def job():
        begun.set()
        go.wait(5)

    scheduler.add_job(job)
    assert begun.wait(5)
    threading.Timer(0.05, go.set).start()
    scheduler.shutdown(timeout=timeout)
    assert not scheduler.running


@pytest.mark.parametrize("timeout", ["soon", -1, float("nan"), True])
def test_a_bad_timeout_of_aclose_is_refused_and_nothing_is_shut_down(timeout):
    async def main():
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        scheduler.add_job(asyncio.Event().wait)
        await asyncio.sleep(0.05)
        try:
            with pytest.raises((TypeError, ValueError), match="timeout"):
                await asyncio.wait_for(scheduler.aclose(timeout=timeout), 5)
            assert scheduler.running
        finally:
            if scheduler.running:
                scheduler.shutdown()
            await asyncio.sleep(0)

    asyncio.run(main())


def test_a_start_that_finds_no_thread_leaves_the_scheduler_stopped(monkeypatch):
    class NoThread(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    scheduler = BackgroundScheduler(timezone="UTC", executors={"default": DebugExecutor()})
    with monkeypatch.context() as patch:
        patch.setattr("apscheduler.schedulers.background.Thread", NoThread)
        with pytest.raises(RuntimeError, match="new thread"):
            scheduler.start()
    assert not scheduler.running
    scheduler.start()
    scheduler.shutdown()


@pytest.mark.parametrize("seconds", [-1, 0, float("nan")])
def test_a_retry_interval_that_is_no_time_does_not_make_the_loop_spin(seconds):
    class AwayStore(MemoryJobStore):
        calls = 0

        def claim(self, *args):
            self.calls += 1
            raise OSError("away")

    store = AwayStore()
    try:
        scheduler = BackgroundScheduler(
            timezone="UTC", jobstores={"default": store}, jobstore_retry_interval=seconds
        )
    except ValueError:
        return  # Refused: as good.
    scheduler.start()
    threading.Event().wait(0.2)
    scheduler.shutdown()
    assert store.calls < 100


def test_failures_of_jobs_that_are_gone_are_not_remembered():
    class Failing(IntervalTrigger):
        def get_next_fire_time(self, previous_fire_time, now):
            if previous_fire_time is not None:
                raise ValueError("no idea")
            return super().get_next_fire_time(previous_fire_time, now)

    scheduler = manual()
    for number in range(20):
        trigger = Failing(seconds=1, start_date=scheduler.clock.now(), timezone="UTC")
        scheduler.add_job(nothing, trigger, id=f"job {number}")
        scheduler.advance(seconds=2)
        scheduler.remove_job(f"job {number}")
    assert not scheduler._loop.holds("default")._failures


def test_a_change_that_did_not_move_a_schedule_explains_nothing():
    scheduler = manual()
    scheduler.add_job(nothing, "interval", seconds=5, id="x")
    scheduler.advance(seconds=21)
    scheduler.modify_job("x", name="renamed")
    assert "does not fire then" in scheduler.explain("x", NEW_YEAR + timedelta(seconds=7))


def test_a_history_since_a_moment_in_a_fold_begins_at_that_moment():
    berlin = ZoneInfo("Europe/Berlin")
    scheduler = manual(at=datetime(2026, 10, 25, tzinfo=UTC), timezone="Europe/Berlin")
    start = datetime(2026, 10, 25, 2, 0, tzinfo=berlin)
    scheduler.add_job(nothing, "interval", minutes=10, start_date=start, id="x")
    scheduler.advance(minutes=100)
    since = datetime(2026, 10, 25, 2, 10, tzinfo=berlin, fold=1)
    runs = scheduler.get_runs(since=since)
    assert min(run.scheduled_at.timestamp() for run in runs) == since.timestamp()


def test_a_listener_that_restarts_the_scheduler_leaves_one_thread():
    scheduler, restarted = BackgroundScheduler(timezone="UTC"), []

    def restart(event):
        if not restarted:
            restarted.append(event)
            scheduler.shutdown()
            scheduler.start()

    before = threading.active_count()
    scheduler.add_listener(restart, 1)
    scheduler.start()
    try:
        assert threading.active_count() == before + 1
    finally:
        scheduler.shutdown()


@pytest.mark.parametrize("stuck_after", [float("inf"), 1e12])
def test_nothing_is_stuck_for_longer_than_there_have_been_clocks(stuck_after):
    assert manual().health(stuck_after=stuck_after).ok


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**10])
def test_an_interval_that_cannot_be_names_itself(value):
    with pytest.raises((ValueError, OverflowError), match="weeks"):
        IntervalTrigger(weeks=value, timezone="UTC")


def test_an_import_that_fails_half_way_adds_nothing():
    class Full(MemoryJobStore):
        def add_job(self, job, born=None):
            if len(self.get_all_jobs()) == 1:
                raise OSError("disk full")
            super().add_job(job, born)

    source, document = manual(), io.StringIO()
    for name in ("a", "b"):
        source.add_job("builtins:print", "interval", seconds=5, id=name)
    source.export_jobs(document)
    document.seek(0)
    target = manual(jobstores={"default": Full()})
    with pytest.raises(OSError, match="full"):
        target.import_jobs(document)
    assert target.get_jobs() == []


def test_a_job_that_removes_its_own_executor_removes_it():
    scheduler, answers, told = BackgroundScheduler(timezone="UTC"), [], threading.Event()

    def job():
        try:
            scheduler.remove_executor("default")
            answers.append("removed")
        except Exception as error:
            answers.append(error)
        told.set()

    scheduler.start()
    scheduler.add_job(job)
    assert told.wait(5)
    scheduler.shutdown()
    assert answers == ["removed"]
