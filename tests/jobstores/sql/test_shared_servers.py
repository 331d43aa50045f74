"""PostgreSQL and MariaDB are shared as the published suite wants it."""

from __future__ import annotations

import pytest
from shared_sql_suite import SharedSQLSuite

pytestmark = pytest.mark.slow


class TestSharedPostgreSQL(SharedSQLSuite):
    @pytest.fixture(autouse=True)
    def _database(self, postgresql_url: str) -> None:
        self.url = postgresql_url


class TestSharedMariaDB(SharedSQLSuite):
    @pytest.fixture(autouse=True)
    def _database(self, mariadb_url: str) -> None:
        self.url = mariadb_url
