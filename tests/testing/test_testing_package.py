"""What the package for tests offers, and what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from apscheduler import testing


def test_it_offers_what_it_lists() -> None:
    assert set(testing.__all__) == {
        "ClaimingJobStoreSuite",
        "JobStoreSuite",
        "ManualScheduler",
        "SharedJobStoreSuite",
        "VirtualClock",
    }
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name


def test_a_suite_for_claiming_stores_includes_the_one_for_all() -> None:
    assert issubclass(testing.ClaimingJobStoreSuite, testing.JobStoreSuite)
    assert issubclass(testing.SharedJobStoreSuite, testing.ClaimingJobStoreSuite)


def test_it_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match=r"'apscheduler.testing' has no attribute 'Suite'"):
        testing.Suite  # noqa: B018


@pytest.mark.slow
def test_the_clock_and_the_scheduler_need_no_pytest() -> None:
    program = "import sys, apscheduler.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
