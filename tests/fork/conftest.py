"""What the tests of forks share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

HEAD = """
import sys
sys.path.insert(0, {here!r})
import os, threading, time
from fork_kit import *
from apscheduler.events import *
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
"""

Run = Callable[[str], list[str]]


@pytest.fixture
def run(start_python: Any) -> Run:
    """Return a function that runs a program to its end, and returns what it prints."""

    def run_program(text: str) -> list[str]:
        head = HEAD.format(here=os.path.dirname(__file__))
        status, printed, errors = start_python("-W", "error", "-c", head + text).finish(60)
        assert (status, errors) == (0, "")
        return list(printed)

    return run_program
