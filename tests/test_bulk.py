"""Many jobs at once: added together, and found by what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from apscheduler._explain import explain
from apscheduler.events import EVENT_JOB_ADDED, JobEvent
from apscheduler.job import Job
from apscheduler.jobstores.base import (
    ConflictingIdError,
    TransientJobError,
)
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import JobChange, JobChangeKind, JobQuery
from apscheduler.testing import ManualScheduler, VirtualClock
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from job_kit import NOON, at, make_job, nothing, slots

HOUR = timedelta(hours=1)


def manual(**options: Any) -> ManualScheduler:
    return ManualScheduler(clock=VirtualClock(NOON), timezone="UTC", **options)


@pytest.fixture
def scheduler() -> Iterator[ManualScheduler]:
    scheduler = manual()
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


def hourly(*ids: str, **more: Any) -> list[dict[str, Any]]:
    return [{"func": nothing, "trigger": "interval", "hours": 1, "id": id, **more} for id in ids]


def ids(jobs: Sequence[Job]) -> list[str]:
    return [job.id for job in jobs]


def added(scheduler: ManualScheduler) -> list[str]:
    """Return a list of the ids of jobs, as they are told of."""
    told: list[str] = []

    def hear(event: JobEvent) -> None:
        told.append(event.job_id)

    scheduler.add_listener(hear, EVENT_JOB_ADDED)
    return told


class Broken(BaseTrigger):
    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        raise OSError("no calendar")


class CountingStore(MemoryJobStore):
    """Counts the calls that a scheduler makes for each job."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def add_jobs(self, jobs: Sequence[Job], born: datetime | None = None) -> None:
        self.calls.append("add_jobs")
        super().add_jobs(jobs, born)

    def get_changes(self, job_id: str) -> list[JobChange]:
        self.calls.append(f"get_changes {job_id}")
        return super().get_changes(job_id)

    def replace_job(self, job: Job, keeps_phase: Callable[[Job], bool], born: datetime) -> bool:
        self.calls.append(f"replace_job {job.id}")
        return super().replace_job(job, keeps_phase, born)


class RacingStore(CountingStore):
    """A store to which somebody else adds a job just before it is asked to."""

    def find_jobs(self, query: JobQuery) -> list[Job]:
        found = super().find_jobs(query)
        self.add_job(self.theirs, NOON)
        return found

    theirs: Job


# -- adding -------------------------------------------------------------------------------------


def test_jobs_are_added_as_add_job_would_add_each(scheduler: ManualScheduler) -> None:
    told = added(scheduler)
    jobs = scheduler.add_jobs(
        [
            {"func": nothing, "trigger": "interval", "hours": 1, "id": "a", "args": [1]},
            {"func": "job_kit:nothing", "trigger": DateTrigger(at(60)), "name": "named"},
            {"func": nothing, "id": "c", "max_instances": 3, "recover": True},
        ]
    )
    assert [job.name for job in jobs] == ["nothing", "named", "nothing"]
    a, b, c = jobs
    assert (a.id, tuple(a.args), a.next_run_time) == ("a", (1,), NOON + HOUR)
    assert (b.next_run_time, b.coalesce, b.misfire_grace_time) == (at(60), True, 1)
    assert (c.max_instances, c.recover, c.next_run_time) == (3, True, NOON)
    assert told == ids(jobs)
    assert not any(job.pending for job in jobs)
    assert set(ids(scheduler.get_jobs())) == set(ids(jobs))
    scheduler.run_due()
    assert [run.job_id for run in scheduler.get_runs()] == ["c"]


def test_a_stopped_scheduler_takes_all_of_them_when_it_starts() -> None:
    scheduler = manual()
    jobs = scheduler.add_jobs(hourly("a", "b"))
    assert [job.pending for job in jobs] == [True, True]
    assert scheduler.get_jobs() == jobs
    scheduler.start()
    assert ids(scheduler.get_jobs()) == ["a", "b"]
    scheduler.shutdown()


def test_what_is_pending_replaces_what_is_there_if_that_was_said() -> None:
    store = MemoryJobStore()
    scheduler = manual(jobstores={"default": store})
    scheduler.add_jobs(hourly("a", name="first"))
    scheduler.add_jobs(hourly("a", name="second"), replace_existing=True)
    scheduler.start()
    assert [job.name for job in scheduler.get_jobs()] == ["second"]
    scheduler.shutdown()


def test_no_jobs_are_no_trouble(scheduler: ManualScheduler) -> None:
    assert scheduler.add_jobs([]) == []
    assert scheduler.add_jobs(iter([]), replace_existing=True) == []


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"trigger": "interval"}, TypeError, 'a job needs a "func"'),
        ({"func": nothing, "trigger": "unheard-of"}, LookupError, "unheard-of"),
        ({"func": nothing, "recover": 1}, TypeError, "recover must be True or False"),
        ({"func": nothing, "weekly": 1}, TypeError, "weekly"),
        ({"func": nothing, "replace_existing": True}, TypeError, "give it to add_jobs()"),
        ({"func": nothing, "trigger": Broken()}, OSError, "no calendar"),
        ("nothing", TypeError, "must be given as a mapping of arguments, got 'nothing'"),
    ],
)
def test_if_one_of_them_is_bad_it_is_named_and_nothing_is_added(
    scheduler: ManualScheduler, bad: Any, error: type[Exception], message: str
) -> None:
    told = added(scheduler)
    with pytest.raises(error) as caught:
        scheduler.add_jobs([*hourly("a", "b"), bad, *hourly("c")])
    assert message in str(caught.value)
    assert caught.value.__notes__ == ["That is about the job at index 2; no job was added."]
    assert scheduler.get_jobs() == []
    assert told == []


def test_a_single_mapping_is_refused(scheduler: ManualScheduler) -> None:
    with pytest.raises(TypeError, match="specs must be a list, or the like, of mappings"):
        scheduler.add_jobs({"func": nothing})  # type: ignore[arg-type]  # that is the point


def test_for_an_unknown_job_store_nothing_is_added_to_the_others(
    scheduler: ManualScheduler,
) -> None:
    with pytest.raises(KeyError, match="No such job store: nowhere"):
        scheduler.add_jobs([*hourly("a"), *hourly("b", jobstore="nowhere")])
    assert scheduler.get_jobs() == []


@pytest.mark.parametrize("clash", [["a"], ["b", "b"]])
def test_an_id_that_is_taken_refuses_all_of_them(
    scheduler: ManualScheduler, clash: list[str]
) -> None:
    scheduler.add_jobs(hourly("a"))
    told = added(scheduler)
    with pytest.raises(ConflictingIdError):
        scheduler.add_jobs(hourly("x", *clash, "y"))
    assert ids(scheduler.get_jobs()) == ["a"]
    assert told == []


def test_a_refusal_by_one_job_store_leaves_what_the_other_has_taken() -> None:
    scheduler = manual(jobstores={"default": MemoryJobStore(), "other": MemoryJobStore()})
    scheduler.start()
    scheduler.add_jobs(hourly("b", jobstore="other"))
    with pytest.raises(ConflictingIdError):
        scheduler.add_jobs([*hourly("a"), *hourly("b", "c", jobstore="other"), *hourly("d")])
    assert ids(scheduler.get_jobs("default")) == ["a", "d"]
    assert ids(scheduler.get_jobs("other")) == ["b"]
    scheduler.shutdown()


def test_a_job_that_a_store_refuses_is_pending_no_less_than_before(
    scheduler: ManualScheduler,
) -> None:
    class Refusing(MemoryJobStore):
        def add_jobs(self, jobs: Sequence[Job], born: datetime | None = None) -> None:
            self.jobs = list(jobs)
            raise TransientJobError(jobs[0].id)

    store = Refusing()
    scheduler.add_jobstore(store, "refusing")
    with pytest.raises(TransientJobError):
        scheduler.add_jobs(hourly("a", "b", jobstore="refusing"))
    assert [job.pending for job in store.jobs] == [True, True]


def test_none_of_them_runs_before_all_are_told_of(scheduler: ManualScheduler) -> None:
    runs: list[int] = []

    def turn(event: JobEvent) -> None:
        scheduler.run_due()
        runs.append(len(scheduler.get_runs()))

    scheduler.add_listener(turn, EVENT_JOB_ADDED)
    scheduler.add_jobs([{"func": nothing}, {"func": nothing}])
    scheduler.run_due()
    assert runs == [0, 0]
    assert len(scheduler.get_runs()) == 2


def test_the_loop_is_woken_once_and_only_if_something_is_due_earlier() -> None:
    wakes: list[bool] = []

    class Waking(ManualScheduler):
        def wakeup(self) -> None:
            wakes.append(True)

    scheduler = Waking(clock=VirtualClock(NOON), timezone="UTC")
    scheduler.start()
    scheduler.add_job(nothing, "interval", minutes=30)
    scheduler.run_due()
    wakes.clear()
    scheduler.add_jobs(hourly("a", "b"))
    assert wakes == []
    scheduler.add_jobs([*hourly("c"), {"func": nothing}, {"func": nothing}])
    assert wakes == [True]
    scheduler.shutdown()


def test_paused_and_exhausted_jobs_are_added_as_such(
    scheduler: ManualScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler.add_jobs(
        [*hourly("paused", next_run_time=None), {"func": nothing, "trigger": slots(), "id": "e"}]
    )
    assert [job.next_run_time for job in scheduler.get_jobs()] == [None, None]
    assert "the job is paused since 2026-03-01 12:00:00 UTC" in scheduler.explain("paused")
    assert "its trigger is exhausted" in scheduler.explain("e")
    assert "has no fire time left" in caplog.text


# -- replacing ----------------------------------------------------------------------------------


def test_what_is_there_is_replaced_and_the_rest_is_added_together() -> None:
    store = CountingStore()
    scheduler = manual(jobstores={"default": store})
    scheduler.start()
    scheduler.add_jobs(hourly("a", "b"))
    scheduler.advance(minutes=30)
    store.calls.clear()
    told = added(scheduler)
    scheduler.add_jobs(hourly("a", "x", "y", name="new"), replace_existing=True)
    changing = [call for call in store.calls if "get_changes" not in call]
    assert changing == ["add_jobs", "replace_job a"]
    assert {job.id: job.name for job in scheduler.get_jobs()} == {
        "a": "new",
        "b": "nothing",
        "x": "new",
        "y": "new",
    }
    assert told == ["x", "y", "a"]
    # The one that was there goes on where it was.
    assert {job.id: job.next_run_time for job in scheduler.get_jobs()} == {
        "a": at(3600),
        "b": at(3600),
        "x": at(5400),
        "y": at(5400),
    }
    scheduler.shutdown()


def test_of_an_id_that_is_there_twice_the_last_one_stays(scheduler: ManualScheduler) -> None:
    specs = [*hourly("a", name="first"), *hourly("b"), *hourly("a", name="last")]
    scheduler.add_jobs(specs, replace_existing=True)
    assert {job.id: job.name for job in scheduler.get_jobs()} == {"a": "last", "b": "nothing"}


def test_whoever_adds_one_of_them_at_the_same_time_is_replaced_too() -> None:
    store = RacingStore()
    store.theirs = make_job(id="b", name="theirs")
    scheduler = manual(jobstores={"default": store})
    scheduler.start()
    told = added(scheduler)
    scheduler.add_jobs(hourly("a", "b", "c", name="ours"), replace_existing=True)
    assert {job.id: job.name for job in scheduler.get_jobs()} == dict.fromkeys("abc", "ours")
    assert told == ["a", "b", "c"]
    assert store.calls == ["add_jobs", "get_changes a", "replace_job b", "get_changes c"]
    scheduler.shutdown()


# -- what is explained --------------------------------------------------------------------------


def test_that_a_job_came_back_is_known_where_that_costs_nothing(
    scheduler: ManualScheduler,
) -> None:
    scheduler.add_jobs(hourly("a"))
    scheduler.remove_job("a")
    scheduler.advance(minutes=10)
    scheduler.add_jobs(hourly("a"))
    assert scheduler._seam("default").get_changes("a")[-1].kind is JobChangeKind.ADDED
    told = scheduler.explain("a", NOON + HOUR + timedelta(minutes=5))
    assert "its trigger does not fire then" in told


@pytest.mark.parametrize("blocking", [True, False])
def test_nothing_is_asked_about_each_job_where_that_is_a_query(blocking: bool) -> None:
    store = CountingStore()
    store.blocking = blocking  # type: ignore[misc]  # of this one only
    scheduler = manual(jobstores={"default": store})
    scheduler.start(paused=True)
    scheduler.add_jobs(hourly("a", "b"))
    asked = [] if blocking else ["get_changes a", "get_changes b"]
    assert store.calls == ["add_jobs", *asked]
    scheduler.shutdown()


REMOVED = JobChange("j", at(-60), JobChangeKind.REMOVED)


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (at(-90), "the job was removed at 2026-03-01 11:59:00 UTC, before a run for that time"),
        (at(0), "that was before the job was added, or longer ago than records are kept"),
        (at(5), "its trigger does not fire then; the next one is 2026-03-01 12:00:10 UTC"),
        (at(10), "that time is still to come"),
    ],
)
def test_a_job_that_is_back_is_not_called_removed_though_nobody_noted_its_return(
    moment: datetime, reason: str
) -> None:
    job = make_job(slots(-90, 0, 10), next_run_time=at(10))
    assert reason in explain("j", job, [], [REMOVED], moment, at(7))


def test_a_job_that_is_gone_or_was_noted_as_added_later_was_removed_by_then() -> None:
    removed = "the job was removed at 2026-03-01 11:59:00 UTC."
    assert explain("j", None, [], [REMOVED], at(0), at(7)).endswith(removed)
    back = JobChange("j", at(2), JobChangeKind.ADDED)
    job = make_job(slots(0, 10), next_run_time=at(10))
    assert explain("j", job, [], [REMOVED, back], at(0), at(7)).endswith(removed)


def test_why_an_earlier_job_of_that_id_was_paused_says_nothing_of_this_one() -> None:
    paused = JobChange("j", at(-90), JobChangeKind.PAUSED)
    job = make_job(next_run_time=None)
    told = explain("j", job, [], [paused, REMOVED], None, NOON)
    assert told == 'Job "j" has no run on record; the job is paused.'


def test_of_many_jobs_in_memory_that_are_all_removed_each_is_noted(
    scheduler: ManualScheduler,
) -> None:
    many = [str(number) for number in range(101)]
    scheduler.add_jobs(hourly(*many))
    scheduler.remove_all_jobs()
    assert scheduler.get_jobs() == []
    for job_id in many:
        assert "the job was removed at 2026-03-01 12:00:00 UTC" in scheduler.explain(job_id)
