"""Plug-ins in distributions that were really installed, and a package of which nothing was."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import apscheduler
from programs import ROOT

MODULE = """
    from datetime import timedelta

    from apscheduler.executors.debug import DebugExecutor
    from apscheduler.jobstores.memory import MemoryJobStore
    from apscheduler.triggers.base import BaseTrigger

    class MoonTrigger(BaseTrigger):
        def __init__(self, phase, timezone):
            self.phase, self.timezone = phase, timezone

        def get_next_fire_time(self, previous, now):
            return (previous or now) + timedelta(days=29.5)

    class MoonExecutor(DebugExecutor):
        def __init__(self, crew="nobody"):
            super().__init__()
            self.crew = crew

    class MoonStore(MemoryJobStore):
        def __init__(self, crater="none"):
            super().__init__()
            self.crater = crater
"""
ENTRY_POINTS = """
    [apscheduler.triggers]
    moon = moon_jobs:MoonTrigger
    [apscheduler.executors]
    moon = moon_jobs:MoonExecutor
    [apscheduler.jobstores]
    moon = moon_jobs:MoonStore
"""
PROGRAM = """
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler(
        {"apscheduler.jobstores.far.type": "moon", "apscheduler.jobstores.far.crater": "tycho"},
        executors={"few": {"type": "moon", "crew": "three"}},
        timezone="UTC",
    )
    scheduler.add_executor("moon", "more", crew="four")
    scheduler.add_jobstore("moon", "near", crater="kepler")
    scheduler.start(paused=True)
    job = scheduler.add_job(print, trigger="moon", phase="full", jobstore="far", executor="few")
    print(type(job.trigger).__name__, job.trigger.phase, job.trigger.timezone)
    job = scheduler.reschedule_job(job.id, trigger="moon", phase="new")
    print(job.trigger.phase)
    print(*(executor.crew for executor in list(scheduler._executors.values())[:2]))
    print(*(store.crater for store in list(scheduler._jobstores.values())[:2]))
    try:
        scheduler.add_job(print, "sun")
    except LookupError as exc:
        print(exc)
"""


def wheel(folder: Path) -> Path:
    """Make the wheel of a small distribution."""
    info = "moon_jobs-1.0.dist-info"
    files = {
        "moon_jobs.py": textwrap.dedent(MODULE),
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: moon-jobs\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": textwrap.dedent(ENTRY_POINTS),
    }
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest())
        lines.append(f"{name},sha256={digest.decode().rstrip('=')},{len(content)}")
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"])
    path = folder / "moon_jobs-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.slow
def test_names_that_an_installed_distribution_brings_can_be_used_wherever_ours_can(
    tmp_path: Path, start_python: Callable[..., Any]
) -> None:
    site = tmp_path / "site"
    command = ["-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [sys.executable, *command, "--no-index", "--no-deps", "--target", site, wheel(tmp_path)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    status, printed, errors = start_python(
        "-c", textwrap.dedent(PROGRAM), PYTHONPATH=str(site)
    ).finish()
    assert (status, errors) == (0, "")
    assert printed == [
        "MoonTrigger full UTC",
        "new",
        "three four",
        "tycho kepler",
        'No trigger by the name "sun" was found',
    ]


@pytest.mark.slow
def test_a_copy_of_the_package_works_where_nothing_says_that_it_is_installed(
    tmp_path: Path, start_python: Callable[..., Any]
) -> None:
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "apscheduler", tmp_path / "apscheduler", ignore=without)
    for needed in ("tzlocal", "tzdata"):
        spec = importlib.util.find_spec(needed)
        if spec is not None and spec.origin is not None:
            shutil.copytree(Path(spec.origin).parent, tmp_path / needed, ignore=without)
    program = """
        import threading
        from importlib.metadata import PackageNotFoundError, version

        import apscheduler
        from apscheduler.events import EVENT_JOB_EXECUTED
        from apscheduler.schedulers.background import BackgroundScheduler

        try:
            version("apscheduler")
        except PackageNotFoundError:
            print("not installed")
        print(apscheduler.__file__)
        print(apscheduler.version)
        scheduler = BackgroundScheduler(
            timezone="UTC",
            jobstores={"default": {"type": "memory"}},
            executors={"default": {"type": "threadpool"}, "other": {"type": "debug"}},
        )
        scheduler.add_executor("processpool", "processes")
        scheduler.add_executor("asyncio", "unused")
        scheduler.remove_executor("unused", shutdown=False)
        ran = threading.Semaphore(0)
        scheduler.add_listener(lambda event: ran.release(), EVENT_JOB_EXECUTED)
        scheduler.start()
        for trigger, arguments in {
            "date": {},
            "interval": {"hours": 1},
            "cron": {"hour": 1},
            "calendarinterval": {"days": 1},
        }.items():
            scheduler.add_job(int, trigger, misfire_grace_time=None, id=trigger, **arguments)
        print(ran.acquire(timeout=20), *sorted(job.id for job in scheduler.get_jobs()))
        scheduler.shutdown()
        try:
            scheduler.add_executor("nobody's", "theirs")
        except LookupError as exc:
            print(exc)
    """
    # Without the site-packages, in which our own distribution is.
    status, printed, errors = start_python(
        "-S", "-c", textwrap.dedent(program), PYTHONPATH=str(tmp_path)
    ).finish()
    assert (status, errors) == (0, "")
    assert printed == [
        "not installed",
        str(tmp_path / "apscheduler" / "__init__.py"),
        apscheduler.version,
        "True calendarinterval cron interval",
        'No executor by the name "nobody\'s" was found',
    ]
