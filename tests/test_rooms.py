"""Which room may know which: the arrows between the modules of the package.

Read from the import statements alone, wherever in a file they stand. An import that is only
for the type checker is an arrow too in the rooms that are to be pure values; elsewhere it is
not, since a store or an executor is handed its scheduler by the interface of 3.x and has to be
able to say so in a signature.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from programs import ROOT

SOURCE = ROOT / "src"

PURE = ("apscheduler._engine", "apscheduler.runs", "apscheduler.clock", "apscheduler.triggers")
STORES = ("apscheduler.jobstores",)
EXECUTORS = ("apscheduler.executors",)
SCHEDULERS = ("apscheduler.schedulers",)
LOOP = ("apscheduler._loop", "apscheduler._runner", "apscheduler._house")
ENGINE = ("apscheduler._engine",)
OUTER = ("apscheduler.cli", "apscheduler.web", "apscheduler.testing")
CONCURRENCY = ("threading", "_thread", "asyncio", "concurrent", "multiprocessing", "queue")


class Arrow(NamedTuple):
    """One name imported by one module."""

    source: str
    line: int
    target: str
    name: str | None
    for_types_only: bool

    @property
    def reached(self) -> str:
        return f"{self.target}.{self.name}" if self.name else self.target


def within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def goes(arrow: Arrow, *rooms: tuple[str, ...]) -> bool:
    return any(within(arrow.reached, room) for room in rooms)


def is_foreign(arrow: Arrow) -> bool:
    top = arrow.target.partition(".")[0]
    return top not in sys.stdlib_module_names and top not in {"apscheduler", "tzlocal"}


def is_private(arrow: Arrow) -> bool:
    parts = arrow.reached.split(".")
    return parts[0] == "apscheduler" and any(
        part.startswith("_") and not part.endswith("__") for part in parts
    )


def is_host(module: str) -> bool:
    # Beside the hosts there is the public face: base, and private modules that are parts of it.
    name = module.removeprefix("apscheduler.schedulers")
    return name != module and name not in {"", ".base"} and not name.startswith("._")


RULES: dict[str, Callable[[Arrow], bool]] = {
    "the engine, the values, the clock and the triggers are pure": lambda arrow: (
        within(arrow.source, PURE)
        and (goes(arrow, STORES, EXECUTORS, SCHEDULERS, LOOP, CONCURRENCY) or is_foreign(arrow))
    ),
    "a store answers and writes, and never decides": lambda arrow: (
        within(arrow.source, STORES)
        and not arrow.for_types_only
        and goes(arrow, ENGINE, LOOP, EXECUTORS, SCHEDULERS)
    ),
    "an executor never sees a store": lambda arrow: (
        within(arrow.source, EXECUTORS) and goes(arrow, STORES)
    ),
    "a host knows how to sleep and wake, and touches neither engine nor store": lambda arrow: (
        is_host(arrow.source) and goes(arrow, ENGINE, STORES)
    ),
    "the outer rooms are known to nobody": lambda arrow: (
        not within(arrow.source, OUTER) and goes(arrow, OUTER)
    ),
    "the outer rooms stand on public names alone": lambda arrow: (
        within(arrow.source, OUTER)
        and is_private(arrow)
        and not within(arrow.source, (".".join(arrow.target.split(".")[:2]),))
    ),
}


@cache
def arrows(source: Path) -> list[Arrow]:
    """Return every import below a folder that holds the package."""
    return list(_arrows(source))


def _arrows(source: Path) -> Iterator[Arrow]:
    for file in sorted(source.rglob("*.py")):
        parts = file.relative_to(source).with_suffix("").parts
        package = parts[:-1]
        module = ".".join(package if parts[-1] == "__init__" else parts)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for_types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for branch in node.body
            for inner in ast.walk(branch)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Arrow(module, node.lineno, alias.name, None, id(node) in for_types)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else ()
                target = ".".join((*base, *([node.module] if node.module else ())))
                for alias in node.names:
                    yield Arrow(module, node.lineno, target, alias.name, id(node) in for_types)


def forbidden(source: Path) -> list[str]:
    """Name every arrow that must not be."""
    return [
        f"{arrow.source}, line {arrow.line}, imports {arrow.reached}: {rule}"
        for arrow in arrows(source)
        for rule, is_broken in RULES.items()
        if is_broken(arrow)
    ]


def test_no_arrow_goes_where_it_must_not() -> None:
    assert len(arrows(SOURCE)) > 100, "the imports were not found"
    assert forbidden(SOURCE) == []


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("_engine", "from apscheduler.jobstores.base import BaseJobStore", "are pure"),
        ("_engine", "from apscheduler.executors import base", "are pure"),
        ("_engine", "import threading", "are pure"),
        ("runs", "from apscheduler.schedulers.base import BaseScheduler", "are pure"),
        ("runs", "from apscheduler import _loop", "are pure"),
        ("clock", "import asyncio.events", "are pure"),
        ("triggers.cron.fields", "def f():\n    from concurrent import futures", "are pure"),
        ("triggers.base", "import sqlalchemy", "are pure"),
        ("triggers.base", "if TYPE_CHECKING:\n    from threading import Lock", "are pure"),
        ("jobstores.memory", "from apscheduler._engine import plan", "a store"),
        ("jobstores.memory", "from .. import _loop", "a store"),
        ("jobstores.memory", "from ..executors import base", "a store"),
        ("jobstores.memory", "from apscheduler.schedulers import base", "a store"),
        ("executors.pool", "from apscheduler.jobstores.base import JobLookupError", "an executor"),
        ("schedulers.qt", "import apscheduler._engine", "a host"),
        ("schedulers.qt", "from apscheduler.jobstores.memory import MemoryJobStore", "a host"),
        ("_loop", "from apscheduler.testing import VirtualClock", "known to nobody"),
        ("job", "import apscheduler.web", "known to nobody"),
        ("schedulers.base", "from apscheduler.cli import main", "known to nobody"),
        ("testing.clock", "from apscheduler._loop import Loop", "public names"),
        ("web.app", "from apscheduler.job import _secret", "public names"),
    ],
)
def test_a_forbidden_arrow_is_named(module: str, line: str, rule: str, tmp_path: Path) -> None:
    file = tmp_path.joinpath("apscheduler", *module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True)
    file.write_text(line)

    (found,) = forbidden(tmp_path)
    assert found.startswith(f"apscheduler.{module}, line ")
    assert rule in found


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("_engine", "from apscheduler.runs import Run"),
        ("triggers.date", "from tzlocal import get_localzone"),
        ("jobstores.base", "from apscheduler.runs import Run"),
        ("jobstores.base", "if TYPE_CHECKING:\n    from apscheduler.schedulers import base"),
        ("schedulers.base", "from apscheduler.jobstores.memory import MemoryJobStore"),
        ("schedulers._parts", "from apscheduler.jobstores.base import ConflictingIdError"),
        ("schedulers.qt", "from apscheduler.executors.pool import ThreadPoolExecutor"),
        ("_loop", "from apscheduler import _engine"),
        ("testing", "from apscheduler.testing._scheduler import ManualScheduler"),
        ("testing", "from apscheduler.schedulers.base import BaseScheduler"),
        ("testing", "from __future__ import annotations"),
    ],
)
def test_an_arrow_that_may_be_is_not_named(module: str, line: str, tmp_path: Path) -> None:
    file = tmp_path.joinpath("apscheduler", *module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True)
    file.write_text(line)

    assert arrows(tmp_path)
    assert forbidden(tmp_path) == []
