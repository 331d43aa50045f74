"""The tests of how several nodes claim from one job store, for the authors of job stores.

Needs pytest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

import pytest

from apscheduler.job import Job
from apscheduler.jobstores.base import SharedJobStore
from apscheduler.runs import (
    Due,
    Live,
    Plan,
    Run,
    RunKind,
    RunQuery,
    RunState,
    Transition,
)
from apscheduler.testing.claiming import ClaimingJobStoreSuite
from apscheduler.testing.claims import PATIENCE
from apscheduler.testing.decisions import (
    SECOND,
    opening,
    replace_next,
    run_for,
    starting,
    to_be_run_at,
)
from apscheduler.testing.jobstores import LATER, NOON, ids

S = RunState
T = TypeVar("T")


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Call functions at the same time, each in a thread of its own, and return their answers."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [begun.result(PATIENCE) for begun in [threads.submit(call) for call in calls]]


def named(name: str) -> Callable[[Job], None]:
    """Return a change of a job."""
    return lambda job: setattr(job, "name", name)


def every_second(due: Due) -> Plan:
    """Decide that one Run is opened, and that the job runs again a second later."""
    return replace_next(opening(due), due.slot + SECOND)


class SharedClaimSuite(ClaimingJobStoreSuite):
    """What nodes rely on that claim slots from one job store at the same time."""

    def make_store(self) -> SharedJobStore:
        """Return a new job store that is not started; a subclass must say how.

        All that are made for one test share their jobs, of which there are none at first.
        """
        raise NotImplementedError(f"{type(self).__name__} must define make_store()")

    def forget_additions(self, store: SharedJobStore, *job_ids: str) -> None:
        """Leave of stored jobs only what 3.x stores; a subclass must say how."""
        raise NotImplementedError(f"{type(self).__name__} must define forget_additions()")

    @pytest.fixture
    def store(self) -> Iterator[SharedJobStore]:
        """Lend a started job store to a test."""
        yield from self._lent()

    @pytest.fixture
    def other_store(self, store: SharedJobStore) -> Iterator[SharedJobStore]:
        """Lend a started job store that shares its jobs with ``store``."""
        yield from self._lent()

    def _lent(self) -> Iterator[SharedJobStore]:
        store = self.make_store()
        store.start(self.scheduler, "store")
        assert store.can_be_shared
        yield store
        store.shutdown()

    def found(self, store: SharedJobStore, job_id: str = "j") -> Job:
        """Return a job that is there."""
        job = store.lookup_job(job_id)
        assert job is not None
        return job

    # -- one node's writes are seen by all ------------------------------------------------------

    def test_what_one_node_stores_is_seen_by_all(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("b", LATER))
        assert ids(other_store.get_all_jobs()) == ["a", "b"]
        assert other_store.next_wake(()) == NOON
        other_store.remove_job("a")
        other_store.modify_job("b", named("renamed"))
        assert store.lookup_job("a") is None
        assert self.found(store, "b").name == "renamed"
        assert store.next_wake(()) == LATER

    def test_a_slot_that_one_node_has_won_is_not_due_for_another(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        assert [due.slot for due in self.claim_all(store)] == [NOON]
        assert self.claim_all(other_store) == []
        assert [run.job_id for run in other_store.get_runs(RunQuery())] == ["j"]

    def test_what_is_live_is_counted_over_all_nodes(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        self.claim_all(store)
        (due,) = self.claim_all(other_store, LATER)
        assert due.live == Live(1, NOON)

    def test_a_run_that_one_node_opens_counts_for_the_others(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        told: list[int] = []

        def decide(job: Job, incarnation: str, live: Live) -> Run:
            told.append(live.instances)
            return run_for(job, NOON, incarnation, RunKind.MANUAL)

        store.open_run("j", decide)
        other_store.open_run("j", decide)
        assert told == [0, 1]
        (due,) = self.claim_all(other_store)
        assert due.live.instances == 2

    def test_the_incarnation_of_a_job_is_the_same_for_all(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        store.add_job(self.make_job("j"), NOON - SECOND)
        (first,) = self.claim_all(store)
        (second,) = self.claim_all(other_store, LATER)
        assert second.incarnation == first.incarnation
        assert (second.born, second.last_slot) == (NOON - SECOND, NOON)

    # -- at the same time -----------------------------------------------------------------------

    def test_of_several_nodes_one_wins_each_slot(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        jobs = [f"{number:03}" for number in range(30)]
        store.add_jobs([self.make_job(id) for id in jobs])
        until = NOON + 4 * SECOND

        def claim(store: SharedJobStore) -> list[tuple[str, datetime]]:
            won: list[tuple[str, datetime]] = []
            while claimed := store.claim(until, every_second, 7, ()).won:
                won += [(due.job.id, due.slot) for due, _ in claimed]
            return won

        calls = [lambda store=store: claim(store) for store in (store, other_store) * 2]
        won = Counter(slot for claimed in at_once(*calls) for slot in claimed)
        won.update(claim(store))
        assert won == Counter((id, NOON + number * SECOND) for id in jobs for number in range(5))
        opened = store.get_runs(RunQuery(limit=1000))
        assert Counter((run.job_id, run.scheduled_at) for run in opened) == won

    def test_a_node_that_decides_keeps_no_other_one_waiting(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("b", NOON))
        won: list[str] = []

        def decide(due: Due) -> Plan:
            if due.job.id == "a":
                won.extend(due.job.id for due in at_once(lambda: self.claim_all(other_store))[0])
            return opening(due)

        won += [due.job.id for due, _ in store.claim(NOON, decide, 1, ()).won]
        won += [due.job.id for due in self.claim_all(store)]
        assert sorted(won) == ["a", "b"]
        assert sorted(run.job_id for run in store.get_runs(RunQuery())) == ["a", "b"]

    def test_an_edit_by_another_node_during_a_decision_is_not_lost(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        edits: list[Future[Job]] = []

        def decide(due: Due) -> Plan:
            if not edits:
                edits.append(threads.submit(other_store.modify_job, "j", named("renamed")))
                if not store.decides_under_lock:
                    edits[0].result(PATIENCE)
            return opening(due)

        with ThreadPoolExecutor(1) as threads:
            won = store.claim(NOON, decide, 1, ()).won
            edits[0].result(PATIENCE)
        assert len(won) + len(self.claim_all(store)) == 1
        job = self.found(store)
        assert (job.name, job.next_run_time) == ("renamed", LATER)
        assert len(store.get_runs(RunQuery())) == 1

    def test_of_several_nodes_one_starts_each_waiting_run(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        runs = [
            self.waiting(
                NOON, scheduled_at=NOON + number * SECOND, id=f"{number}", batch=f"{number}"
            )
            for number in range(30)
        ]
        self.open_runs(store, *runs, next_run_time=LATER)

        def start(store: SharedJobStore) -> list[str]:
            started: list[str] = []
            while claimed := store.claim_waiting(NOON, starting, 4):
                started += [run.id for run, _ in claimed]
            return started

        calls = [lambda store=store: start(store) for store in (store, other_store) * 2]
        started = Counter(id for claimed in at_once(*calls) for id in claimed)
        started.update(start(store))
        assert started == Counter(run.id for run in runs)

    def test_of_two_ends_of_a_run_one_is_carried_out(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, *[(f"{number:02}", NOON) for number in range(20)])
        self.claim_all(store)
        runs = store.get_runs(RunQuery())

        def end(store: SharedJobStore, state: RunState) -> list[bool]:
            return store.apply([Transition(run, state, LATER) for run in runs])

        one, other = at_once(lambda: end(store, S.SUCCEEDED), lambda: end(other_store, S.FAILED))
        assert [first + second for first, second in zip(one, other, strict=True)] == [1] * 20
        states = {run.id: run.state for run in store.get_runs(RunQuery())}
        expected = [S.SUCCEEDED if first else S.FAILED for first in one]
        assert [states[run.id] for run in runs] == expected

    # -- slots that are decided already ---------------------------------------------------------

    def test_a_slot_that_is_decided_already_is_left_out_and_its_job_moves_on(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("j", NOON), ("z", LATER))
        self.claim_all(store)
        store.modify_job("a", to_be_run_at(LATER + SECOND))
        # An edit that knows nothing of what was decided.
        store.modify_job("j", to_be_run_at(NOON))

        claims = other_store.claim(LATER, opening, 10, ())
        assert [(due.job.id, due.slot) for due, _ in claims.won] == [("z", LATER)]
        assert claims.failed == []
        assert self.found(store).next_run_time == LATER
        assert [run.scheduled_at for run in store.get_runs(RunQuery("j"))] == [NOON]
        assert [due.job.id for due in self.claim_all(store, LATER)] == ["j"]

    # -- executors ------------------------------------------------------------------------------

    def test_only_jobs_of_the_executors_that_are_named_are_asked_about(
        self, store: SharedJobStore
    ) -> None:
        for id, executor in (("a", "one"), ("b", "two"), ("c", "three")):
            store.add_job(self.make_job(id, executor=executor))
        won = store.claim(NOON, opening, 1, (), {"two", "three"}).won
        assert [due.job.id for due, _ in won] == ["b"]
        won = store.claim(NOON, opening, 10, (), {"two", "three"}).won
        assert [due.job.id for due, _ in won] == ["c"]
        assert store.claim(NOON, opening, 10, (), ()).won == []
        assert [due.job.id for due in self.claim_all(store)] == ["a"]

    def test_a_job_that_changes_its_executor_is_asked_about_by_the_new_one(
        self, store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        store.modify_job("j", lambda job: setattr(job, "executor", "other"))
        assert store.claim(NOON, opening, 1, (), {"default"}).won == []
        (won,) = store.claim(NOON, opening, 1, (), {"other"}).won
        assert won[0].job.executor == "other"

    def test_only_the_executors_that_are_named_are_to_be_woken_for(
        self, store: SharedJobStore
    ) -> None:
        store.add_job(self.make_job("a", executor="one"))
        store.add_job(self.make_job("b", LATER, executor="two"))
        assert store.next_wake((), {"one", "two"}) == NOON
        assert store.next_wake((), {"two"}) == LATER
        assert store.next_wake({"b"}, {"two"}) is None
        assert store.next_wake((), {"three"}) is None
        assert store.next_wake(()) == NOON

    def test_jobs_of_3_x_are_asked_about_by_the_executors_that_they_name(
        self, store: SharedJobStore
    ) -> None:
        for id, executor in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "two")):
            store.add_job(self.make_job(id, executor=executor), NOON - SECOND)
        self.forget_additions(store, "a", "b", "c", "d")
        assert store.next_wake((), {"two"}) == NOON
        ((due, _),) = store.claim(NOON, opening, 1, (), {"two"}).won
        assert (due.job.id, due.incarnation, due.born, due.last_slot) == ("c", "", None, None)
        for executors, expected in (({"two"}, ["d"]), ({"two"}, []), ({"one"}, ["a", "b"])):
            won = store.claim(NOON, opening, 10, (), executors).won
            assert [due.job.id for due, _ in won] == expected

    def test_only_runs_of_the_executors_that_are_named_are_started(
        self, store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        one, two = (
            self.waiting(NOON, executor=executor, scheduled_at=NOON + number * SECOND)
            for number, executor in enumerate(("one", "two"))
        )
        self.open_runs(store, one, two, next_run_time=LATER)
        assert store.next_wake((), {"three"}) is None
        assert store.next_wake((), {"two"}) == NOON
        assert store.claim_waiting(NOON, starting, 10, {"three"}) == []
        started = store.claim_waiting(NOON, starting, 1, {"two"})
        assert [run.id for run, _ in started] == [two.id]
        started = store.claim_waiting(NOON, starting, 10)
        assert [run.id for run, _ in started] == [one.id]

    @pytest.mark.parametrize(("node", "expected"), [("another", "another"), (None, "node")])
    def test_a_run_that_is_started_belongs_to_the_node_that_is_named(
        self, store: SharedJobStore, node: str | None, expected: str
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        self.open_runs(store, self.waiting(NOON), next_run_time=LATER)
        ((started, _),) = store.claim_waiting(NOON, starting, 10, None, node)
        assert started.node == expected
        assert [run.node for run in store.get_runs(RunQuery())] == [expected]
        assert store.apply([Transition(started, S.SUCCEEDED, LATER)]) == [True]

    # -- many that stand in the way -------------------------------------------------------------

    @pytest.mark.slow
    def test_many_jobs_that_are_left_out_do_not_hide_the_next_one(
        self, store: SharedJobStore
    ) -> None:
        jobs = [f"{number:05}" for number in range(10_001)]
        store.add_jobs([self.make_job(id) for id in jobs])
        without = set(jobs[:-1])
        ((due, _),) = store.claim(NOON, opening, 1, without).won
        assert due.job.id == jobs[-1]
        assert store.next_wake(without) == LATER

    @pytest.mark.slow
    def test_many_jobs_of_3_x_for_another_executor_do_not_hide_the_next_one(
        self, store: SharedJobStore
    ) -> None:
        jobs = [f"{number:05}" for number in range(10_000)]
        store.add_jobs([self.make_job(id, executor="other") for id in jobs])
        self.forget_additions(store, *jobs)
        self.add_jobs(store, ("z", NOON))
        ((due, _),) = store.claim(NOON, opening, 1, (), {"default"}).won
        assert due.job.id == "z"
