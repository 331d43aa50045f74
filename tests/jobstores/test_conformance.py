"""Every job store passes the suites that are published for them."""

from __future__ import annotations

from collections.abc import Iterator
from threading import RLock

import pytest
from list_store import ListJobStore, ObjectListJobStore

from apscheduler.jobstores._unshared import UnsharedJobStore
from apscheduler.jobstores.base import BaseJobStore, ClaimingJobStore
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.testing import ClaimingJobStoreSuite, JobStoreSuite


class TestMemoryJobStore(ClaimingJobStoreSuite):
    def make_store(self) -> ClaimingJobStore:
        return MemoryJobStore()


class TestStoreOfCopies(JobStoreSuite):
    def make_store(self) -> BaseJobStore:
        return ListJobStore()


class TestStoreOfObjects(JobStoreSuite):
    def make_store(self) -> BaseJobStore:
        return ObjectListJobStore()


class UnsharedSuite(ClaimingJobStoreSuite):
    """A store of 3.x as a scheduler sees it."""

    def make_foreign_store(self) -> BaseJobStore:
        raise NotImplementedError

    @pytest.fixture
    def store(self) -> Iterator[ClaimingJobStore]:
        foreign = self.make_foreign_store()
        foreign.start(self.scheduler, "store")
        yield UnsharedJobStore(foreign, RLock())
        foreign.shutdown()


class TestUnsharedStoreOfCopies(UnsharedSuite):
    def make_foreign_store(self) -> BaseJobStore:
        return ListJobStore()


class TestUnsharedStoreOfObjects(UnsharedSuite):
    def make_foreign_store(self) -> BaseJobStore:
        return ObjectListJobStore()


@pytest.mark.parametrize("suite", [JobStoreSuite, ClaimingJobStoreSuite])
def test_a_suite_asks_for_the_store_it_is_about(suite: type[JobStoreSuite]) -> None:
    class TestMine(suite):  # type: ignore[misc,valid-type]
        pass

    with pytest.raises(NotImplementedError, match=r"TestMine must define make_store\(\)"):
        TestMine().make_store()
