"""What every job store that can claim slots must hold, as tests: for the authors of job stores.

Needs pytest.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from apscheduler.job import Job
from apscheduler.jobstores.base import ClaimingJobStore, ConflictingIdError, JobLookupError
from apscheduler.runs import (
    Due,
    JobChange,
    JobChangeKind,
    JobQuery,
    Live,
    Plan,
    Run,
    RunKind,
    RunQuery,
    RunState,
    Transition,
    replace,
)
from apscheduler.testing.claims import ClaimSuite, run_by_hand
from apscheduler.testing.decisions import (
    SECOND,
    opening,
    replace_next,
    run_for,
    run_of,
    starting,
)
from apscheduler.testing.jobstores import LATER, NOON, ids

S = RunState


class ClaimingJobStoreSuite(ClaimSuite):
    """What a scheduler relies on in a job store that can claim slots, and keeps the Runs.

    Subclass it as `JobStoreSuite`, the tests of which are among these; ``make_store`` returns a
    `ClaimingJobStore`.
    """

    # -- waiting Runs ---------------------------------------------------------------------------

    def waiting(self, attention_at: datetime | None, **changes: object) -> Run:
        """Return a waiting Run of the job "j"."""
        run = run_for(self.make_job("j"), NOON, "1", RunKind.RECOVERY, S.WAITING)
        return replace(run, attention_at=attention_at, **changes)

    def open_runs(self, store: ClaimingJobStore, *runs: Run, next_run_time: datetime) -> None:
        """Let the one job that is due be decided so that ``runs`` are opened."""
        won = store.claim(NOON, lambda due: Plan(next_run_time, due.slot, runs), 1, ()).won
        assert len(won) == 1

    def test_a_waiting_run_is_to_be_woken_for_when_it_needs_attention(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        self.open_runs(store, self.waiting(LATER), next_run_time=LATER + SECOND)
        assert store.next_wake(()) == LATER
        assert store.next_wake({"j"}) == LATER

    def test_a_waiting_run_is_asked_about_when_it_needs_attention(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        run = self.waiting(NOON + SECOND)
        self.open_runs(store, run, next_run_time=LATER)
        assert store.claim_waiting(NOON, starting, 10) == []

        ((started, job),) = store.claim_waiting(NOON + SECOND, starting, 10)
        assert (started.id, started.state, job.id) == (run.id, S.RUNNING, "j")
        assert [found.state for found in store.get_runs(RunQuery())] == ["running"]
        assert store.claim_waiting(LATER, starting, 10) == []
        assert store.next_wake(()) == LATER

    def test_a_run_that_waits_for_its_batch_is_not_asked_about(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        self.open_runs(store, self.waiting(None), next_run_time=LATER)
        assert store.claim_waiting(LATER, starting, 10) == []
        assert store.next_wake(()) == LATER

    def test_waiting_runs_are_started_earliest_first_and_no_more_than_asked_for(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        runs = [
            self.waiting(NOON + number * SECOND, scheduled_at=NOON + number * SECOND)
            for number in (3, 1, 2)
        ]
        self.open_runs(store, *runs, next_run_time=LATER)
        started = store.claim_waiting(LATER, starting, 2)
        assert [run.id for run, _ in started] == [runs[1].id, runs[2].id]
        started = store.claim_waiting(LATER, starting, 2)
        assert [run.id for run, _ in started] == [runs[0].id]

    def test_a_waiting_run_of_a_removed_job_is_asked_about_without_a_job(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        self.open_runs(store, self.waiting(NOON), next_run_time=LATER)
        store.remove_job("j")

        def decide(run: Run, job: Job | None) -> Transition:
            assert job is None
            return Transition(run, S.CANCELLED, LATER, reason="its job was removed")

        assert store.claim_waiting(LATER, decide, 10) == []
        (run,) = store.get_runs(RunQuery())
        assert (run.state, run.reason) == (S.CANCELLED, "its job was removed")
        assert store.next_wake(()) is None

    def test_a_waiting_run_that_holds_its_definition_needs_no_stored_job(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))

        def last(due: Due) -> Plan:
            run = replace(run_of(due), state=S.WAITING, attention_at=LATER)
            return Plan(None, due.slot, (replace(run, definition=due.job),))

        store.claim(NOON, last, 1, ())
        assert store.lookup_job("j") is None
        ((run, job),) = store.claim_waiting(LATER, starting, 10)
        assert (run.job_id, job.id, job.name) == ("j", "j", "work")

    # -- Runs outside the schedule --------------------------------------------------------------

    def test_a_run_is_opened_outside_the_schedule(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", LATER))
        told: list[tuple[str, int]] = []

        def decide(job: Job, incarnation: str, live: Live) -> Run:
            told.append((job.id, live.instances))
            return run_for(job, NOON, incarnation, RunKind.MANUAL)

        run, job = store.open_run("j", decide)
        store.open_run("j", decide)
        assert job.id == "j"
        assert job.next_run_time == LATER
        assert run in store.get_runs(RunQuery())
        assert told == [("j", 0), ("j", 1)]

    def test_a_paused_job_has_runs_outside_the_schedule_too(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", None))
        run_by_hand(store)
        assert len(store.get_runs(RunQuery())) == 1

    def test_a_run_that_was_skipped_is_kept_and_not_live(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        store.open_run(
            "j",
            lambda job, incarnation, live: run_for(
                job, NOON, incarnation, RunKind.MANUAL, S.SKIPPED
            ),
        )
        assert [run.state for run in store.get_runs(RunQuery())] == ["skipped"]
        (due,) = self.claim_all(store)
        assert due.live == Live()

    def test_no_run_is_opened_of_a_job_that_is_not_there(self, store: ClaimingJobStore) -> None:
        with pytest.raises(JobLookupError, match="No job by the id of j was found"):
            run_by_hand(store)
        assert store.get_runs(RunQuery()) == []

    # -- transitions ----------------------------------------------------------------------------

    def test_an_end_is_written_with_all_that_is_known_of_it(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        self.claim_all(store)
        (run,) = store.get_runs(RunQuery())
        assert store.apply(
            [Transition(run, S.FAILED, LATER, NOON + SECOND, "why", "ValueError: no")]
        ) == [True]
        expected = replace(
            run,
            state=S.FAILED,
            ended_at=LATER,
            started_at=NOON + SECOND,
            reason="why",
            error="ValueError: no",
        )
        assert store.get_runs(RunQuery()) == [expected]

    def test_a_result_that_comes_too_late_changes_nothing(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        self.claim_all(store)
        (run,) = store.get_runs(RunQuery())
        store.apply([Transition(run, S.LOST, LATER, reason="its node died")])
        lost = store.get_runs(RunQuery())
        follow_up = self.waiting(LATER, attempt=2)
        late = Transition(run, S.SUCCEEDED, LATER + SECOND, follow_up=follow_up)
        assert store.apply([late]) == [False]
        assert store.get_runs(RunQuery()) == lost
        assert [found.state for found in lost] == [S.LOST]

    def test_what_is_not_on_record_cannot_end(self, store: ClaimingJobStore) -> None:
        unknown = run_for(self.make_job("j"), NOON, "1")
        assert store.apply([Transition(unknown, S.SUCCEEDED, LATER)]) == [False]
        assert store.get_runs(RunQuery()) == []

    def test_each_transition_has_its_own_answer(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON))
        self.claim_all(store)
        a, b = sorted(store.get_runs(RunQuery()), key=lambda run: run.job_id)
        ends = [
            Transition(a, S.SUCCEEDED, LATER),
            Transition(a, S.FAILED, LATER),
            Transition(b, S.CANCELLED, LATER),
        ]
        assert store.apply(ends) == [True, False, True]
        states = {run.job_id: run.state for run in store.get_runs(RunQuery())}
        assert states == {"a": S.SUCCEEDED, "b": S.CANCELLED}
        assert store.apply([]) == []

    def test_a_waiting_run_begins_and_then_ends(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        waiting = self.waiting(None)
        self.open_runs(store, waiting, next_run_time=LATER)
        assert store.apply([Transition(waiting, S.RUNNING)]) == [True]
        (running,) = store.get_runs(RunQuery())
        assert (running.id, running.state) == (waiting.id, S.RUNNING)
        assert store.apply([Transition(waiting, S.RUNNING)]) == [False]
        assert store.apply([Transition(running, S.SUCCEEDED, LATER)]) == [True]
        (ended,) = store.get_runs(RunQuery())
        assert (ended.id, ended.state) == (waiting.id, S.SUCCEEDED)

    def test_what_follows_is_opened_in_the_same_write(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        self.claim_all(store)
        (run,) = store.get_runs(RunQuery())
        follow_up = self.waiting(NOON + SECOND, attempt=2, opened_at=NOON + SECOND)
        store.apply([Transition(run, S.FAILED, NOON, follow_up=follow_up)])
        assert [(found.attempt, found.state) for found in store.get_runs(RunQuery())] == [
            (2, S.WAITING),
            (1, S.FAILED),
        ]
        assert store.next_wake(()) == NOON + SECOND
        (due,) = self.claim_all(store, LATER)
        assert due.live.instances == 1

    # -- the record -----------------------------------------------------------------------------

    def test_the_newest_runs_come_first(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON + SECOND))
        for number in range(4):
            now = NOON + number * SECOND
            store.claim(now, lambda due: replace_next(opening(due), due.slot + SECOND), 10, ())
        found = store.get_runs(RunQuery())
        opened = [run.opened_at for run in found]
        assert opened == sorted(opened, reverse=True)
        assert Counter(run.job_id for run in found) == {"a": 4, "b": 3}
        assert store.get_runs(RunQuery(limit=3)) == found[:3]
        assert store.get_runs(RunQuery("a")) == [run for run in found if run.job_id == "a"]
        assert store.get_runs(RunQuery("a", limit=1)) == [
            next(run for run in found if run.job_id == "a")
        ]
        assert store.get_runs(RunQuery("unknown")) == []
        since = NOON + 2 * SECOND
        assert store.get_runs(RunQuery(since=since)) == [
            run for run in found if run.scheduled_at >= since
        ]

    def test_runs_are_found_by_their_state(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON), ("c", NOON))
        self.claim_all(store)
        a, b, c = sorted(store.get_runs(RunQuery()), key=lambda run: run.job_id)
        store.apply([Transition(a, S.SUCCEEDED, LATER), Transition(b, S.FAILED, LATER)])
        for state, job_id in ((S.SUCCEEDED, "a"), (S.FAILED, "b"), (S.RUNNING, "c")):
            assert [run.job_id for run in store.get_runs(RunQuery(state=state))] == [job_id]
        assert store.get_runs(RunQuery(state=S.WAITING)) == []
        assert store.get_runs(RunQuery("c", S.RUNNING)) == [c]
        assert store.get_runs(RunQuery("c", S.FAILED)) == []

    def test_runs_are_kept_when_their_job_is_removed(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        self.claim_all(store)
        store.remove_job("j")
        (run,) = store.get_runs(RunQuery("j"))
        assert store.apply([Transition(run, S.SUCCEEDED, LATER)]) == [True]
        (ended,) = store.get_runs(RunQuery("j"))
        assert (ended.id, ended.state) == (run.id, S.SUCCEEDED)

    def test_changes_of_a_job_are_kept_oldest_first(self, store: ClaimingJobStore) -> None:
        changes = [
            JobChange("j", NOON, JobChangeKind.PAUSED),
            JobChange("j", LATER, JobChangeKind.RESUMED, LATER + SECOND),
        ]
        store.note(changes[0])
        store.note(JobChange("other", NOON, JobChangeKind.REMOVED))
        store.note(changes[1])
        assert store.get_changes("j") == changes
        assert store.get_changes("unknown") == []

    # -- many jobs at once ----------------------------------------------------------------------

    def test_jobs_are_added_together(self, store: ClaimingJobStore) -> None:
        store.add_jobs([self.make_job("b"), self.make_job("a", LATER)], NOON)
        assert ids(store.get_all_jobs()) == ["b", "a"]
        (due,) = self.claim_all(store)
        assert (due.job.id, due.born) == ("b", NOON)

    def test_jobs_are_added_all_or_none(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("b", LATER))
        jobs = [self.make_job(id, name="new") for id in ("a", "b", "c")]
        with pytest.raises(ConflictingIdError, match="b"):
            store.add_jobs(jobs, NOON)
        assert [(job.id, job.name) for job in store.get_all_jobs()] == [("b", "work")]
        assert self.claim_all(store) == []

    def test_of_jobs_with_one_id_none_is_added(self, store: ClaimingJobStore) -> None:
        with pytest.raises(ConflictingIdError, match="a"):
            store.add_jobs([self.make_job("a"), self.make_job("a"), self.make_job("b")], NOON)
        assert store.get_all_jobs() == []

    def test_jobs_are_found_by_what_they_are(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("b", LATER), ("a", LATER), ("c", NOON), ("p", None))
        store.add_job(self.make_job("x", LATER + SECOND, executor="pool"))

        def found(**asked: Any) -> list[str]:
            return ids(store.find_jobs(JobQuery(**asked)))

        assert found() == ["c", "a", "b", "x", "p"]
        assert found(ids=frozenset({"p", "a", "unknown"})) == ["a", "p"]
        assert found(ids=frozenset()) == []
        assert found(executor="pool") == ["x"]
        assert found(before=LATER) == ["c"]
        assert found(before=LATER + SECOND, limit=2) == ["c", "a"]
        assert found(paused=True) == ["p"]
        assert found(paused=False, executor="default") == ["c", "a", "b"]
        assert found(limit=1) == ["c"]

    def test_jobs_are_found_page_by_page(self, store: ClaimingJobStore) -> None:
        self.add_jobs(store, ("b", LATER), ("a", LATER), ("c", NOON), ("q", None), ("p", None))
        pages: list[list[str]] = []
        after = None
        while page := store.find_jobs(JobQuery(limit=2, after=after)):
            pages.append(ids(page))
            after = page[-1].next_run_time, page[-1].id
        assert pages == [["c", "a"], ["b", "p"], ["q"]]

    # -- one job in the place of another --------------------------------------------------------

    def test_a_job_takes_the_place_of_another_and_begins_anew(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        (before,) = self.claim_all(store)
        asked: list[str] = []

        def keeps_phase(stored: Job) -> bool:
            asked.append(stored.name)
            return False

        replacement = self.make_job("j", name="new")
        assert store.replace_job(replacement, keeps_phase, LATER) is False
        assert set(asked) == {"work"}
        (after,) = self.claim_all(store)
        assert (after.job.name, after.born, after.last_slot) == ("new", LATER, None)
        assert after.incarnation != before.incarnation

    def test_a_job_that_keeps_the_phase_goes_on_in_the_same_incarnation(
        self, store: ClaimingJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        (before,) = self.claim_all(store)
        replacement = self.make_job("j", LATER + SECOND, name="new")

        def keeps_phase(stored: Job) -> bool:
            replacement.next_run_time = stored.next_run_time
            return True

        assert store.replace_job(replacement, keeps_phase, LATER) is True
        (after,) = self.claim_all(store, LATER)
        assert (after.job.name, after.slot, after.last_slot) == ("new", LATER, NOON)
        assert (after.incarnation, after.born) == (before.incarnation, before.born)

    def test_a_job_that_is_not_there_cannot_be_replaced(self, store: ClaimingJobStore) -> None:
        with pytest.raises(JobLookupError, match="No job by the id of j was found"):
            store.replace_job(self.make_job("j"), lambda stored: True, NOON)
        assert store.get_all_jobs() == []
