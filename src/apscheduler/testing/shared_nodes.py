"""The tests of how nodes live and die beside each other, for the authors of job stores.

Needs pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta

import pytest

from apscheduler.jobstores.base import LeaseLostError, SharedJobStore
from apscheduler.nodes import Node
from apscheduler.runs import (
    Due,
    Plan,
    Run,
    RunKind,
    RunQuery,
    RunState,
    Transition,
    replace,
)
from apscheduler.testing.claims import PATIENCE
from apscheduler.testing.decisions import HOUR, SECOND, opening, run_of, starting
from apscheduler.testing.jobstores import LATER, NOON
from apscheduler.testing.shared_claims import SharedClaimSuite, at_once, named

S = RunState


def node(id: str, since: datetime = NOON, executors: tuple[str, ...] = ("default",)) -> Node:
    """Return a node as it says of itself what it is."""
    return Node(id, "höst", "boot", 7, "started", executors, since)


def opening_on(node_id: str) -> Callable[[Due], Plan]:
    """Return the decision that one Run is opened on a node, and its job runs an hour later."""
    return lambda due: Plan(due.slot + HOUR, due.slot, (replace(run_of(due), node=node_id),))


def ending(run: Run) -> Transition:
    """Decide how a Run ends whose node is dead."""
    after = S.LOST if run.state is S.RUNNING else S.CANCELLED
    return Transition(run, after, LATER, reason="its node is dead")


def recovering(run: Run) -> Transition:
    """Decide that a Run whose node is dead is repeated."""
    follow_up = replace(
        run,
        id=f"{run.id} again",
        state=S.WAITING,
        kind=RunKind.RECOVERY,
        attempt=run.attempt + 1,
        attention_at=LATER,
        opened_at=LATER,
    )
    return replace(ending(run), follow_up=follow_up)


class SharedNodeSuite(SharedClaimSuite):
    """What nodes rely on about each other."""

    def expire_lease(self, store: SharedJobStore, node_id: str) -> None:
        """Let the lease of a node have ended a minute ago; a subclass must say how."""
        raise NotImplementedError(f"{type(self).__name__} must define expire_lease()")

    # -- beats ----------------------------------------------------------------------------------

    def test_a_node_is_new_at_its_first_beat(self, store: SharedJobStore) -> None:
        first, second = store.beat(node("a")), store.beat(node("a"))
        assert (first.anew, first.others, first.lapsed) == (True, False, False)
        assert (second.anew, second.others, second.lapsed) == (False, False, False)
        assert first.time <= second.time
        assert first.time.utcoffset() == timedelta(0)

    def test_a_node_hears_of_others_that_are_alive(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        store.beat(node("a"))
        assert other_store.beat(node("b")).others
        assert store.beat(node("a")).others
        other_store.leave("b")
        assert not store.beat(node("a")).others

    def test_a_node_hears_of_one_that_is_dead(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        store.beat(node("a"))
        other_store.beat(node("b"))
        self.expire_lease(store, "b")
        heard = store.beat(node("a"))
        assert (heard.others, heard.lapsed) == (False, True)
        store.claim_lapsed(ending)
        assert not store.beat(node("a")).lapsed

    def test_a_node_is_known_as_it_describes_itself(self, store: SharedJobStore) -> None:
        told = node("a", NOON + timedelta(microseconds=1), ("default", "pööl"))
        time = store.beat(told).time
        (found,) = store.get_nodes()
        assert replace(found, alive_until=None) == told
        assert found.alive_until is not None
        # Clocks are read more than once.
        assert abs(found.alive_until - time - timedelta(seconds=store.lease)) < SECOND

    def test_nodes_are_known_to_all_the_oldest_first(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        store.beat(node("b", NOON))
        other_store.beat(node("a", LATER))
        store.beat(node("c", NOON - SECOND))
        for one in (store, other_store):
            assert [(found.id, found.alive) for found in one.get_nodes()] == [
                ("c", True),
                ("b", True),
                ("a", True),
            ]

    def test_a_beat_lengthens_the_lease(self, store: SharedJobStore) -> None:
        store.beat(node("a"))
        self.expire_lease(store, "a")
        (lapsed,) = store.get_nodes()
        assert not lapsed.alive
        store.beat(node("a"))
        (found,) = store.get_nodes()
        assert found.alive
        assert store.claim_lapsed(ending) == []

    def test_a_node_that_has_left_is_not_known(self, store: SharedJobStore) -> None:
        store.beat(node("a"))
        store.beat(node("b"))
        store.leave("a")
        store.leave("a")
        assert [found.id for found in store.get_nodes()] == ["b"]
        assert store.beat(node("a")).anew

    # -- leases ---------------------------------------------------------------------------------

    def test_a_node_whose_lease_has_ended_claims_nothing_until_it_beats(
        self, store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        store.beat(node("a"))
        self.expire_lease(store, "a")
        with pytest.raises(LeaseLostError, match="a"):
            store.claim(NOON, opening, 1, ())
        assert self.found(store).next_run_time == NOON
        assert store.get_runs(RunQuery()) == []

        store.beat(node("a"))
        assert [due.slot for due in self.claim_all(store)] == [NOON]

    def test_a_node_that_others_have_forgotten_claims_nothing_until_it_joins_anew(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        store.beat(node("a"))
        other_store.claim_lapsed(ending, ["a"])
        with pytest.raises(LeaseLostError, match="a"):
            store.claim(NOON, opening, 1, ())
        assert store.beat(node("a")).anew
        assert [due.slot for due in self.claim_all(store)] == [NOON]

    def test_who_never_joined_needs_no_lease(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        other_store.beat(node("b"))
        self.expire_lease(store, "b")
        self.add_jobs(store, ("j", NOON))
        assert len(self.claim_all(store)) == 1

    # -- what dead nodes were running -----------------------------------------------------------

    def run_on(self, store: SharedJobStore, **nodes: str) -> dict[str, Run]:
        """Let nodes run a job each, and return the Runs by the id of the job.

        :param nodes: ids of nodes by ids of jobs
        """
        for job_id, node_id in nodes.items():
            self.add_jobs(store, (job_id, NOON))
            store.claim(NOON, opening_on(node_id), 1, ())
        return {run.job_id: run for run in store.get_runs(RunQuery())}

    def test_a_living_node_keeps_what_it_is_running(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        store.beat(node("a"))
        self.run_on(store, j="a")
        assert other_store.claim_lapsed(ending) == []
        assert [run.state for run in store.get_runs(RunQuery())] == [S.RUNNING]
        assert [found.id for found in store.get_nodes()] == ["a"]

    def test_what_a_node_was_running_ends_with_its_lease(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        other_store.beat(node("alive"))
        store.beat(node("dead"))
        runs = self.run_on(other_store, a="dead", b="dead", c="alive")
        self.expire_lease(store, "dead")

        ended = other_store.claim_lapsed(ending)
        assert sorted(run.job_id for run, _ in ended) == ["a", "b"]
        assert all(run == runs[run.job_id] for run, _ in ended)
        assert all(transition.after is S.LOST for _, transition in ended)
        states = {run.job_id: (run.state, run.reason) for run in store.get_runs(RunQuery())}
        lost = (S.LOST, "its node is dead")
        assert states == {"a": lost, "b": lost, "c": (S.RUNNING, None)}
        assert [found.id for found in store.get_nodes()] == ["alive"]
        assert other_store.claim_lapsed(ending) == []

    def test_what_a_node_was_running_ends_when_it_is_known_to_be_dead(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        other_store.beat(node("alive"))
        store.beat(node("dead"))
        self.run_on(other_store, a="dead", c="alive")
        ended = other_store.claim_lapsed(ending, ["dead", "unheard of"])
        assert [run.job_id for run, _ in ended] == ["a"]
        assert [found.id for found in store.get_nodes()] == ["alive"]

    def test_what_a_node_was_running_ends_when_it_leaves(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        store.beat(node("a"))
        self.run_on(store, j="a")
        store.leave("a")
        assert [run.job_id for run, _ in other_store.claim_lapsed(ending)] == ["j"]

    def test_what_an_unknown_node_was_running_ends(self, store: SharedJobStore) -> None:
        store.beat(node("a"))
        self.run_on(store, b="never seen", c="", d="a")
        ended = store.claim_lapsed(ending)
        assert sorted(run.job_id for run, _ in ended) == ["b", "c"]
        assert store.claim_lapsed(ending) == []

    def test_what_waits_for_its_batch_ends_with_its_node_and_what_waits_for_a_moment_does_not(
        self, store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        moment = self.waiting(LATER)
        batch = self.waiting(None, scheduled_at=NOON + SECOND)
        self.open_runs(store, moment, batch, next_run_time=LATER + SECOND)
        ((run, transition),) = store.claim_lapsed(ending)
        assert (run.id, transition.after) == (batch.id, S.CANCELLED)
        ((started, _),) = store.claim_waiting(LATER, starting, 10)
        assert started.id == moment.id

    def test_what_is_lost_is_no_longer_live(self, store: SharedJobStore) -> None:
        self.run_on(store, j="dead")
        store.claim_lapsed(ending)
        (due,) = self.claim_all(store, LATER)
        assert due.live.instances == 0

    def test_of_several_that_look_one_ends_each_run(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        dead = [f"n{number}" for number in range(10)]
        for node_id in dead[:5]:
            store.beat(node(node_id))
        runs = self.run_on(store, **{f"j{number}": dead[number] for number in range(10)})
        calls = [
            lambda store=store: store.claim_lapsed(recovering, dead)
            for store in (store, other_store) * 2
        ]
        ended = [run.job_id for answer in at_once(*calls) for run, _ in answer]
        assert sorted(ended) == sorted(runs)
        states = sorted(run.state for run in store.get_runs(RunQuery()))
        assert states == [S.LOST] * 10 + [S.WAITING] * 10

    def test_what_follows_a_lost_run_is_opened_in_the_same_write(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        runs = self.run_on(store, j="dead")
        ((run, transition),) = store.claim_lapsed(recovering)
        assert run == runs["j"]
        assert transition.follow_up is not None
        assert other_store.next_wake(()) == LATER
        ((started, job),) = other_store.claim_waiting(LATER, starting, 1, None, "b")
        assert (started.attempt, started.node, job.id) == (2, "b", "j")
        assert [found.state for found in store.get_runs(RunQuery())] == [S.RUNNING, S.LOST]

    def test_the_late_result_of_a_node_that_was_taken_for_dead_changes_nothing(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        store.beat(node("a"))
        runs = self.run_on(store, j="a")
        self.expire_lease(store, "a")
        other_store.claim_lapsed(ending)
        store.beat(node("a"))
        assert store.apply([Transition(runs["j"], S.SUCCEEDED, LATER)]) == [False]
        assert [run.state for run in store.get_runs(RunQuery())] == [S.LOST]

    # -- watching -------------------------------------------------------------------------------

    def test_an_edit_by_another_node_ends_a_watch(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        if not store.can_watch:
            with pytest.raises(NotImplementedError):
                store.watch(0)
            return
        self.add_jobs(store, ("j", NOON))
        with ThreadPoolExecutor(1) as threads:
            watch = threads.submit(store.watch, PATIENCE)
            while not wait([watch], 0.05).done:  # it may not have begun
                other_store.modify_job("j", named("renamed"))
        assert watch.result()

    def test_a_watch_can_be_ended_from_another_thread(self, store: SharedJobStore) -> None:
        if not store.can_watch:
            store.unwatch()
            return
        with ThreadPoolExecutor(1) as threads:
            watch = threads.submit(store.watch, PATIENCE)
            tries = 0
            while not wait([watch], 0.05).done:  # it may not have begun
                store.unwatch()
                tries += 1
        assert tries < PATIENCE / 0.05 / 2
