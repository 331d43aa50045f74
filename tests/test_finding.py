"""Jobs and Runs found by what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from apscheduler.job import Job
from apscheduler.jobstores.base import QuarantinedJob, SharedJobStore
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.testing import ManualScheduler, VirtualClock
from job_kit import NOON, at, make_job, nothing

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


# -- finding jobs -------------------------------------------------------------------------------


def some_jobs(scheduler: ManualScheduler) -> None:
    for id, minutes, executor in (("b", 2, "default"), ("a", 2, "pool"), ("c", 1, "pool")):
        scheduler.add_job(
            nothing, "interval", hours=1, id=id, next_run_time=at(60 * minutes), executor=executor
        )
    for id in ("q", "p"):
        scheduler.add_job(nothing, "interval", hours=1, id=id, next_run_time=None)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"ids": ["a", "q", "unknown"]}, ["a", "q"]),
        ({"ids": iter("a")}, ["a"]),
        ({"ids": []}, []),
        ({"executor": "pool"}, ["c", "a"]),
        ({"executor": "unknown"}, []),
        ({"before": at(120)}, ["c"]),
        ({"before": at(121)}, ["c", "a", "b"]),
        ({"before": "2026-03-01 12:02:00"}, ["c"]),
        ({"paused": True}, ["p", "q"]),
        ({"paused": False}, ["c", "a", "b"]),
        ({"limit": 2}, ["c", "a"]),
        ({"limit": 9}, ["c", "a", "b", "p", "q"]),
        ({"executor": "default", "paused": False, "limit": 1}, ["b"]),
        ({"jobstore": "default", "limit": 1}, ["c"]),
        ({"jobstore": "unknown", "limit": 1}, []),
    ],
)
def test_jobs_are_found_by_what_they_are(
    scheduler: ManualScheduler, filters: dict[str, Any], found: list[str]
) -> None:
    some_jobs(scheduler)
    assert ids(scheduler.get_jobs(**filters)) == found


def test_a_moment_without_a_zone_is_one_of_the_scheduler() -> None:
    scheduler = manual()
    scheduler.configure(timezone="Europe/Berlin", clock=VirtualClock(NOON))
    scheduler.start()
    some_jobs(scheduler)
    assert ids(scheduler.get_jobs(before=datetime(2026, 3, 1, 13, 2))) == ["c"]
    scheduler.shutdown()


def test_jobs_are_found_page_by_page(scheduler: ManualScheduler) -> None:
    some_jobs(scheduler)
    pages = [scheduler.get_jobs(limit=2)]
    while pages[-1]:
        pages.append(scheduler.get_jobs(limit=2, after=pages[-1][-1]))
    assert [ids(page) for page in pages] == [["c", "a"], ["b", "p"], ["q"], []]


def test_the_jobs_of_several_stores_come_one_store_after_the_other() -> None:
    scheduler = manual(jobstores={"one": MemoryJobStore(), "two": MemoryJobStore()})
    scheduler.start()
    scheduler.add_jobs([*hourly("b", "c", jobstore="one"), *hourly("a", "d", jobstore="two")])
    found = scheduler.get_jobs(limit=3)
    assert ids(found) == ["b", "c", "a"]
    with pytest.raises(ValueError, match="after needs a jobstore: each of the 3 job stores"):
        scheduler.get_jobs(limit=3, after=found[-1])
    assert ids(scheduler.get_jobs("two", after=found[-1])) == ["d"]
    scheduler.shutdown()


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ({"ids": "a"}, TypeError, "ids must be a list, or the like, of job ids, got 'a'"),
        ({"ids": 1}, TypeError, "ids must be a list, or the like, of job ids, got 1"),
        ({"ids": [1]}, TypeError, "ids must be those of jobs, which are strings, got 1"),
        ({"executor": 1}, TypeError, "executor must be the alias of an executor or None, got 1"),
        ({"before": 1}, TypeError, "before must be a datetime, a text such as"),
        ({"before": "soon"}, ValueError, "before must be a datetime, a text such as"),
        ({"paused": 1}, TypeError, "paused must be True, False or None for either, got 1"),
        ({"limit": 0}, ValueError, "limit must be at least 1, got 0"),
        ({"limit": True}, TypeError, "limit must be an int, got True"),
        ({"after": "a"}, TypeError, "after must be a Job, the last one of the page before"),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_what_makes_no_sense_is_refused(
    running: bool, filters: dict[str, Any], error: type[Exception], message: str
) -> None:
    scheduler = manual()
    if running:
        scheduler.start()
    with pytest.raises(error, match=message):
        scheduler.get_jobs(**filters)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"ids": ["a", "q"]}, ["a", "q"]),
        ({"executor": "pool"}, ["a", "c"]),
        ({"before": at(120)}, ["c"]),
        ({"paused": True}, ["q", "p"]),
        ({"paused": False}, ["new", "b", "a", "c"]),
        ({"limit": 2}, ["new", "b"]),
        ({"jobstore": "unknown", "limit": 2}, []),
    ],
)
def test_pending_jobs_are_found_likewise_in_the_order_in_which_they_were_added(
    filters: dict[str, Any], found: list[str]
) -> None:
    scheduler = manual()
    scheduler.add_jobs(hourly("new"))
    some_jobs(scheduler)
    assert ids(scheduler.get_jobs(**filters)) == found
    assert not hasattr(scheduler.get_jobs()[0], "next_run_time")


def test_pending_jobs_are_found_page_by_page() -> None:
    scheduler = manual()
    scheduler.add_jobs(hourly("z", "y", "x"))
    first = scheduler.get_jobs(limit=2)
    assert ids(first) == ["z", "y"]
    assert ids(scheduler.get_jobs(limit=2, after=first[-1])) == ["x"]
    assert scheduler.get_jobs(after=make_job(id="unknown")) == []


# -- finding Runs -------------------------------------------------------------------------------


def test_runs_are_found_by_time_and_node(scheduler: ManualScheduler) -> None:
    scheduler.add_jobs(hourly("a"))
    scheduler.advance(hours=4)
    hours = [run.scheduled_at.hour for run in scheduler.get_runs(until=NOON + 2 * HOUR)]
    assert hours == [14, 13]
    assert len(scheduler.get_runs(since="2026-03-01 14:00:00", until="2026-03-01 15:00:00")) == 2
    node = scheduler.get_runs()[0].node
    assert len(scheduler.get_runs(node=node)) == 4
    assert scheduler.get_runs(node="another") == []


def test_runs_are_found_page_by_page_over_all_stores() -> None:
    scheduler = manual(jobstores={"one": MemoryJobStore(), "two": MemoryJobStore()})
    scheduler.start()
    scheduler.add_jobs([*hourly("a", jobstore="one"), *hourly("b", jobstore="two")])
    scheduler.advance(hours=3)
    pages = [scheduler.get_runs(limit=4)]
    while pages[-1]:
        pages.append(scheduler.get_runs(limit=4, after=pages[-1][-1]))
    assert [len(page) for page in pages] == [4, 2, 0]
    assert pages[0] + pages[1] == scheduler.get_runs()
    scheduler.shutdown()


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ({"until": 1}, TypeError, "until must be a datetime, a text such as"),
        ({"node": 1}, TypeError, "node must be the id of a node or None, got 1"),
        ({"after": "r1"}, TypeError, "after must be a Run, the last one of the page before"),
    ],
)
def test_runs_are_not_found_by_what_makes_no_sense(
    scheduler: ManualScheduler, filters: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        scheduler.get_runs(**filters)


# -- quarantine ---------------------------------------------------------------------------------


class Unreadable(MemoryJobStore, SharedJobStore):
    """A store with one job that it cannot read, and nobody to share it with."""

    claim = MemoryJobStore.claim  # type: ignore[assignment]  # no other node asks it
    claim_waiting = MemoryJobStore.claim_waiting  # type: ignore[assignment]
    next_wake = MemoryJobStore.next_wake  # type: ignore[assignment]
    claim_lapsed = beat = leave = get_nodes = prune = None  # type: ignore[assignment]

    @property
    def can_be_shared(self) -> bool:
        return False

    def get_quarantined_jobs(self) -> list[QuarantinedJob]:
        return [QuarantinedJob("j", str(self._alias), "no module named gone", NOON)]


def test_the_jobs_that_cannot_be_read_are_shown() -> None:
    scheduler = manual(jobstores={"shared": Unreadable(), "memory": MemoryJobStore()})
    assert scheduler.get_quarantined_jobs() == []
    scheduler.start(paused=True)
    expected = [QuarantinedJob("j", "shared", "no module named gone", NOON)]
    assert scheduler.get_quarantined_jobs() == expected
    assert scheduler.get_quarantined_jobs("shared") == expected
    assert scheduler.get_quarantined_jobs("memory") == []
    scheduler.shutdown()
