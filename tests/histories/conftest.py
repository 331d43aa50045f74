"""What tests of histories share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from apscheduler.jobstores import _archive


@pytest.fixture(autouse=True)
def nothing_is_forgotten_for_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_archive, "RUNS_PER_JOB", 10**9)
    monkeypatch.setattr(_archive, "RUNS_IN_ALL", 10**9)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong here goes wrong on purpose, and a thousand times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
