"""A scheduler under gunicorn: in the master one process runs the jobs, in the workers each."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

pytest.importorskip("gunicorn", exc_type=ImportError)
pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


class Server:
    """gunicorn with four workers, and what it has printed."""

    def __init__(self, start_python: Any, start: str, *options: str) -> None:
        self._program = start_python(
            *("-m", "gunicorn", "--chdir", HERE, "-c", HERE / "gunicorn_conf.py"),
            *(*options, "web_app:app"),
            START=start,
        )
        said = self._program.wait_for("master ").split()
        self.master, self.port = int(said[1]), int(said[3])
        self.workers = self.wait_for_workers()

    def wait_for_workers(self) -> set[int]:
        return {int(self._program.wait_for("serving ").split()[-1]) for _ in range(4)}

    def ticks(self, number: int) -> set[int]:
        """Return the processes in which the next ticks are."""
        return {int(self._program.wait_for("tick in").split()[-1]) for _ in range(number)}

    def get(self) -> tuple[int, str]:
        with urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            pid, running = answer.read().decode().split()
        return int(pid), running

    def end(self) -> list[str]:
        """Let it end as a process manager does, and return what it has printed."""
        os.kill(self.master, signal.SIGTERM)
        status, printed, errors = self._program.finish()
        assert status == 0
        assert "Traceback" not in errors
        assert "SIGKILL" not in errors
        return list(printed)


def notices(printed: list[str]) -> list[str]:
    return [line for line in printed if "worker processes of gunicorn" in line]


def test_started_in_a_preloaded_application_the_scheduler_runs_in_the_master_alone(
    start_python: Any,
) -> None:
    server = Server(start_python, "import", "--preload")
    for _ in range(8):
        pid, running = server.get()
        assert pid in server.workers
        assert running == "False"
    assert server.ticks(10) == {server.master}

    os.kill(server.master, signal.SIGHUP)
    after = server.wait_for_workers()
    assert not after & server.workers
    assert server.get()[1] == "False"
    assert server.ticks(10) == {server.master}
    assert notices(server.end()) == []


@pytest.mark.parametrize(("start", "options"), [("post_fork", ("--preload",)), ("import", ())])
def test_started_in_the_workers_it_runs_in_each_and_says_so(
    start_python: Any, start: str, options: tuple[str, ...]
) -> None:
    server = Server(start_python, start, *options)
    assert server.get()[1] == "True"
    seen: set[int] = set()
    while seen != server.workers:
        seen |= server.ticks(1)

    os.kill(server.master, signal.SIGHUP)
    after = server.wait_for_workers()
    while not after <= seen:
        seen |= server.ticks(1)
    printed = server.end()
    told = notices(printed)
    assert sorted(int(line.split()[0]) for line in told) == sorted(server.workers | after)
    assert "one of 4 worker processes" in told[0]
    assert "gunicorn --preload" in told[0]
