"""What every job store that several nodes share must hold, as tests: for their authors.

Needs pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from apscheduler.job import Job
from apscheduler.jobstores.base import (
    ConflictingIdError,
    SharedJobStore,
    UnreadableJobError,
)
from apscheduler.runs import (
    Due,
    JobQuery,
    Live,
    Plan,
    Retention,
    Run,
    RunKind,
    RunQuery,
    RunState,
    Transition,
    replace,
)
from apscheduler.testing.decisions import SECOND, opening, run_for, run_of
from apscheduler.testing.jobstores import LATER, NOON, ids
from apscheduler.testing.shared_claims import named
from apscheduler.testing.shared_edits import SharedEditSuite
from apscheduler.testing.shared_nodes import node

S = RunState
DAY = timedelta(days=1)


class SharedJobStoreSuite(SharedEditSuite):
    """What schedulers rely on in a job store that they share.

    Subclass it as `ClaimingJobStoreSuite`, the tests of which are among these. ``make_store``
    returns a `SharedJobStore`; all that it makes for one test share their jobs. What cannot be
    done through the seam is done by `expire_lease`, `forget_additions` and `spoil`.
    """

    def spoil(self, store: SharedJobStore, *job_ids: str) -> Callable[[], None]:
        """Make what is stored of jobs unreadable, and return what mends it; a subclass says how.

        Their next run times stay, as far as they are stored beside.
        """
        raise NotImplementedError(f"{type(self).__name__} must define spoil()")

    # -- the record -----------------------------------------------------------------------------

    def record(self, store: SharedJobStore) -> list[Run]:
        """Open Runs of two jobs on two nodes, four at each moment; return them newest first."""
        self.add_jobs(store, ("a", NOON), ("b", NOON))
        for number in range(4):
            moment = NOON + number * SECOND

            def decide(due: Due, moment: datetime = moment) -> Plan:
                first = replace(run_of(due), node=f"n{due.job.id}")
                second = replace(run_of(due), node="n", attempt=2)
                return Plan(moment + SECOND, due.slot, (first, second))

            assert len(store.claim(moment, decide, 10, ()).won) == 2
        runs = store.get_runs(RunQuery(limit=1000))
        assert len(runs) == 16
        assert runs == sorted(runs, key=lambda run: (run.opened_at, run.id), reverse=True)
        return runs

    def test_runs_are_found_by_their_node_and_time(self, store: SharedJobStore) -> None:
        runs = self.record(store)
        for query in (
            RunQuery(node="na"),
            RunQuery(node="unknown"),
            RunQuery(until=NOON + SECOND),
            RunQuery(since=NOON + SECOND, until=NOON + 2 * SECOND),
            RunQuery("b", S.RUNNING, node="n", until=NOON + 2 * SECOND),
            RunQuery(after=runs[5]),
            RunQuery("a", after=runs[5], node="n", limit=2),
        ):
            expected = [run for run in runs if query.wants(run)][: query.limit]
            assert store.get_runs(query) == expected, query

    @pytest.mark.parametrize("size", [1, 3, 16])
    def test_pages_of_runs_hold_each_of_them_once(self, store: SharedJobStore, size: int) -> None:
        runs = self.record(store)
        pages: list[Run] = []
        while page := store.get_runs(RunQuery(limit=size, after=pages[-1] if pages else None)):
            assert len(page) <= size
            pages += page
        assert pages == runs

    # -- retention ------------------------------------------------------------------------------

    def run_to_ends(
        self, store: SharedJobStore, *ends: RunState | None, days: float = 0
    ) -> list[str]:
        """Run the job "j" to each of these ends, None being none; return the ids of the Runs.

        :param days: how long after noon; a second lies between two of them
        """
        runs: list[str] = []
        for number, end in enumerate(ends):
            moment = NOON + timedelta(days=days, seconds=number)

            def decide(job: Job, incarnation: str, live: Live, at: datetime = moment) -> Run:
                # The ids of Runs sort by time.
                run_id = f"{round(at.timestamp() * 1e6):014x}"
                run = run_for(job, at, incarnation, RunKind.MANUAL)
                return replace(run, id=run_id, batch=run_id)

            run, _ = store.open_run("j", decide)
            runs.append(run.id)
            if end is not None:
                assert store.apply([Transition(run, end, moment)]) == [True]
        return runs

    def pruned(self, store: SharedJobStore, now: datetime = NOON + DAY) -> list[str]:
        """Prune until nothing is left to do; return what Runs are kept, the oldest first."""
        before = len(store.get_runs(RunQuery(limit=10_000)))
        deleted = 0
        while batch := store.prune(now):
            deleted += batch
        kept = [run.id for run in store.get_runs(RunQuery(limit=10_000))][::-1]
        assert len(kept) == before - deleted
        return kept

    @contextmanager
    def keeping(self, retention: Retention) -> Iterator[SharedJobStore]:
        """Lend a started job store that holds one job, and keeps its Runs for so long."""
        store = self.make_store()
        store.retention = retention
        store.start(self.scheduler, "store")
        self.add_jobs(store, ("j", None))
        yield store
        store.shutdown()

    def test_the_newest_runs_of_a_job_are_kept(self) -> None:
        with self.keeping(Retention(runs_per_job=3, age=None)) as store:
            runs = self.run_to_ends(store, *[S.SUCCEEDED] * 8)
            assert self.pruned(store) == runs[-3:]
            assert self.pruned(store) == runs[-3:]

    def test_runs_from_before_the_store_was_started_are_not_kept_any_longer(self) -> None:
        retention = Retention(runs_per_job=3, age=None)
        with self.keeping(retention) as store:
            runs = self.run_to_ends(store, *[S.SUCCEEDED] * 8)
        again = self.make_store()
        again.retention = retention
        again.start(self.scheduler, "store")
        assert self.pruned(again) == runs[-3:]
        again.shutdown()

    def test_the_last_success_and_the_last_failure_of_a_job_are_kept(self) -> None:
        with self.keeping(Retention(runs_per_job=2, age=DAY)) as store:
            ends = [S.SUCCEEDED, S.SUCCEEDED, S.FAILED, S.FAILED, *[S.SKIPPED] * 4]
            runs = self.run_to_ends(store, *ends)
            assert self.pruned(store, NOON) == [runs[1], runs[3], runs[6], runs[7]]
            assert self.pruned(store, NOON + 2 * DAY) == [runs[1], runs[3]]

    def test_runs_that_have_not_ended_are_kept(self) -> None:
        with self.keeping(Retention(runs_per_job=1, age=DAY)) as store:
            runs = self.run_to_ends(store, None, S.SUCCEEDED, None, S.SUCCEEDED)
            assert self.pruned(store, NOON + 2 * DAY) == [runs[0], runs[2], runs[3]]

    def test_runs_are_kept_for_so_long(self) -> None:
        with self.keeping(Retention(runs_per_job=None, age=2 * DAY)) as store:
            old = self.run_to_ends(store, *[S.MISSED] * 3)
            young = self.run_to_ends(store, *[S.MISSED] * 3, days=1.5)
            assert self.pruned(store, NOON + DAY) == old + young
            assert self.pruned(store, NOON + 3 * DAY) == young
            assert self.pruned(store, NOON + 4 * DAY) == []

    def test_without_a_limit_all_runs_are_kept(self) -> None:
        with self.keeping(Retention(None, None)) as store:
            runs = self.run_to_ends(store, *[S.SUCCEEDED] * 150)
            assert self.pruned(store, NOON + 1000 * DAY) == runs

    # -- quarantine -----------------------------------------------------------------------------

    def test_a_job_that_cannot_be_read_is_left_out_everywhere(self, store: SharedJobStore) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON + SECOND))
        self.spoil(store, "a")
        assert store.lookup_job("a") is None
        assert ids(store.get_all_jobs()) == ["b"]
        assert ids(store.get_due_jobs(LATER)) == ["b"]
        assert ids(store.find_jobs(JobQuery(ids=frozenset({"a", "b"})))) == ["b"]
        assert store.get_next_run_time() == NOON + SECOND
        assert store.next_wake(()) == NOON + SECOND
        assert [due.job.id for due in self.claim_all(store, LATER)] == ["b"]
        assert store.get_runs(RunQuery("a")) == []

    def test_a_job_that_cannot_be_read_is_left_out_by_whoever_claims_first(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON))
        self.spoil(store, "a")
        claims = other_store.claim(NOON, opening, 1, ())
        assert [due.job.id for due, _ in claims.won] == ["b"]
        assert claims.failed == []
        assert other_store.next_wake(()) == LATER

    def test_a_job_that_cannot_be_read_is_told_of(
        self, store: SharedJobStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.add_jobs(store, ("due", NOON), ("later", LATER + SECOND), ("sound", LATER))
        self.spoil(store, "due", "later")
        for _ in range(3):
            self.claim_all(store)
            store.get_all_jobs()
        due, later = sorted(store.get_quarantined_jobs(), key=lambda job: job.job_id)
        assert (due.job_id, due.jobstore, due.since) == ("due", "store", NOON)
        assert (later.job_id, later.jobstore) == ("later", "store")
        assert due.reason
        told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(told) == 2
        assert "due" in "".join(told)

    def test_a_job_that_cannot_be_read_cannot_be_changed_and_keeps_its_id(
        self, store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        mend = self.spoil(store, "j")
        with pytest.raises(UnreadableJobError, match="j"):
            store.modify_job("j", named("renamed"))
        with pytest.raises(ConflictingIdError):
            store.add_job(self.make_job("j"))
        mend()
        store.get_quarantined_jobs()
        assert self.found(store).name == "work"

    def test_a_job_that_cannot_be_read_can_be_removed(self, store: SharedJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        self.spoil(store, "j")
        assert store.lookup_job("j") is None
        store.remove_job("j")
        assert store.get_quarantined_jobs() == []
        self.add_jobs(store, ("j", LATER))
        assert self.found(store).next_run_time == LATER

    def test_all_jobs_can_be_removed_though_one_cannot_be_read(
        self, store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON))
        self.spoil(store, "a")
        self.claim_all(store)
        store.remove_all_jobs()
        assert store.get_quarantined_jobs() == []
        self.add_jobs(store, ("a", NOON))
        assert ids(store.get_all_jobs()) == ["a"]

    def test_a_job_that_cannot_be_read_can_be_replaced(self, store: SharedJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        (before,) = self.claim_all(store)
        self.spoil(store, "j")
        assert store.lookup_job("j") is None
        assert not store.replace_job(self.make_job("j", name="new"), lambda old: True, NOON)
        assert store.get_quarantined_jobs() == []
        (after,) = self.claim_all(store)
        assert (after.job.name, after.born) == ("new", NOON)
        assert after.incarnation != before.incarnation

    @pytest.mark.parametrize("look", ["get_quarantined_jobs", "beat"])
    def test_a_job_that_was_mended_is_read_again(self, store: SharedJobStore, look: str) -> None:
        self.add_jobs(store, ("j", NOON))
        store.beat(node("a"))
        mend = self.spoil(store, "j")
        assert self.claim_all(store) == []
        mend()
        if look == "beat":
            store.beat(node("a"))
        else:
            assert store.get_quarantined_jobs() == []
        assert store.next_wake(()) == NOON
        assert [due.job.id for due in self.claim_all(store)] == ["j"]
        assert self.found(store).next_run_time == LATER

    def test_a_store_that_is_started_again_tries_every_job_again(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        mend = self.spoil(store, "j")
        assert self.claim_all(other_store) == []
        mend()
        other_store.shutdown()
        other_store.start(self.scheduler, "store")
        assert [due.job.id for due in self.claim_all(other_store)] == ["j"]

    @pytest.mark.slow
    def test_many_jobs_that_cannot_be_read_do_not_hide_the_next_one(
        self, store: SharedJobStore
    ) -> None:
        jobs = [f"{number:05}" for number in range(10_000)]
        store.add_jobs([self.make_job(id) for id in jobs])
        self.spoil(store, *jobs)
        self.add_jobs(store, ("z", NOON))
        ((due, _),) = store.claim(NOON, opening, 1, ()).won
        assert due.job.id == "z"
        assert store.next_wake(()) == LATER
        assert store.get_next_run_time() == LATER
        assert len(store.get_quarantined_jobs()) == 10_000
