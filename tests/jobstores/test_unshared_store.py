"""The seam round a store of 3.x: how it is asked, and what becomes of its failures."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import UTC, datetime
from threading import RLock
from types import FunctionType, ModuleType, TracebackType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from list_store import ListJobStore, ObjectListJobStore

from apscheduler.jobstores._unshared import UnsharedJobStore
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.runs import Due, Plan, RunQuery
from apscheduler.testing.decisions import opening, run_for, run_of
from job_kit import NOON, at, make_job

BERLIN = ZoneInfo("Europe/Berlin")


class WatchedLock:
    """A re-entrant lock that knows how often it is held."""

    def __init__(self) -> None:
        self._lock = RLock()
        self.depth = 0

    def __enter__(self) -> WatchedLock:
        self._lock.acquire()
        self.depth += 1
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.depth -= 1
        self._lock.release()


def wrapped(store: ListJobStore | None = None) -> tuple[UnsharedJobStore, ListJobStore]:
    store = store or ListJobStore()
    store.start(None, "store")
    return UnsharedJobStore(store, RLock()), store


def won(seam: UnsharedJobStore, decide: Callable[[Due], Plan | None] = opening) -> list[str]:
    return [due.job.id for due, _ in seam.claim(NOON, decide, 10, ()).won]


def no_decision(due: Due) -> Plan:
    raise AssertionError(f"{due.job} was decided about")


# -- how it is asked ----------------------------------------------------------------------------


def test_the_store_is_asked_under_the_lock_and_decisions_are_taken_without_it() -> None:
    lock = WatchedLock()
    depths: dict[str, set[int]] = {}

    class Watching(ListJobStore):
        def _enter(self, method: str) -> None:
            depths.setdefault(method, set()).add(min(lock.depth, 1))

    store = Watching()
    seam = UnsharedJobStore(store, lock)

    def decide(due: Due) -> Plan:
        depths.setdefault("decide", set()).add(lock.depth)
        return opening(due)

    seam.add_job(make_job(id="a"))
    seam.add_job(make_job(id="b"))
    seam.claim(NOON, decide, 10, ())
    seam.claim(at(3600), lambda due: Plan(None, due.slot), 1, ())
    seam.next_wake({"a"})
    seam.get_due_jobs(NOON)
    seam.get_next_run_time()
    seam.get_all_jobs()
    seam.modify_job("b", lambda job: None)
    seam.open_run("b", lambda job, incarnation, live: run_for(job, NOON, incarnation))
    seam.remove_job("b")
    seam.remove_all_jobs()
    assert depths.pop("decide") == {0}
    assert set(depths) == {
        "add_job",
        "update_job",
        "remove_job",
        "remove_all_jobs",
        "lookup_job",
        "get_due_jobs",
        "get_next_run_time",
        "get_all_jobs",
    }
    assert all(found == {1} for found in depths.values())


def test_the_next_run_time_is_asked_for_in_one_question() -> None:
    seam, store = wrapped()
    seam.add_job(make_job())
    store.calls.clear()
    assert seam.next_wake(()) == NOON
    assert store.calls == ["get_next_run_time"]


def test_the_first_of_two_jobs_is_woken_for_though_it_shows_the_later_wall_time() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    second = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    seam, _ = wrapped()
    seam.add_job(make_job(id="a", next_run_time=first))
    seam.add_job(make_job(id="b", next_run_time=second))
    for without in ((), {"c"}):
        found = seam.next_wake(without)
        assert found is not None
        assert found.astimezone(UTC) == first.astimezone(UTC)


def test_jobs_that_were_in_the_store_before_have_no_birth() -> None:
    seam, store = wrapped()
    store.add_job(make_job())
    (claimed,) = seam.claim(NOON, opening, 10, ()).won
    assert claimed[0].born is None
    assert claimed[0].last_slot is None


def objects_held_by(*owners: object) -> int:
    """Return how many objects are kept by these alone, whatever the rest of the process does."""
    found: dict[int, object] = {}
    left = list(owners)
    while left:
        held = left.pop()
        if id(held) not in found and not isinstance(held, (type, FunctionType, ModuleType)):
            found[id(held)] = held
            left += gc.get_referents(held)
    return len(found)


def test_nothing_is_left_of_jobs_that_are_over() -> None:
    seam, store = wrapped()

    def one_shots(first: int) -> int:
        for number in range(first, first + 50):
            seam.add_job(make_job(id=f"{number}"))
            seam.claim(NOON, lambda due: Plan(None, due.slot), 10, ())
        store.calls.clear()
        return objects_held_by(seam, store)

    assert one_shots(100) == one_shots(200)


# -- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lookup_job", "add_job", "update_job", "remove_job"])
def test_what_the_store_raises_reaches_whoever_asked(method: str) -> None:
    seam, store = wrapped()
    seam.add_job(make_job())
    arguments: dict[str, Any] = {"add_job": make_job(id="k"), "update_job": make_job()}
    store.fail[method] = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        getattr(seam, method)(arguments.get(method, "j"))


def test_a_store_that_cannot_say_what_is_due_fails_as_a_whole() -> None:
    seam, store = wrapped()
    seam.add_job(make_job())
    store.fail["get_due_jobs"] = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        seam.claim(NOON, no_decision, 10, ())


@pytest.mark.parametrize("kind", [ListJobStore, ObjectListJobStore])
@pytest.mark.parametrize(("following", "method"), [(at(60), "update_job"), (None, "remove_job")])
def test_a_decision_that_could_not_be_written_is_told_and_nothing_of_it_is_done(
    kind: type[ListJobStore], following: datetime | None, method: str
) -> None:
    seam, store = wrapped(kind())
    seam.add_job(make_job())
    store.fail[method] = OSError("disk full")

    claims = seam.claim(NOON, lambda due: Plan(following, due.slot, (run_of(due),)), 10, ())

    assert claims.won == []
    assert [(due.job.id, str(error)) for due, error in claims.failed] == [("j", "disk full")]
    assert seam.get_runs(RunQuery()) == []
    (job,) = seam.get_due_jobs(NOON)
    assert job.next_run_time == NOON

    store.fail.clear()
    assert won(seam) == ["j"]
    assert len(seam.get_runs(RunQuery())) == 1


def test_a_decision_that_could_not_be_written_holds_up_no_other() -> None:
    class Picky(ListJobStore):
        def update_job(self, job: Any) -> None:
            if job.id == "a":
                raise OSError("bad sector")
            super().update_job(job)

    seam, _ = wrapped(Picky())
    seam.add_job(make_job(id="a"))
    seam.add_job(make_job(id="b"))
    claims = seam.claim(NOON, opening, 10, ())
    assert [due.job.id for due, _ in claims.won] == ["b"]
    assert [due.job.id for due, _ in claims.failed] == ["a"]


@pytest.mark.parametrize(("following", "method"), [(at(60), "update_job"), (None, "remove_job")])
def test_a_decision_that_was_written_although_the_store_raised_is_won_the_next_time(
    following: datetime | None, method: str
) -> None:
    seam, store = wrapped()
    seam.add_job(make_job())
    store.fail_after[method] = OSError("connection lost")
    claims = seam.claim(NOON, lambda due: Plan(following, due.slot, (run_of(due),)), 10, ())
    assert [due.job.id for due, _ in claims.failed] == ["j"]

    store.fail_after.clear()
    ((due, plan),) = seam.claim(NOON, no_decision, 10, ()).won
    assert (due.slot, plan.next_run_time) == (NOON, following)
    assert seam.get_runs(RunQuery()) == list(plan.opened)
    assert seam.claim(NOON, no_decision, 10, ()).won == []


def test_a_written_decision_is_found_out_though_both_slots_show_the_same_wall_time() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    again = first.replace(fold=1)
    seam, store = wrapped()
    seam.add_job(make_job(next_run_time=first))
    store.fail_after["update_job"] = OSError("connection lost")
    now = first.astimezone(UTC)
    seam.claim(now, lambda due: Plan(again, due.slot, (run_of(due),)), 10, ())
    store.fail_after.clear()
    assert [due.slot.fold for due, _ in seam.claim(now, no_decision, 10, ()).won] == [0]


@pytest.mark.parametrize("kind", [ListJobStore, ObjectListJobStore])
@pytest.mark.parametrize("born", [None, NOON])
def test_a_job_that_somebody_changed_after_a_failed_write_is_decided_as_it_then_is(
    kind: type[ListJobStore], born: datetime | None
) -> None:
    seam, store = wrapped(kind())
    seam.add_job(make_job())
    store.fail_after["update_job"] = OSError("connection lost")
    seam.claim(NOON, opening, 10, ())
    store.fail_after.clear()
    seam.modify_job("j", lambda job: setattr(job, "next_run_time", at(-5)), born)
    ((due, _),) = seam.claim(NOON, opening, 10, ()).won
    assert due.slot == at(-5)


@pytest.mark.parametrize("kind", [ListJobStore, ObjectListJobStore])
def test_a_decision_that_may_have_been_written_stays_open_while_its_job_is_left_out(
    kind: type[ListJobStore],
) -> None:
    seam, store = wrapped(kind())
    seam.add_job(make_job())
    store.fail_after["update_job"] = OSError("connection lost")
    seam.claim(NOON, opening, 10, ())
    store.fail_after.clear()
    assert seam.claim(NOON, no_decision, 10, {"j"}).won == []
    ((due, _),) = seam.claim(NOON, no_decision, 10, ()).won
    assert due.slot == NOON


def test_a_job_that_was_removed_after_a_failed_write_leaves_nothing_behind() -> None:
    seam, store = wrapped()
    seam.add_job(make_job())
    store.fail["remove_job"] = OSError("disk full")
    seam.claim(NOON, lambda due: Plan(None, due.slot, (run_of(due),)), 10, ())
    store.fail.clear()
    seam.remove_job("j")
    assert seam.claim(NOON, no_decision, 10, ()).won == []
    assert seam.get_runs(RunQuery()) == []


def test_a_job_that_somebody_removed_from_the_store_itself_is_neither_won_nor_failed() -> None:
    seam, store = wrapped()
    seam.add_job(make_job())

    def decide(due: Due) -> Plan:
        store.remove_job("j")
        return opening(due)

    claims = seam.claim(NOON, decide, 10, ())
    assert (claims.won, claims.failed) == ([], [])
    assert seam.get_runs(RunQuery()) == []


def test_a_job_that_could_not_be_added_begins_no_new_life() -> None:
    seam, _ = wrapped()
    seam.add_job(make_job(), NOON)
    ((before, _),) = seam.claim(NOON, opening, 10, ()).won
    with pytest.raises(ConflictingIdError):
        seam.add_job(make_job(), at(1))
    ((after, _),) = seam.claim(at(3600), opening, 10, ()).won
    assert (after.incarnation, after.born, after.last_slot) == (before.incarnation, NOON, NOON)


def test_a_job_that_could_not_be_removed_keeps_its_life() -> None:
    seam, store = wrapped()
    seam.add_job(make_job(), NOON)
    ((before, _),) = seam.claim(NOON, opening, 10, ()).won
    store.fail["remove_job"] = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        seam.remove_job("j")
    ((after, _),) = seam.claim(at(3600), opening, 10, ()).won
    assert after.incarnation == before.incarnation


def test_a_job_that_is_not_there_has_no_run_and_no_change() -> None:
    seam, _ = wrapped()
    with pytest.raises(JobLookupError):
        seam.modify_job("j", lambda job: None)
    with pytest.raises(JobLookupError):
        seam.open_run("j", lambda job, incarnation, live: run_for(job, NOON, incarnation))
