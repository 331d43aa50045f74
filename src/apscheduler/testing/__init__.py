"""For the tests of programs that schedule: a clock to set, and a scheduler without threads."""

from __future__ import annotations

from apscheduler.testing.clock import VirtualClock
from apscheduler.testing.manual import ManualScheduler

__all__ = ("ManualScheduler", "VirtualClock")
