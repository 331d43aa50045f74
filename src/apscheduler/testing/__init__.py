"""For the tests of programs that schedule: a clock to set, and a scheduler without threads.

And for the authors of job stores, what a job store must hold: tests that need pytest, and are
imported only by those who ask for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apscheduler.testing.clock import VirtualClock
from apscheduler.testing.manual import ManualScheduler

if TYPE_CHECKING:
    from apscheduler.testing.claiming import ClaimingJobStoreSuite
    from apscheduler.testing.jobstores import JobStoreSuite
    from apscheduler.testing.sharing import SharedJobStoreSuite

__all__ = (
    "ClaimingJobStoreSuite",
    "JobStoreSuite",
    "ManualScheduler",
    "SharedJobStoreSuite",
    "VirtualClock",
)

_SUITES = {
    "JobStoreSuite": "apscheduler.testing.jobstores",
    "ClaimingJobStoreSuite": "apscheduler.testing.claiming",
    "SharedJobStoreSuite": "apscheduler.testing.sharing",
}
_MODULES_WITH_TESTS = (
    "apscheduler.testing.jobstores",
    "apscheduler.testing.claims",
    "apscheduler.testing.claiming",
    "apscheduler.testing.shared_claims",
    "apscheduler.testing.shared_nodes",
    "apscheduler.testing.shared_edits",
    "apscheduler.testing.sharing",
)


def __getattr__(name: str) -> Any:
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sys
    from importlib import import_module

    import pytest

    # So that a test that fails says what was compared.
    pytest.register_assert_rewrite(
        *(module for module in _MODULES_WITH_TESTS if module not in sys.modules)
    )
    return getattr(import_module(_SUITES[name]), name)
