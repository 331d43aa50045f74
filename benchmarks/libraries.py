"""The two libraries under measurement, each as an interpreter that finds it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.databases import provided
from benchmarks.measure import Figure

CHECKOUT = Path(__file__).resolve().parent.parent
INCUMBENT = "3.11.3"
PEER = "cronsim==2.8"
TOOLS = ("tzlocal", "tzdata", "pytest", "pytz", "time-machine")
"""What the tests that compare the two use; in the versions that are installed here."""
DRIVERS = ("sqlalchemy", "psycopg", "psycopg-binary", "pymysql")
"""What reaches the databases, likewise."""
TIMEOUT = 600.0
"""Seconds after which a scenario is given up: many times what the slowest one needs."""


class ScenarioError(Exception):
    """A scenario gave no figure."""


@dataclass(frozen=True)
class Library:
    """One side of a comparison.

    :param name: heading of its column
    :param python: the interpreter that runs the scenarios
    :param version: what it must report as its version
    :param environment: variables that the interpreter gets on top of ours
    """

    name: str
    python: Path
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def measure(self, scenario: str, size: int, options: Mapping[str, object]) -> Figure:
        """Run a scenario in a process of its own and return its figure.

        :param options: its arguments; one named ``store`` is a kind of database, and becomes
            an empty one of it
        :raises ScenarioError: if there is none, or it is that of another version
        :raises MissingDatabaseError: if this machine has no such database
        """
        with provided(options) as arguments:
            return self._measure(scenario, {"size": size, **arguments})

    def _measure(self, scenario: str, arguments: Mapping[str, object]) -> Figure:
        # What is installed is compiled already, and so is to be what stands in this checkout.
        without = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
        inherited = {name: value for name, value in os.environ.items() if name not in without}
        try:
            done = subprocess.run(
                [self.python, "-m", f"benchmarks.scenarios.{scenario}", json.dumps(arguments)],
                cwd=CHECKOUT,
                env={**inherited, **self.environment},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise ScenarioError(f"did not end within {TIMEOUT:g} s") from None
        if done.returncode:
            last_words = done.stderr.strip().splitlines() or ["no message"]
            raise ScenarioError(f"exit status {done.returncode}: {last_words[-1]}")

        report = json.loads(done.stdout)
        if report.pop("version") != self.version:
            raise ScenarioError(f"{self.python} does not find apscheduler {self.version}")
        return Figure(**report)


def ours() -> Library:
    """Return the library of this checkout, on the running interpreter."""
    source = CHECKOUT / "src"
    found = subprocess.check_output(
        [sys.executable, "-c", "import apscheduler; print(apscheduler.__version__)"],
        env={**os.environ, "PYTHONPATH": str(source)},
        text=True,
    )
    return Library("ours", Path(sys.executable), found.strip(), {"PYTHONPATH": str(source)})


def incumbent() -> Library:
    """Return 3.11.3 in an environment below ``.bench/``, which is made with pip if need be."""
    home = CHECKOUT / ".bench" / f"apscheduler-{INCUMBENT}-python-{platform.python_version()}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    needed = [
        f"apscheduler=={INCUMBENT}",
        PEER,
        *(f"{name}=={version(name)}" for name in TOOLS + DRIVERS),
    ]
    installed = home / "installed.txt"
    if not installed.exists() or installed.read_text().split() != needed:
        venv.create(home, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needed], check=True)
        installed.write_text("\n".join(needed))
    return Library(INCUMBENT, python, INCUMBENT)
