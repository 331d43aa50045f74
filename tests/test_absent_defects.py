"""What users of 3.x have met with, and do not meet with here: each as they would see it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.testing import ManualScheduler, VirtualClock
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

# A Sunday.
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE = 20


@pytest.fixture
def make() -> Iterator[Callable[..., ManualScheduler]]:
    made: list[ManualScheduler] = []

    def make_one(**options: Any) -> ManualScheduler:
        made.append(ManualScheduler(clock=VirtualClock(START), timezone=UTC, **options))
        made[-1].start()
        return made[-1]

    yield make_one
    for scheduler in made:
        scheduler.shutdown()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def scheduled(scheduler: ManualScheduler, job_id: str) -> list[datetime]:
    """Return for which times a job has run, in order."""
    runs = scheduler.get_runs(job_id, state="succeeded", limit=1000)
    return sorted(run.scheduled_at for run in runs)


Make = Callable[..., ManualScheduler]


# -- triggers -----------------------------------------------------------------------------------


def test_every_second_month_on_a_weekend_is_found_and_holds_nothing_up(make: Make) -> None:
    scheduler = make()
    weekends = AndTrigger(
        [
            CalendarIntervalTrigger(months=2, start_date="2026-01-31", hour=12, timezone=UTC),
            CronTrigger(day_of_week="sat,sun", hour=12, timezone=UTC),
        ]
    )
    scheduler.add_job(len, weekends, args=[""], id="weekends", misfire_grace_time=3600)
    scheduler.add_job(len, "cron", args=[""], day=1, id="other")
    scheduler.advance(days=600)
    days = [f"{moment:%Y-%m-%d %a}" for moment in scheduled(scheduler, "weekends")]
    assert days == ["2026-05-31 Sun", "2027-01-31 Sun", "2027-07-31 Sat"]
    assert len(scheduled(scheduler, "other")) == 19


def test_intervals_that_never_meet_are_added_and_told_of(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = make()
    never = AndTrigger(
        [
            IntervalTrigger(seconds=10, start_date=at(0), timezone=UTC),
            IntervalTrigger(seconds=10, start_date=at(5), timezone=UTC),
        ]
    )
    job = scheduler.add_job(len, never, args=[""], id="never")
    assert job.next_run_time is None
    assert 'The trigger of job "never"' in caplog.text
    assert scheduler.explain("never").endswith("its trigger is exhausted.")


def test_a_date_that_never_comes_is_told_of_when_it_is_added(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    job = make().add_job(len, "cron", args=[""], month=6, week=53, id="never")
    assert job.next_run_time is None
    assert 'The trigger of job "never"' in caplog.text


def test_dates_beside_a_repeated_time_all_run(make: Make) -> None:
    scheduler = make()
    trigger = OrTrigger(
        [
            CronTrigger(minute="*/10", timezone=UTC),
            DateTrigger(at(725)),
            DateTrigger(at(731)),
        ]
    )
    scheduler.add_job(len, trigger, args=[""], id="j", next_run_time=at(600))
    scheduler.advance(minutes=20)
    assert scheduled(scheduler, "j") == [at(600), at(725), at(731), at(1200)]


@pytest.mark.parametrize("trigger", ["interval", "calendarinterval"])
def test_a_job_that_would_run_backwards_is_refused_with_the_name_of_the_argument(
    make: Make, trigger: str
) -> None:
    with pytest.raises(ValueError, match="days must not be negative, got -1"):
        make().add_job(len, trigger, days=-1)


def test_an_interval_with_jitter_runs_as_often_as_one_without(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(
        len, "interval", args=[""], seconds=60, jitter=10, id="j", misfire_grace_time=None
    )
    scheduler.advance(seconds=60 * 99 + 10)
    slots = scheduled(scheduler, "j")
    assert len(slots) == 99
    assert all(0 <= (slot - at(60 * n)).total_seconds() <= 10 for n, slot in enumerate(slots, 1))


# -- a scheduler that was away --------------------------------------------------------------------


@pytest.mark.parametrize("grace", [None, 1])
def test_a_year_of_seconds_is_one_record(make: Make, grace: int | None) -> None:
    scheduler = make()
    scheduler.add_job(len, "interval", args=[""], seconds=1, id="j", misfire_grace_time=grace)
    scheduler.pause()
    scheduler.advance(days=365, microseconds=1)
    scheduler.resume()
    scheduler.run_due()
    (run,) = scheduler.get_runs("j")
    assert (run.state, run.count) == ("succeeded", 365 * 86_400)


@pytest.mark.parametrize(
    ("jump", "slot"),
    [(timedelta(hours=2), at(60)), (timedelta(hours=2, seconds=30), at(3600))],
)
def test_after_a_suspend_each_slot_tells_that_the_clock_was_moved(
    make: Make, jump: timedelta, slot: datetime
) -> None:
    scheduler = make()
    scheduler.add_job(len, "interval", args=[""], seconds=60, id="j", coalesce=False)
    scheduler.run_due()
    scheduler.clock.jump(jump)
    scheduler.run_due()
    told = scheduler.explain("j", at=slot)
    assert f"was missed: the clock was moved by {jump}" in told
    assert "which stands for" in told
    scheduler.advance(seconds=60)
    assert scheduled(scheduler, "j")[-1] > at(7200)


def test_a_clock_that_is_set_back_repeats_nothing_and_the_job_goes_on(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(len, "interval", args=[""], seconds=60, id="j")
    scheduler.advance(seconds=120)
    scheduler.clock.jump(seconds=-90)
    scheduler.advance(seconds=90 + 60)
    assert scheduled(scheduler, "j") == [at(60), at(120), at(180)]
    assert scheduler.health().ok


def test_a_clock_that_is_set_forward_costs_a_one_shot_only_its_grace(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(len, "date", args=[""], run_date=at(60), id="strict")
    scheduler.add_job(
        len, "date", args=[""], run_date=at(60), id="patient", misfire_grace_time=None
    )
    scheduler.run_due()
    scheduler.clock.jump(hours=1)
    scheduler.run_due()
    assert "was missed: the clock was moved by 1:00:00" in scheduler.explain("strict", at(60))
    assert "succeeded" in scheduler.explain("patient", at(60))


# -- workers --------------------------------------------------------------------------------------


def test_a_one_shot_that_waits_for_a_busy_worker_runs_however_long_it_takes(make: Make) -> None:
    scheduler = make(executors={"default": ThreadPoolExecutor(1)})
    busy, free = threading.Event(), threading.Event()
    executed: SimpleQueue[Any] = SimpleQueue()
    scheduler.add_listener(executed.put, EVENT_JOB_EXECUTED)

    def occupy() -> bool:
        busy.set()
        return free.wait(PATIENCE)

    scheduler.add_job(occupy, id="busy")
    scheduler.run_due()
    assert busy.wait(PATIENCE)
    scheduler.add_job(len, "date", args=[""], run_date=at(5), id="once")
    scheduler.advance(hours=1)
    free.set()
    assert [executed.get(timeout=PATIENCE).job_id for _ in range(2)] == ["busy", "once"]
    assert "succeeded" in scheduler.explain("once", at(5))


class InLine(BaseExecutor):
    """An executor of 3.x that has run the job before it answers."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._run_job_success(
            job.id, run_job(job, job._jobstore_alias, run_times, self._logger.name)
        )


@pytest.mark.parametrize("kind", [DebugExecutor, InLine])
def test_one_shots_that_are_over_leave_no_count_in_their_executor(
    make: Make, kind: type[BaseExecutor]
) -> None:
    executor = kind()
    scheduler = make(executors={"default": executor})
    for number in range(50):
        scheduler.add_job(len, args=[""], id=f"{number}")
    scheduler.run_due()
    assert len(scheduler.get_runs(state="succeeded")) == 50
    assert not executor._instances


def test_one_shots_that_threads_have_run_leave_no_count_either() -> None:
    executor = ThreadPoolExecutor(4)
    scheduler = BackgroundScheduler(executors={"default": executor}, timezone=UTC)
    executed: SimpleQueue[Any] = SimpleQueue()
    scheduler.add_listener(executed.put, EVENT_JOB_EXECUTED)
    scheduler.start()
    for number in range(50):
        scheduler.add_job(len, args=[""], id=f"{number}", misfire_grace_time=None)
    ended = {executed.get(timeout=PATIENCE).job_id for _ in range(50)}
    scheduler.shutdown()
    assert len(ended) == 50
    assert not executor._instances


def test_removing_a_job_from_within_itself_leaves_the_others_running(make: Make) -> None:
    scheduler = make()
    scheduler.add_job(lambda: scheduler.remove_job("j"), "interval", seconds=10, id="j")
    scheduler.add_job(len, "interval", args=[""], seconds=10, id="other")
    scheduler.advance(seconds=30)
    assert scheduled(scheduler, "j") == [at(10)]
    assert scheduled(scheduler, "other") == [at(10), at(20), at(30)]


def test_a_callable_object_runs_as_the_object_that_it_is(make: Make) -> None:
    class Greeter:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self) -> str:
            return f"hello {self.name}"

    scheduler = make()
    greeted: list[Any] = []
    scheduler.add_listener(lambda event: greeted.append(event.retval), EVENT_JOB_EXECUTED)
    scheduler.add_job(Greeter("you"))
    scheduler.run_due()
    assert greeted == ["hello you"]
