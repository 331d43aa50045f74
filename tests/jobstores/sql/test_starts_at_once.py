"""Many processes that start on an empty database at the same instant."""

from __future__ import annotations

import logging
import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from apscheduler.schedulers.background import BackgroundScheduler

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROCESSES = 32
JOBS = ["a", "b", "c"]
#: How many seconds all of them may take together.
PATIENCE = 100


def work() -> None:
    """Be called: a function that a job can refer to."""


class Kept(logging.Handler):
    """Keeps what it is told as lines of text."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def serve(number: int, url: str, barrier: Barrier, told: multiprocessing.Queue[list[str]]) -> None:
    """Do what a web worker does as it starts, and ends; tell what went wrong."""
    kept = Kept()
    logging.getLogger("apscheduler").addHandler(kept)
    try:
        scheduler = BackgroundScheduler(timezone="UTC")
        scheduler.add_jobstore("sqlalchemy", url=url)
        barrier.wait(PATIENCE)
        if number % 2:
            scheduler.start()
        for id in JOBS:
            scheduler.add_job(work, "interval", hours=1, id=id, replace_existing=True)
        if not scheduler.running:
            scheduler.start()
        found = sorted(job.id for job in scheduler.get_jobs())
        assert found == JOBS, found
        # Nobody leaves before all have come.
        barrier.wait(PATIENCE)
        scheduler.shutdown()
    except BaseException as error:
        kept.lines.append(f"{type(error).__name__}: {error}")
        barrier.abort()
    told.put(kept.lines)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    return str(request.getfixturevalue(f"{request.param}_url"))


def test_processes_that_start_at_once_agree_on_one_schema_and_on_each_job(url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["apscheduler.jobstores.sqlalchemy", __name__])
    barrier, told = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=serve, args=(number, url, barrier, told))
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    answers = [told.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join(PATIENCE)
    assert [line for lines in answers for line in lines] == []
    assert [process.exitcode for process in processes] == [0] * PROCESSES

    engine = create_engine(url)
    table = "apscheduler_jobs"
    beside = {f"{table}_{name}" for name in ("runs", "nodes", "changes", "meta")}
    assert set(inspect(engine).get_table_names()) == {table, *beside}
    with engine.connect() as connection:
        assert sorted(connection.execute(text(f"SELECT id FROM {table}")).scalars()) == JOBS
        assert list(connection.execute(text(f"SELECT id FROM {table}_nodes"))) == []
    engine.dispose()
