"""What the tests of shared job stores share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sharing_kit import RAN, Company


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    """Make schedulers that share a job store, and shut them down after the test."""
    company = Company(tmp_path)
    yield company
    company.close()
