"""Two programs from a tutorial of 2018, kept to the letter: what was written then still runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from programs import ROOT, Program

SEED = ROOT / "tests" / "seed"

# Runs a program as it is, with its log shown, and the clock set if so wanted.
LAUNCH = """
import logging, runpy, sys
from contextlib import nullcontext
from datetime import datetime, timedelta

logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
path, clock = sys.argv[1:]
if clock == "as it is":
    setting = nullcontext()
else:
    import time_machine
    setting = time_machine.travel(datetime.fromisoformat(clock), tick=True)
with setting:
    runpy.run_path(path, run_name="__main__")
"""


def time_of(tick: str) -> datetime:
    return datetime.fromisoformat(tick.removeprefix("Tick! The time is: "))


@pytest.mark.slow
def test_the_interval_program_ticks_every_three_seconds_and_ends_quietly(
    start_python: Callable[..., Program],
) -> None:
    program = start_python(SEED / "ex_interval.py")
    program.wait_for("Press Ctrl+C     to exit")
    first, second = time_of(program.wait_for("Tick!")), time_of(program.wait_for("Tick!"))
    program.interrupt()

    assert timedelta(seconds=2.5) < second - first < timedelta(seconds=3.5)
    status, printed, errors = program.finish()
    assert (status, errors) == (0, "")
    assert len(printed) == 3


def test_the_cron_program_waits_for_19_23_and_ends_quietly(
    start_python: Callable[..., Program],
) -> None:
    program = start_python("-c", LAUNCH, SEED / "ex_cron.py", "as it is", TZ="Europe/Berlin")
    program.wait_for("Scheduler started")
    wakeup = program.wait_for("Next wakeup is due at")
    program.interrupt()

    assert " 19:23:00+0" in wakeup
    status, printed, errors = program.finish()
    assert (status, errors) == (0, "")
    assert not any("Tick!" in line for line in printed)


@pytest.mark.slow
def test_the_cron_program_ticks_at_19_23(start_python: Callable[..., Program]) -> None:
    program = start_python(
        "-c", LAUNCH, SEED / "ex_cron.py", "2026-03-01T19:22:58.500000+00:00", TZ="UTC"
    )
    tick = time_of(program.wait_for("Tick!"))
    program.interrupt()

    assert timedelta(0) <= tick - datetime(2026, 3, 1, 19, 23) < timedelta(seconds=1)
    status, _, errors = program.finish()
    assert (status, errors) == (0, "")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_fresh_environment_runs_the_interval_program(
    start_program: Callable[..., Program], tmp_path
) -> None:
    for command in (
        [sys.executable, "-m", "venv", tmp_path / "venv"],
        [tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", ROOT],
    ):
        status, _, errors = start_program(*command, PYTHONPATH="").finish(timeout=240)
        assert status == 0, errors

    program = start_program(tmp_path / "venv/bin/python", SEED / "ex_interval.py", PYTHONPATH="")
    program.wait_for("Tick!")
    program.interrupt()
    status, _, errors = program.finish()
    assert (status, errors) == (0, "")
