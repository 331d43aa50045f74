"""Every program in examples/ does what it says, and ends quietly when it is interrupted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from programs import ROOT, Program

EXAMPLES = ROOT / "examples"

# What each prints again and again; the last line says that the job has ended.
TICKING = {
    "schedulers/blocking.py": [r"Tick! It is \d\d:\d\d:\d\d"],
    "schedulers/background.py": [r"Tick! It is \d\d:\d\d:\d\d"],
    "schedulers/asyncio_.py": [r"Tick! It is \d\d:\d\d:\d\d"],
    "schedulers/gevent_.py": [r"Tick! It is \d\d:\d\d:\d\d"],
    "schedulers/tornado_.py": [r"Tick! It is \d\d:\d\d:\d\d"],
    "schedulers/twisted_.py": [r"Tick! It is \d\d:\d\d:\d\d"],
    "schedulers/qt.py": [r"Tick! It is \d\d:\d\d:\d\d"],
    "executors/processpool.py": [
        r"Tick! It is \d\d:\d\d:\d\d in process (?P<worker>\d+)",
        r"Process (?!(?P=worker)\b)\d+ hears that process (?P=worker) is done",
    ],
    "misc/reference.py": [r"Tick!"],
}

# Their main threads also start those of a pool. An interrupt that comes while they do so keeps
# Python from ending such a thread, so it is sent when the job has run once more.
STARTING = {"schedulers/blocking.py", "schedulers/tornado_.py"}

ENDING = {
    "misc/configuration.py": [
        "by_keywords: zone UTC, coalesce False, at most 3 at once",
        "by_dictionary: zone UTC, coalesce False, at most 3 at once",
        "later: zone UTC, coalesce False, at most 3 at once",
    ],
    "misc/export_import.py": ["daily: cron[hour='6']", "fortnightly: interval[14 days, 0:00:00]"],
    "misc/listener.py": [
        "impossible: raised ZeroDivisionError('division by zero')",
        "possible: returned 2.0",
    ],
    "misc/manual_scheduler.py": [
        "in the first week: Mon 02 Mar, Thu 05 Mar",
        "in all of March: 9 times",
    ],
    "misc/runs.py": [
        "03:00 manual: succeeded, no error",
        "03:00 slot: succeeded, no error",
        "02:00 slot: failed, ConnectionError: nobody answered",
        "01:00 slot: succeeded, no error",
        'The run of job "collect" scheduled at 2026-03-01 02:00:00 UTC started 0 ms late and '
        "failed after 0 ms with ConnectionError: nobody answered.",
    ],
}

# Those of several processes are run in tests/examples.
SEVERAL = {
    "several/flask_gunicorn/app.py",
    "several/web_and_worker/tasks.py",
    "several/web_and_worker/web.py",
    "several/web_and_worker/worker.py",
}


def test_every_example_is_run() -> None:
    there = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
    assert there == {*TICKING, *ENDING, *SEVERAL, "demo.py"}


@pytest.mark.slow
@pytest.mark.parametrize("name", TICKING)
def test_an_example_ticks_until_it_is_interrupted(
    name: str, start_python: Callable[..., Program]
) -> None:
    program = start_python(EXAMPLES / name)
    program.wait_for("Press Ctrl+C to exit")
    lines = [program.next_line() for _ in TICKING[name]]
    if name in STARTING:
        program.next_line()
    program.interrupt()

    assert re.fullmatch("\n".join(TICKING[name]), "\n".join(lines))
    status, _, errors = program.finish()
    assert (status, errors) == (0, "")


@pytest.mark.parametrize("name", ENDING)
def test_an_example_prints_what_it_promises(
    name: str, start_python: Callable[..., Program]
) -> None:
    status, printed, errors = start_python(EXAMPLES / name).finish()
    assert (status, printed) == (0, ENDING[name]), errors


@pytest.mark.slow
def test_the_demo_tells_of_all_three_kinds_of_triggers(
    start_program: Callable[..., Program],
) -> None:
    status, printed, errors = start_program(ROOT / "scripts/demo", "11").finish(timeout=50)

    assert (status, errors) == (0, "")
    runs = re.findall(
        r"^(\w+) +due (\d\d:\d\d:\d\d\.\d{6}) +(\d+\.\d) ms late +next: (\w+) at \d\d:\d\d:\d\d$",
        "\n".join(printed),
        re.MULTILINE,
    )
    assert [kind for kind, *_ in runs].count("interval") == 2
    assert {kind for kind, *_ in runs} == {"interval", "cron", "date"}
    assert all(due.endswith("0.000000") for kind, due, *_ in runs if kind == "cron")
    assert printed[-1].startswith("Done after 11.")


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_the_demo_ends_at_once_and_without_a_traceback_whenever_it_is_interrupted(
    delay: float, start_program: Callable[..., Program]
) -> None:
    program = start_program(ROOT / "scripts/demo")
    assert program.runs_for(delay)
    program.interrupt()

    assert not program.runs_for(5)
    status, _, errors = program.finish()
    assert errors == ""
    assert status in {0, 130, 143}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_set_up_that_was_interrupted_ends_quietly_and_is_done_again_the_next_time(
    start_program: Callable[..., Program], tmp_path: Path
) -> None:
    for name in ("README.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("examples", "scripts", "src"):
        shutil.copytree(ROOT / name, tmp_path / name)

    for delay in (0.1, 1, 4):
        program = start_program(tmp_path / "scripts/demo")
        program.wait_for("Setting up .venv")
        assert program.runs_for(delay)
        program.interrupt()
        status, printed, errors = program.finish()
        assert (status, errors) == (130, "")
        assert len(printed) <= 2, printed

    status, printed, errors = start_program(tmp_path / "scripts/demo", "0.5").finish(timeout=200)
    assert (status, errors) == (0, "")
    assert printed[-1].startswith("Done after 0.")
