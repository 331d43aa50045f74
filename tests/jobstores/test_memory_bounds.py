"""What the job store in memory keeps of Runs, and that nothing grows without bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Thread

import pytest

from apscheduler.job import Job
from apscheduler.jobstores._ledger import MAX_UNFILED, Ledger
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.runs import (
    Due,
    JobChange,
    JobChangeKind,
    Live,
    Plan,
    Run,
    RunQuery,
    RunState,
    Transition,
    moved,
    replace,
)
from apscheduler.testing.decisions import opening, run_for
from job_kit import NOON, at, growth, make_job

S = RunState
PATIENCE = 20
EVERYTHING = RunQuery(limit=1_000_000)


def store_with(*ids: str) -> MemoryJobStore:
    store = MemoryJobStore()
    for id in ids:
        store.add_job(make_job(id=id))
    return store


def open_run(store: MemoryJobStore, job_id: str, number: int) -> Run:
    """Open a Run that was scheduled at a moment on the time line."""

    def decide(job: Job, incarnation: str, live: Live) -> Run:
        return run_for(job, at(number), incarnation)

    return store.open_run(job_id, decide)[0]


def end_run(store: MemoryJobStore, job_id: str, number: int, state: RunState) -> Run:
    """Open a Run and let it end."""
    run = open_run(store, job_id, number)
    transition = Transition(run, state, at(number))
    assert store.apply([transition]) == [True]
    return moved(run, transition)


def test_runs_end_without_waiting_for_whoever_files_others() -> None:
    ledger = Ledger(lambda job_id: True)
    runs = [run_for(make_job(id="j"), at(number), "") for number in range(MAX_UNFILED + 10)]
    ledger.record(runs)
    ended: list[bool] = []

    def end() -> None:
        ended.extend(ledger.apply(Transition(run, S.SUCCEEDED, at(1))) for run in runs[1:])

    worker = Thread(target=end, daemon=True)
    with ledger._lock:
        worker.start()
        worker.join(PATIENCE)
    assert ended == [True] * (MAX_UNFILED + 9)


# -- history ------------------------------------------------------------------------------------


def test_the_last_hundred_ended_runs_of_a_job_are_kept() -> None:
    store = store_with("j")
    ended = [end_run(store, "j", number, S.SUCCEEDED) for number in range(130)]
    assert store.get_runs(EVERYTHING) == ended[:29:-1]


def test_runs_that_ended_are_kept_in_the_order_in_which_they_did_whoever_ended_them() -> None:
    store = store_with("j")
    ended = [end_run(store, "j", 0, S.SUCCEEDED)]
    for number in range(1, 101):
        # One that is refused is on record as ended from the start.
        now = at(number)

        def refuse(job: Job, incarnation: str, live: Live, now: datetime = now) -> Run:
            return run_for(job, now, incarnation, state=S.SKIPPED)

        ended.append(store.open_run("j", refuse)[0])
    assert store.get_runs(EVERYTHING) == ended[::-1]


def test_live_runs_are_kept_however_many_they_are() -> None:
    store = store_with("j")
    for number in range(150):
        open_run(store, "j", number)
    assert len(store.get_runs(EVERYTHING)) == 150


@pytest.mark.parametrize("failure", [S.FAILED, S.TIMED_OUT, S.LOST])
def test_the_last_success_and_the_last_failure_of_a_job_are_always_kept(
    failure: RunState,
) -> None:
    store = store_with("j")
    end_run(store, "j", 0, S.SUCCEEDED)
    end_run(store, "j", 1, failure)
    success = end_run(store, "j", 2, S.SUCCEEDED)
    failed = end_run(store, "j", 3, failure)
    for number in range(4, 140):
        end_run(store, "j", number, S.SKIPPED)
    found = store.get_runs(RunQuery("j", limit=1000))
    assert found[-2:] == [failed, success]
    assert len(found) == 102
    assert store.get_runs(RunQuery("j", failure)) == [failed]
    assert store.get_runs(RunQuery("j", S.SUCCEEDED)) == [success]


def test_a_run_that_is_kept_for_two_reasons_is_found_once() -> None:
    store = store_with("j")
    run = end_run(store, "j", 0, S.SUCCEEDED)
    assert store.get_runs(RunQuery("j")) == [run]


@pytest.fixture
def full_store() -> Iterator[MemoryJobStore]:
    """Lend a store of 130 jobs, each of which has succeeded once and then been skipped often."""
    store = store_with(*(f"{number:03}" for number in range(130)))
    for number in range(130):
        end_run(store, f"{number:03}", 100 * number, S.SUCCEEDED)
        for later in range(89):
            end_run(store, f"{number:03}", 100 * number + later + 1, S.SKIPPED)
    yield store
    store.shutdown()


def test_ten_thousand_ended_runs_are_kept_in_all_and_the_last_success_of_each_job(
    full_store: MemoryJobStore,
) -> None:
    found = full_store.get_runs(EVERYTHING)
    # 11,700 have ended; of the jobs that were first, nothing but the success is left.
    assert 10_000 <= len(found) <= 10_000 + 19
    assert len({run.id for run in found}) == len(found)
    successes = [run for run in found if run.state is S.SUCCEEDED]
    assert len(successes) == 130
    assert found[: len(found) - 19] == sorted(found, key=_age)[: len(found) - 19]
    assert [run.state for run in full_store.get_runs(RunQuery("000"))] == [S.SUCCEEDED]
    assert len(full_store.get_runs(RunQuery("129"))) == 90


def test_of_a_removed_job_nothing_is_kept_that_is_too_old(full_store: MemoryJobStore) -> None:
    full_store.remove_job("001")
    assert full_store.get_runs(RunQuery("001")) == []
    full_store.remove_job("128")
    assert len(full_store.get_runs(RunQuery("128"))) == 90


def test_a_hundred_changes_of_a_job_are_kept() -> None:
    store = MemoryJobStore()
    changes = [JobChange("j", at(number), JobChangeKind.PAUSED) for number in range(150)]
    for change in changes:
        store.note(change)
    assert store.get_changes("j") == changes[50:]


def test_changes_of_the_thousand_jobs_that_were_changed_last_are_kept() -> None:
    store = MemoryJobStore()
    for number in range(1_001):
        store.note(JobChange(str(number), at(number), JobChangeKind.PAUSED))
        store.note(JobChange("0", at(number), JobChangeKind.RESUMED))
    assert store.get_changes("1") == []
    assert len(store.get_changes("2")) == 1
    assert len(store.get_changes("0")) == 100


def test_a_run_that_was_found_does_not_change_with_the_record() -> None:
    store = store_with("j")
    store.claim(NOON, opening, 1, ())
    (found,) = store.get_runs(EVERYTHING)
    as_found = replace(found)
    store.apply([Transition(found, S.SUCCEEDED, at(1))])
    assert found == as_found
    (ended,) = store.get_runs(EVERYTHING)
    assert ended.state is S.SUCCEEDED


def _age(run: Run) -> tuple[float, str]:
    return -run.opened_at.timestamp(), run.id


# -- memory -------------------------------------------------------------------------------------


def modifying() -> Callable[[int], None]:
    store = store_with(*"abcdefgh")

    def modify(number: int) -> None:
        moment = at(number % 1000)
        store.modify_job(
            "abcdefgh"[number % 8], lambda job: setattr(job, "next_run_time", moment), None
        )

    return modify


def adding_and_removing() -> Callable[[int], None]:
    store = store_with("keep")

    def add_and_remove(number: int) -> None:
        store.add_job(make_job(id=f"{number}", next_run_time=at(1000 + number)))
        store.remove_job(f"{number}")

    return add_and_remove


def being_left_out() -> Callable[[int], None]:
    store = store_with(*"abcdefgh")

    def leave_out(number: int) -> None:
        store.claim(at(60), lambda due: None, 10, {"a", "b", "c"} if number % 2 else ())
        store.next_wake({"d"})

    return leave_out


@pytest.mark.slow
@pytest.mark.parametrize("working", [modifying, adding_and_removing, being_left_out])
def test_memory_does_not_grow_with_what_is_done(
    working: Callable[[], Callable[[int], None]],
) -> None:
    # A heap that kept one item of each time would take a hundred bytes for it, and more.
    assert growth(working(), 1000) < 50_000


@pytest.mark.slow
def test_memory_does_not_grow_with_a_million_modifications() -> None:
    modify = modifying()
    for number in range(1_000_000):
        modify(number)
    assert growth(modify, 1000) < 50_000


@pytest.mark.slow
def test_memory_does_not_grow_with_one_shots_once_the_record_is_full() -> None:
    store = MemoryJobStore()

    def one_shot(number: int) -> None:
        store.add_job(make_job(id=f"{number:06}", next_run_time=at(number)))
        ((_, plan),) = store.claim(at(number), ending, 10, ()).won
        store.apply([Transition(run, S.SUCCEEDED, at(number)) for run in plan.opened])

    assert growth(one_shot, 12_000) < 300_000
    assert len(store.get_runs(EVERYTHING)) == 10_000


def ending(due: Due) -> Plan:
    plan = opening(due)
    return Plan(None, plan.last_slot, plan.opened)


# -- what happens behind its back ---------------------------------------------------------------


@pytest.mark.parametrize("moment", [None, at(3600)])
def test_a_job_that_was_changed_without_the_store_keeps_no_other_from_running(
    moment: datetime | None,
) -> None:
    store = store_with("a", "b")
    job = store.lookup_job("a")
    assert job is not None
    job.next_run_time = moment
    assert [due.job.id for due, _ in store.claim(NOON, opening, 10, ()).won] == ["b"]


def test_a_job_that_was_given_the_same_time_once_more_is_due_at_it() -> None:
    store = store_with("a")
    job = store.lookup_job("a")
    assert job is not None
    assert job.next_run_time is not None
    job.next_run_time = datetime.fromisoformat(job.next_run_time.isoformat())
    assert [due.job.id for due, _ in store.claim(NOON, opening, 10, ()).won] == ["a"]


def test_an_error_in_a_decision_loses_no_job() -> None:
    store = store_with("a", "b", "c")
    decided: list[Due] = []

    def decide(due: Due) -> Plan:
        if len(decided) == 1:
            raise MemoryError
        decided.append(due)
        return opening(due)

    with pytest.raises(MemoryError):
        store.claim(NOON, decide, 10, ())
    won = [due.job.id for due, _ in store.claim(NOON, opening, 10, ()).won]
    assert Counter([*won, "a"]) == Counter("abc")


def test_very_many_runs_end_without_anybody_looking_at_them() -> None:
    store = store_with("a", "b")
    runs = [open_run(store, "ab"[number % 2], number) for number in range(1100)]
    for run in runs:
        store.apply([Transition(run, S.SUCCEEDED, NOON)])
    assert [len(store.get_runs(RunQuery(id, limit=5000))) for id in "ab"] == [100, 100]
    ((due, _), _) = store.claim(NOON, opening, 10, ()).won
    assert due.live == Live()


def test_many_threads_end_runs_and_each_run_ends_once() -> None:
    store = store_with("j")
    for number in range(80):
        open_run(store, "j", number)
    runs = store.get_runs(EVERYTHING)

    def end_all(state: RunState) -> list[str]:
        done = store.apply([Transition(run, state, at(100)) for run in runs])
        return [run.id for run, ended in zip(runs, done, strict=True) if ended]

    with ThreadPoolExecutor(4) as threads:
        states = [S.SUCCEEDED, S.FAILED, S.LOST, S.CANCELLED]
        ended = [id for found in threads.map(end_all, states) for id in found]
    assert Counter(ended) == Counter(run.id for run in runs)
    assert store.get_runs(RunQuery(state=S.RUNNING)) == []
    assert len(store.get_runs(EVERYTHING)) == 80
