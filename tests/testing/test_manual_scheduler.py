"""A scheduler that runs jobs when it is told that time has passed, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apscheduler import _loop, clock, current_run
from apscheduler.clock import SystemClock
from apscheduler.events import EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.executors.debug import DebugExecutor
from apscheduler.job import Job
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.testing import ManualScheduler, VirtualClock, manual

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

# What goes round for ever is to be told as that, and soon.
pytestmark = pytest.mark.timeout(15)


@pytest.fixture
def scheduler() -> Iterator[ManualScheduler]:
    scheduler = ManualScheduler(clock=VirtualClock(START), timezone=UTC)
    scheduler.start()
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


def noting(scheduler: ManualScheduler) -> tuple[list[datetime], Callable[[], None]]:
    """Return a list, and a function that puts the time into it."""
    moments: list[datetime] = []
    return moments, lambda: moments.append(scheduler.clock.now())


def test_nothing_runs_before_it_is_told_to(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(note)
    assert moments == []
    scheduler.run_due()
    assert moments == [START]


def test_letting_no_time_pass_runs_only_what_is_due(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(note, "interval", seconds=1)
    scheduler.run_due()
    assert moments == []
    assert scheduler.clock.now() == START


def test_each_run_comes_at_exactly_its_time(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(note, "interval", seconds=0.7)
    scheduler.advance(seconds=3)
    assert moments == [START + timedelta(seconds=0.7 * number) for number in (1, 2, 3, 4)]
    assert scheduler.clock.now() == START + timedelta(seconds=3)


def test_runs_of_several_jobs_come_in_the_order_of_time(scheduler: ManualScheduler) -> None:
    names: list[str] = []
    scheduler.add_job(names.append, "interval", ["a"], minutes=2, id="a")
    scheduler.add_job(names.append, "interval", ["b"], minutes=3, id="b")
    scheduler.advance_to(START + timedelta(minutes=9))
    assert "".join(names) == "abaabab"


def test_what_is_due_at_the_moment_it_is_advanced_to_runs(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(note, "date", run_date=START + timedelta(days=1))
    scheduler.advance(days=1, microseconds=-1)
    assert moments == []
    scheduler.advance(microseconds=1)
    assert moments == [START + timedelta(days=1)]


def test_time_passes_although_there_is_nothing_to_run(scheduler: ManualScheduler) -> None:
    scheduler.advance(days=1)
    assert scheduler.clock.now() == START + timedelta(days=1)
    assert scheduler.clock.monotonic() == 86400


def test_thirty_days_of_a_hundred_jobs_all_run() -> None:
    scheduler = ManualScheduler(clock=VirtualClock(START), timezone=UTC)
    scheduler.start()
    ran = dict.fromkeys(range(100), 0)

    def run(number: int) -> None:
        ran[number] += 1

    for number in ran:
        scheduler.add_job(run, "interval", [number], hours=12, minutes=number)
    scheduler.advance(days=30)
    assert ran == {number: 30 * 24 * 60 // (720 + number) for number in ran}
    scheduler.shutdown()


# -- nights on which the clocks change ----------------------------------------------------------


def run_times(trigger: str, night: datetime, **options: object) -> list[str]:
    """Return when a job runs in the twelve hours from an evening in Berlin on."""
    scheduler = ManualScheduler(clock=VirtualClock(night.astimezone(UTC)), timezone=BERLIN)
    scheduler.start()
    scheduled: list[datetime] = []
    scheduler.add_job(
        lambda: scheduled.append(current_run().scheduled_at),
        trigger,
        **options,  # type: ignore[arg-type]
    )
    scheduler.advance(hours=12)
    scheduler.shutdown()
    assert all(moment.tzinfo is BERLIN for moment in scheduled)
    return [f"{moment:%H:%M%z}" for moment in scheduled]


SPRING = datetime(2026, 3, 28, 20, tzinfo=BERLIN)
AUTUMN = datetime(2026, 10, 24, 20, tzinfo=BERLIN)


def test_an_interval_counts_elapsed_time_in_the_night_that_is_shorter() -> None:
    assert run_times("interval", SPRING, hours=2) == [
        "22:00+0100",
        "00:00+0100",
        "03:00+0200",
        "05:00+0200",
        "07:00+0200",
        "09:00+0200",
    ]


def test_an_interval_counts_elapsed_time_in_the_night_that_is_longer() -> None:
    assert run_times("interval", AUTUMN, hours=2) == [
        "22:00+0200",
        "00:00+0200",
        "02:00+0200",
        "03:00+0100",
        "05:00+0100",
        "07:00+0100",
    ]


def test_every_run_of_an_interval_shorter_than_the_fold_comes_once() -> None:
    assert run_times("interval", AUTUMN, minutes=45)[7:12] == [
        "02:00+0200",
        "02:45+0200",
        "02:30+0100",
        "03:15+0100",
        "04:00+0100",
    ]


def test_a_restricted_hour_comes_once_in_the_night_that_is_longer() -> None:
    assert run_times("cron", AUTUMN, hour=2, minute=30) == ["02:30+0200"]


def test_a_restricted_hour_that_is_left_out_comes_at_the_first_instant_after_it() -> None:
    assert run_times("cron", SPRING, hour=2, minute=30) == ["03:00+0200"]


def test_an_unrestricted_hour_comes_in_both_halves_of_the_fold() -> None:
    assert run_times("cron", AUTUMN, hour="*", minute=30)[5:9] == [
        "01:30+0200",
        "02:30+0200",
        "02:30+0100",
        "03:30+0100",
    ]


def test_a_one_shot_in_the_second_half_of_a_fold_waits_for_it() -> None:
    again = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    assert run_times("date", AUTUMN, run_date=again) == ["02:30+0100"]


# -- jobs that meddle ---------------------------------------------------------------------------


def test_a_job_added_by_a_job_runs_at_its_time(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)

    def add() -> None:
        run_date = scheduler.clock.now() + timedelta(minutes=10)
        scheduler.add_job(note, "date", run_date=run_date)

    scheduler.add_job(add, "interval", hours=1)
    scheduler.advance(hours=2)
    scheduler.advance(hours=1)
    assert moments == [START + timedelta(minutes=minutes) for minutes in (70, 130)]


def test_a_job_added_by_a_job_for_now_runs_now(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(lambda: scheduler.add_job(note), "date", run_date=START)
    scheduler.run_due()
    assert moments == [START]


def test_a_chain_of_jobs_may_be_long(scheduler: ManualScheduler) -> None:
    left = 2000

    def again() -> None:
        nonlocal left
        left -= 1
        if left:
            scheduler.add_job(again)

    scheduler.add_job(again)
    scheduler.run_due()
    assert left == 0


def test_jobs_that_are_due_for_ever_are_told_of(
    scheduler: ManualScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual, "MAX_TURNS", 100)
    runs = 0

    def again() -> None:
        nonlocal runs
        runs += 1
        scheduler.add_job(again)

    scheduler.add_job(again)
    with pytest.raises(RuntimeError, match="jobs were still due after 100 turns at 2026"):
        scheduler.advance(seconds=1)
    assert runs == 100
    assert scheduler.clock.now() == START


def test_very_many_jobs_that_are_due_for_ever_are_told_of_as_well(
    scheduler: ManualScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual, "MAX_TURNS", 10)
    monkeypatch.setattr(_loop, "MAX_DECISIONS", 1000)
    runs = 0

    def again() -> None:
        nonlocal runs
        runs += 1
        if runs < 20_000:
            scheduler.add_job(again)

    for _ in range(150):
        scheduler.add_job(again)
    with pytest.raises(RuntimeError, match="jobs were still due after 10 turns"):
        scheduler.run_due()


def test_time_passes_after_a_job_has_shut_the_scheduler_down(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(note, "interval", minutes=1)
    scheduler.add_job(scheduler.shutdown, "date", run_date=START + timedelta(seconds=90))
    scheduler.advance(minutes=5)
    assert moments == [START + timedelta(minutes=1)]
    assert scheduler.clock.now() == START + timedelta(minutes=5)
    assert not scheduler.running


def test_a_job_that_pauses_the_scheduler_lets_no_other_run(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(note, "interval", minutes=1, misfire_grace_time=None)
    scheduler.add_job(scheduler.pause, "date", run_date=START + timedelta(seconds=90))
    scheduler.advance(minutes=5)
    assert moments == [START + timedelta(minutes=1)]
    scheduler.resume()
    scheduler.run_due()
    assert moments == [START + timedelta(minutes=1), START + timedelta(minutes=5)]


def test_a_job_that_removes_itself_runs_no_more(scheduler: ManualScheduler) -> None:
    runs: list[str] = []

    def once() -> None:
        runs.append("once")
        scheduler.remove_job("self")

    scheduler.add_job(once, "interval", id="self", minutes=1)
    scheduler.advance(hours=1)
    assert runs == ["once"]


def test_a_job_that_fails_keeps_no_other_from_running(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(lambda: 1 / 0, "interval", id="bad", minutes=1)
    scheduler.add_job(note, "interval", id="good", minutes=1)
    scheduler.advance(minutes=3)
    assert len(moments) == 3
    assert [run.state for run in scheduler.get_runs("bad")] == ["failed"] * 3


class Waiting(BaseExecutor):
    """Takes jobs, and never comes to an end with them."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        pass


@pytest.mark.parametrize("coalesce", [True, False])
def test_a_run_by_hand_holds_up_no_slot_while_instances_may_overlap(
    scheduler: ManualScheduler, coalesce: bool
) -> None:
    scheduler.add_executor(Waiting(), "waiting")
    scheduler.add_job(
        int, "interval", minutes=1, id="j", coalesce=coalesce, max_instances=2, executor="waiting"
    )
    scheduler.clock.advance(seconds=60.5)
    scheduler.run_now("j")
    scheduler.run_due()
    assert [run.kind for run in scheduler.get_runs("j")] == ["slot", "manual"]


# -- the clock ----------------------------------------------------------------------------------


def test_an_operator_who_sets_the_clock_forward_makes_jobs_miss_their_time(
    scheduler: ManualScheduler,
) -> None:
    moments, note = noting(scheduler)
    missed: list[JobExecutionEvent] = []
    scheduler.add_listener(missed.append, EVENT_JOB_MISSED)
    scheduler.add_job(note, "interval", hours=1)
    scheduler.advance(minutes=30)
    scheduler.clock.jump(hours=3)
    scheduler.run_due()
    assert moments == []
    assert [event.scheduled_run_time for event in missed] == [START + timedelta(hours=3)]
    scheduler.advance(minutes=30)
    assert moments == [START + timedelta(hours=4)]


def test_an_operator_who_sets_the_clock_back_repeats_no_run(scheduler: ManualScheduler) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(note, "interval", hours=1)
    scheduler.advance(hours=2)
    scheduler.clock.jump(hours=-1)
    scheduler.advance(hours=2)
    assert moments == [START + timedelta(hours=number) for number in (1, 2, 3)]


def test_a_scheduler_without_a_clock_gets_one_that_stands_at_the_year_2000() -> None:
    scheduler = ManualScheduler(timezone=UTC)
    assert scheduler.clock.now() == datetime(2000, 1, 1, tzinfo=UTC)
    assert scheduler._clock is scheduler.clock


def test_two_schedulers_do_not_share_the_clock_they_were_not_given() -> None:
    first, second = ManualScheduler(), ManualScheduler()
    first.clock.advance(days=1)
    assert second.clock.now() == datetime(2000, 1, 1, tzinfo=UTC)


def test_a_clock_that_cannot_be_set_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be a VirtualClock, got SystemClock\(\)"):
        ManualScheduler(clock=SystemClock())


def test_the_clock_is_that_of_triggers_that_the_scheduler_makes(
    scheduler: ManualScheduler,
) -> None:
    job = scheduler.add_job(int, "interval", minutes=1)
    assert job.next_run_time == START + timedelta(minutes=1)
    assert clock.now() != START


# -- use and misuse -----------------------------------------------------------------------------


def test_jobs_run_in_line_unless_another_executor_is_given() -> None:
    scheduler = ManualScheduler(timezone=UTC)
    scheduler.start()
    assert isinstance(scheduler._executors["default"], DebugExecutor)
    scheduler.shutdown()


@pytest.mark.parametrize(
    "tell",
    [
        lambda scheduler: scheduler.run_due(),
        lambda scheduler: scheduler.advance(seconds=1),
        lambda scheduler: scheduler.advance_to(START),
    ],
)
def test_a_scheduler_that_is_not_started_runs_nothing(
    tell: Callable[[ManualScheduler], None],
) -> None:
    scheduler = ManualScheduler(clock=VirtualClock(START), timezone=UTC)
    with pytest.raises(SchedulerNotRunningError):
        tell(scheduler)
    assert scheduler.clock.now() == START


@pytest.mark.parametrize(
    ("tell", "error"),
    [
        (lambda scheduler: scheduler.advance(seconds=-1), ValueError),
        (lambda scheduler: scheduler.advance_to(START - timedelta(seconds=1)), ValueError),
        (lambda scheduler: scheduler.advance_to(datetime(2026, 3, 2)), ValueError),
        (lambda scheduler: scheduler.advance(), TypeError),
        (lambda scheduler: scheduler.advance(60), TypeError),
    ],
)
def test_a_step_that_is_none_is_refused_and_nothing_runs(
    scheduler: ManualScheduler,
    tell: Callable[[ManualScheduler], None],
    error: type[Exception],
) -> None:
    moments, note = noting(scheduler)
    scheduler.add_job(note)
    with pytest.raises(error):
        tell(scheduler)
    assert moments == []
    assert scheduler.clock.now() == START


def test_it_can_be_started_again(scheduler: ManualScheduler) -> None:
    scheduler.shutdown()
    scheduler.start()
    moments, note = noting(scheduler)
    scheduler.add_job(note, "interval", minutes=1)
    scheduler.advance(minutes=2)
    assert len(moments) == 2
