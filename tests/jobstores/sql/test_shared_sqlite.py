"""A SQLite file is shared as the published suite wants it."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared_sql_suite import SharedSQLSuite


class TestSharedSQLite(SharedSQLSuite):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
