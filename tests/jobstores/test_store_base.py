"""What job stores have in common, and which of them slots can be claimed from."""

from __future__ import annotations

from datetime import datetime
from unittest.mock import Mock

import pytest
from list_store import ListJobStore

from apscheduler.job import Job
from apscheduler.jobstores.base import (
    BaseJobStore,
    ClaimingJobStore,
    ConflictingIdError,
    JobLookupError,
    TransientJobError,
    claims_for_itself,
)
from apscheduler.jobstores.memory import MemoryJobStore
from job_kit import NOON, at, make_job


@pytest.mark.parametrize(
    ("error", "parent", "message"),
    [
        (JobLookupError, KeyError, "No job by the id of j was found"),
        (ConflictingIdError, KeyError, "Job identifier (j) conflicts with an existing job"),
        (
            TransientJobError,
            ValueError,
            "Job (j) cannot be added to this job store because a reference to the callable could "
            "not be determined.",
        ),
    ],
)
def test_an_error_names_the_job(
    error: type[Exception], parent: type[Exception], message: str
) -> None:
    raised = error("j")
    assert isinstance(raised, parent)
    assert raised.args == (message,)


def test_a_store_learns_its_scheduler_and_alias_when_it_is_started() -> None:
    store = ListJobStore()
    assert (store._scheduler, store._alias) == (None, None)
    assert store._logger.name == "apscheduler.jobstores"

    scheduler = object()
    store.start(scheduler, "cellar")
    assert (store._scheduler, store._alias) == (scheduler, "cellar")
    assert store._logger.name == "apscheduler.jobstores.cellar"


def test_a_store_shows_its_class() -> None:
    assert repr(ListJobStore()) == "<ListJobStore>"


def test_a_store_that_lacks_a_method_of_the_contract_cannot_be_made() -> None:
    class Half(BaseJobStore):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([None, None, 1, 2], [1, 2, None, None]),
        ([1, 2, None], [1, 2, None]),
        ([1, 2], [1, 2]),
        ([None, None], [None, None]),
        ([], []),
    ],
)
def test_paused_jobs_that_a_back_end_sorted_first_are_moved_to_the_end(
    before: list[int | None], after: list[int | None]
) -> None:
    def moments(seconds: list[int | None]) -> list[datetime | None]:
        return [None if number is None else at(number) for number in seconds]

    jobs = [make_job(next_run_time=moment) for moment in moments(before)]
    MemoryJobStore()._fix_paused_jobs_sorting(jobs)
    assert [job.next_run_time for job in jobs] == moments(after)


def test_slots_are_claimed_from_a_store_that_can() -> None:
    class Named(MemoryJobStore):
        """Overrides nothing that a claim goes past."""

        def __repr__(self) -> str:
            return "<mine>"

    assert claims_for_itself(MemoryJobStore())
    assert claims_for_itself(Named())


def test_slots_are_not_claimed_from_a_store_of_3x() -> None:
    assert not claims_for_itself(ListJobStore())


def test_a_subclass_that_counts_on_a_method_of_3x_is_asked_by_it() -> None:
    class Watched(MemoryJobStore):
        def get_due_jobs(self, now: datetime) -> list[Job]:
            return super().get_due_jobs(now)

    class WatchedFurther(Watched):
        pass

    assert not claims_for_itself(Watched())
    assert not claims_for_itself(WatchedFurther())


@pytest.mark.parametrize("name", ["get_due_jobs", "_get_jobs"])
@pytest.mark.parametrize("method", [Mock(), lambda *args: [], MemoryJobStore().get_due_jobs])
def test_a_store_that_was_given_a_method_of_3x_is_asked_by_it(name: str, method: object) -> None:
    store = MemoryJobStore()
    setattr(store, name, method)
    assert not claims_for_itself(store)


def test_a_mixin_that_counts_on_a_method_of_3x_is_asked_by_it() -> None:
    class Audit:
        def remove_job(self, job_id: str) -> None:
            super().remove_job(job_id)  # type: ignore[misc]

    class Audited(Audit, MemoryJobStore):
        pass

    assert not claims_for_itself(Audited())


def test_a_method_of_3x_that_was_replaced_on_the_store_itself_is_called() -> None:
    store = MemoryJobStore()
    store.update_job = lambda job, born=None: None  # type: ignore[method-assign]
    assert not claims_for_itself(store)


def test_a_subclass_that_claims_in_its_own_way_may_override_what_it_likes() -> None:
    class Own(MemoryJobStore):
        claim = MemoryJobStore.claim

        def update_job(self, job: Job, born: datetime | None = None) -> None:
            super().update_job(job, born)

    assert claims_for_itself(Own())


def test_a_claiming_store_does_no_io_unless_it_says_so() -> None:
    assert ClaimingJobStore.blocking is False


def test_a_job_in_memory_is_the_object_that_was_added() -> None:
    store = MemoryJobStore()
    job = make_job()
    store.add_job(job)
    assert store.lookup_job("j") is job
    assert store.get_all_jobs()[0] is job
    assert store.get_due_jobs(NOON)[0] is job
    assert store.modify_job("j", lambda job: None) is job


def test_a_store_in_memory_forgets_its_jobs_when_it_is_shut_down() -> None:
    store = MemoryJobStore()
    store.add_job(make_job())
    store.shutdown()
    assert store.get_all_jobs() == []
    assert store.get_next_run_time() is None
