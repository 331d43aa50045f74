"""The tests of how slots are claimed, for the authors of job stores.

Needs pytest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from apscheduler.jobstores.base import ClaimingJobStore, JobLookupError
from apscheduler.runs import (
    Due,
    Live,
    Plan,
    RunKind,
    RunQuery,
    RunState,
    Transition,
    replace,
)
from apscheduler.testing.decisions import (
    DECIDED_TOO_LATE,
    SECOND,
    decides_under_lock,
    deciding_too_late,
    moving,
    opening,
    run_for,
    run_of,
    to_be_run_at,
)
from apscheduler.testing.decisions import PATIENCE as PATIENCE
from apscheduler.testing.jobstores import LATER, NOON, JobStoreSuite, ids

S = RunState


def postpone(store: ClaimingJobStore) -> None:
    store.modify_job("j", to_be_run_at(LATER), NOON)


def pause(store: ClaimingJobStore) -> None:
    store.modify_job("j", to_be_run_at(None), NOON)


def rename(store: ClaimingJobStore) -> None:
    store.modify_job("j", lambda job: setattr(job, "name", "renamed"))


def run_by_hand(store: ClaimingJobStore) -> None:
    store.open_run(
        "j", lambda job, incarnation, live: run_for(job, NOON, incarnation, RunKind.MANUAL)
    )


def remove(store: ClaimingJobStore) -> None:
    store.remove_job("j")


def remove_all(store: ClaimingJobStore) -> None:
    store.remove_all_jobs()


def remove_and_add(store: ClaimingJobStore) -> None:
    job = store.lookup_job("j")
    assert job is not None
    store.remove_job("j")
    store.add_job(job, NOON)


def replace_by_itself(store: ClaimingJobStore) -> None:
    job = store.lookup_job("j")
    assert job is not None
    store.update_job(job, NOON)


#: What may happen to a job while it is decided about, and the next run times that it then may
#: have: if that comes before the decision is written, and if it comes after.
GROUND_MOVES: list[
    tuple[Callable[[ClaimingJobStore], None], datetime | None, set[datetime | None]]
] = [
    (postpone, LATER, {LATER}),
    (pause, None, {None}),
    (rename, NOON, {DECIDED_TOO_LATE}),
    (run_by_hand, NOON, {DECIDED_TOO_LATE}),
    # Of what is written, the move itself may see what was before or what is after.
    (remove_and_add, NOON, {NOON, DECIDED_TOO_LATE}),
    (replace_by_itself, NOON, {NOON, DECIDED_TOO_LATE}),
]
REMOVALS = [remove, remove_all]


class ClaimSuite(JobStoreSuite):
    """What a scheduler relies on when it claims slots."""

    def make_store(self) -> ClaimingJobStore:
        """Return a new, empty job store that is not started; a subclass must say how."""
        raise NotImplementedError(f"{type(self).__name__} must define make_store()")

    @pytest.fixture
    def store(self) -> Iterator[ClaimingJobStore]:
        """Lend a started job store to a test."""
        store = self.make_store()
        store.start(self.scheduler, "store")
        yield store
        store.shutdown()

    def claim_all(self, store: ClaimingJobStore, now: datetime = NOON) -> list[Due]:
        """Claim every due slot, with a Run for each, and return what was won."""
        return [due for due, _ in store.claim(now, opening, 1000, ()).won]

    # -- claim ----------------------------------------------------------------------------------

    def test_due_jobs_are_asked_about_earliest_first(self, store: ClaimingJobStore) -> None:
        self.add_jobs(
            store,
            ("d", NOON),
            ("c", NOON),
            ("b", NOON - SECOND),
            ("later", NOON + SECOND),
            ("paused", None),
        )
        assert [(due.job.id, due.slot) for due in self.claim_all(store)] == [
            ("b", NOON - SECOND),
            ("c", NOON),
            ("d", NOON),
        ]

    def test_what_is_won_is_written_with_its_runs(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        gaps, runs = [], []

        def decide(due: Due) -> Plan:
            gap = run_for(due.job, due.slot - SECOND, due.incarnation, RunKind.GAP, S.MISSED)
            gaps.append(replace(gap, ended_at=NOON, count=5, reason="nobody was there"))
            runs.append(run_for(due.job, due.slot, due.incarnation))
            return Plan(LATER, due.slot, tuple(runs), tuple(gaps))

        claims = store.claim(NOON, decide, 10, ())

        assert [(due.job.id, plan.next_run_time) for due, plan in claims.won] == [("j", LATER)]
        assert claims.failed == []
        job = store.lookup_job("j")
        assert job is not None
        assert job.next_run_time == LATER
        assert store.get_runs(RunQuery(state=S.RUNNING)) == runs
        assert store.get_runs(RunQuery(state=S.MISSED)) == gaps

    def test_a_slot_that_was_won_is_not_due_again(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        assert self.claim_all(store)
        assert self.claim_all(store) == []
        assert store.get_due_jobs(NOON) == []

    def test_a_job_whose_schedule_ends_is_deleted_and_its_runs_are_kept(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON), ("other", LATER))
        store.claim(NOON, lambda due: Plan(None, due.slot, (run_of(due),)), 10, ())
        assert ids(store.get_all_jobs()) == ["other"]
        assert [run.job_id for run in store.get_runs(RunQuery())] == ["j"]

    def test_no_more_decisions_are_written_than_asked_for(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, *[(id, NOON) for id in "abcde"])
        first = store.claim(NOON, opening, 2, ()).won
        assert [due.job.id for due, _ in first] == ["a", "b"]
        assert [due.job.id for due in self.claim_all(store)] == ["c", "d", "e"]

    def test_a_job_that_is_not_to_be_decided_now_stays_as_it_is(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON))
        claims = store.claim(NOON, lambda due: None if due.job.id == "a" else opening(due), 1, ())
        assert [due.job.id for due, _ in claims.won] == ["b"]
        assert ids(store.get_due_jobs(NOON)) == ["a"]
        assert store.get_next_run_time() == NOON
        assert store.next_wake(()) == NOON
        assert [due.job.id for due in self.claim_all(store)] == ["a"]

    def test_jobs_to_be_left_out_are_not_asked_about_and_keep_no_other_waiting(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, *[(id, NOON) for id in "abcd"])
        won = store.claim(NOON, opening, 1, {"a", "b"}).won
        assert [due.job.id for due, _ in won] == ["c"]
        assert ids(store.get_due_jobs(NOON)) == ["a", "b", "d"]
        assert [due.job.id for due in self.claim_all(store)] == ["a", "b", "d"]

    def test_a_job_that_was_left_out_can_be_changed(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        store.claim(NOON, opening, 1, {"j"})
        postpone(store)
        assert store.next_wake(()) == LATER
        assert self.claim_all(store) == []
        assert [due.slot for due in self.claim_all(store, LATER)] == [LATER]

    # -- the ground of a decision ---------------------------------------------------------------

    @pytest.mark.parametrize(("move", "next_run_time", "if_after"), GROUND_MOVES)
    def test_a_decision_whose_ground_has_moved_is_refused(
        self,
        store: ClaimingJobStore,
        move: Callable[[ClaimingJobStore], None],
        next_run_time: datetime | None,
        if_after: set[datetime | None],
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        with deciding_too_late(store, move) as decide:
            claims = store.claim(NOON, decide, 10, ())
        assert claims.failed == []
        if decides_under_lock(store):
            # It cannot move: what was to move it comes after the decision, and is not lost.
            assert [plan.opened[0].id for _, plan in claims.won] == ["too late"]
            job = store.lookup_job("j")
            assert job is not None
            assert job.next_run_time in if_after
            assert (job.name == "renamed") is (move is rename)
            runs = store.get_runs(RunQuery())
            assert "too late" in {run.id for run in runs}
            assert len(runs) == (2 if move is run_by_hand else 1)
            return
        assert claims.won == []
        job = store.lookup_job("j")
        assert job is not None
        assert job.next_run_time == next_run_time
        assert store.next_wake(()) == next_run_time
        assert [run.id for run in store.get_runs(RunQuery()) if run.id == "too late"] == []

    @pytest.mark.parametrize("move", REMOVALS)
    def test_a_job_that_was_removed_meanwhile_does_not_come_back(
        self, store: ClaimingJobStore, move: Callable[[ClaimingJobStore], None]
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        with deciding_too_late(store, move) as decide:
            claims = store.claim(NOON, decide, 10, ())
        assert claims.failed == []
        assert store.get_all_jobs() == []
        assert store.next_wake(()) is None
        won = ["too late"] if decides_under_lock(store) else []
        assert [plan.opened[0].id for _, plan in claims.won] == won
        assert [run.id for run in store.get_runs(RunQuery())] == won

    def test_a_job_that_is_changed_while_another_one_is_decided_about_keeps_the_change(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("j", NOON))

        with moving(store, postpone) as move:

            def decide(due: Due) -> Plan:
                if due.job.id == "a":
                    move()
                return opening(due)

            store.claim(NOON, decide, 10, ())
        assert self.claim_all(store) == []
        job = store.lookup_job("j")
        assert job is not None
        assert job.next_run_time == LATER
        decided = ["a", "j"] if decides_under_lock(store) else ["a"]
        assert sorted(run.job_id for run in store.get_runs(RunQuery())) == decided

    def test_after_a_refusal_the_job_is_decided_as_it_then_is(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        with deciding_too_late(store, rename) as decide:
            store.claim(NOON, decide, 10, ())
        (due,) = self.claim_all(store, LATER if decides_under_lock(store) else NOON)
        assert due.job.name == "renamed"

    def test_others_use_the_store_while_a_decision_is_taken(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))

        def decide(due: Due) -> Plan:
            with ThreadPoolExecutor(1) as other:
                other.submit(self.add_jobs, store, ("other", LATER)).result(PATIENCE)
            return opening(due)

        claims = store.claim(NOON, decide, 10, ())
        assert [due.job.id for due, _ in claims.won] == ["j"]
        assert len(store.get_all_jobs()) == 2

    def test_of_two_claims_one_wins_each_slot(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON))
        won: list[Due] = []

        def decide(due: Due) -> Plan:
            if due.job.id == "a":
                won.extend(self.claim_all(store))
            return opening(due)

        won += [due for due, _ in store.claim(NOON, decide, 10, ()).won]
        assert sorted(due.job.id for due in won) == ["a", "b"]
        assert sorted(run.job_id for run in store.get_runs(RunQuery())) == ["a", "b"]

    def test_of_several_threads_one_wins_each_slot(self, store: ClaimingJobStore) -> None:
        jobs = [f"{number:03}" for number in range(40)]
        self.add_jobs(store, *[(id, NOON) for id in jobs])

        def claim() -> list[str]:
            won: list[str] = []
            while claimed := store.claim(NOON, opening, 3, ()).won:
                won += [due.job.id for due, _ in claimed]
            return won

        with ThreadPoolExecutor(4) as threads:
            claims = [threads.submit(claim) for _ in range(4)]
            won = Counter(id for claimed in claims for id in claimed.result(PATIENCE))
        won.update(due.job.id for due in self.claim_all(store))
        assert won == Counter(jobs)
        assert Counter(run.job_id for run in store.get_runs(RunQuery())) == Counter(jobs)

    # -- what a decision is told ----------------------------------------------------------------

    def test_a_decision_is_told_what_was_decided_last(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        (first,) = self.claim_all(store)
        (second,) = self.claim_all(store, LATER)
        assert first.last_slot is None
        assert second.last_slot == NOON
        assert second.slot == LATER

    def test_a_decision_is_told_when_its_job_was_born(self, store: ClaimingJobStore) -> None:
        store.add_job(self.make_job("j"), NOON - SECOND)
        (due,) = self.claim_all(store)
        assert due.born == NOON - SECOND

    @pytest.mark.parametrize("change", [postpone, replace_by_itself, remove_and_add])
    def test_a_job_that_begins_anew_forgets_what_was_decided(
        self, store: ClaimingJobStore, change: Callable[[ClaimingJobStore], None]
    ) -> None:
        store.add_job(self.make_job("j"), NOON - SECOND)
        (before,) = self.claim_all(store)
        change(store)
        (after,) = self.claim_all(store, LATER)
        assert after.incarnation != before.incarnation
        assert after.last_slot is None
        assert after.born == NOON

    def test_a_job_that_is_changed_otherwise_goes_on(self, store: ClaimingJobStore) -> None:
        store.add_job(self.make_job("j"), NOON - SECOND)
        (before,) = self.claim_all(store)
        rename(store)
        job = store.lookup_job("j")
        assert job is not None
        store.update_job(job)
        (after,) = self.claim_all(store, LATER)
        assert (after.incarnation, after.born) == (before.incarnation, NOON - SECOND)
        assert after.last_slot == NOON

    def test_a_change_of_a_job_answers_with_the_job(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        job = store.modify_job("j", lambda job: setattr(job, "name", "renamed"))
        assert (job.id, job.name) == ("j", "renamed")
        assert job._scheduler is self.scheduler
        with pytest.raises(JobLookupError):
            store.modify_job("unknown", lambda job: None)

    def test_what_is_live_is_counted_in_batches(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON), ("other", LATER))

        def batch(due: Due) -> Plan:
            first = run_of(due)
            second = run_for(due.job, NOON + SECOND, due.incarnation, state=S.WAITING)
            second = replace(second, batch=first.batch, opened_at=first.opened_at)
            return Plan(LATER, due.slot, (first, second))

        store.claim(NOON, batch, 1, ())
        lives = {due.job.id: due.live for due in self.claim_all(store, LATER)}
        assert lives == {"j": Live(1, NOON), "other": Live()}

        store.modify_job("j", to_be_run_at(LATER + SECOND))
        (due,) = self.claim_all(store, LATER + SECOND)
        assert due.live.instances == 2

    def test_what_has_ended_is_no_longer_live(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        self.claim_all(store)
        (run,) = store.get_runs(RunQuery())
        store.apply([Transition(run, S.SUCCEEDED, LATER)])
        (due,) = self.claim_all(store, LATER)
        assert due.live == Live()

    # -- waking ---------------------------------------------------------------------------------

    def test_without_jobs_there_is_nothing_to_wake_for(self, store: ClaimingJobStore) -> None:
        assert store.next_wake(()) is None
        self.add_jobs(store, ("paused", None))
        assert store.next_wake(()) is None

    def test_the_earliest_job_that_counts_is_to_be_woken_for(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON + SECOND), ("c", LATER))
        assert store.next_wake(()) == NOON
        assert store.next_wake({"a"}) == NOON + SECOND
        assert store.next_wake({"a", "b"}) == LATER
        assert store.next_wake({"a", "b", "c"}) is None
        assert store.next_wake(()) == NOON
