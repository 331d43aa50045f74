"""The SQL job store on SQLite passes the suites that are published for job stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from apscheduler.jobstores._sql.dialects import Dialect
from apscheduler.jobstores.base import ClaimingJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.testing import ClaimingJobStoreSuite


class UnknownDatabaseStore(SQLAlchemyJobStore):
    """Takes its database for one of which nothing is known."""

    _abilities = Dialect


class TestSQLiteFile(ClaimingJobStoreSuite):
    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path}/jobs.sqlite"

    def make_store(self) -> ClaimingJobStore:
        return SQLAlchemyJobStore(self.url)


class TestSQLiteInMemory(ClaimingJobStoreSuite):
    def make_store(self) -> ClaimingJobStore:
        return SQLAlchemyJobStore("sqlite://")


class TestUnknownDatabase(TestSQLiteFile):
    def make_store(self) -> ClaimingJobStore:
        return UnknownDatabaseStore(self.url)
