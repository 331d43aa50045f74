"""The examples of several processes that share a database: what they print is the witness."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.runs import RunState
from apscheduler.schedulers.background import BackgroundScheduler
from programs import ROOT, Program

pytestmark = pytest.mark.slow

SEVERAL = ROOT / "examples/several"
#: How many seconds anything here may take.
PATIENCE = 30.0


class Site:
    """A web application under gunicorn, and what it has printed."""

    def __init__(self, program: Program) -> None:
        self.program = program
        said = program.wait_for("gunicorn ").split()
        self._master, self._port = int(said[1]), int(said[3])

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str) -> Any:
        return self._ask("POST", path)

    def _ask(self, method: str, path: str) -> Any:
        request = Request(f"http://127.0.0.1:{self._port}{path}", method=method)
        with urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def end(self) -> list[str]:
        """Let it end as a service manager does, and return what it has printed."""
        os.kill(self._master, signal.SIGTERM)
        status, printed, errors = self.program.finish(PATIENCE)
        assert status == 0, errors
        assert "Traceback" not in errors, errors
        return printed


@pytest.fixture
def start_site(start_python: Callable[..., Program]) -> Callable[..., Site]:
    """Return a function that starts an example under gunicorn."""

    def start(application: str, workers: int, database: str) -> Site:
        folder, name = (SEVERAL / application).parent, (SEVERAL / application).stem
        return Site(
            start_python(
                *("-m", "gunicorn", "--chdir", folder),
                *("-c", Path(__file__).with_name("gunicorn_conf.py")),
                *("--workers", str(workers), f"{name}:app"),
                JOBS_DATABASE=database,
            )
        )

    return start


@contextmanager
def visitor(database: str) -> Iterator[BackgroundScheduler]:
    """Lend a scheduler that shares a database, and runs nothing."""
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(database)}, timezone="UTC"
    )
    scheduler.start(role="client")
    yield scheduler
    scheduler.shutdown()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ticks(printed: list[str]) -> list[str]:
    return re.findall(
        r"^Tick of (\d\d:\d\d:\d\d) in process \d+$", "\n".join(printed), re.MULTILINE
    )


def test_four_workers_on_one_file_run_each_fire_time_once(
    start_site: Callable[..., Site], tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/jobs.sqlite"
    site = start_site("flask_gunicorn/app.py", 4, database)
    until(lambda: len(site.get("/")["schedulers"]) == 4)
    names = ["Anna", "Boris", "Chloe", "Dora"]
    for name in names:
        site.post(f"/greetings/{name}")
    while len(ticks(site.program.printed)) < 4 or any(
        f"Hello, {name}," not in "\n".join(site.program.printed) for name in names
    ):
        site.program.next_line()
    printed = site.end()

    with visitor(database) as scheduler:
        runs = scheduler.get_runs("tick")
        assert {run.state for run in runs} == {RunState.SUCCEEDED}
        assert sorted(f"{run.scheduled_at:%H:%M:%S}" for run in runs) == sorted(ticks(printed))
        # One answer for each second, even where a slow machine made one run of several.
        span = runs[0].scheduled_at - runs[-1].first_scheduled_at
        assert sum(run.count for run in runs) == span.total_seconds() + 1
        assert scheduler.nodes() == []
    for name in names:
        assert sum(line.startswith(f"Hello, {name},") for line in printed) == 1


def test_the_others_go_on_when_a_worker_is_killed_and_no_fire_time_runs_twice(
    start_site: Callable[..., Site], tmp_path: Path
) -> None:
    site = start_site("flask_gunicorn/app.py", 4, f"sqlite:///{tmp_path}/jobs.sqlite")
    until(lambda: len(site.get("/")["schedulers"]) == 4)
    last = site.program.wait_for("Tick of").split()
    killed = int(last[-1])
    os.kill(killed, signal.SIGKILL)
    for _ in range(3):
        line = site.program.wait_for("Tick of")
        assert int(line.split()[-1]) != killed
    # gunicorn has started another one in its place, which tells the dead from the living.
    until(lambda: killed not in (pids := site.get("/")["schedulers"]) and len(pids) == 4)
    seen = ticks(site.end())
    assert len(set(seen)) == len(seen)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Lend an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.sqlite"
    url: str = request.getfixturevalue("postgresql_url")
    return url


def test_what_a_web_process_adds_runs_in_the_worker_process(
    start_site: Callable[..., Site], start_python: Callable[..., Program], database: str
) -> None:
    web = start_site("web_and_worker/web.py", 2, database)
    answers = [web.post("/letters/Anna")]
    assert web.get("/letters") == []  # Nobody is there who would run it.

    worker = start_python(SEVERAL / "web_and_worker/worker.py", JOBS_DATABASE=database)
    sent = [worker.wait_for("Sent a letter to Anna")]
    answers.append(web.post("/letters/Boris"))
    sent.append(worker.wait_for("Sent a letter to Boris"))
    until(
        lambda: (
            {(run["job"], run["state"]) for run in web.get("/letters")}
            == {(answer["job"], "succeeded") for answer in answers}
        )
    )
    (process,) = {int(line.split()[-1]) for line in sent}
    assert process not in {answer["answered by"] for answer in answers}

    os.kill(process, signal.SIGTERM)
    status, printed, errors = worker.finish(PATIENCE)
    assert (status, errors) == (0, "")
    assert [line for line in printed if "Sent" in line] == sent
    assert [line for line in web.end() if "Sent" in line] == []
