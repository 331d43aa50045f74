"""Within a process no event of a job overtakes the one that announces it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from loop_kit import HandScheduler, Heard, HeldExecutor, RowStore, assert_at_rest, at, ran

from apscheduler.events import (
    EVENT_JOB_ADDED,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
)
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.schedulers.background import BackgroundScheduler

Make = Callable[..., HandScheduler]
PATIENCE = 20
OF_RUNS = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_SUBMITTED


def turn_during_the_announcement(
    scheduler: HandScheduler, before: Callable[[], object], **options: Any
) -> Heard:
    """Add a job that is due while a listener, told before another one, makes a turn happen."""

    def first(event: Any) -> None:
        if event.job_id == "a":
            before()
            scheduler.rest()

    scheduler.rest()
    scheduler.add_listener(first, EVENT_JOB_ADDED)
    second = Heard(scheduler, EVENT_JOB_ADDED | EVENT_JOB_REMOVED | OF_RUNS)
    scheduler.add_job(ran, "date", run_date=at(0), id="a", **options)
    scheduler.rest()
    return second


ORDER = [EVENT_JOB_ADDED, EVENT_JOB_EXECUTED, EVENT_JOB_REMOVED, EVENT_JOB_SUBMITTED]


@pytest.mark.parametrize("store", ["memory", "rows"])
def test_a_turn_that_comes_before_all_have_heard_of_a_job_does_not_run_it(
    make: Make, store: str
) -> None:
    scheduler = make(jobstores={"default": RowStore()} if store == "rows" else {})
    heard = turn_during_the_announcement(scheduler, lambda: None)
    assert heard.codes == ORDER
    assert_at_rest(scheduler)


def test_neither_does_it_after_the_job_was_changed_meanwhile(make: Make) -> None:
    scheduler = make()
    heard = turn_during_the_announcement(
        scheduler, lambda: scheduler.modify_job("a", name="renamed")
    )
    assert heard.codes == ORDER


def test_neither_does_it_after_somebody_failed_to_add_a_job_by_the_same_id(make: Make) -> None:
    def add_again() -> None:
        with pytest.raises(ConflictingIdError):
            scheduler.add_job(ran, "date", run_date=at(0), id="a")

    scheduler = make()
    heard = turn_during_the_announcement(scheduler, add_again)
    assert heard.codes == ORDER


def test_neither_does_it_after_a_run_of_an_earlier_job_by_that_id_has_ended(make: Make) -> None:
    executor = HeldExecutor()
    scheduler = make(executors={"held": executor})
    scheduler.add_job(ran, "date", run_date=at(0), id="a", executor="held")
    scheduler.rest()
    ((job, _),) = executor.held
    heard = turn_during_the_announcement(
        scheduler,
        lambda: executor._run_job_error(job.id, ValueError("at last")),
        max_instances=2,
    )
    assert heard.codes[:1] == [EVENT_JOB_ERROR]
    assert heard.codes[1:] == ORDER


def test_neither_does_it_after_the_scheduler_was_resumed(make: Make) -> None:
    def pause_and_resume() -> None:
        scheduler.pause()
        scheduler.resume()

    scheduler = make()
    heard = turn_during_the_announcement(scheduler, pause_and_resume)
    assert heard.codes == ORDER


def test_neither_does_it_after_the_clock_was_moved(make: Make) -> None:
    scheduler = make()
    heard = turn_during_the_announcement(
        scheduler, lambda: scheduler.clock.jump(hours=1), misfire_grace_time=None
    )
    assert heard.codes == ORDER


def test_a_job_that_is_removed_before_all_have_heard_of_it_does_not_run(make: Make) -> None:
    scheduler = make()
    heard = turn_during_the_announcement(scheduler, lambda: scheduler.remove_job("a"))
    assert sorted(heard.codes) == [EVENT_JOB_ADDED, EVENT_JOB_REMOVED]
    scheduler.run_until(10)
    assert scheduler.get_runs("a") == []
    assert_at_rest(scheduler)


def test_events_of_many_jobs_added_by_many_threads_all_come_after_their_announcements() -> None:
    scheduler = BackgroundScheduler(timezone="UTC")
    heard = Heard(scheduler, EVENT_JOB_ADDED | EVENT_JOB_REMOVED | OF_RUNS)
    all_ran = threading.Semaphore(0)
    scheduler.add_listener(lambda event: all_ran.release(), EVENT_JOB_SUBMITTED)
    scheduler.start()

    def add(thread: int) -> None:
        for number in range(50):
            scheduler.add_job(ran, id=f"{thread}-{number}", misfire_grace_time=None)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for _ in range(200):
        assert all_ran.acquire(timeout=PATIENCE)
    scheduler.shutdown()

    by_job: dict[str, list[int]] = {}
    for event in heard.events:
        by_job.setdefault(event.job_id, []).append(event.code)
    assert len(by_job) == 200
    assert {codes[0] for codes in by_job.values()} == {EVENT_JOB_ADDED}
    assert {tuple(sorted(codes)) for codes in by_job.values()} == {tuple(sorted(ORDER))}
