"""What became of a slot, or why it has no run: one test for each sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apscheduler._explain import explain
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.runs import JobChange, JobChangeKind, Run, RunKind, RunState
from apscheduler.testing import ManualScheduler, VirtualClock
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from job_kit import NOON, at, make_job, make_run, slots

S = RunState
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600


def told(
    moment: datetime | None,
    *runs: Run,
    job: Job | None = None,
    changes: Sequence[JobChange] = (),
    now: datetime = NOON,
) -> str:
    return explain("j", job, runs, changes, moment, now)


def change(kind: JobChangeKind, hours: int) -> JobChange:
    return JobChange("j", at(hours * HOUR), kind)


PAUSED = change(JobChangeKind.PAUSED, -4)
RENAMED = change(JobChangeKind.MODIFIED, -3)
RESUMED = change(JobChangeKind.RESUMED, -2)
REMOVED = change(JobChangeKind.REMOVED, -1)
EXHAUSTED = change(JobChangeKind.EXHAUSTED, -1)


# -- a Run is on record -------------------------------------------------------------------------


def test_a_run_that_succeeded() -> None:
    run = make_run(state=S.SUCCEEDED, started_at=at(0.004), ended_at=at(1.254))
    assert told(NOON, run) == (
        'The run of job "j" scheduled at 2026-03-01 12:00:00 UTC started 4 ms late and succeeded '
        "after 1.2 s."
    )


def test_a_run_that_failed_with_an_error_names_its_last_line() -> None:
    error = '  File "a.py", line 1, in f\nValueError: no such file'
    run = make_run(state=S.FAILED, started_at=at(75), ended_at=at(75), error=error)
    assert told(NOON, run) == (
        'The run of job "j" scheduled at 2026-03-01 12:00:00 UTC started 0:01:15 late and failed '
        "after 0 ms with ValueError: no such file."
    )


@pytest.mark.parametrize(
    ("reason", "error", "told_as"),
    [
        (
            "worker 7 was killed",
            "OSError: worker 7 was killed",
            "with OSError: worker 7 was killed",
        ),
        ("two\nlines", "OSError: two\nlines", "with lines"),
        ("it was not submitted: full", "OSError: full", ": it was not submitted: OSError: full"),
        (
            "its outcome is no outcome",
            "OSError: full",
            "with OSError: full: its outcome is no outcome",
        ),
        ("it was not submitted: ", "KeyError", "with KeyError: it was not submitted: "),
        ("it was not submitted", "", ": it was not submitted"),
    ],
)
def test_a_cause_is_told_once(reason: str, error: str, told_as: str) -> None:
    run = make_run(state=S.FAILED, reason=reason, error=error)
    assert told(NOON, run).endswith(f" failed{told_as if told_as[0] == ':' else ' ' + told_as}.")


@pytest.mark.parametrize(
    ("seconds", "duration"),
    [
        (0.0004, "0 ms"),
        (0.999, "999 ms"),
        (1, "1.0 s"),
        (59.9, "59.9 s"),
        (60, "0:01:00"),
        (86_400.6, "1 day, 0:00:01"),
    ],
)
def test_durations_are_as_exact_as_they_are_short(seconds: float, duration: str) -> None:
    run = make_run(state=S.SUCCEEDED, started_at=at(seconds), ended_at=at(2 * seconds))
    assert f"started {duration} late and succeeded after {duration}." in told(NOON, run)


def test_a_run_that_took_too_long() -> None:
    run = make_run(state=S.TIMED_OUT, started_at=NOON, ended_at=at(2 * HOUR), reason="its limit")
    assert told(NOON, run).endswith("started 0 ms late and timed out after 2:00:00: its limit.")


def test_a_run_that_was_never_started_failed_for_a_reason() -> None:
    run = make_run(state=S.FAILED, ended_at=at(1), reason="it was not submitted: pool is closed")
    assert told(NOON, run) == (
        'The run of job "j" scheduled at 2026-03-01 12:00:00 UTC failed: it was not submitted: '
        "pool is closed."
    )


def test_a_run_whose_clock_was_set_back_is_not_early() -> None:
    run = make_run(state=S.SUCCEEDED, started_at=at(-5), ended_at=at(-9))
    assert told(NOON, run).endswith("started 0 ms late and succeeded after 0 ms.")


def test_a_manual_run() -> None:
    run = make_run(kind=RunKind.MANUAL, started_at=at(1))
    assert told(NOON, run) == (
        'The manual run of job "j" scheduled at 2026-03-01 12:00:00 UTC is running since '
        "2026-03-01 12:00:01 UTC."
    )


def test_a_run_that_waits_for_a_worker_runs_since_it_was_opened() -> None:
    assert told(NOON, make_run(opened_at=at(2))).endswith(
        "is running since 2026-03-01 12:00:02 UTC."
    )


def test_a_run_that_waits_for_its_batch() -> None:
    assert told(NOON, make_run(state=S.WAITING)).endswith("is waiting for its batch.")


def test_a_run_that_is_tried_again_later() -> None:
    run = make_run(state=S.WAITING, kind=RunKind.RECOVERY, attempt=3, attention_at=at(4))
    assert told(NOON, run) == (
        'The run of job "j" scheduled at 2026-03-01 12:00:00 UTC (attempt 3) is waiting until '
        "2026-03-01 12:00:04 UTC."
    )


def test_a_slot_that_was_missed_names_the_remedy() -> None:
    run = make_run(state=S.MISSED, kind=RunKind.GAP, reason="no scheduler was running")
    assert told(NOON, run) == (
        'The run of job "j" scheduled at 2026-03-01 12:00:00 UTC was missed: no scheduler was '
        "running; a longer misfire_grace_time, or None, lets it run late."
    )


def test_a_slot_that_was_skipped_names_the_remedy() -> None:
    run = make_run(state=S.SKIPPED, kind=RunKind.GAP, reason="too many instances")
    assert told(NOON, run).endswith(
        "was skipped: too many instances; a higher max_instances lets runs overlap."
    )


@pytest.mark.parametrize(
    ("state", "words"), [(S.CANCELLED, "was cancelled"), (S.LOST, "was lost")]
)
def test_a_run_that_came_to_no_end_of_its_own(state: RunState, words: str) -> None:
    assert told(NOON, make_run(state=state)).endswith(f"{words}.")
    assert told(NOON, make_run(state=state, reason="so")).endswith(f"{words}: so.")


def test_a_run_that_stands_for_several_slots_says_for_how_many() -> None:
    run = make_run(state=S.WAITING, first_scheduled_at=at(-60), count=12_345)
    assert told(NOON, run) == (
        'The run of job "j" scheduled at 2026-03-01 12:00:00 UTC, which stands for 12,345 run '
        "times since 2026-03-01 11:59:00 UTC, is waiting for its batch."
    )


def test_a_run_that_stands_for_two_slots_says_so() -> None:
    run = make_run(state=S.WAITING, first_scheduled_at=at(-60), count=2)
    assert "which stands for 2 run times since 2026-03-01 11:59:00 UTC," in told(NOON, run)


def test_slots_that_were_not_counted_further_are_at_least_a_thousand() -> None:
    run = make_run(state=S.WAITING, first_scheduled_at=at(-60), count=1000)
    assert "which stands for at least 1,000 run times since" in told(NOON, run)


# -- which Run is the answer --------------------------------------------------------------------


def test_a_slot_inside_a_gap_is_answered_by_it() -> None:
    gap = make_run(state=S.MISSED, kind=RunKind.GAP, first_scheduled_at=at(-60), count=7)
    for seconds in (-60, -30, 0):
        assert "was missed" in told(at(seconds), gap)
    for seconds in (-61, 1):
        assert "has no run" in told(at(seconds), gap, job=make_job())


def test_the_last_attempt_is_what_became_of_a_slot() -> None:
    first = make_run(state=S.LOST)
    second = make_run(state=S.SUCCEEDED, attempt=2)
    assert "(attempt 2) succeeded" in told(NOON, second, first)
    assert "(attempt 2) succeeded" in told(NOON, first, second)


def test_a_run_of_this_very_time_says_more_than_one_of_several() -> None:
    several = make_run(state=S.SKIPPED, scheduled_at=at(60), first_scheduled_at=at(-60), attempt=2)
    assert "was lost" in told(NOON, several, make_run(state=S.LOST))


def test_of_two_runs_for_one_time_the_later_one_counts() -> None:
    earlier = make_run(state=S.LOST, opened_at=at(1))
    later = make_run(state=S.CANCELLED, opened_at=at(2))
    assert "was cancelled" in told(NOON, earlier, later)
    assert "was cancelled" in told(NOON, later, earlier)


def test_each_half_of_a_fold_has_its_own_answer() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    again = first.replace(fold=1)
    runs = [
        make_run(state=S.LOST, scheduled_at=first, opened_at=first.astimezone(UTC)),
        make_run(state=S.CANCELLED, scheduled_at=again, opened_at=again.astimezone(UTC)),
    ]
    assert "02:30:00 CEST was lost" in told(first, *runs)
    assert "02:30:00 CET was cancelled" in told(again, *runs)


def test_without_a_time_the_latest_slot_is_told_of() -> None:
    runs = [
        make_run(state=S.CANCELLED, scheduled_at=at(0)),
        make_run(state=S.LOST, scheduled_at=at(10)),
        make_run(state=S.MISSED, scheduled_at=at(5)),
    ]
    sentence = told(None, *runs, job=make_job(next_run_time=at(20)))
    assert sentence == (
        'The run of job "j" scheduled at 2026-03-01 12:00:10 UTC was lost; the next one is due '
        "at 2026-03-01 12:00:20 UTC."
    )


# -- what is next -------------------------------------------------------------------------------


def test_the_next_run_of_a_job_that_has_not_run() -> None:
    assert told(None, job=make_job(next_run_time=at(9))) == (
        'Job "j" has no run on record; the next one is due at 2026-03-01 12:00:09 UTC.'
    )


def test_a_run_that_is_due_just_now() -> None:
    assert told(None, job=make_job(next_run_time=NOON)).endswith(
        "; the next one has been due since 2026-03-01 12:00:00 UTC."
    )


def test_a_run_that_is_due_already() -> None:
    assert told(None, job=make_job(next_run_time=at(-9))).endswith(
        "; the next one has been due since 2026-03-01 11:59:51 UTC."
    )


def test_there_is_no_next_run_of_a_removed_job() -> None:
    assert told(None, changes=[REMOVED]).endswith(
        "; the job was removed at 2026-03-01 11:00:00 UTC."
    )


def test_there_is_no_next_run_of_a_job_whose_schedule_ended() -> None:
    assert told(None, make_run(state=S.LOST)).endswith(
        "; the job is gone: its schedule ended, or all jobs were removed."
    )


def test_a_job_that_came_back_after_a_removal_and_then_ended_was_not_removed_by_it() -> None:
    added = JobChange("j", at(-60), JobChangeKind.ADDED, at(0))
    assert told(None, make_run(state=S.LOST), changes=[REMOVED, added]).endswith(
        "; the job is gone: its schedule ended, or all jobs were removed."
    )


def test_there_is_no_next_run_of_a_job_that_somebody_paused() -> None:
    paused = make_job(next_run_time=None)
    assert told(None, job=paused, changes=[PAUSED]).endswith(
        "; the job is paused since 2026-03-01 08:00:00 UTC."
    )


def test_there_is_no_next_run_of_a_job_that_was_added_paused() -> None:
    assert told(None, job=make_job(next_run_time=None)).endswith("; the job is paused.")


def test_there_is_no_next_run_of_a_job_whose_trigger_has_no_time_left() -> None:
    paused = make_job(next_run_time=None)
    assert told(None, job=paused, changes=[EXHAUSTED]).endswith("; its trigger is exhausted.")


# -- no Run is on record ------------------------------------------------------------------------

HOURLY = slots(*range(-10 * HOUR, 10 * HOUR, HOUR))


def why(hours: float, *changes: JobChange, job: Job | None = None) -> str:
    sentence = told(at(hours * HOUR), job=job, changes=changes)
    start, reason = sentence.split(": ", 1)
    assert start == f'Job "j" has no run for {at(hours * HOUR):%Y-%m-%d %H:%M:%S} UTC'
    return reason


def hourly(next_run_hours: float | None) -> Job:
    moment = None if next_run_hours is None else at(next_run_hours * HOUR)
    return make_job(HOURLY, next_run_time=moment)


def test_no_run_because_the_job_was_paused_until_it_was_resumed() -> None:
    assert why(-3, PAUSED, RESUMED, job=hourly(0)) == (
        "the job was paused at 2026-03-01 08:00:00 UTC and resumed at 2026-03-01 10:00:00 UTC."
    )


def test_no_run_because_the_job_has_been_paused_since() -> None:
    assert why(-3, PAUSED, job=hourly(None)) == "the job was paused at 2026-03-01 08:00:00 UTC."


def test_the_moment_of_a_pause_belongs_to_it_and_that_of_its_end_does_not() -> None:
    assert why(-4, PAUSED, RESUMED, job=hourly(1)).startswith("the job was paused")
    assert not why(-2, PAUSED, RESUMED, job=hourly(1)).startswith("the job was paused")


def test_a_paused_job_that_was_then_removed_was_not_resumed() -> None:
    assert why(-3, PAUSED, REMOVED) == "the job was paused at 2026-03-01 08:00:00 UTC."


@pytest.mark.parametrize("hours", [-3.5, -2.5])
def test_a_paused_job_that_is_changed_in_another_way_stays_paused(hours: float) -> None:
    assert why(hours, PAUSED, RENAMED, RESUMED, job=hourly(0)) == (
        "the job was paused at 2026-03-01 08:00:00 UTC and resumed at 2026-03-01 10:00:00 UTC."
    )


def test_no_run_because_the_job_had_been_removed() -> None:
    assert why(0, REMOVED) == "the job was removed at 2026-03-01 11:00:00 UTC."


def test_no_run_because_the_trigger_had_no_time_left() -> None:
    assert why(0, EXHAUSTED, job=hourly(None)) == "its trigger was exhausted."


def test_no_run_because_there_is_no_such_job() -> None:
    assert why(0) == "the job does not exist, and nothing that old is on record."


def test_no_run_because_the_job_is_paused_and_nobody_knows_since_when() -> None:
    assert why(0, job=hourly(None)) == "the job is paused."


def test_no_run_because_the_job_was_changed_when_the_time_had_been_planned() -> None:
    assert why(-6, RENAMED, job=hourly(1)) == (
        "the job was modified at 2026-03-01 09:00:00 UTC, after that time had been planned."
    )


def test_no_run_because_the_job_was_added_later() -> None:
    added = change(JobChangeKind.ADDED, -3)
    assert why(-6, added, job=hourly(1)) == "the job was added at 2026-03-01 09:00:00 UTC."


def test_no_run_because_the_job_was_removed_before_it_came_to_that() -> None:
    assert why(-6, REMOVED) == (
        "the job was removed at 2026-03-01 11:00:00 UTC, before a run for that time began."
    )


def test_no_run_because_the_job_was_paused_nobody_knows_since_when() -> None:
    assert why(-6, RESUMED, job=hourly(1)) == (
        "the job was paused until it was resumed at 2026-03-01 10:00:00 UTC."
    )


def test_no_run_because_the_job_was_changed_at_that_very_moment() -> None:
    assert why(-3, RENAMED, job=hourly(1)) == (
        "the job was modified at 2026-03-01 09:00:00 UTC, after that time had been planned."
    )


def test_no_run_to_come_before_the_next_one_that_a_user_has_set() -> None:
    assert why(1, job=hourly(3)) == "the job does not run before 2026-03-01 15:00:00 UTC."


def test_what_is_due_is_due_whatever_was_changed_since() -> None:
    assert why(-6, REMOVED, job=hourly(-6)) == "it is due, and waits for the scheduler."


def test_of_a_run_that_was_asked_for_and_a_slot_of_the_same_moment_the_slot_is_told() -> None:
    manual = make_run(kind=RunKind.MANUAL, attempt=2)
    assert told(NOON, manual, make_run()).startswith("The run of job")
    assert told(NOON, manual).startswith("The manual run of job")


def test_no_run_because_the_trigger_does_not_fire_then() -> None:
    assert why(0.5, job=hourly(1)) == (
        "its trigger does not fire then; the next one is 2026-03-01 13:00:00 UTC."
    )


def test_no_run_because_the_trigger_does_not_fire_any_more() -> None:
    assert why(10, job=hourly(1)) == "its trigger does not fire then."


def test_no_run_yet() -> None:
    assert why(2, job=hourly(1)) == "that time is still to come."


def test_no_run_yet_although_it_is_due() -> None:
    assert why(0, job=hourly(0)) == "it is due, and waits for the scheduler."
    assert why(-1, job=hourly(-2)) == "it is due, and waits for the scheduler."


def test_no_run_because_that_is_too_long_ago() -> None:
    assert why(-8, job=hourly(1)) == (
        "that was before the job was added, or longer ago than records are kept."
    )


def test_no_run_yet_at_a_time_that_a_user_has_set_beside_the_trigger() -> None:
    assert why(1.5, job=hourly(1.5)) == "that time is still to come."
    assert why(-0.5, job=hourly(-0.5)) == "it is due, and waits for the scheduler."


def test_no_run_yet_of_a_trigger_that_counts_from_a_day_in_the_past() -> None:
    daily = CalendarIntervalTrigger(days=1, hour=12, start_date="2020-01-01", timezone=UTC)
    assert why(48, job=make_job(daily, next_run_time=at(24 * HOUR))) == (
        "that time is still to come."
    )


# -- through a scheduler ------------------------------------------------------------------------


@pytest.fixture
def scheduler() -> Iterator[ManualScheduler]:
    scheduler = ManualScheduler(clock=VirtualClock(NOON), timezone=UTC)
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


def test_a_scheduler_tells_of_slots_that_it_ran_and_of_those_it_did_not(
    scheduler: ManualScheduler,
) -> None:
    job = scheduler.add_job(int, "interval", hours=1, id="j")
    scheduler.advance(hours=1)
    job.pause()
    scheduler.advance(hours=2)
    job.resume()
    assert "succeeded" in scheduler.explain("j", at(HOUR))
    assert "the job was paused at 2026-03-01 13:00:00 UTC" in scheduler.explain("j", at(2 * HOUR))
    assert scheduler.explain("j", "2026-03-01 17:00:00").endswith("that time is still to come.")


def test_a_scheduler_tells_why_slots_were_missed(scheduler: ManualScheduler) -> None:
    scheduler.add_job(int, "interval", hours=1, id="j")
    scheduler.pause()
    scheduler.advance(hours=2, minutes=30)
    scheduler.resume()
    scheduler.run_due()
    for hours in (1, 2):
        sentence = scheduler.explain("j", at(hours * HOUR))
        assert "was missed: the scheduler was paused; a longer misfire_grace_time" in sentence
    assert scheduler.explain("j").endswith("; the next one is due at 2026-03-01 15:00:00 UTC.")


def test_a_job_that_was_removed_and_added_again_is_not_told_to_be_removed(
    scheduler: ManualScheduler,
) -> None:
    scheduler.add_job(int, "interval", hours=1, id="j")
    scheduler.remove_job("j")
    scheduler.advance(hours=1)
    scheduler.add_job(int, "interval", hours=1, id="j")
    scheduler.advance(hours=1)
    assert "removed at" in scheduler.explain("j", at(HOUR / 2))
    for moment in (at(HOUR) + timedelta(minutes=30), at(9 * HOUR)):
        assert "removed at" not in scheduler.explain("j", moment)


def test_a_scheduler_knows_nothing_of_a_job_it_never_had(scheduler: ManualScheduler) -> None:
    with pytest.raises(JobLookupError, match="No job by the id of j was found"):
        scheduler.explain("j")


def test_of_a_pending_job_it_is_told_that_it_is_pending() -> None:
    scheduler = ManualScheduler(clock=VirtualClock(NOON), timezone=UTC)
    scheduler.add_job(int, "interval", hours=1, id="j")
    pending = "the job is pending until the scheduler starts."
    assert scheduler.explain("j").endswith(f"; {pending}")
    assert scheduler.explain("j", at(HOUR)).endswith(f": {pending}")
