"""What every job store must hold, as tests: for the authors of job stores.

Needs pytest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import Any

import pytest

from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.testing.manual import ManualScheduler
from apscheduler.triggers.date import DateTrigger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)


def work(*args: Any, **kwargs: Any) -> None:
    """Be called: a function that a job can refer to."""


def ids(jobs: Iterable[Job]) -> list[str]:
    """Return the ids of jobs, in their order."""
    return [job.id for job in jobs]


class JobStoreSuite:
    """What a scheduler relies on in every job store; subclass it in a test module.

    .. code-block:: python

        class TestMyJobStore(JobStoreSuite):
            def make_store(self):
                return MyJobStore(...)

    Each test gets a store of its own, which is started for it, and shut down afterwards. A job
    store that can claim slots is to pass `ClaimingJobStoreSuite`, which includes this one.
    """

    def make_store(self) -> BaseJobStore:
        """Return a new, empty job store that is not started; a subclass must say how."""
        raise NotImplementedError(f"{type(self).__name__} must define make_store()")

    @pytest.fixture
    def store(self) -> Iterator[BaseJobStore]:
        """Lend a started job store to a test."""
        store = self.make_store()
        store.start(self.scheduler, "store")
        yield store
        store.shutdown()

    @cached_property
    def scheduler(self) -> ManualScheduler:
        """The scheduler that the jobs of a test belong to; it is not started."""
        return ManualScheduler(timezone=UTC)

    def make_job(self, id: str, next_run_time: datetime | None = NOON, **attributes: Any) -> Job:
        """Return a job as a scheduler hands it to a job store.

        :param attributes: attributes in place of ordinary ones
        """
        ordinary = {
            "func": work,
            "trigger": DateTrigger(NOON),
            "executor": "default",
            "args": (),
            "kwargs": {},
            "name": "work",
            "misfire_grace_time": 1,
            "coalesce": True,
            "max_instances": 1,
            "next_run_time": next_run_time,
        }
        job = Job(self.scheduler, id, **{**ordinary, **attributes})
        job._jobstore_alias = "store"
        return job

    def add_jobs(self, store: BaseJobStore, *times: tuple[str, datetime | None]) -> None:
        """Add jobs by id and next run time."""
        for id, next_run_time in times:
            store.add_job(self.make_job(id, next_run_time))

    # -- an empty store -------------------------------------------------------------------------

    def test_an_empty_store_has_no_jobs(self, store: BaseJobStore) -> None:
        assert store.get_all_jobs() == []
        assert store.get_due_jobs(LATER) == []
        assert store.get_next_run_time() is None
        assert store.lookup_job("j") is None

    # -- adding and finding ---------------------------------------------------------------------

    def test_a_job_is_found_as_it_was_added(self, store: BaseJobStore) -> None:
        attributes: dict[str, Any] = {
            "trigger": DateTrigger(LATER),
            "executor": "pool",
            "args": (1, "two", [3.0]),
            "kwargs": {"four": {"five": None}},
            "name": "wörk",
            "misfire_grace_time": None,
            "coalesce": False,
            "max_instances": 7,
            "next_run_time": NOON + MICROSECOND,
        }
        store.add_job(self.make_job("j", **attributes))
        found = store.lookup_job("j")
        assert found is not None
        assert found.id == "j"
        assert found.func is work
        assert isinstance(found.trigger, DateTrigger)
        assert found.trigger.run_date == LATER
        del attributes["trigger"]
        assert {name: getattr(found, name) for name in attributes} == attributes

    def test_every_answer_gives_jobs_their_scheduler_and_job_store(
        self, store: BaseJobStore
    ) -> None:
        self.add_jobs(store, ("j", NOON))
        (due,), (listed,) = store.get_due_jobs(NOON), store.get_all_jobs()
        for job in (store.lookup_job("j"), due, listed):
            assert job is not None
            assert job._scheduler is self.scheduler
            assert job._jobstore_alias == "store"
            assert not job.pending

    @pytest.mark.parametrize("id", ["a b", "ü/€", "'; --", "%s", "x" * 191])
    def test_any_text_may_be_an_id(self, store: BaseJobStore, id: str) -> None:
        self.add_jobs(store, (id, NOON), ("other", LATER))
        found = store.lookup_job(id)
        assert found is not None
        assert found.id == id
        store.remove_job(id)
        assert ids(store.get_all_jobs()) == ["other"]

    def test_an_id_is_taken_once(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        with pytest.raises(ConflictingIdError, match="j"):
            store.add_job(self.make_job("j", LATER, name="another"))
        found = store.lookup_job("j")
        assert found is not None
        assert (found.name, found.next_run_time) == ("work", NOON)

    def test_an_id_is_free_again_once_its_job_is_gone(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("j", NOON))
        store.remove_job("j")
        self.add_jobs(store, ("j", LATER))
        assert store.get_next_run_time() == LATER

    def test_ids_differ_by_the_case_of_their_letters(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("j", NOON), ("J", LATER))
        store.remove_job("J")
        assert ids(store.get_all_jobs()) == ["j"]

    # -- orders ---------------------------------------------------------------------------------

    def test_due_jobs_are_those_whose_time_has_come(self, store: BaseJobStore) -> None:
        self.add_jobs(
            store,
            ("later", NOON + MICROSECOND),
            ("now", NOON),
            ("before", NOON - MICROSECOND),
            ("long ago", datetime(1971, 1, 1, tzinfo=UTC)),
            ("paused", None),
        )
        assert ids(store.get_due_jobs(NOON)) == ["long ago", "before", "now"]
        assert ids(store.get_due_jobs(datetime(1970, 6, 1, tzinfo=UTC))) == []

    def test_all_jobs_are_in_the_order_of_their_times_and_paused_ones_last(
        self, store: BaseJobStore
    ) -> None:
        self.add_jobs(
            store,
            ("p", None),
            ("c", LATER),
            ("b", NOON + MICROSECOND),
            ("q", None),
            ("a", NOON),
        )
        found = ids(store.get_all_jobs())
        assert found[:3] == ["a", "b", "c"]
        assert set(found[3:]) == {"p", "q"}

    def test_jobs_of_one_time_are_in_the_order_of_their_ids(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("b", NOON), ("c", NOON), ("a", NOON))
        assert ids(store.get_all_jobs()) == ["a", "b", "c"]
        assert ids(store.get_due_jobs(NOON)) == ["a", "b", "c"]

    def test_times_are_compared_as_instants_whatever_their_zones(
        self, store: BaseJobStore
    ) -> None:
        east, west = timezone(timedelta(hours=5)), timezone(timedelta(hours=-5))
        self.add_jobs(
            store,
            ("c", (NOON + 2 * MICROSECOND).astimezone(east)),
            ("b", (NOON + MICROSECOND).astimezone(west)),
            ("a", NOON),
        )
        assert ids(store.get_all_jobs()) == ["a", "b", "c"]
        assert ids(store.get_due_jobs((NOON + MICROSECOND).astimezone(east))) == ["a", "b"]

    # -- the next run time ----------------------------------------------------------------------

    def test_the_next_run_time_is_the_earliest_of_all(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("a", LATER), ("b", NOON + MICROSECOND), ("c", None))
        assert store.get_next_run_time() == NOON + MICROSECOND

    def test_the_next_run_time_is_aware(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("a", NOON))
        found = store.get_next_run_time()
        assert found is not None
        assert found.utcoffset() == timedelta(0)

    def test_paused_jobs_have_no_next_run_time(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("a", None), ("b", None))
        assert store.get_next_run_time() is None

    # -- changes --------------------------------------------------------------------------------

    def test_an_updated_job_takes_the_place_of_the_one_before(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("a", NOON), ("b", LATER))
        store.update_job(
            self.make_job("a", LATER + MICROSECOND, name="changed", args=(2,), max_instances=3)
        )
        assert ids(store.get_all_jobs()) == ["b", "a"]
        found = store.lookup_job("a")
        assert found is not None
        assert (found.name, tuple(found.args), found.max_instances) == ("changed", (2,), 3)
        assert store.get_next_run_time() == LATER

    def test_a_job_that_is_found_changed_and_updated_is_stored_so(
        self, store: BaseJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON))
        job = store.lookup_job("a")
        assert job is not None
        job._modify(name="changed", next_run_time=LATER)
        store.update_job(job)
        found = store.lookup_job("a")
        assert found is not None
        assert (found.name, found.next_run_time) == ("changed", LATER)
        assert store.get_due_jobs(NOON) == []
        assert store.get_next_run_time() == LATER

    def test_a_job_that_is_paused_is_no_longer_due_until_it_is_resumed(
        self, store: BaseJobStore
    ) -> None:
        self.add_jobs(store, ("a", NOON), ("b", LATER))
        store.update_job(self.make_job("a", None))
        assert store.get_due_jobs(NOON) == []
        assert store.get_next_run_time() == LATER
        assert ids(store.get_all_jobs()) == ["b", "a"]

        store.update_job(self.make_job("a", NOON))
        assert ids(store.get_due_jobs(NOON)) == ["a"]
        assert store.get_next_run_time() == NOON

    def test_a_job_that_is_not_there_cannot_be_updated(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("a", NOON))
        with pytest.raises(JobLookupError, match="No job by the id of j was found"):
            store.update_job(self.make_job("j"))
        assert ids(store.get_all_jobs()) == ["a"]

    # -- removal --------------------------------------------------------------------------------

    def test_a_removed_job_is_gone(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("a", NOON), ("b", LATER))
        store.remove_job("a")
        assert store.lookup_job("a") is None
        assert ids(store.get_all_jobs()) == ["b"]
        assert store.get_due_jobs(NOON) == []
        assert store.get_next_run_time() == LATER

    def test_a_job_that_is_not_there_cannot_be_removed(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("a", NOON))
        with pytest.raises(JobLookupError, match="No job by the id of j was found"):
            store.remove_job("j")
        assert ids(store.get_all_jobs()) == ["a"]

    def test_all_jobs_can_be_removed_at_once(self, store: BaseJobStore) -> None:
        self.add_jobs(store, ("a", NOON), ("b", None), ("c", LATER))
        store.remove_all_jobs()
        assert store.get_all_jobs() == []
        assert store.get_next_run_time() is None
        store.remove_all_jobs()

        self.add_jobs(store, ("a", NOON))
        assert ids(store.get_all_jobs()) == ["a"]
