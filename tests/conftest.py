"""What tests of several files share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from programs import Program

pytest_plugins = ["servers.fixtures"]

# A slow machine is no reason to fail; and what CI says of a change must not depend on chance.
settings.register_profile("apscheduler", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("apscheduler")

StartProgram = Callable[..., Program]


@pytest.fixture
def start_program() -> Iterator[StartProgram]:
    """Return a function that starts a program; what still runs at the end is killed."""
    programs: list[Program] = []

    def start(*command: str | Path, **environment: str) -> Program:
        programs.append(Program(*command, **environment))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture
def start_python(start_program: StartProgram) -> StartProgram:
    """Return a function that starts a Python program with the interpreter of these tests."""
    return lambda *arguments, **environment: start_program(
        sys.executable, *arguments, **environment
    )
