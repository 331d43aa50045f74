"""The tests of edits by several nodes, and of asking for some jobs, for the authors of job stores.

Needs pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event

import pytest

from apscheduler.job import Job
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError, SharedJobStore
from apscheduler.runs import JobQuery, RunQuery
from apscheduler.testing.decisions import SECOND, to_be_run_at
from apscheduler.testing.jobstores import LATER, MICROSECOND, NOON, ids
from apscheduler.testing.shared_claims import at_once, every_second
from apscheduler.testing.shared_nodes import SharedNodeSuite

NEVER = datetime.max.replace(tzinfo=UTC)


def marked(mark: str) -> Callable[[Job], None]:
    """Return a change of a job that leaves a mark."""
    return lambda job: setattr(job, "kwargs", {**job.kwargs, mark: True})


def keeping_phase_of(job: Job) -> Callable[[Job], bool]:
    """Return what keeps the phase of a job that is replaced by the given one."""

    def keeps_phase(old: Job) -> bool:
        job.next_run_time = old.next_run_time
        return True

    return keeps_phase


class SharedEditSuite(SharedNodeSuite):
    """What nodes rely on that change jobs which others change and claim at the same time."""

    # -- modify_job -----------------------------------------------------------------------------

    def test_of_edits_at_the_same_time_none_is_lost(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))

        def edit(store: SharedJobStore, editor: int) -> list[str]:
            marks = [f"{editor}/{number}" for number in range(5)]
            for mark in marks:
                store.modify_job("j", marked(mark))
            return marks

        calls = [
            lambda store=store, editor=editor: edit(store, editor)
            for editor, store in enumerate((store, other_store) * 3)
        ]
        marks = {mark for marks in at_once(*calls) for mark in marks}
        assert len(marks) == 30
        assert set(self.found(store).kwargs) == marks

    def test_edits_and_claims_at_the_same_time_undo_nothing_of_each_other(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        marks = [f"{number}" for number in range(20)]
        edited = Event()

        def edit() -> None:
            try:
                for mark in marks:
                    other_store.modify_job("j", marked(mark))
            finally:
                edited.set()

        def claim() -> None:
            while not edited.is_set():
                store.claim(LATER, every_second, 1, ())

        at_once(edit, claim)
        store.claim(LATER, every_second, 1, ())
        job = self.found(store)
        assert set(job.kwargs) == set(marks)
        slots = sorted(run.scheduled_at for run in store.get_runs(RunQuery(limit=10_000)))
        assert slots == [NOON + number * SECOND for number in range(len(slots))]
        assert job.next_run_time == NOON + len(slots) * SECOND

    def test_an_edit_meets_the_job_as_another_node_left_it(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        self.found(store)
        other_store.modify_job("j", marked("other"))
        job = store.modify_job("j", marked("mine"))
        assert job.kwargs == {"other": True, "mine": True}

    # -- replace_job ----------------------------------------------------------------------------

    def test_a_job_that_is_replaced_in_phase_goes_on(self, store: SharedJobStore) -> None:
        store.add_job(self.make_job("j"), NOON - SECOND)
        (before,) = self.claim_all(store)
        job = self.make_job("j", NOON + SECOND, name="new")
        assert store.replace_job(job, keeping_phase_of(job), NOON)
        assert (self.found(store).name, self.found(store).next_run_time) == ("new", LATER)
        (after,) = self.claim_all(store, LATER)
        assert (after.incarnation, after.born) == (before.incarnation, NOON - SECOND)
        assert after.last_slot == NOON

    def test_a_job_that_is_replaced_out_of_phase_begins_anew(self, store: SharedJobStore) -> None:
        store.add_job(self.make_job("j"), NOON - SECOND)
        (before,) = self.claim_all(store)
        assert not store.replace_job(self.make_job("j"), lambda old: False, NOON)
        (after,) = self.claim_all(store)
        assert after.incarnation != before.incarnation
        assert (after.slot, after.born, after.last_slot) == (NOON, NOON, None)

    def test_only_a_job_that_is_there_is_replaced(self, store: SharedJobStore) -> None:
        with pytest.raises(JobLookupError, match="No job by the id of j was found"):
            store.replace_job(self.make_job("j"), lambda old: False, NOON)
        assert store.get_all_jobs() == []

    def test_a_replacement_is_asked_about_again_when_the_job_has_changed_meanwhile(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        job = self.make_job("j", NOON + SECOND, name="new")
        asked: list[datetime | None] = []

        def keeps_phase(old: Job) -> bool:
            asked.append(old.next_run_time)
            if len(asked) == 1:
                at_once(lambda: other_store.modify_job("j", to_be_run_at(LATER), NOON))
            return keeping_phase_of(job)(old)

        assert store.replace_job(job, keeps_phase, NOON)
        assert asked == [NOON, LATER]
        found = self.found(store)
        assert (found.name, found.next_run_time) == ("new", LATER)

    def test_a_job_that_is_removed_while_it_is_replaced_is_not_there(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        removed = False

        def keeps_phase(old: Job) -> bool:
            nonlocal removed
            if not removed:
                at_once(lambda: other_store.remove_job("j"))
                removed = True
            return False

        with pytest.raises(JobLookupError):
            store.replace_job(self.make_job("j", LATER), keeps_phase, NOON)
        assert store.get_all_jobs() == []

    # -- adding ---------------------------------------------------------------------------------

    def test_an_id_is_taken_once_over_all_nodes(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        with pytest.raises(ConflictingIdError, match="j"):
            other_store.add_job(self.make_job("j", LATER))
        assert self.found(store).next_run_time == NOON

    def test_many_jobs_are_added_at_once(self, store: SharedJobStore) -> None:
        jobs = [self.make_job(f"{number:04}") for number in reversed(range(1500))]
        store.add_jobs(jobs, NOON - SECOND)
        store.add_jobs([])
        assert ids(store.get_all_jobs()) == [f"{number:04}" for number in range(1500)]
        won = self.claim_all(store)
        assert {due.born for due in won} == {NOON - SECOND}

    @pytest.mark.parametrize("ids_added", [["a", "j", "z"], ["a", "b", "a"]])
    def test_of_several_jobs_all_are_added_or_none(
        self, store: SharedJobStore, ids_added: list[str]
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        with pytest.raises(ConflictingIdError):
            store.add_jobs([self.make_job(id, LATER) for id in ids_added])
        assert ids(store.get_all_jobs()) == ["j"]
        assert store.next_wake(()) == NOON

    def test_of_two_that_add_the_same_jobs_one_does(
        self, store: SharedJobStore, other_store: SharedJobStore
    ) -> None:
        ids_added = [f"{number:02}" for number in range(40)]

        def add(store: SharedJobStore, name: str, ids_added: list[str]) -> bool:
            try:
                store.add_jobs([self.make_job(id, name=name) for id in ids_added])
            except ConflictingIdError:
                return False
            return True

        one, other = at_once(
            lambda: add(store, "one", ids_added),
            lambda: add(other_store, "other", ids_added[::-1]),
        )
        assert one + other == 1
        found = store.get_all_jobs()
        assert ids(found) == ids_added
        assert {job.name for job in found} == {"one" if one else "other"}

    # -- find_jobs ------------------------------------------------------------------------------

    def add_various(self, store: SharedJobStore) -> None:
        """Add jobs of several times, executors and states, some of them as 3.x stores them."""
        times = [NOON, NOON, NOON, NOON + MICROSECOND, LATER, LATER, None, None, None]
        for number, next_run_time in enumerate(times):
            executor = "even" if number % 2 == 0 else "odd"
            # The order of the ids is not that in which they are added.
            id = f"{number * 4 % 9}{'äB'[number % 2]}"
            store.add_job(self.make_job(id, next_run_time, executor=executor))
        self.forget_additions(store, *ids(store.get_all_jobs())[1::3])

    @pytest.mark.parametrize(
        "query",
        [
            JobQuery(),
            JobQuery(ids=frozenset({"0ä", "4B", "unknown"})),
            JobQuery(ids=frozenset()),
            JobQuery(ids=frozenset(f"{number}ä" for number in range(5000))),
            JobQuery(executor="odd"),
            JobQuery(executor="unknown"),
            JobQuery(before=NOON),
            JobQuery(before=NOON + MICROSECOND),
            JobQuery(before=LATER),
            JobQuery(paused=True),
            JobQuery(paused=False),
            JobQuery(limit=4),
            JobQuery(executor="even", before=LATER, paused=False, limit=2),
            JobQuery(executor="odd", paused=True),
            JobQuery(before=LATER, paused=True),
            JobQuery(after=(NOON, "4B")),
            JobQuery(after=(NOON, "")),
            JobQuery(after=(None, "")),
            JobQuery(after=(None, "5B")),
            JobQuery(after=(NOON, "4B"), executor="even", limit=2),
        ],
    )
    def test_those_jobs_are_found_that_are_asked_for(
        self, store: SharedJobStore, query: JobQuery
    ) -> None:
        self.add_various(store)
        jobs = store.get_all_jobs()
        assert len(jobs) == 9
        in_order = sorted(jobs, key=lambda job: (job.next_run_time or NEVER, job.id))
        expected = [job.id for job in in_order if query.wants(job)][: query.limit]
        found = store.find_jobs(query)
        assert ids(found) == expected
        assert all(job._scheduler is self.scheduler for job in found)

    @pytest.mark.parametrize("size", [1, 2, 4])
    def test_pages_of_jobs_hold_each_of_them_once(self, store: SharedJobStore, size: int) -> None:
        self.add_various(store)
        pages: list[Job] = []
        after: tuple[datetime | None, str] | None = None
        while page := store.find_jobs(JobQuery(limit=size, after=after)):
            assert len(page) <= size
            pages += page
            after = page[-1].next_run_time, page[-1].id
        assert ids(pages) == ids(store.find_jobs(JobQuery()))
        assert len(pages) == 9
