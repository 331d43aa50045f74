"""A process is killed before and after each statement of each write: all is done, or nothing."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from kill_scene import (
    OPERATIONS,
    STARTS,
    TABLE,
    Place,
    Rows,
    assert_goes_on,
    assert_jobs_agree_with_their_rows,
    build,
    compared,
    incarnations,
    open_store,
    start,
)
from wire import COMMIT

from programs import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

#: Where a file need not be written to a disk: what is killed here is no machine.
MEMORY = Path("/dev/shm")
DATABASES = ("sqlite", "postgresql", "mariadb")


class Killer:
    """The program of `kill_server`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kill_server"],
            cwd=ROOT / "tests" / "faults",
            env={"PYTHONPATH": str(ROOT / "tests")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, url: str, operation: str, **task: Any) -> int:
        """Let a fork do something; return its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"url": url, "operation": operation, **task})
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    killer = Killer()
    yield killer
    killer.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return build(f"sqlite:///{tmp_path_factory.mktemp('scene')}/jobs.sqlite")


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        if request.param == "sqlite":
            url = f"sqlite:///{folder}/jobs.sqlite"
        else:
            url = request.getfixturevalue(f"{request.param}_url")
        place = Place(url)
        yield place
        place.close()


def recorded(
    killer: Killer, place: Place, operation: str, folder: Path
) -> tuple[list[str], list[Rows]]:
    """Let something be done undisturbed; return its statements, and what each commit left."""
    record = folder / "record"
    assert killer.ask(place.url, operation, record=str(record)) == 0
    statements, states = pickle.loads(record.read_bytes())
    return statements, states


def moments(statements: list[str]) -> Iterator[tuple[int, bool, int]]:
    """Yield before and after which statements to kill, and how many commits precede that.

    To be killed after one is the same as to be killed before the next, and a question in between
    changes nothing.
    """
    for number, statement in enumerate(statements):
        if not statement.startswith(("SELECT", "PRAGMA", "DESCRIBE", "SHOW")):
            commits = statements[:number].count(COMMIT)
            yield number, False, commits
            if statement == COMMIT:
                yield number, True, commits + 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_killed_in_a_write_has_done_it_or_not_and_the_others_go_on(
    operation: str, place: Place, killer: Killer, scene: Rows, tmp_path: Path
) -> None:
    survivor = open_store(place.url)
    start(survivor)
    known = incarnations(scene)
    place.fill(scene)
    statements, states = recorded(killer, place, operation, tmp_path)
    wanted = [compared(state, known) for state in states]
    assert statements.count(COMMIT) == len(states) - 1 >= 1
    assert wanted[0] != wanted[-1] or operation == "beat"

    for number, after, commits in moments(statements):
        where = statements[number], after
        place.fill(scene)
        before = place.others()
        status = killer.ask(place.url, operation, kill_at=number, after=after)
        assert status == -signal.SIGKILL, where
        place.wait_until_gone(before)
        rows = place.rows()
        assert compared(rows, known) == wanted[commits], where
        assert_goes_on(survivor, rows, removed=operation == "remove_all_jobs")
    survivor.shutdown()


@pytest.mark.parametrize("operation", STARTS)
def test_what_is_killed_while_it_makes_the_tables_leaves_it_to_the_next_one(
    operation: str, place: Place, killer: Killer, scene: Rows, tmp_path: Path
) -> None:
    old = operation != STARTS[0]

    def prepare() -> None:
        place.clear()
        if old:
            place.make_table_of_3x(scene)

    prepare()
    before = place.schema()
    statements, _ = recorded(killer, place, operation, tmp_path)
    done = place.schema()
    assert set(done) > {TABLE}

    for number, after, commits in moments(statements):
        where = statements[number], after
        prepare()
        others = place.others()
        assert killer.ask(place.url, operation, kill_at=number, after=after) == -signal.SIGKILL
        place.wait_until_gone(others)
        if place.engine.dialect.name != "mysql":  # That commits each statement of this kind.
            assert place.schema() == (done if commits else before), where
        next_one = open_store(place.url)
        start(next_one)
        assert next_one.can_be_shared
        assert place.schema() == done, where
        assert len(next_one.get_all_jobs()) == (len(scene[TABLE]) if old else 0)
        assert_jobs_agree_with_their_rows(next_one, place.rows())
        next_one.shutdown()
